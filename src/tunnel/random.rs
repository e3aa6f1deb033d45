//! What nobody can foretell.

use websocket_guard_core::frame::Mask;

/// A key to mask a frame with (RFC 6455 section 5.3).
pub fn fresh_key() -> Mask {
    random()
}

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: the buffer has that size.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, libc::GRND_NONBLOCK) };
    if usize::try_from(filled) != Ok(N) {
        // A kernel that has no such call, or has just started.
        // SAFETY: the function has no conditions.
        bytes.iter_mut().for_each(|byte| *byte = (unsafe { libc::rand() } >> 16) as u8);
    }
    bytes
}
