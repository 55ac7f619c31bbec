//! What is asked of TCP for a connection.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;

/// The system asks again after 0.2 s when nothing is acknowledged, doubles that each time up to two minutes, and so
/// brings what it has as late after an outage as the outage was long. This is the longest wait instead.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// So much longer than a round trip at least, or it would ask again for what is on its way.
const ROUND_TRIPS: u32 = 4;
/// A slow peer's longest wait.
const ASK_AGAIN_SLOW: Duration = Duration::from_secs(60);
/// A connection is given up after so long without an acknowledgement, as it would be without a longest wait. The
/// other end, which may have nothing to say, would not hear that it is over.
const GIVE_UP: Duration = Duration::from_secs(15 * 60);
/// `TCP_RTO_MAX_MS` of Linux 6.15 (include/uapi/linux/tcp.h), in milliseconds.
const TCP_RTO_MAX_MS: libc::c_int = 44;

/// Has what is not acknowledged sent again soon, so that it arrives soon after an outage. Before Linux 6.15 the system
/// does as it does: that is no error. To be called when something has passed both ways.
///
/// # Errors
/// The system's.
pub fn ask_again_soon(socket: BorrowedFd<'_>) -> io::Result<()> {
    let trip = round_trip(socket)?;
    let wait = trip.saturating_mul(ROUND_TRIPS);
    let wait = wait.clamp(ASK_AGAIN, ASK_AGAIN_SLOW);
    let millis = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    match set_longest_wait(socket, millis) {
        Ok(()) => {
            let give_up = u32::try_from(GIVE_UP.as_millis()).unwrap_or(u32::MAX);
            Ok(set_tcp_user_timeout(socket, give_up)?)
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the system thinks that a round trip takes; nothing if it has not seen one.
///
/// # Errors
/// The system's.
#[expect(unsafe_code, reason = "no crate that is used here has the option")]
pub fn round_trip(socket: BorrowedFd<'_>) -> io::Result<Duration> {
    // SAFETY: all of `tcp_info` is integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    // SAFETY: both live for the call, and the size is that of the value.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut size,
        )
    };
    match got {
        0 => Ok(Duration::from_micros(info.tcpi_rtt.into())),
        _ => Err(io::Error::last_os_error()),
    }
}

#[expect(unsafe_code, reason = "no crate that is used here has the option")]
fn set_longest_wait(socket: BorrowedFd<'_>, millis: u32) -> io::Result<()> {
    const SIZE: libc::socklen_t = 4;
    // SAFETY: the value lives for the call, and is as large as is said.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_RTO_MAX_MS,
            (&raw const millis).cast(),
            SIZE,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use rustix::net::sockopt::tcp_user_timeout;

    use super::*;

    #[test]
    fn a_connection_takes_what_is_asked_of_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let socket = stream.as_fd();
        assert!(round_trip(socket).expect("it has passed") < Duration::from_secs(1));
        ask_again_soon(socket).expect("taken");
        // Where the system has a longest wait, it does not give up earlier for it.
        let has = set_longest_wait(socket, 2_000).is_ok();
        let give_up = tcp_user_timeout(socket).expect("a socket");
        assert_eq!(give_up, if has { 900_000 } else { 0 });
    }
}
