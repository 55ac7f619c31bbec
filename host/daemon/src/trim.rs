//! Gives back the memory of code that only a start needs.
//!
//! A start runs through most of the program once: settings, keys, recovery, linking of components. The kernel maps that
//! code in pieces of 64 KiB, and a device that is idle from then on would show all of it as its own for ever. What is
//! let go of stays in the page cache as long as nobody needs the room, and is mapped again when it runs again.

use std::io;
use std::time::Duration;

use edge_agent::AgentHandle;
use tracing::debug;

/// All must have been quiet for so long.
const QUIET: Duration = Duration::from_secs(5);

/// Lets go of it whenever a deployment has come to rest. Runs until it is dropped; sleeps while nothing changes.
pub(crate) async fn when_quiet(agent: &AgentHandle) {
    let mut status = agent.status();
    let mut trimmed = None;
    loop {
        let (settled, generation) = {
            let status = status.borrow_and_update();
            (status.settled, status.generation)
        };
        let due = settled && trimmed != Some(generation);
        tokio::select! {
            changed = status.changed() => if changed.is_err() {
                // The agent has ended, and the daemon with it.
                return std::future::pending().await;
            },
            () = tokio::time::sleep(QUIET), if due => {
                trimmed = Some(generation);
                match code() {
                    Ok(bytes) => debug!(bytes, "code of the start let go of"),
                    Err(error) => debug!(%error, "code of the start not let go of"),
                }
            }
        }
    }
}

/// Unmaps the pages of the program's own code. Says how many bytes it looked at.
fn code() -> io::Result<usize> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mut bytes = 0;
    for (start, end) in maps.lines().filter_map(|line| executable(line, &program)) {
        let length = end - start;
        let at = std::ptr::without_provenance_mut(start);
        let advice = rustix::mm::Advice::LinuxDontNeed;
        // SAFETY: the range is a private mapping of a file that cannot be written, so each of its pages is as it is in
        // the file, and is read from there again when it is next needed.
        #[allow(
            unsafe_code,
            reason = "no safe wrapper can know that a mapping is clean"
        )]
        unsafe { rustix::mm::madvise(at, length, advice) }?;
        bytes += length;
    }
    Ok(bytes)
}

/// The range of a line of `maps`, if it is code of the program.
fn executable(line: &str, program: &std::path::Path) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, kind) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    if kind != "r-xp" || std::path::Path::new(path) != program {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(start)?, number(end)?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_code_that_cannot_have_been_written_is_let_go_of() {
        let program = Path::new("/usr/bin/edge");
        let line = |kind: &str, path: &str| format!("1000-3000 {kind} 00001000 fd:00 7 {path}");
        let range = |kind, path| executable(&line(kind, path), program);
        assert_eq!(range("r-xp", "/usr/bin/edge"), Some((0x1000, 0x3000)));
        for (kind, path) in [
            ("rwxp", "/usr/bin/edge"),
            ("r--p", "/usr/bin/edge"),
            ("rw-p", "/usr/bin/edge"),
            ("r-xp", "/usr/lib/libc.so.6"),
            ("r-xp", ""),
        ] {
            assert_eq!(range(kind, path), None, "{kind} {path}");
        }
    }

    #[test]
    fn the_program_goes_on_without_it() {
        assert!(code().expect("let go of") > 0);
        assert_eq!(code().map(|bytes| bytes > 0).ok(), Some(true));
    }
}
