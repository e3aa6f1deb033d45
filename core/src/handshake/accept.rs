//! `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2).

use base64::{engine::general_purpose::STANDARD, Engine};
use sha1::{Digest, Sha1};

/// The value of a Sec-WebSocket-Accept header: the base64 of a SHA-1.
pub type Accept = [u8; 28];

/// The answer that proves that the backend has read `key`.
///
/// The key is taken as it was sent, without a look at its form.
pub fn accept(key: &[u8]) -> Accept {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [b'='; 28];
    let encoded = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(encoded, Ok(28));
    accept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_6455_section_1_3() {
        assert_eq!(&accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn any_length_of_key() {
        // Computed with Python's hashlib and base64.
        assert_eq!(&accept(b""), b"Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
        assert_ne!(accept(&[0; 65536]), accept(&[0; 65535]));
    }
}
