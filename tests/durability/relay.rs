//! A link that TCP itself sees: IP packets go through this process, which has them wait, and drops some.
//!
//! ```text
//!   child ── to FAR ──► tun ──► relay: lost by chance, or due after the delay ──► tun ── from FAR ──► parent at NEAR
//! ```
//!
//! One interface of a kernel is enough for both ends: source and destination are exchanged on the way, so that what
//! is sent to [`FAR`] comes in at [`NEAR`] and the other way round. No checksum changes by that.
//!
//! The kernels that tests run on have no netem.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::ioctl::{Updater, ioctl, opcode};

use super::chance::Chance;

/// Where the parent listens.
pub const NEAR: &str = "10.9.0.1";
/// Where its children reach it.
pub const FAR: &str = "10.9.0.2";

/// How often packets are looked at whose time has come.
const TICK: Duration = Duration::from_millis(1);

/// `struct ifreq`: the name of an interface, and its flags.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);
/// IP packets, without a word of the kernel's before each.
const TUN_WITHOUT_INFO: u16 = 0x0001 | 0x1000;

/// The link; it holds as long as the process does.
pub struct Relay {
    /// Of a thousand packets, each way.
    loss: Arc<AtomicU32>,
    passed: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Relay {
    /// A link on which a packet takes so long, each way. To be called in namespaces of one's own.
    pub fn new(delay: Duration) -> Self {
        let tun = interface("far0");
        for words in [
            format!("addr add {NEAR}/24 dev far0"),
            "link set far0 up".to_owned(),
        ] {
            let ip = Command::new("ip").args(words.split(' ')).status();
            assert!(ip.unwrap().success(), "ip {words}");
        }
        let relay = Self {
            loss: Arc::default(),
            passed: Arc::default(),
            lost: Arc::default(),
        };
        let waiting = Arc::<Mutex<VecDeque<(Instant, Vec<u8>)>>>::default();
        let (mut from, mut to) = (tun.try_clone().unwrap(), tun);
        let (loss, passed, lost) = (relay.loss.clone(), relay.passed.clone(), relay.lost.clone());
        let come = waiting.clone();
        let mut chance = Chance::new("relay");
        std::thread::spawn(move || {
            let mut room = [0; 64 << 10];
            while let Ok(length) = from.read(&mut room) {
                let packet = &mut room[..length];
                // IPv4 alone: what a kernel says by itself in IPv6 is of no interest.
                if length < 20 || packet[0] >> 4 != 4 {
                    continue;
                }
                if chance.below(1_000) < u64::from(loss.load(Ordering::Relaxed)) {
                    lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                passed.fetch_add(1, Ordering::Relaxed);
                let (head, destination) = packet.split_at_mut(16);
                head[12..].swap_with_slice(&mut destination[..4]);
                let due = Instant::now() + delay;
                come.lock().unwrap().push_back((due, packet.to_vec()));
            }
        });
        std::thread::spawn(move || {
            loop {
                let now = Instant::now();
                let next = {
                    let mut waiting = waiting.lock().unwrap();
                    let is_due = waiting.front().is_some_and(|(due, _)| *due <= now);
                    is_due.then(|| waiting.pop_front()).flatten()
                };
                match next {
                    // An interface that is down takes nothing.
                    Some((_, packet)) => drop(to.write(&packet)),
                    None => std::thread::sleep(TICK),
                }
            }
        });
        relay
    }

    /// Has so many packets of a thousand lost; 1000: the link is cut.
    pub fn lose(&self, of_thousand: u32) {
        self.loss.store(of_thousand, Ordering::Relaxed);
    }

    /// Packets that passed, and that were lost.
    pub fn packets(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.passed), of(&self.lost))
    }
}

/// Makes an interface whose packets are read and written here.
#[allow(unsafe_code, reason = "no crate that we have makes such interfaces")]
fn interface(name: &str) -> File {
    let tun = File::options().read(true).write(true).open("/dev/net/tun");
    let tun = tun.expect("/dev/net/tun is there");
    let mut request = Request {
        name: [0; 16],
        flags: TUN_WITHOUT_INFO,
        rest: [0; 22],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: TUNSETIFF takes a `struct ifreq`, which is what this is, writes the name to it and keeps no pointer.
    let made = unsafe { ioctl(&tun, Updater::<TUNSETIFF, Request>::new(&mut request)) };
    made.expect("an interface is made");
    tun
}
