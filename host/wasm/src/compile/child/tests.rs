use std::sync::Arc;
use std::time::Instant;

use edge_core::Digest;

use super::*;
use crate::engine::EngineKind;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn shell() -> Child {
    Child::new("/bin/sh".into())
}

/// What becomes of a process that does this.
fn does(child: &Child, script: &str) -> Result<(), Failure> {
    let bytes: Arc<[u8]> = Arc::from(&b"a component\n"[..]);
    let source = Source::Bytes("filter.wasm".to_owned(), bytes.clone());
    let wanted = Wanted {
        kind: EngineKind::Plain,
        source: &source,
        bytes: &bytes,
        digest: Digest([1; 32]),
    };
    child.run(&["-c".into(), script.into()], &wanted)
}

fn told(script: &str) -> String {
    let failure = does(&shell(), script).expect_err("it fails");
    failure.to_string()
}

#[test]
fn the_component_comes_by_standard_input() {
    does(&shell(), "read line && test \"$line\" = 'a component'").expect("it was there");
}

#[test]
fn the_exit_code_says_whether_another_try_makes_sense() {
    let end = does(
        &shell(),
        "echo ' WARN x' >&2; echo 'error: no good' >&2; exit 2",
    );
    assert!(
        matches!(&end, Err(Failure::Refused(why)) if why == "no good"),
        "{end:?}"
    );
    let end = does(
        &shell(),
        "printf 'error: write\\n  caused by: full\\n' >&2; exit 1",
    );
    assert!(
        matches!(&end, Err(Failure::NotKept(why)) if why == "write; caused by: full"),
        "{end:?}"
    );
}

#[test]
fn a_process_that_dies_is_told_with_how_and_what_it_said() {
    let text = told("kill -9 $$");
    assert!(
        text.contains("killed by signal 9") && text.contains("too little memory"),
        "{text}"
    );
    let text = told("echo 'thread panicked' >&2; kill -ABRT $$");
    assert!(
        text.contains("signal 6") && text.contains("thread panicked"),
        "{text}"
    );
    assert!(told("exit 101").contains("exit code 101"));
}

#[test]
fn what_it_says_cannot_fill_the_memory_or_block_it() {
    let text = told("yes error: much | head -c 3000000 >&2; exit 3");
    assert!(text.chars().count() < 2 * MAX_TOLD, "{text}");
}

#[test]
fn a_process_that_takes_too_long_is_killed() {
    let child = Child {
        limit: Duration::from_millis(50),
        ..shell()
    };
    let begun = Instant::now();
    let end = does(&child, "exec sleep 600");
    assert!(matches!(end, Err(Failure::Late(_))), "{end:?}");
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn closing_ends_the_process_that_runs_and_lets_no_other_one_start() {
    let child = shell();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| does(&child, "exec sleep 600"));
        while child.running().child.is_none() {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
        child.close();
        let end = running.join().expect("no panic");
        assert!(matches!(end, Err(Failure::Stopped)), "{end:?}");
    });
    let end = does(&child, "exit 0");
    assert!(matches!(end, Err(Failure::Stopped)), "{end:?}");
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_program_that_is_not_there_is_told_apart() {
    let end = does(&Child::new("/nowhere/edge".into()), "");
    assert!(matches!(end, Err(Failure::NotStarted(_))), "{end:?}");
}
