//! Looks for what is wrong with a device, or soon will be: `edge check`, and a file of the support bundle.
//!
//! ```text
//!   Place ─► Facts, gathered once (settings, daemon, engine, disk, clock, addresses) ─► each check ─► Finding
//! ```
//!
//! A check is a function of `Facts` alone, so that each is tested with facts that nobody has. Nothing is
//! changed by looking; a port that nobody listens on is opened for a moment. Where the seed system has a check
//! for the same thing, it has that one's name.

mod certificates;
mod daemon;
mod engine;
mod facts;
mod host;
mod network;
mod parent;
mod settings;

use std::path::PathBuf;

use serde::Serialize;

pub(crate) use facts::Facts;

/// Where the device is that is looked at.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its settings file; none: the defaults hold.
    pub config: Option<PathBuf>,
    /// Its data directory.
    pub data: PathBuf,
    /// Its management socket.
    pub socket: PathBuf,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Ok,
    /// It works, and may not for long, or not as was meant.
    Warning,
    /// It does not work.
    Error,
    /// It was not looked at, or does not apply here.
    Skipped,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name.
    pub id: &'static str,
    /// What it looks at.
    pub about: &'static str,
    /// How it came out.
    pub status: Status,
    /// What was found, where that is worth a word.
    pub detail: String,
    /// What to do, where there is something to do.
    pub next: Option<String>,
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    status: Status,
    detail: String,
    next: Option<String>,
}

impl Outcome {
    fn ok(detail: impl Into<String>) -> Self {
        Self {
            status: Status::Ok,
            detail: detail.into(),
            next: None,
        }
    }

    fn skipped(detail: impl Into<String>) -> Self {
        Self {
            status: Status::Skipped,
            ..Self::ok(detail)
        }
    }

    fn warning(detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            status: Status::Warning,
            detail: detail.into(),
            next: Some(next.into()),
        }
    }

    fn error(detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            status: Status::Error,
            ..Self::warning(detail, next)
        }
    }
}

/// A check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name; stable.
    pub id: &'static str,
    /// What it looks at.
    pub about: &'static str,
    run: fn(&Facts) -> Outcome,
}

const fn check(id: &'static str, about: &'static str, run: fn(&Facts) -> Outcome) -> Check {
    Check { id, about, run }
}

/// All checks, in the order in which they are shown.
pub const CHECKS: &[Check] = &[
    check(
        "aziot-edged-config-well-formed",
        "the settings can be read",
        settings::well_formed,
    ),
    check("hostname", "the device's host name leads to it", host::name),
    check("host-local-time", "the clock is right", host::clock),
    check(
        "storage-on-persistent-medium",
        "the data directory outlives a restart of the machine",
        host::medium,
    ),
    check(
        "storage-free-space",
        "the store has room to grow",
        host::space,
    ),
    check(
        "connect-management-uri",
        "the daemon answers",
        daemon::answers,
    ),
    check(
        "aziot-edge-version",
        "daemon and command are of one version",
        daemon::version,
    ),
    check("ports", "clients are served at all ports", daemon::ports),
    check(
        "identity-certificate-expiry",
        "the server's certificate is valid",
        certificates::server,
    ),
    check(
        "local-ca-certificate-expiry",
        "the certificates above it are valid",
        certificates::authorities,
    ),
    check(
        "container-engine-uri",
        "the container engine answers",
        engine::answers,
    ),
    check(
        "container-network-addresses",
        "the containers' addresses are nobody else's",
        network::overlaps,
    ),
    check(
        "parent",
        "the parent is connected and lets everybody in",
        parent::connected,
    ),
    check(
        "modules-running",
        "the modules are as the deployment wants them",
        daemon::modules,
    ),
];

/// Looks at a device, all checks but those that are named. Must be called within a tokio runtime.
pub async fn run(place: &Place, skip: &[String]) -> Vec<Finding> {
    let facts = Facts::gather(place).await;
    CHECKS
        .iter()
        .map(|check| {
            let outcome = match skip.iter().any(|id| id == check.id) {
                true => Outcome::skipped("as asked for"),
                false => (check.run)(&facts),
            };
            Finding {
                id: check.id,
                about: check.about,
                status: outcome.status,
                detail: outcome.detail,
                next: outcome.next,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own() {
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.id).collect();
        assert_eq!(names.len(), CHECKS.len());
    }

    #[tokio::test]
    async fn a_place_without_a_device_is_looked_at_to_the_end() {
        let dir = tempfile::tempdir().expect("dir");
        let place = Place {
            config: None,
            data: dir.path().join("none"),
            socket: dir.path().join("none.sock"),
        };
        let findings = run(&place, &["ports".to_owned()]).await;
        assert_eq!(findings.len(), CHECKS.len());
        let status = |id: &str| {
            let found = findings.iter().find(|finding| finding.id == id);
            found.expect("it is there").status
        };
        assert_eq!(status("ports"), Status::Skipped);
        assert_eq!(status("connect-management-uri"), Status::Error);
        assert_eq!(status("aziot-edged-config-well-formed"), Status::Ok);
        assert_eq!(status("modules-running"), Status::Skipped);
        let wrong = findings
            .iter()
            .filter(|finding| matches!(finding.status, Status::Warning | Status::Error));
        for finding in wrong {
            assert!(finding.next.is_some(), "{finding:?}");
        }
    }
}
