//! What runs for a request allocates nothing, however large its headers are, and nor does what runs
//! for a frame.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;
use std::iter::once;

use websocket_guard_protocol::accept::accept;
use websocket_guard_protocol::escape::Escaped;
use websocket_guard_protocol::frame::{
    control, CloseCode, Event, MessageSize, Options, Pings, Reserved, Role, Step, Tail, Tracker,
};
use websocket_guard_protocol::handshake::{HttpVersion, Request};
use websocket_guard_protocol::origin::{OriginPolicy, Own};
use websocket_guard_protocol::response::{Sent, Switch};
use websocket_guard_protocol::upgrade::Protocols;

#[test]
fn a_large_request_is_checked_without_allocations() {
    let list = b"upgrad, \0\xff;".repeat(6000);
    let protocols = Protocols::default();
    let words = [&b"same"[..], b"https://*.example.com", b"http://[::1]", b"~^x"];
    let origins = OriginPolicy::new(words).ok();
    let own = Own { scheme: Some(b"https"), host: &list };
    let check_origin = |origin: &[u8]| {
        let lines = once(origin);
        origins.as_ref().map(|origins| origins.check(lines, &own).is_ok())
    };
    // The first use of a regular expression makes its cache.
    check_origin(b"y");

    let request = Request {
        is_get: true,
        http_version: HttpVersion::Http11,
        has_body: false,
        upgrade: once(&list[..]).chain(once(&[][..])),
        connection: once(&list[..]).chain(once(&b"upgrade"[..])),
        key: once(&b"dGhlIHNhbXBsZSBub25jZQ=="[..]).chain(once(&[][..])),
        version: once(&list[..]).chain(once(&[][..])),
    };
    let key_accept = accept(&list);
    let answer = Switch {
        upgrade: once(&b"websocket"[..]),
        connection: once(&b"upgrade"[..]),
        accept: once(&key_accept[..]),
        subprotocol: once(&b"upgrad"[..]),
        extensions: once(&list[..]),
    };
    let sent = Sent {
        upgrade: once(&b"websocket"[..]),
        allowed: None,
        key: once(&list[..]),
        subprotocols: once(&list[..]),
        extensions: once(&list[..]),
    };
    let mut output = String::with_capacity(Escaped::MAX);

    let before = ALLOCATIONS.get();
    let violation = request.violation(true);
    let selected = protocols.select(once(&list[..])).has_websocket();
    let verified = answer.verify(&sent);
    let allowed = [check_origin(&list), check_origin(b"https://a.example.com")];
    let written = write!(output, "{}", Escaped(&list));
    let after = ALLOCATIONS.get();

    assert_eq!(after - before, 0);
    assert!(violation.is_some());
    assert!(!selected);
    assert_eq!(verified, Ok(()));
    assert_eq!(allowed, [Some(false), Some(true)]);
    assert!(written.is_ok());
}

#[test]
fn frames_are_tracked_without_allocations() {
    let mut pings = Pings::new(*b"a secret");
    let (mut tracker, mut size) =
        (Tracker::new(Role::Client, Reserved::DEFLATE), MessageSize::new(100));
    let stream = [
        &b"\xc1\x85abcd01234\x01\x80abcd\x89\xfdabcd"[..],
        &[b'x'; 125],
        b"\x80\x80abcd\x8a\x8c\0\0\0\0a secret\0\0\0\x01\x88\x85\0\0\0\0\x03\xe8bye",
    ]
    .concat();
    let (mut own, mut code) = (None, None);

    let before = ALLOCATIONS.get();
    let ping = pings.next(Some([1, 2, 3, 4]));
    let close = control::close(CloseCode::RESTART, "the server restarts", None);
    let mut tail: Option<Tail> = None;
    for byte in stream.chunks(1) {
        let mut buffer = [0; Tail::CAPACITY + 1];
        let kept = tail.take().map_or(0, |tail| {
            buffer.iter_mut().zip(tail.bytes()).for_each(|(to, from)| *to = *from);
            tail.bytes().len()
        });
        buffer.iter_mut().skip(kept).zip(byte).for_each(|(to, from)| *to = *from);
        let bytes = buffer.get(..=kept).unwrap_or_default();
        if kept == 0 && tracker.pass(bytes, size.limit()) {
            continue;
        }
        let mut options = Options { pings: Some(&pings), size: Some(&mut size) };
        match tracker.step(bytes, &mut options) {
            Ok(Step { event: Event::Incomplete { held }, .. }) => {
                tail = Some(Tail::new(bytes, held));
            }
            Ok(Step { event: Event::OwnPong(number), .. }) => own = Some(number),
            Ok(Step { event: Event::Close(close), .. }) => {
                code = close.code().filter(|_| *close.reason() == *b"bye");
            }
            _ => {}
        }
    }
    let after = ALLOCATIONS.get();

    assert_eq!(after - before, 0);
    assert_eq!((ping.len(), close.len()), (2 + 4 + Pings::PAYLOAD, 2 + 2 + 19));
    assert_eq!((own, code), (Some(1), Some(CloseCode::NORMAL)));
    assert_eq!((tracker.messages(), tracker.payload()), (2, 5));
}

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
