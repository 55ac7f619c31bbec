//! The link to the parent, as the daemon has it.

use std::time::Duration;

use super::{Facts, Outcome};
use crate::api::types::UpstreamInfo;
use crate::settings::UpstreamKind;

/// Parents that are away for longer than this are worth somebody's look, even if nothing is wrong here: restarts and
/// networks that come back by themselves take less.
const LONG: Duration = Duration::from_secs(600);
/// Identities that are named; the others are counted.
const NAMED: usize = 8;

pub(super) fn connected(facts: &Facts) -> Outcome {
    if facts.settings.upstream.kind == UpstreamKind::None {
        return Outcome::skipped("this device has no parent ([upstream] kind)");
    }
    let Ok(daemon) = &facts.daemon else {
        return Outcome::skipped("the daemon does not answer");
    };
    let Some(link) = &daemon.info.upstream else {
        return Outcome::error(
            "the settings have a parent, the daemon has none: they were changed after its start",
            "restart the daemon",
        );
    };
    match (&link.why, link.refused.is_empty()) {
        (Some(why), _) => away(link, why),
        (None, false) => refused(&daemon.info.device, link),
        (None, true) => Outcome::ok(format!(
            "connected for {}, its certificate is trusted; {} messages wait",
            link.span(),
            link.waiting
        )),
    }
}

fn away(link: &UpstreamInfo, why: &str) -> Outcome {
    let detail = format!(
        "not connected for {}: {why}\n{} messages wait",
        link.span(),
        link.waiting
    );
    let next = match link.passes {
        true => {
            "nothing here, if the parent or the network is down: it is tried again all the time; otherwise compare \
             GatewayHostName in the connection string with the parent's name, and see that [amqp] listen there takes \
             this device's address"
        }
        false => {
            "mend what it says; the certificates that are trusted are in [upstream] trusted, the identity in \
             connection-string-file (`edge identity show DEVICE --keys` at the parent)"
        }
    };
    match link.passes && Duration::from_secs(link.seconds) < LONG {
        true => Outcome::warning(detail, next),
        false => Outcome::error(detail, next),
    }
}

fn refused(device: &str, link: &UpstreamInfo) -> Outcome {
    let mut lines: Vec<String> = link
        .refused
        .iter()
        .take(NAMED)
        .map(|(identity, why)| format!("the parent does not let {identity} in: {why}"))
        .collect();
    if link.refused.len() > NAMED {
        lines.push(format!("and {} more", link.refused.len() - NAMED));
    }
    let next = "register them at the parent (`edge identity add`, with `--behind` for who is behind this device), or \
                see why they are kept out there (`edge identity show`)";
    match link.refused.contains_key(device) {
        true => Outcome::error(lines.join("\n"), next),
        // What they send waits; everybody else is served.
        false => Outcome::warning(lines.join("\n"), next),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Status;
    use super::super::facts::Daemon;
    use super::*;

    fn link() -> UpstreamInfo {
        UpstreamInfo {
            connected: true,
            seconds: 60,
            why: None,
            passes: true,
            connections: 1,
            bytes_up: 0,
            bytes_down: 0,
            days: BTreeMap::new(),
            waiting: 3,
            accepted: 0,
            rejected: 0,
            under_way: 0,
            refused: BTreeMap::new(),
        }
    }

    fn away(seconds: u64, passes: bool) -> UpstreamInfo {
        UpstreamInfo {
            connected: false,
            seconds,
            why: Some("it cannot be reached: no route".to_owned()),
            passes,
            ..link()
        }
    }

    fn look(upstream: Option<UpstreamInfo>) -> Outcome {
        let mut facts = Facts::nothing();
        facts.settings.upstream.kind = UpstreamKind::Amqp;
        facts.daemon = Ok(Daemon::of("press-7", upstream));
        connected(&facts)
    }

    #[test]
    fn a_device_without_a_parent_and_one_without_a_daemon_are_passed_over() {
        let mut facts = Facts::nothing();
        assert_eq!(connected(&facts).status, Status::Skipped);
        facts.settings.upstream.kind = UpstreamKind::Amqp;
        assert_eq!(connected(&facts).status, Status::Skipped);
    }

    #[test]
    fn a_parent_is_connected_or_it_is_said_since_when_not_and_why() {
        let outcome = look(Some(link()));
        assert_eq!(outcome.status, Status::Ok);
        assert!(outcome.detail.contains("3 messages wait"), "{outcome:?}");
        // Nobody can do anything about a restart; but somebody has to about a parent that is gone, or is not trusted.
        for (link, status) in [
            (away(5, true), Status::Warning),
            (away(3_600, true), Status::Error),
            (away(5, false), Status::Error),
        ] {
            let outcome = look(Some(link));
            assert_eq!(outcome.status, status, "{outcome:?}");
            assert!(outcome.detail.contains("no route"), "{outcome:?}");
        }
        for (seconds, span) in [
            (5, "5s"),
            (119, "119s"),
            (130, "2m"),
            (9_000, "2h"),
            (200_000, "2d"),
        ] {
            let outcome = look(Some(away(seconds, true)));
            assert!(
                outcome.detail.contains(&format!("for {span}:")),
                "{outcome:?}"
            );
        }
        assert_eq!(look(None).status, Status::Error);
    }

    #[test]
    fn who_is_not_let_in_is_named_and_the_device_itself_is_an_error() {
        let refused = |names: &[&str]| {
            let refused = names
                .iter()
                .map(|name| ((*name).to_owned(), "401".to_owned()));
            look(Some(UpstreamInfo {
                refused: refused.collect(),
                ..link()
            }))
        };
        let leaf = refused(&["leaf"]);
        assert_eq!(leaf.status, Status::Warning);
        assert!(leaf.detail.contains("leaf in: 401"), "{leaf:?}");
        assert_eq!(refused(&["leaf", "press-7"]).status, Status::Error);
        let many: Vec<String> = (0..20).map(|n| format!("leaf{n}")).collect();
        let many = refused(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(many.detail.ends_with("and 12 more"), "{many:?}");
    }
}
