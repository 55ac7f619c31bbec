//! The planner as a table: what is wanted and there → commands, in order.

use std::collections::BTreeMap;

use edge_core::ModuleId;
use edge_core::deployment::{
    ComponentRef, ContainerSpec, DesiredStatus, ModuleKind, ModuleSpec, WasmOptions, WasmSpec,
};
use edge_core::runtime::Resolved;

use super::*;

mod waits;

const T0: Timestamp = Timestamp(1_000_000_000_000_000);

fn wasm() -> DesiredModule {
    DesiredModule {
        spec: ModuleSpec {
            id: ModuleId::new("m").unwrap(),
            version: Some("1.0".to_owned()),
            status: DesiredStatus::Running,
            restart: RestartPolicy::Always,
            startup_order: 0,
            env: BTreeMap::new(),
            kind: ModuleKind::Wasm(WasmSpec {
                image: ComponentRef::File("m.wasm".into()),
                digest: None,
                credentials: None,
                options: WasmOptions::default(),
            }),
        },
        resolved: Resolved::default(),
    }
}

fn container() -> DesiredModule {
    let mut module = wasm();
    module.spec.kind = ModuleKind::Container(ContainerSpec::new("r.example/m:1"));
    module
}

fn with(module: DesiredModule, change: impl FnOnce(&mut ModuleSpec)) -> DesiredModule {
    let mut module = module;
    change(&mut module.spec);
    module
}

fn stopped(module: DesiredModule) -> DesiredModule {
    with(module, |spec| spec.status = DesiredStatus::Stopped)
}

fn policy(module: DesiredModule, restart: RestartPolicy) -> DesiredModule {
    with(module, |spec| spec.restart = restart)
}

fn failed() -> Outcome {
    Outcome::Failed {
        description: "trap".to_owned(),
        code: Some(1),
    }
}

/// What is there of a build that was made ready and started.
fn there(build: DesiredModule, state: PresentState) -> Current {
    let build = Arc::new(build);
    Current {
        present: Some(Present {
            build: Some(build.clone()),
            state,
        }),
        ready: Some(build),
        ..Current::default()
    }
}

fn running(build: DesiredModule) -> Current {
    there(build, PresentState::Running { since: T0 })
}

fn ended(build: DesiredModule, outcome: Outcome) -> Current {
    there(build, PresentState::Ended { at: T0, outcome })
}

fn unhealthy(build: DesiredModule) -> Current {
    let description = "no instance".to_owned();
    there(
        build,
        PresentState::Unhealthy {
            since: T0,
            description,
        },
    )
}

/// The commands until nothing is left to do, each of them succeeding at once.
fn commands(desired: Option<DesiredModule>, mut current: Current, now: Timestamp) -> Vec<Command> {
    let desired = desired.map(Arc::new);
    let mut history = History::default();
    let mut done = Vec::new();
    loop {
        let next = next(desired.as_ref(), &current, &history, Gate::Open, now);
        let Next::Do(command) = next else {
            return done;
        };
        done.push(command);
        assert!(done.len() < 10, "no end: {done:?}");
        current.trouble = None;
        match command {
            Command::Adopt => current.present = None,
            Command::Prepare => current.ready = desired.clone(),
            Command::Start | Command::Replace | Command::Restart => {
                current.present = Some(Present {
                    build: desired.clone(),
                    state: PresentState::Running { since: now },
                });
            }
            Command::Stop => {
                current.restart_asked = false;
                current.present.as_mut().unwrap().state = PresentState::Stopped;
            }
            Command::Remove => current.present = None,
            Command::ForgetRestarts => history = History::default(),
            Command::Forget => return done,
        }
    }
}

#[test]
fn every_difference_leads_to_its_commands() {
    use Command::*;
    let found = |build: Option<DesiredModule>| Current {
        present: Some(Present {
            build: build.map(Arc::new),
            state: PresentState::Found,
        }),
        ..Current::default()
    };
    let replaceable = Current {
        replaceable: true,
        ready: Some(Arc::new(with(wasm(), |m| m.version = None))),
        ..running(wasm())
    };
    let asked = |current| Current {
        restart_asked: true,
        ..current
    };
    let env = |spec: &mut ModuleSpec| drop(spec.env.insert("K".to_owned(), "v".to_owned()));
    let memory = |spec: &mut ModuleSpec| match &mut spec.kind {
        ModuleKind::Wasm(wasm) => wasm.options.memory.0 *= 2,
        ModuleKind::Container(_) => {}
    };
    let image = |spec: &mut ModuleSpec| {
        spec.kind = ModuleKind::Container(ContainerSpec::new("r.example/m:2"));
    };
    let none = Current::default;
    let update = [Prepare, Stop, Remove, Start];
    let rows: Vec<(&str, Option<DesiredModule>, Current, &[Command])> = vec![
        ("wanted, not there", Some(wasm()), none(), &[Prepare, Start]),
        (
            "wanted stopped, not there",
            Some(stopped(wasm())),
            none(),
            &[Prepare],
        ),
        (
            "there, not wanted",
            None,
            running(wasm()),
            &[Stop, Remove, Forget],
        ),
        (
            "there and stopped, not wanted",
            None,
            there(wasm(), PresentState::Stopped),
            &[Remove, Forget],
        ),
        (
            "ended, not wanted",
            None,
            ended(wasm(), failed()),
            &[Remove, Forget],
        ),
        (
            "found, not wanted",
            None,
            found(None),
            &[Stop, Remove, Forget],
        ),
        (
            "found, wanted",
            Some(container()),
            found(None),
            &[Adopt, Prepare, Start],
        ),
        ("as wanted", Some(wasm()), running(wasm()), &[]),
        (
            "version differs",
            Some(with(wasm(), |m| m.version = None)),
            running(wasm()),
            &update,
        ),
        (
            "environment differs",
            Some(with(wasm(), env)),
            running(wasm()),
            &update,
        ),
        (
            "createOptions differ",
            Some(with(wasm(), memory)),
            running(wasm()),
            &update,
        ),
        (
            "image differs",
            Some(with(container(), image)),
            running(container()),
            &update,
        ),
        ("type differs", Some(container()), running(wasm()), &update),
        (
            "another build, can be replaced",
            Some(with(wasm(), |m| m.version = None)),
            replaceable,
            &[Replace],
        ),
        (
            "another build that has ended",
            Some(with(wasm(), env)),
            ended(wasm(), failed()),
            &[Prepare, Remove, Start],
        ),
        (
            "policy differs",
            Some(policy(wasm(), RestartPolicy::Never)),
            running(wasm()),
            &[],
        ),
        (
            "order differs",
            Some(with(wasm(), |m| m.startup_order = 9)),
            running(wasm()),
            &[],
        ),
        (
            "status differs: stop",
            Some(stopped(wasm())),
            running(wasm()),
            &[Stop],
        ),
        (
            "status and build differ",
            Some(stopped(with(wasm(), env))),
            running(wasm()),
            &[Stop, Prepare, Remove],
        ),
        (
            "status differs: start",
            Some(wasm()),
            there(wasm(), PresentState::Stopped),
            &[Start],
        ),
        (
            "wanted stopped, but unhealthy",
            Some(stopped(wasm())),
            unhealthy(wasm()),
            &[Stop],
        ),
        (
            "wanted stopped, and ended",
            Some(stopped(wasm())),
            ended(wasm(), failed()),
            &[],
        ),
        (
            "restart asked for",
            Some(wasm()),
            asked(running(wasm())),
            &[Stop, Start],
        ),
    ];
    for (row, desired, current, expected) in rows {
        assert_eq!(commands(desired, current, T0), expected, "{row}");
    }
}

#[test]
fn policies_say_who_is_started_again() {
    use RestartPolicy::{Always, Never, OnFailure, OnUnhealthy};
    // Policy, and whether it restarts who is done, who failed, who is unhealthy.
    let rows = [
        (Never, [false, false, false]),
        (OnFailure, [false, true, false]),
        (OnUnhealthy, [false, true, true]),
        (Always, [true, true, true]),
    ];
    for (restart, expected) in rows {
        let module = policy(wasm(), restart);
        let states = [
            ended(module.clone(), Outcome::Done),
            ended(module.clone(), failed()),
            unhealthy(module.clone()),
        ];
        let restarted = states.map(|s| commands(Some(module.clone()), s, T0));
        let expected = expected.map(|yes| if yes { vec![Command::Restart] } else { vec![] });
        assert_eq!(restarted, expected, "{restart:?}");
    }
}
