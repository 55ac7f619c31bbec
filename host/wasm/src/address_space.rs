//! How much address space this process has: 2^47 bytes on most machines, 2^39 on many ARM boards.

/// Bytes of user address space, found from where the kernel put the stack. On doubt the smaller
/// answer, which costs speed and never a failure.
pub(crate) fn bytes() -> u64 {
    const SMALL: u64 = 1 << 39;
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return SMALL;
    };
    let stack_end = |line: &str| {
        let range = line.strip_suffix("[stack]")?.split_whitespace().next()?;
        u64::from_str_radix(range.split_once('-')?.1, 16).ok()
    };
    match maps.lines().find_map(stack_end) {
        Some(end) if end > SMALL => end.checked_next_power_of_two().unwrap_or(end),
        _ => SMALL,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_address_space_is_a_power_of_two_of_at_least_39_bits() {
        let bytes = super::bytes();
        assert!(bytes.is_power_of_two() && bytes >= 1 << 39, "{bytes:#x}");
    }
}
