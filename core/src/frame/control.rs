//! Control frames (RFC 6455 section 5.5), those that came and those to send.

use core::fmt;

use super::close::CloseCode;
use super::header::{Header, SHORT};
use super::mask::{mask, Mask};
use super::opcode::{Control, OpCode};
use super::short::Short;

/// The longest payload of a control frame.
pub const MAX_PAYLOAD: usize = SHORT;

/// The size of the longest control frame.
const MAX_SIZE: usize = 2 + size_of::<Mask>() + MAX_PAYLOAD;

/// A control frame to send. A client's is masked, and with a key that nobody can foretell (RFC
/// 6455 section 5.3): so is every frame that goes to a backend.
pub type ControlFrame = Short<MAX_SIZE>;

/// A Ping, Pong or Close with any payload; `None` if that is longer than a control frame may hold.
pub fn frame(control: Control, payload: &[u8], key: Option<Mask>) -> Option<ControlFrame> {
    (payload.len() <= MAX_PAYLOAD).then(|| encode(control, payload.iter().copied(), key))
}

/// A Close. A reason that is too long is cut between two characters (RFC 6455 section 5.5.1).
pub fn close(code: CloseCode, reason: &str, key: Option<Mask>) -> ControlFrame {
    let code = code.0.to_be_bytes();
    let mut end = reason.len().min(MAX_PAYLOAD - code.len());
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    encode(Control::Close, code.into_iter().chain(reason.bytes().take(end)), key)
}

/// `payload` is at most [`MAX_PAYLOAD`] long.
pub(super) fn encode(
    control: Control,
    payload: impl Iterator<Item = u8>,
    key: Option<Mask>,
) -> ControlFrame {
    let mut body = Short::<MAX_PAYLOAD>::new();
    body.append(payload);
    if let Some(key) = key {
        mask(&mut body, key);
    }
    let header = Header::new(OpCode::Control(control), body.len() as u64, key).encode();
    let mut frame = ControlFrame::new();
    frame.append(header.iter().chain(&*body).copied());
    frame
}

/// The payload of a control frame that came, as it lies in the buffer that was read into.
#[derive(Clone, Copy)]
pub struct Payload<'b> {
    bytes: &'b [u8],
    mask: Mask,
}

impl<'b> Payload<'b> {
    pub(super) fn new(bytes: &'b [u8], mask: Option<Mask>) -> Self {
        Self { bytes, mask: mask.unwrap_or_default() }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes, unmasked.
    pub fn iter(&self) -> impl Iterator<Item = u8> + 'b {
        let keys = self.mask.into_iter().cycle();
        self.bytes.iter().zip(keys).map(|(&byte, key)| byte ^ key)
    }

    /// A copy of the bytes, unmasked.
    pub fn to_bytes(&self) -> Short<MAX_PAYLOAD> {
        let mut bytes = Short::new();
        bytes.append(self.iter());
        bytes
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Payload<'_> {}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A Close that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'b> {
    payload: Payload<'b>,
}

impl<'b> Close<'b> {
    pub(super) fn new(payload: Payload<'b>) -> Self {
        Self { payload }
    }

    /// Its code, if it has one: [`CloseCode::STATUS`] stands for none.
    pub fn code(&self) -> Option<CloseCode> {
        let mut bytes = self.payload.iter();
        Some(CloseCode(u16::from_be_bytes([bytes.next()?, bytes.next()?])))
    }

    /// Its reason, which may be anything: whether that is UTF-8 was not looked at.
    pub fn reason(&self) -> Short<MAX_PAYLOAD> {
        let mut reason = Short::new();
        reason.append(self.payload.iter().skip(size_of::<u16>()));
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Mask = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn examples_of_rfc_6455_section_5_7() {
        let ping = frame(Control::Ping, b"Hello", None).unwrap();
        assert_eq!(&*ping, b"\x89\x05Hello");
        let pong = frame(Control::Pong, b"Hello", Some(KEY)).unwrap();
        assert_eq!(&*pong, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    }

    #[test]
    fn no_more_than_a_control_frame_may_hold() {
        assert_eq!(frame(Control::Ping, &[0; 125], Some(KEY)).unwrap().len(), MAX_SIZE);
        assert_eq!(frame(Control::Ping, &[0; 126], None), None);
    }

    #[test]
    fn a_close_has_a_code_and_a_reason() {
        assert_eq!(&*close(CloseCode::NORMAL, "", None), b"\x88\x02\x03\xe8");
        assert_eq!(&*close(CloseCode::RESTART, "bye", None), b"\x88\x05\x03\xf4bye");
        let masked = close(CloseCode::RESTART, "bye", Some(KEY));
        assert_eq!(masked[..6], [0x88, 0x85, 0x37, 0xfa, 0x21, 0x3d]);
        let read = Close::new(Payload::new(&masked[6..], Some(KEY)));
        assert_eq!(read.code(), Some(CloseCode::RESTART));
        assert_eq!(&*read.reason(), b"bye");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        for (reason, kept) in [
            ("a".repeat(123), 123),
            ("a".repeat(200), 123),
            ("é".repeat(100), 122),
            ("a".to_string() + &"é".repeat(100), 123),
            ("€".repeat(100), 123),
            ("😀".repeat(100), 120),
        ] {
            let close = close(CloseCode::POLICY, &reason, None);
            assert_eq!(close[4..], reason.as_bytes()[..kept]);
            assert_eq!(usize::from(close[1]), kept + 2);
        }
    }
}
