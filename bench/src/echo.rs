//! The message of the load, and what must come back.

use websocket_guard_core::frame::{mask, Data, Header, Mask, OpCode};

/// A message that a client sends, and the one that must come back.
pub struct Echo {
    pub request: Vec<u8>,
    pub answer: Vec<u8>,
    payload: usize,
    number: u64,
}

impl Echo {
    const MASK: Mask = [0x5a, 0xc3, 0x96, 0x0f];

    /// Of at least eight bytes, since each message carries its number.
    pub fn new(size: usize) -> Self {
        let size = size.max(size_of::<u64>());
        let mut payload: Vec<u8> = (0..size).map(|at| (at * 31 + at / 251) as u8).collect();
        let header = |key| Header::new(OpCode::Data(Data::Binary), size as u64, key).encode();
        let mut answer = header(None).to_vec();
        answer.extend(&payload);
        mask(&mut payload, Self::MASK);
        let mut request = header(Some(Self::MASK)).to_vec();
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

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_comes_back() {
        for size in [8, 125, 126, 65535, 65536] {
            let mut echo = Echo::new(size);
            echo.advance();
            let (header, length) = Header::parse(&echo.request).unwrap();
            let mut payload = echo.request[length..].to_vec();
            mask(&mut payload, header.mask.unwrap());
            assert_eq!(payload.len(), size);
            assert_eq!(payload[..8], 1u64.to_be_bytes());
            let (header, length) = Header::parse(&echo.answer).unwrap();
            assert_eq!((header.mask, header.length), (None, size as u64));
            assert!(payload == echo.answer[length..]);
        }
    }
}
