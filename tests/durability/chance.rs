//! Chance that can be repeated: SplitMix64 from a seed that is printed.

use std::time::Duration;

/// Numbers from a seed.
pub struct Chance(u64);

impl Chance {
    /// From `EDGE_SEED`, or another one for each run; says which.
    pub fn new(what: &str) -> Self {
        let seed = match std::env::var("EDGE_SEED") {
            Ok(text) => text.parse().expect("EDGE_SEED is a number"),
            Err(_) => {
                use std::hash::BuildHasher as _;
                std::hash::RandomState::new().hash_one(what) >> 32
            }
        };
        eprintln!("{what}: EDGE_SEED={seed}");
        Self(seed)
    }

    /// Another one that follows from this one.
    pub fn child(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to, and without, a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Lets a random time pass. Nothing is waited for: the moment is what is random.
    pub fn moment(&mut self, longest: Duration) {
        let micros = u64::try_from(longest.as_micros()).expect("short");
        std::thread::sleep(Duration::from_micros(self.below(micros.max(1))));
    }
}
