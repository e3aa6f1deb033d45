//! Tracks many reads of one direction, and says what a frame costs:
//! `cargo run --release -p websocket-guard-core --example track-frames [READS]`
//!
//! Instructions are the slope between two numbers of reads under `valgrind --tool=callgrind`.

use std::env;
use std::hint::black_box;
use std::time::Instant;

use websocket_guard_core::frame::{Data, Header, OpCode, Options, Reserved, Role, Step, Tracker};

fn main() {
    let mut arguments = env::args().skip(1);
    let reads = arguments.next().and_then(|reads| reads.parse().ok()).unwrap_or(1_000_000);
    let only = arguments.next();

    let message = |length: usize| {
        let header = Header::new(OpCode::Data(Data::Binary), length as u64, Some([1, 2, 3, 4]));
        [&header.encode()[..], &vec![0; length]].concat()
    };
    // A tunnel with deflate and long fragments, where nothing is as simple as it can be.
    let fragment = [&[0x00, 0xfe, 0x10, 0x00, 1, 2, 3, 4][..], &[0; 4096]].concat();
    let pong = b"\x8a\x84\0\0\0\0abcd".to_vec();
    let first = [&[0x41, 0x80, 1, 2, 3, 4][..], &fragment].concat();
    for (name, bytes, frames) in [
        ("message of 64 bytes", message(64), 1),
        ("message of 1 KiB", message(1 << 10), 1),
        ("message of 64 KiB", message(64 << 10), 1),
        ("message of 64 KiB in two reads", message(64 << 10), 1),
        ("100 messages of 64 bytes in one read", message(64).repeat(100), 100),
        ("fragment of 4 KiB", fragment, 1),
        ("Pong", pong, 1),
    ] {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let mut tracker = Tracker::new(Role::Client, Reserved::DEFLATE);
        if name.starts_with("fragment") {
            read(&mut tracker, &first);
        }
        let size = if name.ends_with("two reads") { bytes.len() / 2 } else { bytes.len() };
        let parts: Vec<&[u8]> = bytes.chunks(size).collect();
        let start = Instant::now();
        for _ in 0..reads {
            for part in &parts {
                read(&mut tracker, black_box(part));
            }
        }
        let each = start.elapsed().as_secs_f64() * 1e9 / f64::from(reads) / f64::from(frames);
        println!("{name}: {each:.2} ns for each frame, {} messages", tracker.messages());
    }
}

// As it is called for every read.
#[inline(never)]
fn read(tracker: &mut Tracker, bytes: &[u8]) {
    if !tracker.pass(bytes, u64::MAX) {
        step(tracker, bytes);
    }
}

#[inline(never)]
fn step(tracker: &mut Tracker, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok(Step { length, .. }) = tracker.step(rest, &mut Options::default()) else { return };
        rest = rest.get(length..).unwrap_or_default();
    }
}
