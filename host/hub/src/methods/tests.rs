use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use edge_core::{DeviceId, ModuleId};

use super::blocking::Timer;
use super::*;

const LONG: Duration = Duration::from_secs(60);

fn id(module: &str) -> Identity {
    let device = DeviceId::new("d").expect("id");
    Identity::Module(device, ModuleId::new(module).expect("id"))
}

fn methods() -> Methods {
    Methods::new(ByteSize(64), Arc::default())
}

fn invocation<'a>(caller: Caller<'a>, target: &'a Identity) -> Invocation<'a> {
    Invocation {
        caller,
        target,
        name: "m",
        payload: "1",
        connect_timeout: Duration::ZERO,
        response_timeout: LONG,
    }
}

fn call(methods: &Methods, invocation: Invocation<'_>) -> Result<MethodResponse, MethodError> {
    let timer = Timer::default();
    blocking::run(&timer, methods.call(invocation, |span| timer.sleep(span)))
}

/// A time that comes when it is asked for: nothing in these tests waits.
async fn at_once(_: Duration) {}

fn ok(payload: &str) -> Result<MethodResponse, MethodError> {
    Ok(MethodResponse {
        status: 200,
        payload: payload.to_owned(),
    })
}

/// Answers at once.
struct Echo(&'static str);

impl MethodTarget for Echo {
    fn call(&self, call: MethodCall) {
        call.answer(ok(self.0));
    }
}

/// Hands its calls to the test.
struct Keep(SyncSender<MethodCall>);

fn keeper() -> (Arc<dyn MethodTarget>, Receiver<MethodCall>) {
    let (calls, kept) = sync_channel(8);
    (Arc::new(Keep(calls)), kept)
}

impl MethodTarget for Keep {
    fn call(&self, call: MethodCall) {
        self.0.send(call).expect("the test listens");
    }
}

#[test]
fn an_answer_from_another_thread_ends_both_kinds_of_waiting() {
    let methods = methods();
    let (target, kept) = keeper();
    methods.register(id("a"), target);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            kept.iter().take(2).for_each(|call| {
                assert!(call.is_wanted());
                call.answer(ok("[1]"));
            });
        });
        let blocking = methods.invoke(Some(&id("b")), &id("a"), "m", "1", LONG);
        assert_eq!(blocking, ok("[1]"));
        let target = id("a");
        let caller = id("b");
        let awaited = call(&methods, invocation(Caller::Client(&caller), &target));
        assert_eq!(awaited, ok("[1]"));
    });
}

#[test]
fn a_time_that_is_up_ends_the_call_and_the_wait_of_its_caller() {
    let methods = methods();
    let (target, kept) = keeper();
    methods.register(id("a"), target);
    let short = Duration::from_millis(1);
    let late = methods.invoke(Some(&id("b")), &id("a"), "m", "1", short);
    assert_eq!(late, Err(MethodError::Timeout(short)));
    let call = kept.recv().expect("it was called");
    assert!(!call.is_wanted());
    call.answer(ok("1"));
    assert!(methods.lock().waits.is_empty());
    let meters = methods.meters.calls.all();
    assert_eq!((meters.len(), meters[0].1.calls.count()), (1, 1));
}

#[test]
fn a_call_whose_caller_goes_away_is_wanted_no_longer() {
    let methods = methods();
    let (target, kept) = keeper();
    methods.register(id("a"), target);
    let (caller, target) = (id("b"), id("a"));
    {
        let call = methods.call(invocation(Caller::Step(&caller), &target), |_| {
            std::future::pending()
        });
        let mut call = pin!(call);
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(methods.lock().waits.len(), 1);
    }
    assert!(!kept.recv().expect("it was called").is_wanted());
    assert!(methods.lock().waits.is_empty());
}

#[test]
fn a_target_that_comes_in_time_is_called() {
    let methods = methods();
    let (caller, target) = (id("b"), id("a"));
    let waiting = Invocation {
        connect_timeout: LONG,
        ..invocation(Caller::Client(&caller), &target)
    };
    // The clock is asked once the caller waits, so the target comes after that.
    let slept = AtomicUsize::new(0);
    let timer = Timer::default();
    let work = methods.call(waiting, |span| {
        if slept.fetch_add(1, Ordering::Relaxed) == 0 {
            methods.register(id("other"), Arc::new(Echo("0")));
            methods.register(id("a"), Arc::new(Echo("2")));
        }
        timer.sleep(span)
    });
    assert_eq!(blocking::run(&timer, work), ok("2"));
    assert!(methods.lock().arrivals.is_empty());
}

#[test]
fn a_registration_wakes_those_who_wait_for_it() {
    let methods = methods();
    let (caller, target) = (id("b"), id("a"));
    let waiting = Invocation {
        connect_timeout: LONG,
        ..invocation(Caller::Client(&caller), &target)
    };
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| call(&methods, waiting));
        while methods.lock().arrivals.is_empty() {
            std::thread::yield_now();
        }
        methods.register(id("a"), Arc::new(Echo("3")));
        assert_eq!(waiter.join().expect("it does not panic"), ok("3"));
    });
}

#[test]
fn a_target_that_does_not_come_is_not_found() {
    let methods = methods();
    let (caller, target) = (id("b"), id("a"));
    let waiting = Invocation {
        connect_timeout: Duration::from_secs(5),
        ..invocation(Caller::Step(&caller), &target)
    };
    let timer = Timer::default();
    let answer = blocking::run(&timer, methods.call(waiting, at_once));
    assert!(
        matches!(answer, Err(MethodError::NotFound(_))),
        "{answer:?}"
    );
    let inner = methods.lock();
    assert!(inner.arrivals.is_empty() && inner.waits.is_empty());
}

#[test]
fn callers_beyond_the_limit_do_not_wait_for_targets_to_come() {
    let methods = methods();
    let target = id("a");
    let arrival = || Arrival {
        methods: &methods,
        target: &target,
        ticket: None,
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting: Vec<_> = (0..MAX_ARRIVALS).map(|_| Box::pin(arrival())).collect();
    for arrival in &mut waiting {
        assert!(arrival.as_mut().poll(&mut context).is_pending());
    }
    assert!(Box::pin(arrival()).as_mut().poll(&mut context).is_ready());
    drop(waiting);
    assert!(Box::pin(arrival()).as_mut().poll(&mut context).is_pending());
    assert!(methods.lock().arrivals.is_empty());
}

#[test]
fn a_session_that_ends_leaves_the_target_of_a_newer_one() {
    let methods = methods();
    let older: Arc<dyn MethodTarget> = Arc::new(Echo("1"));
    let newer: Arc<dyn MethodTarget> = Arc::new(Echo("2"));
    methods.register(id("a"), older.clone());
    methods.register(id("a"), newer.clone());
    methods.unregister(&id("a"), &older);
    assert_eq!(methods.invoke(None, &id("a"), "m", "1", LONG), ok("2"));
    methods.unregister(&id("a"), &newer);
    let gone = methods.invoke(None, &id("a"), "m", "1", LONG);
    assert!(matches!(gone, Err(MethodError::NotFound(_))), "{gone:?}");
}

#[test]
fn a_client_is_refused_by_a_module_that_waits_for_it_and_by_no_other() {
    let methods = methods();
    let (module, client) = (id("module"), id("client"));
    let (kept, calls) = keeper();
    methods.register(client.clone(), kept);
    methods.register(module.clone(), Arc::new(Echo("1")));
    // A client that waits can still answer: it may call itself, and be called by whom it calls.
    let itself = methods.call(invocation(Caller::Client(&client), &client), at_once);
    let timer = Timer::default();
    assert_eq!(
        blocking::run(&timer, itself),
        Err(MethodError::Timeout(LONG))
    );
    assert!(methods.lock().waits.is_empty());
    drop(calls.recv());
    std::thread::scope(|scope| {
        let step = scope.spawn(|| call(&methods, invocation(Caller::Step(&module), &client)));
        let held = calls.recv().expect("it is called");
        let back = call(&methods, invocation(Caller::Client(&client), &module));
        assert!(matches!(back, Err(MethodError::Busy(_))), "{back:?}");
        held.answer(ok("4"));
        assert_eq!(step.join().expect("it does not panic"), ok("4"));
    });
    let now = call(&methods, invocation(Caller::Client(&client), &module));
    assert_eq!(now, ok("1"));
}

#[test]
fn payloads_are_checked_both_ways() {
    let methods = methods();
    methods.register(id("a"), Arc::new(Echo("no JSON")));
    let bad = methods.invoke(None, &id("a"), "m", "1", LONG);
    assert!(matches!(bad, Err(MethodError::Failed(_))), "{bad:?}");
    let long = format!("\"{}\"", "x".repeat(64));
    let bad = methods.invoke(None, &id("a"), "m", &long, LONG);
    assert!(matches!(bad, Err(MethodError::Invalid(_))), "{bad:?}");
}

#[test]
fn nobody_takes_the_place_of_the_program_itself() {
    let methods = methods();
    let target = id("$edgeAgent");
    methods.reserve(target.clone(), Arc::new(Echo("1")));
    let stranger: Arc<dyn MethodTarget> = Arc::new(Echo("2"));
    methods.register(target.clone(), stranger.clone());
    let ask = || call(&methods, invocation(Caller::Outside, &target));
    assert_eq!(ask(), ok("1"));
    methods.unregister(&target, &stranger);
    assert_eq!(ask(), ok("1"));
}
