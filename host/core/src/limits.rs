//! Limits and their defaults. Each is a setting; these are what holds where nothing is set.

use std::time::Duration;

use crate::ByteSize;

/// Largest message, body and properties together, as IoT Hub has it.
pub const MESSAGE: ByteSize = ByteSize(256 << 10);
/// Largest twin section, as JSON text.
pub const TWIN: ByteSize = ByteSize(32 << 10);
/// Largest payload of a direct method, either way.
pub const METHOD: ByteSize = ByteSize(128 << 10);
/// Modules that a message may pass before it counts as caught in a loop of routes.
pub const HOPS: u8 = 32;
/// Deliveries that end in a trap or a missed deadline before the message is a dead letter.
pub const FAILED_ATTEMPTS: u32 = 3;
/// Messages that one step may send.
pub const SENDS_PER_STEP: usize = 1_000;
/// Wait before the first repetition of a delivery whose `retry` names no delay, doubled each time
/// up to [`RETRY_MAX`].
pub const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two deliveries of one message.
pub const RETRY_MAX: Duration = Duration::from_secs(60);
/// Time to live where neither route nor deployment names one; the seed system's default manifest
/// says the same.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(7_200);
/// Dead letters kept; the oldest gives way.
pub const DEAD_LETTERS: usize = 10_000;
/// Bytes of dead letters kept; the oldest give way.
pub const DEAD_LETTER_BYTES: usize = 32 << 20;
/// Bytes of a reason that are kept with a dead letter.
pub const DEAD_REASON: usize = 4 << 10;
