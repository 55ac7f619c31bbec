//! The machine: its name, clock and disk.

use std::path::Path;
use std::time::Duration;

use edge_core::{ByteSize, Timestamp};

use super::{Facts, Outcome};

/// A program's file may be from a machine whose clock goes ahead by so much.
const SLACK: Duration = Duration::from_secs(86_400);

/// The file system that a folder is on.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    /// Its type (`statfs(2)`).
    pub(crate) kind: u64,
    /// Bytes that we may still take.
    pub(crate) free: u64,
}

impl Disk {
    /// Of a folder, or of the nearest one above it that is there.
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let there = path.ancestors().find(|path| path.exists());
        let stat = rustix::fs::statfs(there.unwrap_or(Path::new("/")))?;
        #[allow(
            clippy::unnecessary_cast,
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "the types differ by processor; these are magic numbers and sizes of blocks"
        )]
        let (kind, block) = (stat.f_type as u32 as u64, stat.f_bsize as u64);
        Ok(Self {
            kind,
            free: stat.f_bavail.saturating_mul(block),
        })
    }
}

/// Whether the kernel's clock is disciplined by somebody (`adjtimex(2)`).
#[expect(unsafe_code, reason = "no crate that is used here has the call")]
pub(crate) fn synchronised() -> Option<bool> {
    // SAFETY: all of `timex` is integers, for which zero is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` lives for the call. With no mode set the call changes nothing but it.
    let clock = unsafe { libc::adjtimex(&raw mut state) };
    match clock {
        -1 => None,
        clock => Some(clock != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0),
    }
}

pub(super) fn name(facts: &Facts) -> Outcome {
    let name = facts.settings.hostname();
    match &facts.addresses {
        Ok(addresses) if addresses.is_empty() => unknown(&name, "it has no address"),
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            Outcome::ok(format!("{name} is {}", addresses.join(", ")))
        }
        Err(why) => unknown(&name, why),
    }
}

fn unknown(name: &str, why: &str) -> Outcome {
    Outcome::warning(
        format!("{name} leads nowhere: {why}"),
        "give it an address in DNS or in /etc/hosts of those who connect, or set [device] hostname to a name or an address that they reach",
    )
}

pub(super) fn clock(facts: &Facts) -> Outcome {
    if let Some(built) = facts.built
        && facts.now.after(SLACK) < built
    {
        return Outcome::error(
            format!(
                "it is {} here, and this program is from {built}: certificates and tokens are refused with such a clock",
                facts.now
            ),
            "set the clock, and have it kept: `timedatectl set-ntp true`",
        );
    }
    match facts.synchronised {
        Some(true) => Outcome::ok(format!("{}, synchronised", facts.now)),
        Some(false) => Outcome::warning(
            "nobody keeps the clock: tokens and certificates fail when it has drifted by minutes",
            "have it kept: `timedatectl set-ntp true`, or chrony with the time servers of your network",
        ),
        None => Outcome::skipped("the kernel does not say whether the clock is kept"),
    }
}

pub(super) fn medium(facts: &Facts) -> Outcome {
    let data = facts.place.data.display();
    let disk = match &facts.disk {
        Ok(disk) => disk,
        Err(error) => {
            return Outcome::error(
                format!("{data} cannot be looked at: {error}"),
                "see that the daemon's user may enter it, or name another folder: `data` in the settings",
            );
        }
    };
    let kind = match disk.kind {
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0x794c_7630 => "overlay, the file system of a container",
        _ => return Outcome::ok(data.to_string()),
    };
    Outcome::warning(
        format!("{data} is on {kind}: messages, keys and the deployment are lost with it"),
        "put the data directory on a disk: `data` in the settings, or mount a volume there",
    )
}

pub(super) fn space(facts: &Facts) -> Outcome {
    let Ok(disk) = &facts.store_disk else {
        return Outcome::skipped("the disk cannot be looked at");
    };
    let store = &facts.settings.store;
    let (free, reserve) = (disk.free, store.reserve.0);
    let next = "make room, move the store ([store] path), or bound it ([store] limit)";
    let size = |bytes: u64| ByteSize(bytes).to_string();
    let mib = |bytes: u64| size(bytes >> 20 << 20);
    if free <= reserve {
        return Outcome::error(
            format!(
                "{} are free and {} are left to others ([store] reserve): messages are refused",
                mib(free),
                size(reserve)
            ),
            next,
        );
    }
    let wanted = match store.limit {
        Some(limit) => limit
            .0
            .saturating_sub(facts.waiting)
            .saturating_add(reserve),
        // Without a limit: room for as much again as is left free.
        None => reserve.saturating_mul(2),
    };
    match free < wanted {
        true => Outcome::warning(
            format!("{} are free, the store may want {}", mib(free), mib(wanted)),
            next,
        ),
        false => Outcome::ok(format!("{} are free", mib(free))),
    }
}

/// When this program was written, as far as its file says it.
pub(crate) fn built() -> Option<Timestamp> {
    let file = std::fs::metadata(std::env::current_exe().ok()?).ok()?;
    let since = file
        .modified()
        .ok()?
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    Some(Timestamp(0).after(since))
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_disk_that_forgets_is_a_warning() {
        for (kind, status) in [
            (0xef53, Status::Ok),
            (0x0102_1994, Status::Warning),
            (0x794c_7630, Status::Warning),
        ] {
            let facts = Facts {
                disk: Ok(Disk { kind, free: 0 }),
                ..Facts::nothing()
            };
            assert_eq!(medium(&facts).status, status, "{kind:x}");
        }
        let here = Disk::of(Path::new("/no/such/folder")).expect("there is a root");
        assert!(here.kind > 0);
    }

    #[test]
    fn room_is_measured_against_what_the_store_may_take() {
        const MIB: u64 = 1 << 20;
        for (free, limit, waiting, status) in [
            (100, None, 0, Status::Error),
            (300, None, 0, Status::Warning),
            (600, None, 0, Status::Ok),
            (600, Some(1_000), 0, Status::Warning),
            (600, Some(1_000), 900, Status::Ok),
        ] {
            let mut facts = Facts {
                store_disk: Ok(Disk {
                    kind: 0xef53,
                    free: free * MIB,
                }),
                waiting: waiting * MIB,
                ..Facts::nothing()
            };
            facts.settings.store.limit = limit.map(|limit: u64| ByteSize(limit * MIB));
            assert_eq!(space(&facts).status, status, "{free} {limit:?} {waiting}");
        }
    }

    #[test]
    fn a_clock_from_before_the_program_is_an_error() {
        let at = |text: &str| text.parse::<Timestamp>().expect("time");
        let facts = |now, synchronised| Facts {
            now: at(now),
            built: Some(at("2026-11-24T00:00:00Z")),
            synchronised,
            ..Facts::nothing()
        };
        for (now, kept, status) in [
            ("1970-01-01T00:10:00Z", Some(true), Status::Error),
            ("2026-11-23T12:00:00Z", Some(true), Status::Ok),
            ("2026-12-01T00:00:00Z", Some(false), Status::Warning),
            ("2026-12-01T00:00:00Z", None, Status::Skipped),
        ] {
            assert_eq!(clock(&facts(now, kept)).status, status, "{now}");
        }
    }
}
