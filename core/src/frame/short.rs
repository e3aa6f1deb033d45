//! A few bytes, without memory of the heap.

use core::fmt;
use core::ops::{Deref, DerefMut};

/// At most `N` bytes, and no more than 255.
#[derive(Clone, Copy)]
pub struct Short<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Short<N> {
    const FITS: () = assert!(N <= u8::MAX as usize);

    /// No bytes yet.
    pub(super) const fn new() -> Self {
        let () = Self::FITS;
        Self { bytes: [0; N], length: 0 }
    }

    /// Adds bytes at the end. What there is no room for is left out.
    pub(super) fn append(&mut self, bytes: impl IntoIterator<Item = u8>) {
        let room = self.bytes.iter_mut().skip(usize::from(self.length));
        for (to, from) in room.zip(bytes) {
            *to = from;
            self.length += 1;
        }
    }
}

impl<const N: usize> Deref for Short<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl<const N: usize> DerefMut for Short<N> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..usize::from(self.length)).unwrap_or_default()
    }
}

impl<const N: usize> PartialEq for Short<N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<const N: usize> Eq for Short<N> {}

impl<const N: usize> fmt::Debug for Short<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
