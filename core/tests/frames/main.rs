//! The frames of a tunnel are what tungstenite sends and reads, however the bytes are split.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod driver;

use std::collections::BTreeSet;
use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use proptest::sample::select;
use tungstenite::protocol::frame::coding::{Control as TControl, Data as TData, OpCode as TOpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader, FrameSocket};
use tungstenite::protocol::{Role as TRole, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};
use websocket_guard_core::frame::{
    Control, Data, DataFrame, Header, Pings, Refusal, Reserved, Role, Violation,
};

use driver::{Driver, Seen};

/// The key that tungstenite reads frames of a role with.
fn reader(sender: Role) -> TRole {
    match sender {
        Role::Client => TRole::Server,
        Role::Server => TRole::Client,
    }
}

/// A connection on which everything has come, and nothing that is sent matters.
struct Received(Cursor<Vec<u8>>);

impl Read for Received {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read(room)
    }
}

impl Write for Received {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A part of what a side sends: a data frame that may be a fragment, or a control frame.
#[derive(Clone, Debug)]
struct Part {
    opcode: TOpCode,
    is_final: bool,
    payload: Vec<u8>,
    key: [u8; 4],
}

impl Part {
    fn encode(&self, sender: Role) -> Vec<u8> {
        let header = FrameHeader {
            is_final: self.is_final,
            opcode: self.opcode,
            mask: (sender == Role::Client).then_some(self.key),
            ..FrameHeader::default()
        };
        let mut bytes = Vec::new();
        let frame = Frame::from_payload(header, self.payload.clone().into());
        frame.format(&mut bytes).unwrap();
        bytes
    }
}

fn encode(parts: &[Part], sender: Role) -> Vec<u8> {
    parts.iter().flat_map(|part| part.encode(sender)).collect()
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Client, Role::Server])
}

fn payload(lengths: Vec<usize>) -> impl Strategy<Value = Vec<u8>> {
    (select(lengths), any::<u8>())
        .prop_map(|(length, seed)| (0..length).map(|at| seed ^ (at * 7) as u8).collect())
}

fn control() -> impl Strategy<Value = (TControl, Vec<u8>)> {
    let payload = payload(vec![0, 1, 2, 12, 124, 125]);
    (select(vec![TControl::Ping, TControl::Pong]), payload)
}

/// Messages, fragmented, with control frames before, between and behind the fragments.
fn parts(longest: usize) -> impl Strategy<Value = Vec<Part>> {
    let lengths = vec![0, 1, 2, 124, 125, 126, 127, 300, 65535, 65536, 65537];
    let lengths: Vec<usize> = lengths.into_iter().filter(|&it| it <= longest).collect();
    let fragment = (payload(lengths), prop::collection::vec(control(), 0..2), any::<[u8; 4]>());
    let message = prop::collection::vec(fragment, 1..4);
    prop::collection::vec(message, 0..5).prop_map(|messages| {
        let mut parts = Vec::new();
        for fragments in messages {
            let last = fragments.len() - 1;
            for (number, (payload, controls, key)) in fragments.into_iter().enumerate() {
                for (control, payload) in controls {
                    let opcode = TOpCode::Control(control);
                    parts.push(Part { opcode, is_final: true, payload, key });
                }
                // tungstenite wants UTF-8 in text messages.
                let is_text = key[0] % 2 == 0 && payload.is_ascii() && last == 0;
                let opcode = match number {
                    0 if is_text => TData::Text,
                    0 => TData::Binary,
                    _ => TData::Continue,
                };
                let (opcode, is_final) = (TOpCode::Data(opcode), number == last);
                parts.push(Part { opcode, is_final, payload, key });
            }
        }
        parts
    })
}

fn run<'a>(sender: Role, pieces: impl IntoIterator<Item = &'a [u8]>) -> Driver {
    let mut driver = Driver::new(sender, Reserved::NONE);
    pieces.into_iter().for_each(|piece| driver.feed(piece));
    driver
}

/// What tungstenite finds in the bytes, frame by frame, and where frames end.
fn frames(bytes: &[u8]) -> (Vec<(usize, Seen)>, BTreeSet<usize>) {
    let mut socket = FrameSocket::new(Cursor::new(bytes.to_vec()));
    let (mut seen, mut ends) = (Vec::new(), BTreeSet::from([0]));
    let mut at = 0;
    while let Some(frame) = socket.read(None).unwrap() {
        let header = frame.header();
        let end = at + frame.len();
        let plain: Vec<u8> = match header.mask {
            None => frame.payload().to_vec(),
            Some(key) => {
                frame.payload().iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect()
            }
        };
        let data = |opcode| {
            let length = frame.payload().len() as u64;
            Seen::Data(DataFrame { opcode, is_final: header.is_final, reserved: 0, length })
        };
        seen.push((
            at,
            match header.opcode {
                TOpCode::Data(TData::Continue) => data(Data::Continue),
                TOpCode::Data(TData::Text) => data(Data::Text),
                TOpCode::Data(TData::Binary) => data(Data::Binary),
                TOpCode::Control(TControl::Ping) => Seen::Ping(plain),
                TOpCode::Control(TControl::Pong) => Seen::Pong(plain),
                opcode => panic!("{opcode:?} was not sent"),
            },
        ));
        if matches!(header.opcode, TOpCode::Data(_)) && header.is_final {
            seen.push((end, Seen::Message));
        }
        ends.insert(end);
        at = end;
    }
    (seen, ends)
}

/// How tungstenite judges the bytes: how many messages of each kind it reads, and whether it finds
/// a fault after them. Nothing is looked at behind a Close.
fn verdict(sender: Role, bytes: &[u8]) -> (Vec<&'static str>, Option<String>) {
    let config = WebSocketConfig::default().max_frame_size(Some(1 << 20)).read_buffer_size(4096);
    let received = Received(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(received, reader(sender), Some(config));
    let mut kinds = Vec::new();
    loop {
        kinds.push(match socket.read() {
            Ok(Message::Text(_) | Message::Binary(_)) => "message",
            Ok(Message::Ping(_)) => "ping",
            Ok(Message::Pong(_)) => "pong",
            Ok(Message::Close(_)) => {
                kinds.push("close");
                return (kinds, None);
            }
            Ok(message) => panic!("{message:?} is not read"),
            // A text that is no UTF-8 is a message all the same.
            Err(Error::Utf8(_)) => return (kinds, Some("UTF-8".into())),
            Err(Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => return (kinds, None),
            Err(error) => return (kinds, Some(error.to_string())),
        });
    }
}

proptest! {
    #[test]
    fn frames_are_those_that_tungstenite_reads(sender in role(), parts in parts(1 << 20)) {
        let bytes = encode(&parts, sender);
        let driver = run(sender, [&bytes[..]]);
        let (seen, _) = frames(&bytes);
        prop_assert_eq!(&driver.seen, &seen);
        prop_assert!(driver.passed == bytes);
        let data = || parts.iter().filter(|part| matches!(part.opcode, TOpCode::Data(_)));
        let payload: usize = data().map(|part| part.payload.len()).sum();
        prop_assert_eq!(driver.tracker.payload(), payload as u64);
        let messages = data().filter(|part| part.is_final).count();
        prop_assert_eq!(driver.tracker.messages(), messages as u64);
        let (kinds, fault) = verdict(sender, &bytes);
        prop_assert_eq!(kinds.iter().filter(|&&kind| kind == "message").count(), messages);
        prop_assert_eq!(fault, None);
    }

    #[test]
    fn pieces_make_no_difference(
        sender in role(),
        parts in parts(300),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let bytes = encode(&parts, sender);
        let (_, ends) = frames(&bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut driver = Driver::new(sender, Reserved::NONE);
        for cut in cuts.windows(2) {
            driver.feed(&bytes[cut[0]..cut[1]]);
            // What is held is missing in what was passed on, and nothing else is.
            prop_assert_eq!(driver.passed.len() + driver.held().len(), cut[1]);
            prop_assert!(driver.held().len() < 14);
            prop_assert_eq!(
                driver.tracker.is_at_boundary(),
                ends.contains(&driver.passed.len())
            );
        }
        let mut whole = Driver::new(sender, Reserved::NONE);
        whole.whole = false;
        whole.feed(&bytes);
        prop_assert_eq!(driver.outcome(), whole.outcome());
        prop_assert!(run(sender, bytes.chunks(1)).outcome() == whole.outcome());
        // One read for each frame, as most are.
        let reads: Vec<Vec<u8>> = parts.iter().map(|part| part.encode(sender)).collect();
        prop_assert!(run(sender, reads.iter().map(|read| &read[..])).outcome() == whole.outcome());
    }

    #[test]
    fn faults_are_those_that_tungstenite_finds(
        sender in role(),
        parts in parts(127),
        close in any::<bool>(),
        // What is altered is the first byte of some frame, its second, or any other.
        at in any::<prop::sample::Index>(),
        offset in 0usize..4,
        flip in any::<u8>(),
    ) {
        let mut parts = parts;
        if close {
            let payload = b"\x03\xe8bye".to_vec();
            let opcode = TOpCode::Control(TControl::Close);
            parts.push(Part { opcode, is_final: true, payload, key: [0; 4] });
        }
        let mut bytes = encode(&parts, sender);
        if !bytes.is_empty() {
            let (_, starts) = frames_of(&parts, sender);
            let at = starts[at.index(starts.len())] + offset;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= flip;
            }
        }
        let driver = run(sender, [&bytes[..]]);
        let fault = driver.seen.iter().find_map(|(_, seen)| match seen {
            Seen::Refused(Refusal::Violation(violation)) => Some(*violation),
            _ => None,
        });
        let (kinds, verdict) = verdict(sender, &bytes);
        // What tungstenite lets pass, or ends with another code: a length that is not in its
        // shortest form may also be that of a control frame.
        let lenient = match fault {
            Some(Violation::LongControl) => refused_length(&driver, &bytes).is_some_and(|it| it <= 125),
            Some(Violation::LongLength | Violation::HugeLength | Violation::CloseCode(_)) => true,
            _ => false,
        };
        let beyond = verdict.as_deref().is_some_and(|fault| {
            // A reason or a text is not looked at, nor is how long a message is.
            fault.contains("UTF-8") || fault.contains("too long")
        });
        // tungstenite judges a frame when all of it is there, the tracker its header.
        let cut = fault.is_some() && verdict.is_none() && !refused_is_whole(&driver, &bytes);
        let mut expected: Vec<&str> = Vec::new();
        for (_, seen) in &driver.seen {
            expected.push(match seen {
                Seen::Message => "message",
                Seen::Ping(_) => "ping",
                Seen::Pong(_) => "pong",
                Seen::Close(..) => { expected.push("close"); break }
                _ => continue,
            });
        }
        let closed = expected.last() == Some(&"close");
        if !lenient && !beyond && !cut {
            prop_assert_eq!(kinds, expected, "{:?} {:?}", fault, verdict);
            if !closed {
                prop_assert_eq!(fault.is_some(), verdict.is_some(), "{:?} {:?}", fault, verdict);
            }
        }
    }

    #[test]
    fn only_our_own_pongs_are_missing(
        sender in role(),
        parts in parts(127),
        pongs in prop::collection::vec((any::<prop::sample::Index>(), 0u32..6), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        key in any::<[u8; 4]>(),
    ) {
        let token = *b"a secret";
        let mut pings = Pings::new(token);
        (0..4).for_each(|_| {
            pings.next(None);
        });
        let mut mixed: Vec<(bool, Part)> = parts.into_iter().map(|part| (false, part)).collect();
        for (at, number) in pongs {
            let opcode = TOpCode::Control(TControl::Pong);
            let payload = [&token[..], &number.to_be_bytes()].concat();
            let at = at.index(mixed.len() + 1);
            let is_ours = (1..=4).contains(&number);
            mixed.insert(at, (is_ours, Part { opcode, is_final: true, payload, key }));
        }
        let all: Vec<Part> = mixed.iter().map(|(_, part)| part.clone()).collect();
        let others: Vec<Part> =
            mixed.into_iter().filter(|(is_ours, _)| !is_ours).map(|(_, part)| part).collect();
        let bytes = encode(&all, sender);
        let drive = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut driver = Driver::new(sender, Reserved::NONE);
            driver.pings = Some(pings);
            pieces.for_each(|piece| {
                driver.feed(piece);
                assert!(driver.held().len() < 6 + Pings::PAYLOAD);
            });
            driver
        };
        let whole = drive(&mut [&bytes[..]].into_iter());
        prop_assert!(whole.passed == encode(&others, sender));
        let own = whole.seen.iter().filter(|(_, seen)| matches!(seen, Seen::OwnPong(_))).count();
        prop_assert_eq!(own, all.len() - others.len());
        prop_assert!(drive(&mut bytes.chunks(1)).outcome() == whole.outcome());

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = drive(&mut cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]));
        prop_assert_eq!(pieces.outcome(), whole.outcome());
    }
}

/// The frames' offsets, as they were encoded.
fn frames_of(parts: &[Part], sender: Role) -> (usize, Vec<usize>) {
    parts.iter().fold((0, Vec::new()), |(at, mut starts), part| {
        starts.push(at);
        (at + part.encode(sender).len(), starts)
    })
}

/// How long the payload of the frame says to be that was refused, if its header is there.
fn refused_length(driver: &Driver, bytes: &[u8]) -> Option<u64> {
    let &(at, Seen::Refused(_)) = driver.seen.last()? else { return None };
    Header::parse(&bytes[at..]).map(|(header, _)| header.length)
}

/// Whether the frame that was refused is there to its end.
fn refused_is_whole(driver: &Driver, bytes: &[u8]) -> bool {
    let Some(&(at, Seen::Refused(_))) = driver.seen.last() else { return true };
    Header::parse(&bytes[at..])
        .is_some_and(|(header, size)| header.length <= (bytes.len() - at - size) as u64)
}

#[test]
fn every_place_of_a_cut() {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let data = |opcode, is_final, length: usize| Part {
        opcode: TOpCode::Data(opcode),
        is_final,
        payload: vec![b'x'; length],
        key,
    };
    let control = |opcode, payload: &[u8]| Part {
        opcode: TOpCode::Control(opcode),
        is_final: true,
        payload: payload.to_vec(),
        key,
    };
    let parts = [
        data(TData::Text, true, 0),
        data(TData::Text, false, 126),
        control(TControl::Ping, b"application"),
        data(TData::Continue, false, 0),
        control(TControl::Pong, b"a secret\0\0\0\x01"),
        control(TControl::Pong, b"a secret\0\0\0\x02"),
        control(TControl::Pong, b"a secreT\0\0\0\x01"),
        data(TData::Continue, true, 5),
        control(TControl::Close, &[&[3, 232][..], &[b'y'; 123]].concat()),
    ];
    for sender in [Role::Client, Role::Server] {
        let bytes = encode(&parts, sender);
        let drive = |pieces: &[&[u8]]| {
            let mut driver = Driver::new(sender, Reserved::NONE);
            let mut pings = Pings::new(*b"a secret");
            pings.next(None);
            driver.pings = Some(pings);
            pieces.iter().for_each(|piece| driver.feed(piece));
            driver
        };
        let whole = drive(&[&bytes]);
        assert_eq!(whole.seen.iter().filter(|(_, it)| *it == Seen::OwnPong(1)).count(), 1);
        assert!(whole.seen.iter().all(|(_, seen)| !matches!(seen, Seen::Refused(_))));
        assert!(whole.tracker.is_closed() && !whole.tracker.may_inject());
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(drive(&[a, b]).outcome(), whole.outcome());
        }
    }
}

/// Own control frames are what tungstenite reads.
#[test]
fn our_frames_are_read_by_tungstenite() {
    use websocket_guard_core::frame::{control, CloseCode};
    for (sender, key) in [(Role::Client, Some([9, 8, 7, 6])), (Role::Server, None)] {
        let mut bytes = Vec::new();
        let mut pings = Pings::new(*b"a secret");
        bytes.extend_from_slice(&pings.next(key));
        bytes.extend_from_slice(&control::frame(Control::Pong, b"hello", key).unwrap());
        bytes.extend_from_slice(&control::close(CloseCode::RESTART, &"€".repeat(99), key));
        let received = Received(Cursor::new(bytes));
        let mut socket = WebSocket::from_raw_socket(received, reader(sender), None);
        assert_eq!(socket.read().unwrap(), Message::Ping(b"a secret\0\0\0\x01"[..].into()));
        assert_eq!(socket.read().unwrap(), Message::Pong(b"hello"[..].into()));
        let Message::Close(Some(close)) = socket.read().unwrap() else { panic!("no Close") };
        assert_eq!(u16::from(close.code), 1012);
        assert_eq!(close.reason.as_str(), "€".repeat(41));
    }
}
