//! The frames of a tunnel are the same however the bytes are split, in both directions, and what is
//! passed on is what came, less the Pongs of ours.

#![no_main]

#[path = "../../tests/frames/driver.rs"]
mod driver;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use websocket_guard_core::frame::{MessageSize, Pings, Reserved, Role};

use driver::{Driver, Seen};

const TOKEN: [u8; 8] = *b"a secret";

/// No fuzzer finds frames and tokens, so it puts them together.
#[derive(Arbitrary, Debug)]
enum Part<'a> {
    Bytes(&'a [u8]),
    /// The length is that of the payload, whatever the mask says.
    Frame {
        first: u8,
        masked: bool,
        payload: &'a [u8],
    },
    Long {
        first: u8,
        masked: bool,
        length: u16,
        fill: u8,
    },
    Pong {
        masked: bool,
        number: u8,
    },
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    client: bool,
    reserved: u8,
    check: bool,
    pings: Option<u8>,
    limit: Option<u16>,
    parts: Vec<Part<'a>>,
    pieces: Vec<u8>,
}

fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = match payload.len() {
        length @ ..=125 => vec![first, mask | length as u8],
        length @ ..=0xffff => [&[first, mask | 126][..], &(length as u16).to_be_bytes()].concat(),
        length => [&[first, mask | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    if masked {
        frame.extend([0; 4]);
    }
    frame.extend(payload);
    frame
}

fuzz_target!(|input: Input| {
    let bytes: Vec<u8> = input
        .parts
        .iter()
        .flat_map(|part| match *part {
            Part::Bytes(bytes) => bytes.to_vec(),
            Part::Frame { first, masked, payload } => frame(first, masked, payload),
            Part::Long { first, masked, length, fill } => {
                frame(first, masked, &vec![fill; usize::from(length) * 2])
            }
            Part::Pong { masked, number } => {
                let payload = [&TOKEN[..], &u32::from(number).to_be_bytes()].concat();
                frame(0x8a, masked, &payload)
            }
        })
        .collect();
    let run = |whole: bool, pieces: &mut dyn Iterator<Item = usize>| {
        let sender = if input.client { Role::Client } else { Role::Server };
        let reserved = match input.reserved % 3 {
            0 => Reserved::NONE,
            1 => Reserved::DEFLATE,
            _ => Reserved::ANY,
        };
        let mut driver = Driver::new(sender, reserved);
        driver.check = input.check;
        driver.whole = whole;
        driver.pings = input.pings.map(|count| {
            let mut pings = Pings::new(TOKEN);
            (0..count).for_each(|_| {
                pings.next(None);
            });
            pings
        });
        driver.size = input.limit.map(|limit| MessageSize::new(limit.into()));
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(pieces.next().unwrap_or(rest.len()).min(rest.len()));
            driver.feed(piece);
            rest = after;
        }
        driver
    };

    let whole = run(false, &mut std::iter::empty());
    let pieces = run(true, &mut input.pieces.iter().map(|&length| usize::from(length) + 1));
    assert_eq!(whole.outcome(), pieces.outcome());
    let read = run(true, &mut std::iter::empty());
    assert_eq!(whole.outcome(), read.outcome());
    if bytes.len() < 1 << 12 {
        let single = run(true, &mut std::iter::repeat(1));
        assert_eq!(whole.outcome(), single.outcome());
    }

    let refused = whole.seen.iter().any(|(_, seen)| matches!(seen, Seen::Refused(_)));
    let own = whole.seen.iter().filter(|(_, seen)| matches!(seen, Seen::OwnPong(_))).count();
    assert!(input.pings.is_some() || own == 0);
    if input.check || !refused {
        let header = if input.client { 6 } else { 2 };
        let missing = own * (header + Pings::PAYLOAD) + whole.held().len();
        assert_eq!(whole.passed.len() + missing, bytes.len());
    }
});
