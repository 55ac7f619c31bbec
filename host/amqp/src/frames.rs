//! Looks at the frames of a peer before the AMQP library does, which panics on those that are shorter than
//! their header.
//!
//! ```text
//!   "AMQP" id major minor revision        a protocol header, 8 bytes
//!   size(4) doff(1) type(1) channel(2)    a frame (AMQP 1.0, part 2, 2.3.1): size counts all of it
//! ```

/// Bytes of a protocol header, and of a frame's head.
const HEAD: usize = 8;

/// A frame that no peer in its senses sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameFault {
    /// It has not even a head.
    #[error("a frame of {0} bytes; none has fewer than 8")]
    Short(u32),
    /// Its head would be longer than itself, or shorter than it can be.
    #[error("a frame of {size} bytes whose head has {head}")]
    Head {
        /// Bytes of the frame.
        size: u32,
        /// Bytes of its head.
        head: u32,
    },
    /// Over what was agreed on.
    #[error("a frame of {0} bytes; at most {1} were agreed on")]
    Long(u32, u32),
}

/// Where a stream stands in its frames.
#[derive(Debug)]
pub(crate) struct Frames {
    head: [u8; HEAD],
    have: usize,
    /// Bytes of the body of this frame that are still to come.
    left: usize,
    limit: u32,
}

impl Frames {
    /// At the beginning of a stream whose frames have at most `limit` bytes.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            head: [0; HEAD],
            have: 0,
            left: 0,
            limit,
        }
    }

    /// Looks at what came next; the stream is of no use after a fault.
    pub(crate) fn check(&mut self, mut bytes: &[u8]) -> Result<(), FrameFault> {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have >= 4 {
                // Not later: a frame of seven bytes is whole before its head would be.
                self.size()?;
            }
            if self.have < HEAD {
                return Ok(());
            }
            self.have = 0;
            self.left = self.body()?;
        }
    }

    /// Bytes of this frame; none: it is a protocol header.
    fn size(&self) -> Result<Option<u32>, FrameFault> {
        let [a, b, c, d, ..] = self.head;
        if [a, b, c, d] == *b"AMQP" {
            return Ok(None);
        }
        match u32::from_be_bytes([a, b, c, d]) {
            size if size < 8 => Err(FrameFault::Short(size)),
            size if size > self.limit => Err(FrameFault::Long(size, self.limit)),
            size => Ok(Some(size)),
        }
    }

    /// Bytes that follow this head.
    fn body(&self) -> Result<usize, FrameFault> {
        let Some(size) = self.size()? else {
            return Ok(0);
        };
        let doff = self.head[4];
        let head = u32::from(doff) * 4;
        if head < 8 || head > size {
            return Err(FrameFault::Head { size, head });
        }
        // At least 8, and no more than the limit.
        Ok(size as usize - HEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(size: u32, doff: u8) -> Vec<u8> {
        let mut frame = size.to_be_bytes().to_vec();
        frame.extend([doff, 0, 0, 0]);
        frame.resize((size as usize).max(8), 7);
        frame
    }

    #[test]
    fn frames_are_followed_wherever_they_are_cut() {
        let mut stream = b"AMQP\x03\x01\x00\x00".to_vec();
        for size in [8, 9, 100, 8] {
            stream.extend(frame(size, 2));
        }
        stream.extend(b"AMQP\x00\x01\x00\x00");
        stream.extend(frame(40, 10));
        let good = stream.len();
        stream.extend(frame(7, 2));
        for piece in 1..stream.len() {
            let mut frames = Frames::new(100);
            let mut seen = 0;
            let fault = stream.chunks(piece).find_map(|chunk| {
                seen += chunk.len();
                frames.check(chunk).err()
            });
            assert_eq!(fault, Some(FrameFault::Short(7)), "in pieces of {piece}");
            assert!(seen > good);
        }
    }

    #[test]
    fn a_short_frame_is_noticed_before_its_head_is_whole() {
        let mut frames = Frames::new(100);
        frames.check(&[0, 0, 0]).expect("nothing yet");
        assert_eq!(frames.check(&[7]), Err(FrameFault::Short(7)));
    }

    #[test]
    fn heads_that_lie_are_named() {
        let fault = |frame: &[u8]| Frames::new(100).check(frame).expect_err("a fault");
        assert_eq!(fault(&frame(0, 2)), FrameFault::Short(0));
        assert_eq!(fault(&frame(101, 2)), FrameFault::Long(101, 100));
        assert_eq!(fault(&frame(8, 3)), FrameFault::Head { size: 8, head: 12 });
        assert_eq!(fault(&frame(8, 1)), FrameFault::Head { size: 8, head: 4 });
    }
}
