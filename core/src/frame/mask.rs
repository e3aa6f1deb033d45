//! Masking (RFC 6455 section 5.3).

/// The masking key of a frame.
pub type Mask = [u8; 4];

/// Masks a payload from its first byte on, or unmasks it, which is the same.
pub fn mask(payload: &mut [u8], mask: Mask) {
    // So many bytes at once as a processor has registers for.
    let mut wide = [0; 64];
    wide.iter_mut().zip(mask.iter().cycle()).for_each(|(to, from)| *to = *from);
    for chunk in payload.chunks_mut(wide.len()) {
        chunk.iter_mut().zip(wide).for_each(|(byte, key)| *byte ^= key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_6455_section_5_7() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn every_byte_has_its_key() {
        let key = [1, 2, 4, 8];
        for length in 0..200 {
            let mut payload = vec![0; length];
            mask(&mut payload, key);
            assert!(payload.iter().enumerate().all(|(at, &byte)| byte == key[at % 4]));
        }
    }
}
