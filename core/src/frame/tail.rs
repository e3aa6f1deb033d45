//! The bytes of a frame that is not there as far as it must be.

use super::control::MAX_PAYLOAD;
use super::mask::Mask;
use super::short::Short;

/// What is kept after [`Event::Incomplete`](super::Event::Incomplete), to be looked at again in
/// front of the bytes that come next.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    bytes: Short<{ Self::CAPACITY }>,
    held: bool,
}

impl Tail {
    /// The most bytes that are kept: a control frame less its last byte. That is more than a header.
    pub const CAPACITY: usize = 2 + size_of::<Mask>() + MAX_PAYLOAD - 1;

    /// Keeps the bytes from the start of the frame on, and remembers whether they wait for more
    /// (`held`) or were passed on.
    pub fn new(bytes: &[u8], held: bool) -> Self {
        let mut tail = Self { bytes: Short::new(), held };
        tail.bytes.append(bytes.iter().copied());
        tail
    }

    /// The bytes. They go in front of those that are read next.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many of the bytes were passed on and are not to be passed on again: all or none.
    pub fn passed(&self) -> usize {
        if self.held {
            0
        } else {
            self.bytes.len()
        }
    }
}
