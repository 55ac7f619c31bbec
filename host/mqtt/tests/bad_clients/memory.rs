//! Counts what the process has allocated. Each test is a process of its own under nextest, and those that ask
//! for it take turns otherwise.

#![allow(unsafe_code, reason = "an allocator cannot be written in another way")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{Mutex, MutexGuard};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static TURN: Mutex<()> = Mutex::const_new(());

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is handed on to the system's allocator with the layouts that came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(live, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

/// What was allocated when this was made.
pub struct Watermark {
    start: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Watermark {
    /// From here on.
    pub async fn set() -> Self {
        let turn = TURN.lock().await;
        let start = LIVE.load(Relaxed);
        MOST.store(start, Relaxed);
        Self { start, _turn: turn }
    }

    /// Bytes that are allocated now and were not then.
    pub fn more(&self) -> usize {
        LIVE.load(Relaxed).saturating_sub(self.start)
    }

    /// The most of them that there were at a time.
    pub fn most(&self) -> usize {
        MOST.load(Relaxed).saturating_sub(self.start)
    }
}
