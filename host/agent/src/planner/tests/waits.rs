//! Cooling off, trying again, and waiting for others.

use super::*;

#[test]
fn while_it_cools_off_an_unhealthy_component_is_stopped_and_a_container_runs_on() {
    let history = History {
        restarts: 1,
        cool_offs: 1,
        ..History::default()
    };
    let at = |module: DesiredModule| {
        let current = unhealthy(module.clone());
        next(Some(&Arc::new(module)), &current, &history, Gate::Open, T0)
    };
    assert_eq!(at(wasm()), Next::Do(Command::Stop));
    let until = T0.after(Duration::from_secs(20));
    assert_eq!(at(container()), Next::Wait(until, WaitReason::CoolOff));
}

/// When a module that ended at `T0` is started again, in seconds after that.
fn waits(module: DesiredModule, history: &History, now: Timestamp) -> Option<u64> {
    let current = ended(module.clone(), failed());
    match next(Some(&Arc::new(module)), &current, history, Gate::Open, now) {
        Next::Do(Command::Restart) => None,
        Next::Wait(until, WaitReason::CoolOff) => Some(until.since(T0).as_secs()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn containers_cool_off_ten_seconds_doubled_up_to_five_minutes_and_are_never_given_up() {
    let expected = [10, 20, 40, 80, 160, 300, 300, 300];
    for (n, expected) in (0..).zip(expected) {
        let history = History {
            restarts: n,
            cool_offs: n,
            ..History::default()
        };
        assert_eq!(waits(container(), &history, T0), Some(expected), "{n}");
        let over = T0.after(Duration::from_secs(expected));
        assert_eq!(waits(container(), &history, over), None, "{n}");
    }
    let history = History {
        restarts: 4_000_000_000,
        cool_offs: 4_000_000_000,
        ..History::default()
    };
    assert_eq!(waits(container(), &history, T0), Some(300));
}

#[test]
fn jitter_shortens_a_cool_off_by_at_most_a_tenth() {
    assert_eq!(cool_off(0, 0), Duration::from_secs(10));
    assert_eq!(cool_off(0, 500), Duration::from_millis(9_500));
    assert_eq!(cool_off(0, 1_000), Duration::from_secs(9));
    assert_eq!(cool_off(9, 1_000), Duration::from_secs(270));
    assert_eq!(cool_off(9, u16::MAX), Duration::from_secs(270));
}

#[test]
fn a_clock_that_was_set_back_ends_a_cool_off() {
    let history = History::default();
    let before = Timestamp(T0.0 - 1);
    assert_eq!(waits(container(), &history, before), None);
}

#[test]
fn components_are_started_at_once_three_times_a_minute_and_then_cool_off() {
    let mut history = History::default();
    for _ in 0..AT_ONCE {
        assert_eq!(waits(wasm(), &history, T0), None);
        history.restarted(history.pace(RuntimeKind::Wasm, T0), T0);
    }
    assert_eq!(waits(wasm(), &history, T0), Some(10));
    // The budget comes back with time …
    let later = T0.after(AT_ONCE_WITHIN);
    assert_eq!(history.pace(RuntimeKind::Wasm, later), Pace::AtOnce);
    // … but not for who had to cool off: that goes on until it has run well.
    history.restarted(Pace::CoolOff, T0);
    assert_eq!(waits(wasm(), &history, T0), Some(20));
    assert_eq!(history.pace(RuntimeKind::Wasm, later), Pace::CoolOff);
    assert_eq!(history.restarts, 4);
}

#[test]
fn restarts_are_forgotten_after_ten_minutes_of_running() {
    let history = History {
        restarts: 3,
        ..History::default()
    };
    let module = Arc::new(wasm());
    let at = |now| next(Some(&module), &running(wasm()), &history, Gate::Open, now);
    let until = T0.after(RESET);
    assert_eq!(at(T0), Next::Wait(until, WaitReason::Reset));
    assert_eq!(at(until), Next::Do(Command::ForgetRestarts));
    let before = Timestamp(5);
    let anew = before.after(RESET);
    assert_eq!(at(before), Next::Wait(anew, WaitReason::Reset));
}

#[test]
fn transient_trouble_is_tried_again_with_back_off_and_refusals_are_not() {
    let module = Arc::new(wasm());
    let after = |tries, kind, now| {
        let current = Current {
            trouble: Some(Trouble {
                step: Step::Prepare,
                at: T0,
                tries,
                kind,
                jitter: 0,
                cause: "no".to_owned(),
            }),
            ..Current::default()
        };
        next(
            Some(&module),
            &current,
            &History::default(),
            Gate::Open,
            now,
        )
    };
    for (tries, seconds) in [(1, 10), (2, 20), (6, 300), (50, 300)] {
        let until = T0.after(Duration::from_secs(seconds));
        let wait = Next::Wait(until, WaitReason::Retry);
        assert_eq!(after(tries, RuntimeErrorKind::Transient, T0), wait);
        let again = Next::Do(Command::Prepare);
        assert_eq!(after(tries, RuntimeErrorKind::Transient, until), again);
    }
    let much_later = T0.after(Duration::from_secs(1_000_000));
    assert_eq!(after(1, RuntimeErrorKind::Refused, much_later), Next::Rest);
}

#[test]
fn trouble_with_one_step_holds_up_no_other() {
    let current = Current {
        trouble: Some(Trouble {
            step: Step::Prepare,
            at: T0,
            tries: 1,
            kind: RuntimeErrorKind::Refused,
            jitter: 0,
            cause: "digest".to_owned(),
        }),
        ..running(wasm())
    };
    let stopped = Arc::new(stopped(wasm()));
    let changed = Arc::new(with(wasm(), |m| m.version = None));
    let history = History::default();
    let at = |wanted| next(wanted, &current, &history, Gate::Open, T0);
    assert_eq!(at(Some(&changed)), Next::Rest);
    assert_eq!(at(Some(&stopped)), Next::Do(Command::Stop));
    assert_eq!(at(None), Next::Do(Command::Stop));
}

#[test]
fn higher_orders_wait_for_lower_ones_but_not_for_ever() {
    let coming = standing(Some(&Arc::new(wasm())), &Current::default());
    let until = T0.after(ORDER_WAIT);
    let at = |order, standing, now| gate(order, [(1, standing)].into_iter(), T0, now);
    assert_eq!(coming, Standing::Coming);
    assert_eq!(at(2, coming, T0), Gate::Closed(until));
    assert_eq!(at(2, coming, until), Gate::Open);
    assert_eq!(at(2, coming, Timestamp(5)), Gate::Open);
    assert_eq!(at(1, coming, T0), Gate::Open);
    assert_eq!(at(2, Standing::Passed, T0), Gate::Open);

    let closed = Gate::Closed(until);
    let module = Arc::new(wasm());
    let ask = |current: &Current| next(Some(&module), current, &History::default(), closed, T0);
    let prepared = Current {
        ready: Some(module.clone()),
        ..Current::default()
    };
    assert_eq!(ask(&Current::default()), Next::Do(Command::Prepare));
    assert_eq!(ask(&prepared), Next::Wait(until, WaitReason::Order));
    let old = Current {
        ready: Some(module.clone()),
        ..running(with(wasm(), |m| m.version = None))
    };
    assert_eq!(ask(&old), Next::Wait(until, WaitReason::Order));
}

#[test]
fn nobody_waits_for_who_runs_is_done_is_unwanted_or_was_refused() {
    let refused = Current {
        trouble: Some(Trouble {
            step: Step::Prepare,
            at: T0,
            tries: 1,
            kind: RuntimeErrorKind::Refused,
            jitter: 0,
            cause: "grant".to_owned(),
        }),
        ..Current::default()
    };
    let once = policy(wasm(), RestartPolicy::OnFailure);
    let rows = [
        (Some(wasm()), running(wasm()), Standing::Passed),
        (Some(wasm()), unhealthy(wasm()), Standing::Passed),
        (
            Some(once.clone()),
            ended(once, Outcome::Done),
            Standing::Passed,
        ),
        (Some(stopped(wasm())), Current::default(), Standing::Passed),
        (None, running(wasm()), Standing::Passed),
        (Some(wasm()), refused, Standing::Passed),
        (Some(wasm()), ended(wasm(), failed()), Standing::Coming),
        (
            Some(with(wasm(), |m| m.version = None)),
            running(wasm()),
            Standing::Coming,
        ),
    ];
    for (desired, current, expected) in rows {
        let standing = standing(desired.map(Arc::new).as_ref(), &current);
        assert_eq!(standing, expected, "{current:?}");
    }
}
