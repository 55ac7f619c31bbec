//! Ways not to come back.

use std::hint::black_box;

use crate::bindings::edge::module::types::Failure;

/// Uses the CPU until somebody ends it.
pub fn spin() -> ! {
    let mut n = 0u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Traps without a word.
pub fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

/// Calls itself until the stack ends.
pub fn recurse() -> Result<(), Failure> {
    black_box(deeper(0));
    Ok(())
}

fn deeper(n: u64) -> u64 {
    if black_box(n) == u64::MAX {
        return n;
    }
    // Used after the call, so that the call cannot become a loop.
    deeper(n + 1) ^ black_box(n)
}

/// Takes memory, a mebibyte at a time, and writes to all of it. When the host gives no more, Rust
/// ends the instance.
pub fn allocate(mib: Option<u64>) -> Result<(), Failure> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while mib.is_none_or(|mib| (taken.len() as u64) < mib) {
        taken.push(black_box(vec![0xa5; 1 << 20]));
    }
    Ok(())
}
