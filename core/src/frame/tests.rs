//! The rules and limits of [`Tracker`]. What it makes of whole streams is in tests/frames.

use super::*;

const KEY: [u8; 4] = [0; 4];

/// A frame with any first byte and any first length, which may not be that of its payload.
fn frame(sender: Role, first: u8, length: u8, rest: &[u8]) -> Vec<u8> {
    match sender {
        Role::Client => {
            let size = match length {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let (extended, payload) = rest.split_at(size);
            [&[first, 0x80 | length], extended, &KEY, payload].concat()
        }
        Role::Server => [&[first, length], rest].concat(),
    }
}

fn steps(tracker: &mut Tracker, mut bytes: &[u8]) -> Result<(), Refusal> {
    while !bytes.is_empty() {
        let step = tracker.step(bytes, &mut Options::default())?;
        if step.length == 0 {
            break;
        }
        bytes = &bytes[step.length..];
    }
    Ok(())
}

/// What a tracker says to some frames, the first byte of each as soon as it comes.
fn judge(sender: Role, reserved: Reserved, frames: &[(u8, u8, &[u8])]) -> Option<Violation> {
    let mut tracker = Tracker::new(sender, reserved);
    let bytes: Vec<u8> = frames
        .iter()
        .flat_map(|&(first, length, rest)| frame(sender, first, length, rest))
        .collect();
    match steps(&mut tracker, &bytes) {
        Ok(()) => None,
        Err(Refusal::Violation(violation)) => Some(violation),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

fn both(frames: &[(u8, u8, &[u8])]) -> Option<Violation> {
    let client = judge(Role::Client, Reserved::NONE, frames);
    assert_eq!(client, judge(Role::Server, Reserved::NONE, frames));
    client
}

#[test]
fn opcodes_that_are_known() {
    for opcode in 0..16 {
        let expected = match opcode {
            1 | 2 | 8 | 9 | 10 => None,
            0 => Some(Violation::UnexpectedContinue),
            _ => Some(Violation::OpCode(opcode)),
        };
        assert_eq!(both(&[(0x80 | opcode, 0, b"")]), expected);
    }
}

#[test]
fn fragments_in_their_order() {
    let (text, middle, last, whole) = (0x01, 0x00, 0x80, 0x82);
    for (opcodes, expected) in [
        (&[text, middle, last, whole][..], None),
        (&[text, 0x89, middle, 0x8a, last], None),
        (&[text, 0x81], Some(Violation::ExpectedContinue)),
        (&[text, text], Some(Violation::ExpectedContinue)),
        (&[text, 0x82], Some(Violation::ExpectedContinue)),
        (&[text, last, last], Some(Violation::UnexpectedContinue)),
        (&[whole, middle], Some(Violation::UnexpectedContinue)),
        (&[0x08], Some(Violation::FragmentedControl)),
        (&[text, 0x09], Some(Violation::FragmentedControl)),
        (&[0x0a], Some(Violation::FragmentedControl)),
    ] {
        let frames: Vec<(u8, u8, &[u8])> =
            opcodes.iter().map(|&opcode| (opcode, 1, &b"x"[..])).collect();
        let frames: Vec<_> = frames
            .into_iter()
            .map(|(first, length, rest)| match first {
                0x08 | 0x88 => (first, 0, &b""[..]),
                _ => (first, length, rest),
            })
            .collect();
        assert_eq!(both(&frames), expected, "{opcodes:x?}");
    }
}

#[test]
fn clients_mask_and_servers_do_not() {
    for (sender, other, violation) in [
        (Role::Client, Role::Server, Violation::Unmasked),
        (Role::Server, Role::Client, Violation::Masked),
    ] {
        for opcode in [0x81, 0x02, 0x88, 0x89] {
            let mut tracker = Tracker::new(sender, Reserved::ANY);
            let bytes = frame(other, opcode, 0, b"");
            assert_eq!(steps(&mut tracker, &bytes), Err(violation.into()));
            assert!(!tracker.pass(&bytes, u64::MAX));
            // Nothing of it was passed on.
            assert!(tracker.may_inject());
        }
    }
}

#[test]
fn lengths_in_their_shortest_form() {
    let long = |length: u64| length.to_be_bytes();
    for (form, length, expected) in [
        (126, &[0, 0][..], Some(Violation::LongLength)),
        (126, &[0, 125], Some(Violation::LongLength)),
        (126, &[0, 126], None),
        (126, &[255, 255], None),
        (127, &long(0), Some(Violation::LongLength)),
        (127, &long(65535), Some(Violation::LongLength)),
        (127, &long(65536), None),
        (127, &long(u64::MAX >> 1), None),
        (127, &long(1 << 63), Some(Violation::HugeLength)),
        (127, &long(u64::MAX), Some(Violation::HugeLength)),
    ] {
        assert_eq!(both(&[(0x82, form, length)]), expected, "{length:?}");
        let whole = [length, &[0; 125]].concat();
        assert_eq!(both(&[(0x82, form, &whole)]), expected);
        // All of it there.
        for sender in [Role::Client, Role::Server] {
            let mut tracker = Tracker::new(sender, Reserved::NONE);
            let payload = length.iter().fold(0u64, |length, &byte| length << 8 | u64::from(byte));
            let payload = vec![0; payload.min(70_000) as usize];
            let bytes = frame(sender, 0x82, form, &[length, &payload].concat());
            assert_eq!(tracker.pass(&bytes, u64::MAX), expected.is_none());
            let is_whole = expected.is_none() && payload.len() < 70_000;
            assert_eq!(tracker.messages(), u64::from(is_whole));
        }
    }
}

#[test]
fn control_frames_are_short() {
    for opcode in [0x89, 0x8a] {
        assert_eq!(both(&[(opcode, 125, &[0; 125])]), None);
        assert_eq!(both(&[(opcode, 126, &[0, 126])]), Some(Violation::LongControl));
        assert_eq!(both(&[(opcode, 127, &[0; 8])]), Some(Violation::LongControl));
    }
    assert_eq!(both(&[(0x88, 126, &[0, 126])]), Some(Violation::LongControl));
}

#[test]
fn codes_of_a_close() {
    assert_eq!(both(&[(0x88, 0, b"")]), None);
    assert_eq!(both(&[(0x88, 1, &[3])]), Some(Violation::HalfCloseCode));
    for (code, is_allowed) in [
        (0, false),
        (999, false),
        (1000, true),
        (1003, true),
        (1004, false),
        (1005, false),
        (1006, false),
        (1007, true),
        (1014, true),
        (1015, false),
        (2999, false),
        (3000, true),
        (4999, true),
        (5000, false),
        (65535, false),
    ] {
        let payload = [&u16::to_be_bytes(code)[..], b"\xff\xff"].concat();
        let expected = (!is_allowed).then_some(Violation::CloseCode(CloseCode(code)));
        assert_eq!(both(&[(0x88, 4, &payload)]), expected);
        // As soon as it is there.
        assert_eq!(both(&[(0x88, 4, &payload[..2])]), expected);
        assert_eq!(both(&[(0x88, 4, &payload[..1])]), None);
    }
}

#[test]
fn reserved_bits_are_those_of_extensions() {
    let (none, deflate, any) = (Reserved::NONE, Reserved::DEFLATE, Reserved::ANY);
    for sender in [Role::Client, Role::Server] {
        for (opcodes, allowed) in [
            (&[0xc1][..], &[deflate, any][..]),
            (&[0x42, 0x80], &[deflate, any]),
            (&[0x42, 0xc0], &[any]),
            (&[0x02, 0xc0], &[any]),
            (&[0xc9], &[any]),
            (&[0xa1], &[any]),
            (&[0x91], &[any]),
            (&[0xf2], &[any]),
            (&[0x82], &[none, deflate, any]),
        ] {
            for reserved in [none, deflate, any] {
                let frames: Vec<(u8, u8, &[u8])> =
                    opcodes.iter().map(|&opcode| (opcode, 0, &b""[..])).collect();
                let expected = (!allowed.contains(&reserved)).then_some(Violation::Reserved);
                assert_eq!(judge(sender, reserved, &frames), expected, "{opcodes:x?}");
                if let [first] = opcodes {
                    let mut tracker = Tracker::new(sender, reserved);
                    let is_message = expected.is_none() && first & 0x08 == 0;
                    assert_eq!(tracker.pass(&frame(sender, *first, 0, b""), u64::MAX), is_message);
                }
            }
        }
    }
}

#[test]
fn what_passes_is_what_a_step_takes() {
    for sender in [Role::Client, Role::Server] {
        for reserved in [Reserved::NONE, Reserved::DEFLATE, Reserved::ANY] {
            // Every first byte, and lengths that some of the reads have and others not.
            let seconds = [0, 1, 2, 4, 5, 94, 98, 120, 121, 122, 124, 125, 126, 127];
            let seconds = seconds.map(|second| [second, 0x80 | second]);
            let starts = (0..=255).flat_map(|first| {
                seconds.as_flattened().iter().map(move |&second| [first, second])
            });
            for start in starts {
                for length in [0, 1, 2, 3, 6, 7, 8, 100, 127, 128, 131, 132, 136] {
                    let mut bytes = [0; 136];
                    bytes[..2].copy_from_slice(&start);
                    let bytes = &bytes[..length];
                    let new = Tracker::new(sender, reserved);
                    let (mut fast, mut slow) = (new, new);
                    let passes = fast.pass(bytes, u64::MAX);
                    let step = slow.step(bytes, &mut Options::default());
                    let expected = matches!(
                        step,
                        Ok(Step {
                            event: Event::Data(DataFrame { is_final: true, .. }),
                            length: taken,
                            ..
                        }) if taken == length
                    );
                    assert_eq!(passes, expected, "{start:x?} {length}");
                    assert_eq!(fast, if passes { slow } else { new });
                }
            }
        }
    }
}

#[test]
fn what_passes_is_within_the_limit() {
    for sender in [Role::Client, Role::Server] {
        for length in [1, 125, 126, 65535, 65536] {
            let key = (sender == Role::Client).then_some(KEY);
            let header = Header::new(OpCode::Data(Data::Text), length, key).encode();
            let whole = [&header[..], &vec![0; length as usize]].concat();
            for bytes in [&whole[..], &whole[..whole.len() - 1]] {
                let new = Tracker::new(sender, Reserved::NONE);
                let mut tracker = new;
                assert!(!tracker.pass(bytes, length - 1));
                assert_eq!(tracker, new);
                let mut options =
                    Options { pings: None, size: Some(&mut MessageSize::new(length - 1)) };
                assert_eq!(tracker.step(bytes, &mut options), Err(Refusal::TooLarge(length)));
                assert_eq!(tracker, new);
                assert!(tracker.pass(bytes, length));
                // What is behind a message is another matter.
                let rest = [&whole[bytes.len()..], &whole].concat();
                assert_eq!(tracker.pass(&rest, length), bytes.len() == whole.len());
            }
        }
    }
}

#[test]
fn what_is_no_message_does_not_pass() {
    let message = frame(Role::Server, 0x81, 1, b"x");
    // In a fragmented message, between its frames or not, and in a Ping.
    let begun: [&[u8]; 3] = [b"\x01\x01x", b"\x01\x02x", b"\x89\x05x"];
    for begun in begun {
        let mut tracker = Tracker::new(Role::Server, Reserved::NONE);
        assert_eq!(steps(&mut tracker, begun), Ok(()));
        assert!(!tracker.pass(&message, u64::MAX));
    }
    // Nor is what cannot be known.
    let mut tracker = Tracker::new(Role::Server, Reserved::NONE);
    tracker.give_up();
    assert!(tracker.pass(&message, u64::MAX) && !tracker.is_at_boundary());
    assert_eq!(tracker.messages(), 0);
}

#[test]
fn the_size_of_a_message_is_that_of_its_frames() {
    let run = |limit, frames: &[(u8, u64)]| {
        let mut tracker = Tracker::new(Role::Server, Reserved::NONE);
        let mut size = MessageSize::new(limit);
        for (number, &(first, length)) in frames.iter().enumerate() {
            let mut header = [&[first, 127][..], &length.to_be_bytes()].concat();
            if length < 126 {
                header = vec![first, length as u8];
            }
            if first & 0x08 != 0 {
                header.resize(2 + length as usize, 0);
            }
            let mut options = Options { pings: None, size: Some(&mut size) };
            match tracker.step(&header, &mut options) {
                Ok(_) => tracker.skip_payload(),
                Err(Refusal::TooLarge(so_far)) => {
                    assert!(tracker.may_inject());
                    return Some((number, so_far));
                }
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
        None
    };
    assert_eq!(run(100, &[(0x82, 100), (0x82, 100), (0x89, 0), (0x82, 100)]), None);
    assert_eq!(run(100, &[(0x82, 99), (0x82, 101)]), Some((1, 101)));
    assert_eq!(run(100, &[(0x02, 50), (0x00, 50), (0x80, 0), (0x82, 100)]), None);
    assert_eq!(run(100, &[(0x02, 50), (0x89, 125), (0x00, 50), (0x80, 1)]), Some((3, 101)));
    let most = u64::MAX >> 1;
    assert_eq!(run(1 << 20, &[(0x82, most)]), Some((0, most)));
    // No length that breaks a rule gets around the limit.
    assert_eq!(run(u64::MAX, &[(0x82, most + 1)]), Some((0, most + 1)));
    assert_eq!(run(100, &[(0x02, 1), (0x80, u64::MAX)]), Some((1, u64::MAX)));
    assert_eq!(run(u64::MAX, &[(0x02, most), (0x00, most), (0x00, most), (0x80, most)]), None);
    let sum = Some((2, u64::MAX));
    assert_eq!(run(u64::MAX - 1, &[(0x02, most), (0x00, most), (0x80, 2)]), sum);
}

#[test]
fn payload_and_messages_are_counted_as_they_come() {
    let mut tracker = Tracker::new(Role::Server, Reserved::NONE);
    for (bytes, payload, messages) in [
        (&b"\x82\x05ab"[..], 2, 0),
        (b"cde", 5, 1),
        (b"\x89\x02xx", 5, 1),
        (b"\x01\x01f", 6, 1),
        (b"\x80\x00", 6, 2),
        (b"\x81\x01g\x81\x01h\x8a\x00", 8, 4),
    ] {
        assert_eq!(steps(&mut tracker, bytes), Ok(()));
        assert_eq!((tracker.payload(), tracker.messages()), (payload, messages));
    }
    assert!(tracker.pass(b"\x81\x01i", u64::MAX));
    assert_eq!((tracker.payload(), tracker.messages()), (9, 5));
}

#[test]
fn nothing_is_injected_behind_a_close() {
    let mut tracker = Tracker::new(Role::Server, Reserved::NONE);
    assert!(tracker.may_inject());
    assert_eq!(steps(&mut tracker, b"\x88\x02\x03\xe8"), Ok(()));
    assert!(tracker.is_at_boundary() && tracker.is_closed() && !tracker.may_inject());

    let mut tracker = Tracker::new(Role::Server, Reserved::NONE);
    tracker.close();
    assert!(tracker.is_at_boundary() && tracker.is_closed() && !tracker.may_inject());
}

#[test]
fn what_is_not_websocket_passes_after_giving_up() {
    for text in [&b"SSH-2.0-OpenSSH"[..], b"GET / HTTP/1.1\r\n", b"hello", b"\x16\x03\x01", b"\0"] {
        let mut tracker = Tracker::new(Role::Client, Reserved::NONE);
        let refused = tracker.step(&text[..1], &mut Options::default());
        assert!(matches!(refused, Err(Refusal::Violation(_))), "{text:?}");
        tracker.give_up();
        let passed = tracker.step(text, &mut Options::default()).unwrap();
        assert_eq!((passed.event, passed.length), (Event::Untracked, text.len()));
    }
}

#[test]
fn a_pong_that_began_before_our_ping_is_not_ours() {
    let mut tracker = Tracker::new(Role::Server, Reserved::NONE);
    let mut pings = Pings::new(*b"a secret");
    let pong = b"\x8a\x0ca secret\0\0\0\x01";
    let mut options = Options { pings: Some(&pings), size: None };
    let step = tracker.step(&pong[..5], &mut options).unwrap();
    assert_eq!(step.event, Event::Incomplete { held: false });
    assert!(!tracker.is_at_boundary());

    pings.next(None);
    let mut options = Options { pings: Some(&pings), size: None };
    let step = tracker.step(pong, &mut options).unwrap();
    assert!(matches!(step.event, Event::Pong(_)));
    assert!(tracker.is_at_boundary());
    // The next one is.
    let step = tracker.step(&pong[..5], &mut options).unwrap();
    assert_eq!(step.event, Event::Incomplete { held: true });
    assert!(tracker.is_at_boundary());
    let step = tracker.step(pong, &mut options).unwrap();
    assert_eq!(step.event, Event::OwnPong(1));
}
