//! The daemon: whether it is there, serves its ports, and has its modules up.

use std::io;
use std::net::SocketAddr;

use super::{Facts, Outcome};
use crate::api::types::ModuleInfo;
use crate::client::ClientError;

pub(super) fn answers(facts: &Facts) -> Outcome {
    match &facts.daemon {
        Ok(daemon) => Outcome::ok(format!(
            "device {}, process {}, since {}",
            daemon.info.device, daemon.info.pid, daemon.info.started
        )),
        Err(error) => {
            let next = match error {
                ClientError::NotRunning { .. } => {
                    "start it: `systemctl start edge`, or `edge daemon`; its journal says why it ended"
                }
                ClientError::NotAllowed { .. } => {
                    "run this as the daemon's user, or join the socket's group ([management] group)"
                }
                _ => "look at the daemon's journal, and restart it",
            };
            Outcome::error(error.to_string(), next)
        }
    }
}

pub(super) fn version(facts: &Facts) -> Outcome {
    let Ok(daemon) = &facts.daemon else {
        return Outcome::skipped("the daemon does not answer");
    };
    let (theirs, ours) = (daemon.info.version.as_str(), env!("CARGO_PKG_VERSION"));
    match theirs == ours {
        true => Outcome::ok(ours),
        false => Outcome::warning(
            format!("the daemon is version {theirs}, this command {ours}"),
            "restart the daemon, so that the installed version runs",
        ),
    }
}

/// What came of opening a port that the daemon does not have.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) section: &'static str,
    pub(crate) address: SocketAddr,
    /// Whether the daemon serves it.
    pub(crate) served: bool,
    /// What opening it came to, where no daemon answers.
    pub(crate) opened: Option<io::Result<()>>,
}

pub(super) fn ports(facts: &Facts) -> Outcome {
    let mut wrong = Vec::new();
    let mut forbidden = 0;
    for port in &facts.ports {
        let name = format!("[{}] {}", port.section, port.address);
        match &port.opened {
            _ if port.served => {}
            None => wrong.push(format!("{name} is not served")),
            Some(Ok(())) => {}
            Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => forbidden += 1,
            Some(Err(error)) => wrong.push(format!("{name} cannot be opened: {error}")),
        }
    }
    if !wrong.is_empty() {
        return Outcome::error(
            wrong.join("\n"),
            "end the program that has the port (`ss -ltnp` names it), or set `listen` to another address or to \"off\"; ports under 1024 need CAP_NET_BIND_SERVICE",
        );
    }
    match (facts.ports.len(), forbidden) {
        (0, _) => Outcome::skipped("no port is set"),
        (_, 0) => Outcome::ok(match &facts.daemon {
            Ok(_) => "all are served",
            Err(_) => "all are free",
        }),
        (_, count) => Outcome::warning(
            format!("{count} could not be tried: ports under 1024 are not for this user"),
            "run this as the daemon's user, and give the daemon CAP_NET_BIND_SERVICE",
        ),
    }
}

pub(super) fn modules(facts: &Facts) -> Outcome {
    let Ok(daemon) = &facts.daemon else {
        return Outcome::skipped("the daemon does not answer");
    };
    let modules = &daemon.modules;
    if modules.modules.is_empty() {
        return match modules.deployment {
            0 => Outcome::warning(
                "nothing is deployed",
                "deploy something: `edge apply MANIFEST`",
            ),
            _ => Outcome::ok("the deployment has no modules"),
        };
    }
    let troubled: Vec<&ModuleInfo> = modules.modules.iter().filter(|m| !m.is_well()).collect();
    if troubled.is_empty() {
        return Outcome::ok(format!("{} modules", modules.modules.len()));
    }
    let lines = troubled.iter().map(|module| {
        format!(
            "{} is {}: {}",
            module.name, module.status, module.description
        )
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    let next = "`edge logs MODULE` shows what it said last; `edge restart MODULE` tries it at once";
    match troubled.iter().any(|module| module.status == "failed") {
        true => Outcome::error(lines, next),
        // Under way, or tried again by itself.
        false => Outcome::warning(lines, next),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn port(served: bool, opened: Option<io::Result<()>>) -> Port {
        Port {
            section: "mqtt",
            address: "127.0.0.1:8883".parse().expect("address"),
            served,
            opened,
        }
    }

    #[test]
    fn a_port_is_ours_or_free_or_an_error() {
        let used = || Err(io::Error::from(io::ErrorKind::AddrInUse));
        let denied = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
        for (port, status) in [
            (port(true, None), Status::Ok),
            (port(false, None), Status::Error),
            (port(false, Some(Ok(()))), Status::Ok),
            (port(false, Some(used())), Status::Error),
            (port(false, Some(denied())), Status::Warning),
        ] {
            let facts = Facts {
                ports: vec![port],
                ..Facts::nothing()
            };
            assert_eq!(ports(&facts).status, status, "{:?}", facts.ports);
        }
        assert_eq!(ports(&Facts::nothing()).status, Status::Skipped);
    }
}
