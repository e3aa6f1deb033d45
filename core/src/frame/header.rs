//! The header of a frame (RFC 6455 section 5.2).

use super::mask::Mask;
use super::opcode::OpCode;
use super::short::Short;

pub(super) const FIN: u8 = 0x80;
pub(super) const RSV: u8 = 0x70;
pub(super) const MASKED: u8 = 0x80;
/// The longest payload that needs no more bytes for its length.
pub(super) const SHORT: usize = 125;
/// In place of the length: two bytes of length follow.
pub(super) const LENGTH_16: u8 = 126;
/// In place of the length: eight bytes of length follow.
pub(super) const LENGTH_64: u8 = 127;

/// What the header of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    first: u8,
    /// The key that the payload is masked with, if it is.
    pub mask: Option<Mask>,
    /// How long the payload is.
    pub length: u64,
}

impl Header {
    /// The size of the longest one.
    pub const MAX_SIZE: usize = 14;

    /// The header of a frame that is no fragment.
    pub fn new(opcode: OpCode, length: u64, mask: Option<Mask>) -> Self {
        Self { first: FIN | opcode.bits(), mask, length }
    }

    /// Reads the header at the start of `bytes` and its size; `None` while bytes are missing.
    ///
    /// No rule is looked at here: [`Tracker::step`](super::Tracker::step) does that.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let &[first, second, ref rest @ ..] = bytes else { return None };
        let (length, rest, size) = match second & !MASKED {
            LENGTH_16 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*length)), rest, 4)
            }
            LENGTH_64 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest, 10)
            }
            length => (u64::from(length), rest, 2),
        };
        if second & MASKED == 0 {
            return Some((Self { first, mask: None, length }, size));
        }
        let mask = rest.first_chunk()?;
        Some((Self { first, mask: Some(*mask), length }, size + mask.len()))
    }

    /// What the frame is for; `None` for an opcode that RFC 6455 reserves.
    #[inline]
    pub fn opcode(&self) -> Option<OpCode> {
        OpCode::of(self.first)
    }

    /// Whether it is the last frame of a message, or a control frame.
    #[inline]
    pub fn is_final(&self) -> bool {
        self.first & FIN != 0
    }

    /// The bits RSV1 (0x40), RSV2 (0x20) and RSV3 (0x10).
    #[inline]
    pub fn reserved(&self) -> u8 {
        self.first & RSV
    }

    /// The header as it is sent, with the length in its shortest form.
    pub fn encode(&self) -> Short<{ Self::MAX_SIZE }> {
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        let mut encoded = Short::new();
        encoded.append([self.first]);
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length), _) if usize::from(length) <= SHORT => encoded.append([masked | length]),
            (_, Ok(length)) => {
                encoded.append([masked | LENGTH_16]);
                encoded.append(length.to_be_bytes());
            }
            _ => {
                encoded.append([masked | LENGTH_64]);
                encoded.append(self.length.to_be_bytes());
            }
        }
        encoded.append(self.mask.into_iter().flatten());
        encoded
    }
}

#[cfg(test)]
mod tests {
    use super::super::opcode::{Control, Data};
    use super::*;

    const TEXT: OpCode = OpCode::Data(Data::Text);

    #[test]
    fn examples_of_rfc_6455_section_5_7() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for (bytes, opcode, length, mask) in [
            (&[0x81, 0x05][..], TEXT, 5, None),
            (&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d], TEXT, 5, Some(key)),
            (&[0x89, 0x05], OpCode::Control(Control::Ping), 5, None),
            (&[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d], OpCode::Control(Control::Pong), 5, Some(key)),
            (&[0x82, 0x7e, 0x01, 0x00], OpCode::Data(Data::Binary), 256, None),
            (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], OpCode::Data(Data::Binary), 65536, None),
        ] {
            let header = Header::new(opcode, length, mask);
            assert_eq!(&*header.encode(), bytes);
            assert_eq!(Header::parse(bytes), Some((header, bytes.len())));
            assert_eq!(header.opcode(), Some(opcode));
        }
        // A fragmented text message.
        let (first, _) = Header::parse(&[0x01, 0x03]).unwrap();
        assert_eq!((first.opcode(), first.is_final()), (Some(TEXT), false));
        let (last, _) = Header::parse(&[0x80, 0x02]).unwrap();
        assert_eq!((last.opcode(), last.is_final()), (Some(OpCode::Data(Data::Continue)), true));
    }

    #[test]
    fn every_form_of_length() {
        let sizes = [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10), (u64::MAX >> 1, 10)];
        for (length, size) in sizes {
            for mask in [None, Some([1, 2, 3, 4])] {
                let header = Header::new(TEXT, length, mask);
                let encoded = header.encode();
                assert_eq!(encoded.len(), size + mask.map_or(0, |mask| mask.len()));
                assert_eq!(Header::parse(&encoded), Some((header, encoded.len())));
                for missing in 0..encoded.len() {
                    assert_eq!(Header::parse(&encoded[..missing]), None);
                }
            }
        }
    }

    #[test]
    fn what_no_rule_allows_is_read_all_the_same() {
        let (header, size) = Header::parse(&[0xff, 0x7e, 0, 1]).unwrap();
        assert_eq!((header.opcode(), header.reserved()), (None, RSV));
        assert_eq!((header.length, size), (1, 4));
    }
}
