//! Counts by who and where, and when queues without a reader are looked at.

use super::*;
use edge_core::Origin;

use crate::meters::{LinkMeter, OutputMeter};

const SECOND: Duration = Duration::from_secs(1);

impl World {
    fn output(&self, output: &str) -> Arc<OutputMeter> {
        let named = |origin: &Option<Arc<Origin>>| {
            origin.as_ref().and_then(|origin| origin.output()) == Some(output)
        };
        let all = self.hub.meters().outputs.all();
        all.into_iter().find(|(key, _)| named(key)).unwrap().1
    }

    fn link(&self, endpoint: &EndpointId) -> Arc<LinkMeter> {
        let all = self.hub.meters().links.all();
        let to = |key: &Option<crate::meters::LinkKey>| {
            key.as_ref().is_some_and(|key| key.endpoint == *endpoint)
        };
        all.into_iter().find(|(key, _)| to(key)).unwrap().1
    }

    fn seconds(&self) -> u64 {
        self.hub.now().0 / 1_000_000_000
    }

    fn sweep(&self) -> Option<u64> {
        let next = self.hub.sweep(self.hub.now()).unwrap();
        next.map(|at| at.0 / 1_000_000_000)
    }
}

fn b() -> EndpointId {
    EndpointId::ModuleInput {
        module: module("b"),
        input: "i".into(),
    }
}

#[test]
fn what_comes_in_is_counted_by_output_with_its_size() {
    let mut world = World::new(&[(TO_B, 0, 0)]);
    let mut sender = world.sender();
    world.send(&mut sender, "o", &["12345", "123"]);
    world.send(&mut sender, "nowhere", &["x"]);
    let (routed, lost) = (world.output("o"), world.output("nowhere"));
    assert_eq!((routed.sizes.count(), routed.no_route.get()), (2, 0));
    assert_eq!(routed.sizes.read().sum(), 8);
    assert_eq!((lost.sizes.count(), lost.no_route.get()), (1, 1));
    let large = MessageBuilder::new(vec![0; 300 << 10]).build();
    let refused = sender.stage(&mut world.commit, Some("o"), large, 0, Timestamp(0));
    assert!(matches!(refused, Err(SendRefusal::TooLarge { .. })));
    assert_eq!((routed.too_large.get(), routed.sizes.count()), (1, 2));
}

#[test]
fn two_senders_of_one_identity_count_in_one_set() {
    let mut world = World::new(&[(TO_B, 0, 0)]);
    for _ in 0..2 {
        let mut sender = world.sender();
        world.send(&mut sender, "o", &["1"]);
    }
    assert_eq!(world.hub.meters().outputs.named(), 1);
    assert_eq!(world.output("o").sizes.count(), 2);
}

#[test]
fn what_goes_out_is_timed_from_the_way_in_and_from_the_hand_over() {
    let mut world = World::new(&[(TO_B, 0, 0)]);
    let mut inbox = world.inbox(Owner::Module(module("b")));
    let mut sender = world.sender();
    world.send(&mut sender, "o", &["1", "2"]);
    world.pass(3 * SECOND);
    let taken = world.take(&mut inbox, 10);
    for delivery in &taken {
        inbox.handled(delivery, &mut world.commit);
    }
    world.pass(SECOND);
    world.take(&mut inbox, 10);
    let link = world.link(&b());
    let (sending, processing) = (link.sending.read(), link.processing.read());
    assert_eq!((sending.count(), sending.sum()), (2, 2_000_000_000));
    assert_eq!((processing.count(), processing.sum()), (2, 8_000_000_000));
}

#[test]
fn what_was_handled_and_not_stored_is_counted_once_it_is() {
    let mut world = World::new(&[(TO_B, 0, 0)]);
    let mut inbox = world.inbox(Owner::Module(module("b")));
    let mut sender = world.sender();
    world.send(&mut sender, "o", &["1"]);
    let taken = world.take(&mut inbox, 10);
    inbox.handled(&taken[0], &mut world.commit);
    world.commit.clear();
    inbox.rewind(Duration::ZERO, world.hub.now());
    let taken = world.take(&mut inbox, 10);
    assert_eq!(world.link(&b()).sending.count(), 0);
    inbox.handled(&taken[0], &mut world.commit);
    world.hub.commit(&mut world.commit).unwrap();
    drop(inbox);
    assert_eq!(world.link(&b()).sending.count(), 1);
}

#[test]
fn what_is_lost_is_counted_by_reason_and_way() {
    let mut world = World::new(&[(TO_B, 0, 5)]);
    let mut inbox = world.inbox(Owner::Module(module("b")));
    let mut sender = world.sender();
    world.send(&mut sender, "o", &["1", "2", "3", "4"]);
    let taken = world.take(&mut inbox, 3);
    let (now, commit) = (world.hub.now(), &mut world.commit);
    inbox.dead(
        &taken[0],
        DeadReason::Rejected("no".to_owned()),
        now,
        commit,
    );
    inbox.dead(&taken[1], DeadReason::Failed("no".to_owned()), now, commit);
    inbox.retry(&taken[2], None, false, now, commit);
    world.pass(10 * SECOND);
    assert!(world.take(&mut inbox, 10).is_empty());
    let link = world.link(&b());
    let counts = [&link.rejected, &link.failed, &link.retried, &link.expired].map(|c| c.get());
    assert_eq!(counts, [1, 1, 1, 2]);
}

#[test]
fn senders_beyond_those_remembered_by_address_keep_their_own_sets() {
    let text = "FROM /messages/* INTO BrokeredEndpoint(\"/modules/b/inputs/i\")";
    let mut world = World::new(&[(text, 0, 0)]);
    let mut inbox = world.inbox(Owner::Module(module("b")));
    for round in 0..3 {
        for number in 0..20 {
            let id = module(&format!("m{number}"));
            let identity = Identity::Module(world.hub.device().clone(), id);
            // Anew each time, so that addresses differ.
            let mut sender = world.hub.sender(identity);
            world.send(&mut sender, "o", &["1"]);
        }
        let taken = world.take(&mut inbox, 100);
        assert_eq!(taken.len(), 20, "round {round}");
        for delivery in &taken {
            inbox.handled(delivery, &mut world.commit);
        }
        world.take(&mut inbox, 100);
    }
    let links = world.hub.meters().links.all();
    assert_eq!(links.len(), 20);
    assert!(links.iter().all(|(_, link)| link.sending.count() == 3));
}

#[test]
fn twins_and_methods_are_counted_by_identity() {
    let world = World::new(&[]);
    let id = Identity::Module(world.hub.device().clone(), module("a"));
    world.hub.twin(&id, Side::Desired, None).unwrap();
    let mut commit = Commit::new();
    let staged = world.hub.stage_reported(&mut commit, &id, "{\"t\":1}");
    assert_eq!(staged.unwrap(), 2);
    let (_, twin) = world.hub.meters().twins.all().remove(0);
    assert_eq!((twin.reads.count(), twin.reports.count()), (1, 1));
    world.hub.methods().register(id.clone(), Arc::new(Gone));
    let call = |to: &Identity| {
        let methods = world.hub.methods();
        methods.invoke(None, to, "m", "1", 10 * SECOND).unwrap_err()
    };
    call(&id);
    call(&Identity::Device(world.hub.device().clone()));
    let calls = world.hub.meters().calls.all();
    assert_eq!(calls.len(), 1, "nobody was there to answer the second");
    assert_eq!(calls[0].1.calls.count(), 1);
}

#[test]
fn the_first_message_in_an_unread_queue_rings_and_those_after_it_do_not() {
    let mut world = World::new(&[(TO_B, 0, 10)]);
    let bell = Arc::new(Woken::default());
    let rung = |bell: &Woken| bell.0.swap(0, Ordering::Relaxed);
    world.hub.when_unread(bell.clone());
    assert_eq!(world.sweep(), None, "nothing waits");
    let mut sender = world.sender();
    world.send(&mut sender, "o", &["1"]);
    assert_eq!((rung(&bell), world.hub.next_sweep().is_some()), (1, true));
    world.pass(SECOND);
    world.send(&mut sender, "o", &["2"]);
    world.send(&mut sender, "o", &["3"]);
    assert_eq!(rung(&bell), 0);
    world.pass(9 * SECOND);
    assert_eq!((world.sweep(), world.seconds()), (Some(11), 10));
    assert_eq!(world.link(&b()).expired.get(), 1);
    world.pass(SECOND);
    assert_eq!(world.sweep(), None);
    assert_eq!(world.link(&b()).expired.get(), 3);
    assert_eq!(rung(&bell), 0, "the sweeper needs no bell for itself");
}

#[test]
fn queues_that_are_read_and_messages_without_an_end_ring_no_bell() {
    let mut world = World::new(&[(TO_B, 0, 10), (UP, 0, 0)]);
    let bell = Arc::new(Woken::default());
    world.hub.when_unread(bell.clone());
    let inbox = world.inbox(Owner::Module(module("b")));
    world.sweep();
    let mut sender = world.sender();
    world.send(&mut sender, "o", &["1"]);
    world.send(&mut sender, "up", &["1"]);
    assert_eq!(bell.0.load(Ordering::Relaxed), 0);
    // Until its reader goes.
    drop(inbox);
    world.hub.detach(&Owner::Module(module("b")));
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert_eq!(world.sweep(), Some(10));
}
