//! The hub over the log in memory, with a clock that tests set.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edge_core::{
    DeviceId, EndpointId, Identity, MessageBuilder, ModuleId, Origin, Priority, Timestamp, limits,
    system,
};
use edge_route::{Mode, Route, RouteEntry, RouteTable};
use edge_store::{Commit, DeadLetter, DeadReason, Delivery, MemoryLog, Seq, Visible};

use crate::{
    Clock, DurableWaker, Hub, HubConfig, Inbox, MethodCall, MethodError, MethodResponse,
    MethodTarget, Observer, Owner, Section, SendRefusal, Sender, Side, Wake,
};

mod metering;

#[derive(Debug, Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Default)]
struct Watch {
    letters: Arc<Mutex<Vec<DeadLetter>>>,
    unrouted: Arc<Mutex<Vec<String>>>,
}

impl Observer for Watch {
    fn dead_lettered(&self, letter: &DeadLetter) {
        self.letters.lock().unwrap().push(letter.clone());
    }

    fn unrouted(&self, origin: &Origin) {
        self.unrouted.lock().unwrap().push(origin.path().to_owned());
    }
}

struct World {
    hub: Arc<Hub>,
    clock: Arc<Hands>,
    letters: Arc<Mutex<Vec<DeadLetter>>>,
    unrouted: Arc<Mutex<Vec<String>>>,
    commit: Commit,
}

fn module(name: &str) -> ModuleId {
    ModuleId::new(name).unwrap()
}

impl World {
    /// Routes from module `a` with priority and time to live in seconds, 0 for none.
    fn new(routes: &[(&str, u32, u64)]) -> Self {
        let (clock, watch) = (Arc::new(Hands::default()), Watch::default());
        let config = HubConfig::new(DeviceId::new("d").unwrap());
        let log = Arc::new(MemoryLog::default());
        let hub = Hub::with(config, log, clock.clone(), Some(Box::new(watch.clone())));
        let entry = |(text, priority, ttl): &(&str, u32, u64)| RouteEntry {
            name: (*text).to_owned(),
            route: Route::compile(text, Mode::Compat).unwrap().unwrap(),
            priority: Priority(*priority),
            time_to_live: (*ttl > 0).then(|| Duration::from_secs(*ttl)),
        };
        hub.set_routes(RouteTable::new(routes.iter().map(entry).collect()), None);
        Self {
            hub,
            clock,
            letters: watch.letters,
            unrouted: watch.unrouted,
            commit: Commit::new(),
        }
    }

    fn pass(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap();
        self.clock.0.fetch_add(nanos, Ordering::Relaxed);
    }

    fn sender(&self) -> Sender {
        self.hub
            .sender(Identity::Module(self.hub.device().clone(), module("a")))
    }

    fn inbox(&self, owner: Owner) -> Inbox {
        self.hub
            .inbox(owner, Arc::new(Woken::default()), Visible::Committed)
    }

    fn send(&mut self, sender: &mut Sender, output: &str, bodies: &[&str]) {
        for body in bodies {
            let content = MessageBuilder::new((*body).to_owned()).build();
            let now = self.hub.now();
            sender
                .stage(&mut self.commit, Some(output), content, 0, now)
                .unwrap();
        }
        self.hub.commit(&mut self.commit).unwrap();
    }

    fn take(&mut self, inbox: &mut Inbox, max: usize) -> Vec<Delivery> {
        let mut out = Vec::new();
        inbox.take(max, self.hub.now(), &mut out, &mut self.commit);
        self.hub.commit(&mut self.commit).unwrap();
        out
    }
}

fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    let body = |d: &Delivery| String::from_utf8(d.message.content.body.to_vec()).unwrap();
    deliveries.iter().map(body).collect()
}

const TO_B: &str =
    "FROM /messages/modules/a/outputs/o INTO BrokeredEndpoint(\"/modules/b/inputs/i\")";
const UP: &str = "FROM /messages/modules/a/outputs/up INTO $upstream";

#[test]
fn a_message_goes_where_routes_lead_it_and_the_reader_is_woken() {
    let mut world = World::new(&[(TO_B, 0, 0), (UP, 0, 0)]);
    let woken = Arc::new(Woken::default());
    let mut inbox = world.hub.inbox(
        Owner::Module(module("b")),
        woken.clone(),
        Visible::Committed,
    );
    let before = woken.0.load(Ordering::Relaxed);
    let mut sender = world.sender();
    world.send(&mut sender, "o", &["1", "2"]);
    world.send(&mut sender, "nowhere", &["3", "4"]);
    assert_eq!(woken.0.load(Ordering::Relaxed), before + 1, "once a commit");
    let taken = world.take(&mut inbox, 10);
    assert_eq!(bodies(&taken), ["1", "2"]);
    assert_eq!(inbox.input(&taken[0]), "i");
    let counters = world.hub.counters().snapshot();
    assert_eq!((counters.received, counters.no_route), (4, 2));
    // Told with the first.
    let unrouted = world.unrouted.lock().unwrap();
    assert_eq!(*unrouted, ["/messages/modules/a/outputs/nowhere"]);
}

#[test]
fn better_priorities_come_first_and_each_queue_keeps_its_order() {
    let late = TO_B.replace("outputs/o", "outputs/late");
    let mut world = World::new(&[(&late, 5, 0), (TO_B, 1, 0)]);
    let mut inbox = world.inbox(Owner::Module(module("b")));
    let mut sender = world.sender();
    world.send(&mut sender, "late", &["l1", "l2"]);
    world.send(&mut sender, "o", &["o1", "o2"]);
    let first = world.take(&mut inbox, 3);
    assert_eq!(bodies(&first), ["o1", "o2", "l1"]);
    world.send(&mut sender, "o", &["o3"]);
    inbox.put_back(&first[1..]);
    assert_eq!(bodies(&world.take(&mut inbox, 9)), ["o2", "o3", "l1", "l2"]);
}

#[test]
fn a_retry_blocks_its_queue_and_no_other() {
    let other = TO_B
        .replace("outputs/o", "outputs/other")
        .replace("inputs/i", "inputs/j");
    let mut world = World::new(&[(TO_B, 0, 0), (&other, 0, 0)]);
    let mut inbox = world.inbox(Owner::Module(module("b")));
    let mut sender = world.sender();
    world.send(&mut sender, "o", &["1", "2"]);
    let first = world.take(&mut inbox, 1);
    let delay = Some(Duration::from_secs(5));
    inbox.retry(&first[0], delay, false, world.hub.now(), &mut world.commit);
    world.send(&mut sender, "other", &["x"]);
    assert_eq!(bodies(&world.take(&mut inbox, 9)), ["x"]);
    world.pass(Duration::from_secs(4));
    let mut out = Vec::new();
    let again = inbox.take(9, world.hub.now(), &mut out, &mut world.commit);
    assert_eq!((out.len(), again), (0, Some(Timestamp(5_000_000_000))));
    world.pass(Duration::from_secs(1));
    let again = world.take(&mut inbox, 9);
    assert_eq!(bodies(&again), ["1", "2"]);
    assert_eq!(
        (again[0].attempts, again[0].failures, again[1].attempts),
        (1, 0, 0)
    );
}

#[test]
fn expired_entries_are_counted_and_read_past() {
    let lasting = TO_B.replace("outputs/o", "outputs/lasting");
    let mut world = World::new(&[(TO_B, 0, 1), (&lasting, 0, 60)]);
    let mut inbox = world.inbox(Owner::Module(module("b")));
    let mut sender = world.sender();
    // More than a reader takes at once.
    world.send(&mut sender, "o", &["old"; 100]);
    world.send(&mut sender, "lasting", &["new"]);
    world.pass(Duration::from_secs(1));
    assert_eq!(bodies(&world.take(&mut inbox, 10)), ["new"]);
    assert_eq!(world.hub.counters().snapshot().expired, 100);
    assert_eq!(world.hub.pressure().waiting, 1, "the one that was taken");
}

#[test]
fn what_is_rejected_is_kept_with_its_reason() {
    let mut world = World::new(&[(TO_B, 3, 0)]);
    let mut inbox = world.inbox(Owner::Module(module("b")));
    let mut sender = world.sender();
    world.send(&mut sender, "o", &["bad"]);
    let taken = world.take(&mut inbox, 1);
    let reason = DeadReason::Rejected("no".to_owned());
    inbox.dead(
        &taken[0],
        reason.clone(),
        world.hub.now(),
        &mut world.commit,
    );
    assert!(
        world.letters.lock().unwrap().is_empty(),
        "not before it is committed"
    );
    world.hub.commit(&mut world.commit).unwrap();
    let letters = world.letters.lock().unwrap();
    assert_eq!(
        (&letters[0].reason, letters[0].priority),
        (&reason, Priority(3))
    );
    assert_eq!(
        letters[0].endpoint,
        EndpointId::module_input(module("b"), "i")
    );
    assert_eq!(world.hub.log().dead_letters(Seq::ZERO, 9).len(), 1);
    assert!(world.hub.wait_until_at_most(0, None));
}

#[test]
fn a_message_that_passed_too_many_modules_is_a_loop() {
    let mut world = World::new(&[(TO_B, 0, 0)]);
    let mut sender = world.sender();
    let content = MessageBuilder::new("round").build();
    for hops in [limits::HOPS - 1, limits::HOPS] {
        let now = world.hub.now();
        sender
            .stage(&mut world.commit, Some("o"), content.clone(), hops, now)
            .unwrap();
    }
    world.hub.commit(&mut world.commit).unwrap();
    assert_eq!(world.hub.pressure().waiting, 1);
    assert_eq!(world.letters.lock().unwrap()[0].reason, DeadReason::Loop);
}

#[test]
fn what_cannot_be_a_message_is_refused_and_leaves_the_commit_alone() {
    let mut world = World::new(&[(TO_B, 0, 0)]);
    let mut sender = world.sender();
    let now = world.hub.now();
    let large = MessageBuilder::new(vec![0; 300 << 10]).build();
    let refused = sender.stage(&mut world.commit, Some("o"), large, 0, now);
    assert!(
        matches!(refused, Err(SendRefusal::TooLarge { .. })),
        "{refused:?}"
    );
    for name in ["", "a/b", "#", "x\n"] {
        let refused = sender.stage(
            &mut world.commit,
            Some(name),
            MessageBuilder::new("").build(),
            0,
            now,
        );
        assert!(
            matches!(refused, Err(SendRefusal::InvalidOutput(_))),
            "{name:?}: {refused:?}"
        );
    }
    assert!(world.commit.is_empty());
}

#[test]
fn routes_change_between_two_messages() {
    let mut world = World::new(&[(TO_B, 0, 0)]);
    let mut up = world.inbox(Owner::Upstream);
    let mut sender = world.sender();
    world.send(&mut sender, "o", &["1"]);
    let route = Route::compile(&UP.replace("outputs/up", "outputs/o"), Mode::Compat)
        .unwrap()
        .unwrap();
    let entry = RouteEntry {
        name: "up".to_owned(),
        route,
        priority: Priority::DEFAULT,
        time_to_live: None,
    };
    world.hub.set_routes(RouteTable::new(vec![entry]), None);
    world.send(&mut sender, "o", &["2"]);
    assert_eq!(bodies(&world.take(&mut up, 9)), ["2"]);
    let mut b = world.inbox(Owner::Module(module("b")));
    assert_eq!(
        bodies(&world.take(&mut b, 9)),
        ["1"],
        "what is in a queue stays there"
    );
}

#[test]
fn twins_merge_and_a_report_is_part_of_its_commit() {
    let mut world = World::new(&[]);
    let me = Identity::Module(world.hub.device().clone(), module("a"));
    assert_eq!(
        world
            .hub
            .set_desired(&me, r#"{"a":1,"b":{"c":2}}"#)
            .unwrap(),
        2
    );
    assert_eq!(
        world
            .hub
            .set_desired(&me, r#"{"a":null,"b":{"d":3}}"#)
            .unwrap(),
        3
    );
    let desired = world.hub.twin(&me, Side::Desired, None).unwrap();
    assert_eq!(
        serde_json::to_string(&desired.properties).unwrap(),
        r#"{"b":{"c":2,"d":3}}"#
    );
    let version = world
        .hub
        .stage_reported(&mut world.commit, &me, r#"{"on":true}"#)
        .unwrap();
    assert_eq!(version, 2);
    assert_eq!(
        world.hub.twin(&me, Side::Reported, None).unwrap().version,
        1
    );
    assert_eq!(
        world
            .hub
            .twin(&me, Side::Reported, Some(&world.commit))
            .unwrap()
            .version,
        2
    );
    world.commit.clear();
    assert_eq!(
        world.hub.twin(&me, Side::Reported, None).unwrap().version,
        1
    );
    for bad in ["[]", "{", r#"{"a.b":1}"#] {
        assert!(world.hub.set_desired(&me, bad).is_err(), "{bad}");
    }
}

/// Answers by calling the next one.
struct Relay {
    hub: Arc<Hub>,
    me: Identity,
    next: Identity,
}

impl MethodTarget for Relay {
    fn call(&self, call: MethodCall) {
        let (hub, me, next) = (self.hub.clone(), self.me.clone(), self.next.clone());
        std::thread::spawn(move || {
            let timeout = Duration::from_secs(10);
            let answer = hub
                .methods()
                .invoke(Some(&me), &next, &call.name, "null", timeout);
            call.answer(answer);
        });
    }
}

#[test]
fn a_ring_of_calls_is_told_busy_instead_of_waiting_for_ever() {
    let world = World::new(&[]);
    let id = |name: &str| Identity::Module(world.hub.device().clone(), module(name));
    for (me, next) in [("a", "b"), ("b", "c"), ("c", "a")] {
        let relay = Relay {
            hub: world.hub.clone(),
            me: id(me),
            next: id(next),
        };
        world.hub.methods().register(id(me), Arc::new(relay));
    }
    let timeout = Duration::from_secs(10);
    let answer = world
        .hub
        .methods()
        .invoke(None, &id("a"), "m", "null", timeout);
    assert!(matches!(answer, Err(MethodError::Busy(_))), "{answer:?}");
    let nobody = world
        .hub
        .methods()
        .invoke(None, &id("x"), "m", "null", timeout);
    assert!(
        matches!(nobody, Err(MethodError::NotFound(_))),
        "{nobody:?}"
    );
    let bad = world
        .hub
        .methods()
        .invoke(None, &id("a"), "m", "{", timeout);
    assert!(matches!(bad, Err(MethodError::Invalid(_))), "{bad:?}");
}

/// Drops its calls.
struct Gone;

impl MethodTarget for Gone {
    fn call(&self, _: MethodCall) {}
}

#[test]
fn a_call_that_is_dropped_is_answered() {
    let world = World::new(&[]);
    let id = Identity::Module(world.hub.device().clone(), module("a"));
    world.hub.methods().register(id.clone(), Arc::new(Gone));
    let answer: Result<MethodResponse, _> =
        world
            .hub
            .methods()
            .invoke(None, &id, "m", "1", Duration::from_secs(10));
    assert!(matches!(answer, Err(MethodError::Failed(_))), "{answer:?}");
}

#[test]
fn reported_changes_go_where_routes_from_twin_changes_lead() {
    let mut world = World::new(&[(
        r#"FROM /twinChangeNotifications INTO BrokeredEndpoint("/modules/b/inputs/i")"#,
        0,
        0,
    )]);
    let me = Identity::Module(world.hub.device().clone(), module("a"));
    let (version, _) = world.hub.change_reported(&me, r#"{"on":true}"#).unwrap();
    assert_eq!(version, Section::FIRST + 1);
    let mut inbox = world.inbox(Owner::Module(module("b")));
    let taken = world.take(&mut inbox, 10);
    assert_eq!(bodies(&taken), [r#"{"on":true}"#]);
    let message = &taken[0].message;
    assert_eq!(message.origin.identity(), me);
    assert_eq!(
        message.content.system.get(system::MESSAGE_TYPE),
        Some("twinChangeNotification")
    );
}

#[test]
fn a_message_ends_when_its_sender_says_if_that_is_sooner() {
    let mut world = World::new(&[(TO_B, 0, 0)]);
    let mut sender = world.sender();
    let content = MessageBuilder::new("x")
        .system(system::EXPIRY, "1970-01-01T00:00:10Z")
        .build();
    sender
        .stage(&mut world.commit, Some("o"), content, 0, world.hub.now())
        .unwrap();
    world.hub.commit(&mut world.commit).unwrap();
    let mut inbox = world.inbox(Owner::Module(module("b")));
    assert_eq!(world.take(&mut inbox, 1).len(), 1);
    inbox.rewind(Duration::ZERO, world.hub.now());
    world.pass(Duration::from_secs(10));
    assert!(world.take(&mut inbox, 1).is_empty());
    assert_eq!(world.hub.counters().snapshot().expired, 1);
}

#[test]
fn a_reader_that_was_replaced_does_not_detach_the_one_that_came_after_it() {
    let world = World::new(&[]);
    let owner = Owner::Device(DeviceId::new("leaf").unwrap());
    let endpoint = EndpointId::Device(DeviceId::new("leaf").unwrap());
    world.hub.queue(&endpoint, Priority::DEFAULT);
    let wakers: Vec<_> = (0..2)
        .map(|_| DurableWaker::new(Arc::new(Woken::default())))
        .collect();
    for waker in &wakers {
        world.hub.inbox_of(owner.clone(), waker, Visible::Durable);
    }
    world.hub.detach_reader(&owner, &wakers[0]);
    assert!(world.hub.has_reader(&endpoint));
    world.hub.detach_reader(&owner, &wakers[1]);
    assert!(!world.hub.has_reader(&endpoint));
}

#[test]
fn a_message_to_a_sleeping_device_waits_for_it() {
    let mut world = World::new(&[]);
    let leaf = DeviceId::new("leaf").unwrap();
    let queue = world
        .hub
        .queue(&EndpointId::Device(leaf.clone()), Priority::DEFAULT);
    let mut sender = world.sender();
    let content = MessageBuilder::new("wake up").build();
    let now = world.hub.now();
    sender
        .stage_for(&mut world.commit, queue, content, None, now)
        .unwrap();
    world.hub.commit(&mut world.commit).unwrap();
    // Longer than what no route leads to is kept.
    world.pass(limits::TIME_TO_LIVE * 2);
    world.hub.sweep(world.hub.now()).unwrap();
    let mut inbox = world.inbox(Owner::Device(leaf));
    assert_eq!(bodies(&world.take(&mut inbox, 10)), ["wake up"]);
}
