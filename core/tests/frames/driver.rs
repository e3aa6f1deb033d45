//! Shows a tracker all bytes of a direction, in pieces, as a proxy does.
//!
//! Also used by the fuzz target.

use websocket_guard_core::frame::{
    CloseCode, DataFrame, Event, Header, MessageSize, OpCode, Options, Pings, Refusal, Reserved,
    Role, Step, Tail, Tracker,
};

/// What a tracker told, and from which byte on it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A data frame begins.
    Data(DataFrame),
    /// The last message is complete.
    Message,
    /// A Ping with its payload.
    Ping(Vec<u8>),
    /// A Pong with its payload.
    Pong(Vec<u8>),
    /// A Close with its code and reason.
    Close(Option<CloseCode>, Vec<u8>),
    /// A Pong of ours with its number.
    OwnPong(u32),
    /// A frame that is not passed on.
    Refused(Refusal),
}

pub struct Driver {
    pub tracker: Tracker,
    pub tail: Option<Tail>,
    pub pings: Option<Pings>,
    pub size: Option<MessageSize>,
    /// Everything passes after a frame that is refused.
    pub check: bool,
    /// Whole messages are not stepped over.
    pub whole: bool,
    pub seen: Vec<(usize, Seen)>,
    pub passed: Vec<u8>,
    /// How many bytes were stepped over.
    position: usize,
    refused: bool,
}

impl Driver {
    pub fn new(sender: Role, reserved: Reserved) -> Self {
        Self {
            tracker: Tracker::new(sender, reserved),
            tail: None,
            pings: None,
            size: None,
            check: false,
            whole: true,
            seen: Vec::new(),
            passed: Vec::new(),
            position: 0,
            refused: false,
        }
    }

    /// The next bytes of the direction.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.refused {
            return;
        }
        let mut buffer = self.tail.map(|tail| tail.bytes().to_vec()).unwrap_or_default();
        buffer.extend_from_slice(piece);
        let before = self.tracker;
        if self.whole && self.tail.is_none() {
            let limit = self.size.map_or(u64::MAX, |size| size.limit());
            if self.tracker.pass(&buffer, limit) {
                return self.pass(&buffer, &before);
            }
            assert_eq!(self.tracker, before);
        }

        let start = self.tail.take().map_or(0, |tail| tail.passed());
        let (mut at, mut end) = (0, buffer.len());
        while at < end {
            let place = self.position;
            let mut options = Options { pings: self.pings.as_ref(), size: self.size.as_mut() };
            match self.tracker.step(&buffer[at..end], &mut options) {
                Ok(Step { event, length, ends_message }) => {
                    self.position += length;
                    let seen = match event {
                        Event::Data(frame) => Some(Seen::Data(frame)),
                        Event::Ping(payload) => Some(Seen::Ping(payload.to_bytes().to_vec())),
                        Event::Pong(payload) => Some(Seen::Pong(payload.to_bytes().to_vec())),
                        Event::Close(close) => {
                            Some(Seen::Close(close.code(), close.reason().to_vec()))
                        }
                        Event::Payload | Event::Untracked => None,
                        Event::OwnPong(number) => {
                            self.seen.push((place, Seen::OwnPong(number)));
                            assert!(at >= start, "a part of it was passed on");
                            buffer.copy_within(at + length..end, at);
                            end -= length;
                            continue;
                        }
                        Event::Incomplete { held } => {
                            assert!(end - at <= Tail::CAPACITY);
                            assert_eq!((length, ends_message), (0, false));
                            self.tail = Some(Tail::new(&buffer[at..end], held));
                            assert_eq!(self.tail.map(|tail| tail.bytes().len()), Some(end - at));
                            if !held {
                                at = end;
                            }
                            break;
                        }
                    };
                    assert!(length > 0);
                    at += length;
                    self.seen.extend(seen.map(|seen| (place, seen)));
                    if ends_message {
                        self.seen.push((self.position, Seen::Message));
                    }
                }
                Err(refusal) => {
                    self.seen.push((place, Seen::Refused(refusal)));
                    assert!(self.tracker.is_at_boundary() && at >= start);
                    if !self.check {
                        self.refused = true;
                        break;
                    }
                    self.tracker.give_up();
                }
            }
        }
        self.passed.extend_from_slice(&buffer[start..at]);
    }

    fn pass(&mut self, bytes: &[u8], before: &Tracker) {
        if before.is_at_boundary() {
            let (header, _) = Header::parse(bytes).expect("a header");
            let Some(OpCode::Data(opcode)) = header.opcode() else { panic!("no message") };
            let frame = DataFrame {
                opcode,
                is_final: header.is_final(),
                reserved: header.reserved(),
                length: header.length,
            };
            self.seen.push((self.position, Seen::Data(frame)));
        }
        self.position += bytes.len();
        match self.tracker.messages() - before.messages() {
            0 => {}
            1 => self.seen.push((self.position, Seen::Message)),
            more => panic!("{more} messages at once"),
        }
        self.passed.extend_from_slice(bytes);
    }

    /// What is held back.
    pub fn held(&self) -> &[u8] {
        self.tail.as_ref().map_or(&[], |tail| &tail.bytes()[tail.passed()..])
    }

    /// Everything that must not depend on how the bytes were split.
    pub fn outcome(&self) -> impl PartialEq + std::fmt::Debug + '_ {
        (
            &self.seen,
            &self.passed,
            self.held(),
            (self.tracker.messages(), self.tracker.payload()),
            (self.tracker.is_at_boundary(), self.tracker.is_closed(), self.tracker.is_lost()),
        )
    }
}
