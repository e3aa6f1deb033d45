//! WebSocket frames (RFC 6455 section 5.2), as much of them as an echo needs.

use anyhow::{bail, Result};

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;

/// What the bytes at the start of a frame say about it.
pub struct Head {
    pub opcode: u8,
    mask: [u8; 4],
    pub header: usize,
    pub payload: usize,
}

impl Head {
    /// Reads the head of a masked frame; `None` while bytes are missing.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        if first & !0x0f != FINAL || second & MASKED == 0 {
            bail!("a client sent a frame that is fragmented or not masked");
        }
        let (offset, payload) = match second & !MASKED {
            126 => match bytes.get(2..4).and_then(|length| length.try_into().ok()) {
                Some(length) => (4, u64::from(u16::from_be_bytes(length))),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|length| length.try_into().ok()) {
                Some(length) => (10, u64::from_be_bytes(length)),
                None => return Ok(None),
            },
            length => (2, u64::from(length)),
        };
        let Some(mask) = bytes.get(offset..offset + 4).and_then(|mask| mask.try_into().ok()) else {
            return Ok(None);
        };
        let payload = usize::try_from(payload)?;
        Ok(Some(Self { opcode: first & 0x0f, mask, header: offset + 4, payload }))
    }

    /// Masks or unmasks, which is the same.
    pub fn mask(&self, payload: &mut [u8]) {
        mask(payload, self.mask);
    }
}

/// The header of a server's frame.
pub fn header(opcode: u8, payload: usize) -> Vec<u8> {
    let mut header = vec![FINAL | opcode];
    if payload < 126 {
        header.push(payload as u8);
    } else if let Ok(length) = u16::try_from(payload) {
        header.push(126);
        header.extend(length.to_be_bytes());
    } else {
        header.push(127);
        header.extend((payload as u64).to_be_bytes());
    }
    header
}

/// A message that a client sends, and the one that must come back.
pub struct Echo {
    pub request: Vec<u8>,
    pub answer: Vec<u8>,
    payload: usize,
    number: u64,
}

impl Echo {
    const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x0f];

    /// Of at least eight bytes, since each message carries its number.
    pub fn new(size: usize) -> Self {
        let size = size.max(size_of::<u64>());
        let mut payload: Vec<u8> = (0..size).map(|at| (at * 31 + at / 251) as u8).collect();
        let mut answer = header(BINARY, size);
        let mut request = answer.clone();
        if let Some(length) = request.get_mut(1) {
            *length |= MASKED;
        }
        answer.extend(&payload);
        mask(&mut payload, Self::MASK);
        request.extend(Self::MASK);
        request.extend(payload);
        Self { request, answer, payload: size, number: 0 }
    }

    /// Numbers the next message, so that no answer can pass for that of another.
    pub fn advance(&mut self) {
        self.number += 1;
        let mut number = self.number.to_be_bytes();
        put(&mut self.answer, self.payload, number);
        mask(&mut number, Self::MASK);
        put(&mut self.request, self.payload, number);
    }
}

/// Writes `number` where the payload begins.
fn put(frame: &mut [u8], payload: usize, number: [u8; 8]) {
    let header = frame.len() - payload;
    frame.iter_mut().skip(header).zip(number).for_each(|(to, from)| *to = from);
}

fn mask(payload: &mut [u8], mask: [u8; 4]) {
    let mut wide = [0; 64];
    wide.iter_mut().zip(mask.iter().cycle()).for_each(|(to, from)| *to = *from);
    for chunk in payload.chunks_mut(wide.len()) {
        chunk.iter_mut().zip(wide).for_each(|(byte, key)| *byte ^= key);
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_comes_back() {
        for (size, long) in [(8, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
            let mut echo = Echo::new(size);
            echo.advance();
            assert!(
                (0..long + 4).all(|length| Head::parse(&echo.request[..length]).unwrap().is_none())
            );
            let head = Head::parse(&echo.request).unwrap().unwrap();
            assert_eq!((head.opcode, head.header, head.payload), (BINARY, long + 4, size));
            let mut answer = header(BINARY, size);
            let mut payload = echo.request[head.header..].to_vec();
            head.mask(&mut payload);
            assert_eq!(payload[..8], 1u64.to_be_bytes());
            answer.extend(payload);
            assert!(answer == echo.answer);
        }
    }

    #[test]
    fn only_whole_masked_frames() {
        assert!(Head::parse(&[0x02, 0x80, 0, 0, 0, 0]).is_err());
        assert!(Head::parse(&[0x82, 0x00]).is_err());
    }
}
