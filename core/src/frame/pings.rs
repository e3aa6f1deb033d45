//! Pings of our own, and their Pongs among those of the application (RFC 6455 section 5.5.3).

use super::control::{encode, ControlFrame, Payload};
use super::mask::Mask;
use super::opcode::Control;

/// The Pings that were sent to one side, of which several may wait for their Pongs.
///
/// Each has the same token and a number of its own as payload. A Pong with the token and a number
/// that was sent is ours, whether it comes first or again: no application has seen the token.
#[derive(Clone, Copy, Debug)]
pub struct Pings {
    token: [u8; Self::TOKEN],
    sent: u32,
    answered: u32,
}

impl Pings {
    const TOKEN: usize = 8;

    /// The length of their payload.
    pub const PAYLOAD: usize = Self::TOKEN + size_of::<u32>();

    /// None sent yet. `token` is what no application has in its own Pings: random bytes.
    pub fn new(token: [u8; Self::TOKEN]) -> Self {
        Self { token, sent: 0, answered: 0 }
    }

    /// The next Ping, which counts as sent from now on; masked with `key` to a backend.
    pub fn next(&mut self, key: Option<Mask>) -> ControlFrame {
        self.sent = self.sent.saturating_add(1);
        encode(Control::Ping, self.token.into_iter().chain(self.sent.to_be_bytes()), key)
    }

    /// The number of the last Ping; 0 if there was none.
    pub fn last(&self) -> u32 {
        self.sent
    }

    /// How many wait for a Pong.
    pub fn outstanding(&self) -> u32 {
        self.sent.saturating_sub(self.answered)
    }

    /// Takes the Pong of a number ([`Event::OwnPong`](super::Event::OwnPong)), and tells whether
    /// it is news. The Pings before that one are answered too: a peer may leave them out (RFC 6455
    /// section 5.5.3).
    pub fn answer(&mut self, number: u32) -> bool {
        let is_news = number > self.answered && number <= self.sent;
        if is_news {
            self.answered = number;
        }
        is_news
    }

    /// Whether a Pong that says to be `length` long may be ours, as far as its payload has come.
    pub(super) fn may_own(&self, length: u64, so_far: Payload<'_>) -> bool {
        self.sent > 0
            && length == Self::PAYLOAD as u64
            && so_far.iter().zip(self.token).all(|(byte, own)| byte == own)
    }

    /// The number of a Pong of ours, if it is one.
    pub(super) fn number(&self, payload: Payload<'_>) -> Option<u32> {
        if !self.may_own(payload.len() as u64, payload) {
            return None;
        }
        let number = payload.iter().skip(Self::TOKEN);
        let number = number.fold(0, |number, byte| number << 8 | u32::from(byte));
        (1..=self.sent).contains(&number).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_were_sent_are_ours() {
        let mut pings = Pings::new(*b"01234567");
        let payload = |number: u32| [&b"01234567"[..], &number.to_be_bytes()].concat();
        let number = |pings: &Pings, payload: &[u8]| pings.number(Payload::new(payload, None));
        assert_eq!(number(&pings, &payload(0)), None);
        assert_eq!(number(&pings, &payload(1)), None);

        assert_eq!(pings.next(None)[2..], payload(1));
        assert_eq!(pings.next(None)[2..], payload(2));
        assert_eq!(number(&pings, &payload(0)), None);
        assert_eq!(number(&pings, &payload(1)), Some(1));
        assert_eq!(number(&pings, &payload(2)), Some(2));
        assert_eq!(number(&pings, &payload(3)), None);
        assert_eq!(number(&pings, b"012345678901"), None);
        assert_eq!(number(&pings, b"01234567\0\0\0\x01\0"), None);
        assert_eq!(number(&pings, b"01234567"), None);
        assert_eq!(number(&pings, b"11234567\0\0\0\x01"), None);
    }

    #[test]
    fn an_answer_is_one_for_the_pings_before() {
        let mut pings = Pings::new([0; 8]);
        for _ in 0..3 {
            pings.next(None);
        }
        assert_eq!(pings.outstanding(), 3);
        assert!(pings.answer(2));
        assert_eq!(pings.outstanding(), 1);
        assert!(!pings.answer(1));
        assert!(!pings.answer(2));
        assert!(!pings.answer(4));
        assert!(pings.answer(3));
        assert_eq!((pings.outstanding(), pings.last()), (0, 3));
    }
}
