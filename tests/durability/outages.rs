//! The link between a hub and its parent is cut, loses packets, takes its time, or outlives its tokens, whoever sends:
//! nothing is lost, order is kept, and no more comes twice than was on its way.
//!
//! The kernels that tests run on have no netem. Loss alone is iptables', on the loopback device; delay, and loss
//! together with it, are [`Relay`]'s.

use std::time::{Duration, Instant};

use super::line::{By, Ends, Line, accepted, lose, sh, upstream};
use super::parent::print_of;
use super::relay::{FAR, NEAR, Relay};
use crate::support::Daemon;
use crate::support::family::Parent;
use crate::support::namespace::isolated;

/// Of tokens that end in an outage.
const TOKEN_LIFE: Duration = Duration::from_secs(6);
/// A dozen round trips of 2.5 s until anything is accepted, and as many again for what was lost.
const FAR_PATIENCE: Duration = Duration::from_secs(75);

fn is_long() -> bool {
    std::env::var_os("EDGE_LONG_TESTS").is_some()
}

/// Hardly anything gets through: nine packets of twenty are lost, or four of five where there is time for it.
fn loss() -> &'static str {
    if is_long() { "0.8" } else { "0.45" }
}

/// Cuts of which some are shorter than TCP's patience and some longer than ours, and a word of the parent's
/// meanwhile.
fn cuts(by: By) {
    let mut line = Line::new("cuts", by);
    let cuts: &[u64] = match is_long() {
        true => &[
            100, 500, 1_500, 3_000, 6_000, 12_000, 30_000, 60_000, 300, 100, 100,
        ],
        false => &[100, 500, 1_500, 6_000, 100],
    };
    for (round, cut) in cuts.iter().enumerate() {
        let count = 50 + line.chance.below(200);
        line.more(count);
        line.cut();
        let wanted = format!("twin set child1/first {{\"round\":{round}}}");
        line.parent.daemon.edge(&wanted).output("").code(0);
        std::thread::sleep(Duration::from_millis(*cut));
        line.mend();
        let child = &line.child.daemon;
        child.eventually("what was wanted meanwhile is there", |child| {
            child.json("twin get first")["desired"]["properties"]["round"] == round
        });
    }
    line.judge("cuts", Ends::Cut);
}

/// So long offline, so long online, so many times, while senders go on: the seed system's schedules with minutes as
/// seconds, and a fifth of that where there is no time for it.
fn schedule(by: By, offline: u32, online: u32, times: u32) {
    let line = Line::new("schedule", by);
    let unit = Duration::from_millis(if is_long() { 1_000 } else { 200 });
    line.more(100);
    for _ in 0..times {
        line.cut();
        let (end, before) = (
            Instant::now() + unit * offline,
            accepted(&line.child.daemon),
        );
        line.more(20 * u64::from(offline));
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        let after = accepted(&line.child.daemon);
        line.mend();
        std::thread::sleep(unit * online);
        // What had been said before the cut may be heard after it.
        assert!(
            after - before <= 400,
            "{} were accepted in a cut",
            after - before
        );
    }
    line.judge(&format!("{offline}/{online} x {times}"), Ends::Cut);
}

/// Hardly anything gets through for a while.
fn losing(by: By) {
    let line = Line::new("loss", by);
    lose(line.parent.port(), loss());
    line.more(300);
    std::thread::sleep(Duration::from_secs(3));
    line.more(300);
    sh("iptables -F INPUT");
    line.judge("loss", Ends::Loss);
}

/// Tokens are renewed while the link is up, and end at the parent while it is down.
fn tokens(by: By) {
    const ENDED: &str = "the token expired at";
    let mut line = Line::with("tokens", by, TOKEN_LIFE);
    line.more(200);
    // Whoever is connected for longer than a token lives was given another one.
    std::thread::sleep(TOKEN_LIFE + Duration::from_secs(1));
    line.more(200);
    let said = line.parent.daemon.running().said();
    assert!(!said.contains(ENDED), "{said}");
    line.cut();
    line.more(200);
    // The parent has heard nothing of the end of the link: it goes by the token alone.
    line.parent.daemon.running().says(ENDED);
    line.mend();
    let before = accepted(&line.child.daemon);
    line.more(200);
    let child = &line.child.daemon;
    child.eventually("messages flow again", |child| {
        accepted(child) >= before + 200
    });
    line.judge("tokens", Ends::Cut);
}

/// Waits until a far-away parent has accepted something.
#[track_caller]
fn first(child: &Daemon) {
    let until = Instant::now() + FAR_PATIENCE;
    while accepted(child) == 0 {
        assert!(Instant::now() < until, "{:?}", upstream(child));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A parent at the other end of a round trip of 2.5 s. The link is cut and the child killed, and packets are lost from
/// the cut on until all has been sent, and `lossy` longer. `loss`: of a thousand.
fn far_away(loss: u32, lossy: Duration) {
    let relay = Relay::new(Duration::from_millis(1_250));
    let settings = format!("device.hostname = \"{FAR}\"\nupstream.messages = \"print\"\n");
    let mut parent = Parent::at(NEAR, &settings);
    let mut child = Daemon::with(&parent.adopt("child1"));
    let send = |child: &Daemon, numbers: std::ops::Range<u64>| {
        for n in numbers {
            child.send("$upstream", &n.to_string());
        }
    };
    let mut seen = 0;
    let mut comes = |parent: &mut Parent, until: u64| {
        while seen < until {
            let n = print_of(parent, 1)[0]["body"].as_u64().unwrap();
            // What was under way when the link was cut comes twice, and nothing out of turn.
            assert!(n <= seen, "{n} after {seen}");
            seen = seen.max(n + 1);
        }
    };
    send(&child, 0..50);
    first(&child);
    send(&child, 50..100);
    relay.lose(1_000);
    std::thread::sleep(Duration::from_secs(1));
    relay.lose(loss);
    send(&child, 100..150);
    child.kill();
    child.again();
    send(&child, 150..200);
    std::thread::sleep(lossy);
    let (passed, lost) = relay.packets();
    eprintln!(
        "{loss} of 1000 lost for {lossy:?}: {passed} packets passed, {lost} lost; {:?}",
        upstream(&child)
    );
    relay.lose(0);
    let better = Instant::now();
    first(&child);
    eprintln!("messages are accepted after {:?}", better.elapsed());
    child.waits("$upstream", 0);
    comes(&mut parent, 200);
}

/// How soon after the link's return messages are to flow again, and a second for a machine that builds meanwhile.
const SOON: Duration = Duration::from_secs(2 + 1);

/// How a link is cut.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// Packets do not arrive, and nobody says so.
    Silent,
    /// There is no way: each try to connect fails at once.
    Down,
}

/// A child that is connected, and whose link is cut for so many seconds each time. Says how long after each return it
/// took until something held.
fn returns(
    how: Cut,
    cuts: &[u64],
    meanwhile: impl Fn(&Parent, &Daemon, u64),
    holds: impl Fn(&Daemon, u64) -> bool,
) -> Vec<(u64, Duration)> {
    let parent = Parent::with("");
    let child = Daemon::with(&parent.adopt("child1"));
    let took = cuts.iter().map(|cut| {
        child.send("$upstream", "\"before\"");
        child.waits("$upstream", 0);
        // What waits for no answer of the parent's is settled.
        std::thread::sleep(Duration::from_secs(1));
        match how {
            Cut::Silent => lose(parent.port(), "1"),
            Cut::Down => sh("ip link set lo down"),
        }
        let end = Instant::now() + Duration::from_secs(*cut);
        meanwhile(&parent, &child, *cut);
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        sh("iptables -F INPUT; ip link set lo up");
        let back = Instant::now();
        child.eventually("the link works again", |child| holds(child, *cut));
        let took = back.elapsed();
        eprintln!("{how:?}, cut for {cut} s, works again after {took:?}");
        (*cut, took)
    });
    took.collect()
}

#[track_caller]
fn are_soon(returns: &[(u64, Duration)]) {
    assert!(returns.iter().all(|(_, took)| *took < SOON), "{returns:?}");
}

fn what_goes_up(how: Cut) -> Vec<(u64, Duration)> {
    let sends = |_: &Parent, child: &Daemon, _: u64| drop(child.send("$upstream", "\"meanwhile\""));
    // Were patience doubled by each, the last would be over before it ran out.
    returns(how, &[6, 10, 14], sends, |child, _| {
        child.depth("$upstream") == 0
    })
}

/// Whether TCP can be told its longest wait (`edge_http::ask_again_soon`); without that it is as late as the outage was
/// long, as the README says.
fn has_longest_wait() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (6, 15))
}

/// It owes nobody anything, so that it does not notice by itself that the link is gone.
fn what_is_wanted(how: Cut) -> Vec<(u64, Duration)> {
    if !has_longest_wait() {
        eprintln!("skipped: this kernel is older than Linux 6.15");
        return Vec::new();
    }
    let wants = |parent: &Parent, _: &Daemon, cut: u64| {
        let set = format!("twin set child1 {{\"cut\":{cut}}}");
        parent.daemon.edge(&set).output("").code(0);
    };
    returns(how, &[6, 20], wants, |child, cut| {
        child.json("twin get child1")["desired"]["properties"]["cut"] == cut
    })
}

isolated! {
    fn nothing_is_lost_when_the_link_is_cut_and_comes_back() { cuts(By::Socket); }

    fn what_goes_up_flows_within_two_seconds_of_a_silent_links_return() {
        are_soon(&what_goes_up(Cut::Silent));
    }

    fn what_goes_up_flows_within_two_seconds_of_the_return_of_a_link_that_was_down() {
        are_soon(&what_goes_up(Cut::Down));
    }

    fn an_idle_child_gets_what_was_wanted_within_two_seconds_of_a_silent_links_return() {
        are_soon(&what_is_wanted(Cut::Silent));
    }

    fn an_idle_child_gets_what_was_wanted_within_two_seconds_of_the_return_of_a_link_that_was_down() {
        are_soon(&what_is_wanted(Cut::Down));
    }

    fn nothing_is_lost_on_a_schedule_of_10_and_10() { schedule(By::Mqtt, 10, 10, 3); }
    fn nothing_is_lost_on_a_schedule_of_15_and_15() { schedule(By::Amqp, 15, 15, 3); }
    fn nothing_is_lost_on_a_schedule_of_30_and_30() { schedule(By::Mqtt, 30, 30, 2); }
    fn nothing_is_lost_on_a_schedule_of_5_and_20() { schedule(By::Amqp, 5, 20, 3); }

    fn nothing_is_lost_over_a_link_that_loses_packets() { losing(By::Socket); }
    fn nothing_that_amqp_devices_send_is_lost_over_a_link_that_loses_packets() { losing(By::Amqp); }
    fn nothing_that_mqtt_devices_send_is_lost_over_a_link_that_loses_packets() { losing(By::Mqtt); }

    fn nothing_is_lost_when_tokens_end_during_an_outage() { tokens(By::Socket); }
    fn nothing_that_amqp_devices_send_is_lost_when_tokens_end_during_an_outage() { tokens(By::Amqp); }
    fn nothing_that_mqtt_devices_send_is_lost_when_tokens_end_during_an_outage() { tokens(By::Mqtt); }

    /// A satellite's round trip, 2.5 s: messages flow, and nothing is lost when it is cut.
    fn messages_flow_over_a_link_with_a_long_round_trip() { far_away(0, Duration::ZERO); }

    /// The same, and packets are lost on it, of which TCP knows nothing but that they do not come.
    fn nothing_is_lost_over_a_link_with_a_long_round_trip_that_loses_packets() {
        match is_long() {
            true => far_away(800, Duration::from_secs(60)),
            false => far_away(450, Duration::from_secs(5)),
        }
    }

    /// One packet of six, each way: messages flow all the same.
    fn messages_flow_over_a_link_that_loses_some_packets() {
        let line = Line::new("some-loss", By::Socket);
        lose(line.parent.port(), "0.16");
        let before = accepted(&line.child.daemon);
        line.more(300);
        line.child.daemon.eventually("messages get through all the same", |child| {
            accepted(child) >= before + 300
        });
        sh("iptables -F INPUT");
        line.judge("some loss", Ends::Loss);
    }
}
