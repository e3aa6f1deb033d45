//! Where one direction of a tunnel stands.

use super::control::{Close, Payload};
use super::header::{Header, FIN, LENGTH_16, LENGTH_64, MASKED, RSV, SHORT as SHORT_LENGTH};
use super::mask::Mask;
use super::opcode::{Control, Data, OpCode};
use super::pings::Pings;
use super::reserved::Reserved;
use super::violation::Violation;

/// Who sends in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client, which masks its frames.
    Client,
    /// The server, which does not.
    Server,
}

/// The frames of one direction, as far as they were looked at.
// In this order two counters are not added to as one vector, which takes more instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Tracker {
    payload: u64,
    /// How much is missing of the payload of a data frame.
    remaining: u64,
    messages: u64,
    /// The first two bytes of an empty text message, the first one lowest, where a message may
    /// begin, or else `NOWHERE`.
    begin: u32,
    /// The bits that may not differ from them in the first byte of another message, but for the
    /// sign that fills them up to those of `begin`.
    fixed: i8,
    /// The size of the header of a short frame.
    overhead: u8,
    flags: u8,
}

// An idle tunnel may not cost much, and has two of them.
const _: () = assert!(size_of::<Tracker>() <= 32);

/// The message goes on after the current frame.
const FRAGMENTED: u8 = 1;
/// A part of a control frame was passed on.
const PARTIAL: u8 = 2;
/// A Close frame was sent.
const CLOSED: u8 = 4;
/// Frames are not looked at any more.
const LOST: u8 = 8;

/// The first two bytes of no frame.
const NOWHERE: u32 = 1 << 31;

/// What is added to the first byte of a text message to make it one of a binary message.
const TO_BINARY: u8 = Data::Binary as u8 - Data::Text as u8;

/// The bits of the first two bytes that are not the length.
const NOT_LENGTH: u16 = u16::from_le_bytes([0xff, MASKED]);

/// What the frames of a direction are looked at for, besides the rules.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// The Pings of ours that went the other way, if any: their Pongs come this way.
    pub pings: Option<&'a Pings>,
    /// The limit to the size of messages, if there is one. Where it is, it must always be.
    pub size: Option<&'a mut MessageSize>,
}

/// The limit to the size of the messages of one direction.
#[derive(Clone, Copy, Debug)]
pub struct MessageSize {
    limit: u64,
    /// The size of the fragments of the current message.
    so_far: u64,
}

impl MessageSize {
    /// Messages may be so large.
    pub fn new(limit: u64) -> Self {
        Self { limit, so_far: 0 }
    }

    /// So large.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

/// Why a frame is not to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It breaks RFC 6455.
    Violation(Violation),
    /// With it the message would have so many bytes of payload, which is more than the limit.
    TooLarge(u64),
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// What there is at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'b> {
    /// What it is.
    pub event: Event<'b>,
    /// How many bytes it takes.
    pub length: usize,
    /// Whether a message is complete with it.
    pub ends_message: bool,
}

/// The kinds of [`Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// The header of a data frame, and as much of its payload as there is.
    Data(DataFrame),
    /// More of the payload of a data frame.
    Payload,
    /// A Ping.
    Ping(Payload<'b>),
    /// A Pong, not one of ours.
    Pong(Payload<'b>),
    /// A Close.
    Close(Close<'b>),
    /// The Pong of our Ping of this number ([`Pings::answer`]). It is not to be passed on.
    OwnPong(u32),
    /// A frame that is not there as far as it must be: all the bytes, which the step did not take.
    Incomplete {
        /// Whether they wait for more. If not, they are to be passed on now.
        held: bool,
    },
    /// Bytes of which nothing is known, after [`Tracker::give_up`].
    Untracked,
}

/// What the header of a data frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataFrame {
    /// [`Data::Continue`] unless a message begins.
    pub opcode: Data,
    /// Whether the message ends with it.
    pub is_final: bool,
    /// Its reserved bits ([`Header::reserved`]): RSV1 in the first frame of a compressed message.
    pub reserved: u8,
    /// How long its payload is, most of which may be missing.
    pub length: u64,
}

impl Tracker {
    /// Nothing was sent yet.
    pub fn new(sender: Role, reserved: Reserved) -> Self {
        let header = Header::new(
            OpCode::Data(Data::Text),
            0,
            match sender {
                Role::Client => Some(Mask::default()),
                Role::Server => None,
            },
        );
        let mut tracker = Self {
            payload: 0,
            remaining: 0,
            messages: 0,
            begin: NOWHERE,
            fixed: i8::from_le_bytes([!(reserved.bits() | TO_BINARY)]),
            overhead: header.encode().len() as u8,
            flags: 0,
        };
        tracker.settle();
        tracker
    }

    /// Messages that are complete.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes of payload in data frames.
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// How many payload bytes of the frame that is under way have not come yet.
    #[inline]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether what was passed on ends between two frames.
    #[inline]
    pub fn is_at_boundary(&self) -> bool {
        self.remaining == 0 && self.flags & (PARTIAL | LOST) == 0
    }

    /// Whether a control frame of ours may follow what was passed on. Nothing may follow a Close
    /// (RFC 6455 section 5.5.1); between the frames of a message others may (section 5.4).
    #[inline]
    pub fn may_inject(&self) -> bool {
        self.is_at_boundary() && !self.is_closed()
    }

    /// Whether a Close was sent.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.flags & CLOSED != 0
    }

    /// A Close of ours was sent this way.
    pub fn close(&mut self) {
        self.flags |= CLOSED;
    }

    /// Looks at no more frames: everything is to be passed on as it comes.
    pub fn give_up(&mut self) {
        self.flags |= LOST;
        self.settle();
    }

    /// Whether [`give_up`](Self::give_up) was called.
    pub fn is_lost(&self) -> bool {
        self.flags & LOST != 0
    }

    /// Whether all of the bytes can be passed on without a closer look: they are a message in one
    /// frame, as most reads are, or a part of one. If so, they are counted, as by steps. If not,
    /// nothing happens, and [`step`](Self::step) tells what they are.
    ///
    /// No message that begins with them is larger than `limit` ([`MessageSize::limit`], or
    /// `u64::MAX`).
    #[inline]
    pub fn pass(&mut self, bytes: &[u8], limit: u64) -> bool {
        self.message(bytes, limit) || self.part(bytes, limit)
    }

    /// The same for a whole message. As few instructions as can be: it is for every read.
    #[inline(always)]
    fn message(&mut self, bytes: &[u8], limit: u64) -> bool {
        // Wrapping, where bytes are missing, makes a length that no frame has.
        let mut length = bytes.len().wrapping_sub(usize::from(self.overhead));
        let mut length_7 = length as u32;
        if length > SHORT_LENGTH {
            length = length.wrapping_sub(size_of::<u16>());
            if length <= usize::from(u16::MAX) {
                length_7 = u32::from(LENGTH_16);
                let extended = bytes.get(2..4).and_then(|bytes| bytes.first_chunk());
                let extended = extended.map(|&length| usize::from(u16::from_be_bytes(length)));
                if extended != Some(length) || length <= SHORT_LENGTH {
                    return false;
                }
            } else {
                length = length.wrapping_sub(size_of::<u64>() - size_of::<u16>());
                length_7 = u32::from(LENGTH_64);
                let extended = bytes.get(2..10).and_then(|bytes| bytes.first_chunk());
                let extended = extended.map(|&length| u64::from_be_bytes(length));
                let is_shortest = length > usize::from(u16::MAX);
                if extended != Some(length as u64) || !is_shortest || length > isize::MAX as usize {
                    return false;
                }
            }
        }
        let Some(&start) = bytes.first_chunk() else { return false };
        let start = u32::from(u16::from_le_bytes(start));
        let is_message =
            length as u64 <= limit && self.may_begin(start.wrapping_sub(length_7 << 8));
        if is_message {
            self.payload = self.payload.wrapping_add(length as u64);
            self.messages = self.messages.wrapping_add(1);
        }
        is_message
    }

    /// The same for a part of a message.
    #[inline(never)]
    fn part(&mut self, bytes: &[u8], limit: u64) -> bool {
        if self.remaining > 0 {
            let is_all = self.remaining >= bytes.len() as u64;
            if is_all {
                self.take(bytes.len());
            }
            return is_all;
        }
        if self.is_lost() {
            return true;
        }
        let Some(&start) = bytes.first_chunk() else { return false };
        let start = u16::from_le_bytes(start);
        if !self.may_begin(u32::from(start & NOT_LENGTH)) {
            return false;
        }
        let [_, second] = start.to_le_bytes();
        let Some((header, size)) = Header::parse(bytes) else { return false };
        let here = bytes.len().saturating_sub(size);
        let is_part = check_length(second, header.length).is_ok()
            && header.length > here as u64
            && header.length <= limit;
        if is_part {
            self.remaining = header.length - here as u64;
            self.payload = self.payload.wrapping_add(here as u64);
            self.begin = NOWHERE;
        }
        is_part
    }

    /// Whether a message in one frame may have these first two bytes, less the length. If so, they
    /// break no rule but those of lengths.
    #[inline]
    fn may_begin(&self, start: u32) -> bool {
        start.wrapping_sub(self.begin) & i32::from(self.fixed) as u32 == 0
    }

    /// The short message in one frame that the bytes begin with, and its size, header included.
    /// Such messages may come in great numbers.
    #[inline]
    fn short_message(&self, bytes: &[u8]) -> Option<(DataFrame, usize)> {
        let start = u16::from_le_bytes(*bytes.first_chunk()?);
        let [first, second] = start.to_le_bytes();
        let length = second & !MASKED;
        let size = usize::from(length) + usize::from(self.overhead);
        let is_there = usize::from(length) <= SHORT_LENGTH && size <= bytes.len();
        if !is_there || !self.may_begin(u32::from(start & NOT_LENGTH)) {
            return None;
        }
        let is_text = first & !(FIN | RSV) == Data::Text as u8;
        let frame = DataFrame {
            opcode: if is_text { Data::Text } else { Data::Binary },
            is_final: true,
            reserved: first & RSV,
            length: u64::from(length),
        };
        Some((frame, size))
    }

    /// Looks at the start of some bytes: those that follow what the last step took.
    ///
    /// A frame that is refused is not looked at further: the tracker stands before it, and so does
    /// what was passed on.
    #[inline]
    pub fn step<'b>(
        &mut self,
        bytes: &'b [u8],
        options: &mut Options<'_>,
    ) -> Result<Step<'b>, Refusal> {
        let limit = options.size.as_ref().map_or(u64::MAX, |size| size.limit);
        let short = self.short_message(bytes).filter(|(frame, _)| frame.length <= limit);
        if let Some((frame, length)) = short {
            self.payload = self.payload.wrapping_add(frame.length);
            self.messages = self.messages.wrapping_add(1);
            return Ok(Step { event: Event::Data(frame), length, ends_message: true });
        }
        if self.remaining > 0 {
            let (length, ends_message) = self.take(bytes.len());
            return Ok(Step { event: Event::Payload, length, ends_message });
        }
        if self.is_lost() {
            return Ok(Step { event: Event::Untracked, length: bytes.len(), ends_message: false });
        }
        let header = self.header(bytes).map_err(|violation| match Header::parse(bytes) {
            // Its length breaks a rule, but the limit above all.
            Some((header, _)) if violation == Violation::HugeLength && options.size.is_some() => {
                Refusal::TooLarge(header.length)
            }
            _ => violation.into(),
        })?;
        let Some((opcode, header, size)) = header else { return Ok(Step::incomplete(true)) };
        match opcode {
            OpCode::Data(opcode) => {
                let frame = DataFrame {
                    opcode,
                    is_final: header.is_final(),
                    reserved: header.reserved(),
                    length: header.length,
                };
                self.data(frame, size, bytes.len(), options)
            }
            OpCode::Control(control) => self.control(control, header, size, bytes, options),
        }
    }

    /// The header of the next frame, if it is there and keeps to the rules.
    ///
    /// Each byte is judged as soon as it has come: what is not WebSocket at all is not held back
    /// for long. The order of the bytes is that of the rules, or else how the bytes are split would
    /// decide which one is reported.
    #[inline]
    fn header(&self, bytes: &[u8]) -> Result<Option<(OpCode, Header, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let opcode = self.check_first(first)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        self.check_second(opcode, second)?;
        let Some((header, size)) = Header::parse(bytes) else { return Ok(None) };
        check_length(second, header.length)?;
        Ok(Some((opcode, header, size)))
    }

    #[inline]
    fn check_first(&self, first: u8) -> Result<OpCode, Violation> {
        // Section 5.2, "Opcode".
        let opcode = OpCode::of(first).ok_or(Violation::OpCode(first & 0x0f))?;
        // Section 5.2, "RSV1, RSV2, RSV3".
        let reserved = first & RSV;
        if reserved != 0 {
            let [fixed] = self.fixed.to_le_bytes();
            let allowed = !fixed & RSV;
            // RFC 7692 section 6: the bit of permessage-deflate is the first frame's.
            let begins = matches!(opcode, OpCode::Data(Data::Text | Data::Binary));
            if reserved & !allowed != 0 || allowed == Reserved::DEFLATE.bits() && !begins {
                return Err(Violation::Reserved);
            }
        }
        match opcode {
            // Section 5.5.
            OpCode::Control(_) if first & FIN == 0 => Err(Violation::FragmentedControl),
            // Section 5.4.
            OpCode::Data(Data::Continue) if self.flags & FRAGMENTED == 0 => {
                Err(Violation::UnexpectedContinue)
            }
            OpCode::Data(Data::Text | Data::Binary) if self.flags & FRAGMENTED != 0 => {
                Err(Violation::ExpectedContinue)
            }
            _ => Ok(opcode),
        }
    }

    #[inline]
    fn check_second(&self, opcode: OpCode, second: u8) -> Result<(), Violation> {
        // Section 5.1.
        match (self.sender(), second & MASKED) {
            (Role::Client, 0) => return Err(Violation::Unmasked),
            (Role::Client, _) | (Role::Server, 0) => {}
            (Role::Server, _) => return Err(Violation::Masked),
        }
        match (opcode, usize::from(second & !MASKED)) {
            // Section 5.5.
            (OpCode::Control(_), length) if length > SHORT_LENGTH => Err(Violation::LongControl),
            // Section 5.5.1.
            (OpCode::Control(Control::Close), 1) => Err(Violation::HalfCloseCode),
            _ => Ok(()),
        }
    }

    #[inline]
    fn sender(&self) -> Role {
        if usize::from(self.overhead) > size_of::<u16>() {
            Role::Client
        } else {
            Role::Server
        }
    }

    #[inline]
    fn data<'b>(
        &mut self,
        frame: DataFrame,
        size: usize,
        available: usize,
        options: &mut Options<'_>,
    ) -> Result<Step<'b>, Refusal> {
        if let Some(limit) = &mut options.size {
            let before = match frame.opcode {
                Data::Continue => limit.so_far,
                Data::Text | Data::Binary => 0,
            };
            let so_far = before.saturating_add(frame.length);
            if so_far > limit.limit {
                return Err(Refusal::TooLarge(so_far));
            }
            limit.so_far = so_far;
        }
        self.remaining = frame.length;
        self.flags =
            if frame.is_final { self.flags & !FRAGMENTED } else { self.flags | FRAGMENTED };
        let (length, ends_message) = self.take(available.saturating_sub(size));
        Ok(Step { event: Event::Data(frame), length: size + length, ends_message })
    }

    /// Takes what there is of the payload of a data frame, and tells how much that is, and whether
    /// the message is complete.
    #[inline]
    fn take(&mut self, available: usize) -> (usize, bool) {
        let length = usize::try_from(self.remaining).map_or(available, |it| it.min(available));
        self.remaining -= length as u64;
        self.payload = self.payload.wrapping_add(length as u64);
        let ends_message = self.remaining == 0 && self.flags & FRAGMENTED == 0;
        self.messages = self.messages.wrapping_add(u64::from(ends_message));
        self.settle();
        (length, ends_message)
    }

    // There are few of them.
    #[inline(never)]
    fn control<'b>(
        &mut self,
        control: Control,
        header: Header,
        size: usize,
        bytes: &'b [u8],
        options: &Options<'_>,
    ) -> Result<Step<'b>, Refusal> {
        // At most 125 bytes.
        let end = size + header.length as usize;
        let is_complete = bytes.len() >= end;
        let payload = bytes.get(size..bytes.len().min(end)).unwrap_or_default();
        let payload = Payload::new(payload, header.mask);
        let close = Close::new(payload);
        if let (Control::Close, Some(code)) = (control, close.code()) {
            if !code.is_allowed() {
                return Err(Violation::CloseCode(code).into());
            }
        }
        // What began to be passed on is never ours.
        let pings = options.pings.filter(|_| self.flags & PARTIAL == 0);
        if !is_complete {
            let held = match control {
                Control::Ping => false,
                Control::Pong => pings.is_some_and(|pings| pings.may_own(header.length, payload)),
                // The code is judged before anything is passed on, as a header is.
                Control::Close => close.code().is_none(),
            };
            if !held {
                self.flags |= PARTIAL;
                self.settle();
            }
            return Ok(Step::incomplete(held));
        }
        let event = match control {
            Control::Ping => Event::Ping(payload),
            Control::Pong => match pings.and_then(|pings| pings.number(payload)) {
                Some(number) => Event::OwnPong(number),
                None => Event::Pong(payload),
            },
            Control::Close => {
                self.flags |= CLOSED;
                Event::Close(close)
            }
        };
        self.flags &= !PARTIAL;
        self.settle();
        Ok(Step { event, length: end, ends_message: false })
    }

    /// As if all of the payload of the current frame had come.
    #[cfg(test)]
    pub(super) fn skip_payload(&mut self) {
        while self.remaining > 0 {
            self.take(usize::MAX);
        }
    }

    /// Whether a message may begin now.
    #[inline]
    fn settle(&mut self) {
        let is_ready = self.is_at_boundary() && self.flags & FRAGMENTED == 0;
        let masked = match self.sender() {
            Role::Client => MASKED,
            Role::Server => 0,
        };
        self.begin = if is_ready {
            u32::from(u16::from_le_bytes([FIN | Data::Text as u8, masked]))
        } else {
            NOWHERE
        };
    }
}

impl Step<'_> {
    fn incomplete(held: bool) -> Self {
        Self { event: Event::Incomplete { held }, length: 0, ends_message: false }
    }
}

/// Section 5.2, "Payload length".
#[inline]
fn check_length(second: u8, length: u64) -> Result<(), Violation> {
    let is_shortest = match second & !MASKED {
        LENGTH_16 => length > SHORT_LENGTH as u64,
        LENGTH_64 => length > u64::from(u16::MAX),
        _ => true,
    };
    if !is_shortest {
        Err(Violation::LongLength)
    } else if length > i64::MAX as u64 {
        Err(Violation::HugeLength)
    } else {
        Ok(())
    }
}
