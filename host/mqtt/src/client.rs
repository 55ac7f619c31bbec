//! The other side, for tests and benchmarks: what a client sends, and what it hears.
