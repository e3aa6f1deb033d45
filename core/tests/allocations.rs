//! What runs for a request allocates nothing, however large its headers are.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;
use std::iter::once;

use websocket_guard_core::handshake::accept::accept;
use websocket_guard_core::handshake::origin::{OriginPolicy, Own};
use websocket_guard_core::handshake::switch::{Offer, Switch};
use websocket_guard_core::handshake::upgrade::Protocols;
use websocket_guard_core::handshake::Request;
use websocket_guard_core::http::version::HttpVersion;
use websocket_guard_core::text::escape::Escaped;

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
    let sent = Offer {
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
