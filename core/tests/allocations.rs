//! What runs for a request allocates nothing, however large its headers are, and nor does what runs
//! for a frame.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;
use std::iter::once;
use std::sync::{Mutex, PoisonError};

use websocket_guard_core::diagnosis::flood::{Flood, LINES};
use websocket_guard_core::diagnosis::{
    diagnose, diagnose_end, Asks, BackendFacts, Diagnosis, Early, End, Facts, Failure, Gate,
    Handler, NamedPlace, Reached, Sent, SwitchFault, TunnelEnd,
};
use websocket_guard_core::findings::Finding;
use websocket_guard_core::frame::{
    control, CloseCode, Event, MessageSize, Options, Pings, Reserved, Role, Step, Tail, Tracker,
};
use websocket_guard_core::handshake::accept::accept;
use websocket_guard_core::handshake::origin::{OriginPolicy, Own};
use websocket_guard_core::handshake::switch::{Offer, Switch};
use websocket_guard_core::handshake::upgrade::{first_that_can_be_listed, Protocols};
use websocket_guard_core::handshake::{Request, Violation};
use websocket_guard_core::http::field::find;
use websocket_guard_core::http::head::Head;
use websocket_guard_core::http::version::HttpVersion;
use websocket_guard_core::text::escape::Escaped;
use websocket_guard_core::words::{is_polled, Mode, Place};

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

#[test]
fn a_large_request_is_checked_without_allocations() {
    let list = b"upgrad, \0\xff;".repeat(6000);
    let protocols = Protocols::default();
    let words = [
        &b"same"[..],
        b"https://*.example.com",
        b"http://[::1]",
        br"~^x",
        br"~*^https://[a-z-]{1,40}-git-[a-z-]{1,40}\.Example\.org$",
        br"~(a|\bb*)*c{3,9}\b",
    ];
    let origins = OriginPolicy::new(words).ok();
    let own = Own { scheme: Some(b"https"), host: &list };
    let check_origin = |origin: &[u8]| {
        let lines = once(origin);
        origins.as_ref().map(|origins| origins.check(lines, &own).is_ok())
    };
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

#[test]
fn a_request_is_searched_without_allocations() {
    let long = b"x".repeat(500);
    let large = b"x".repeat(60_000);
    let origins = OriginPolicy::new([
        &br"~*^https://[a-z-]{1,40}-git-[a-z-]{1,40}\.Example\.org$"[..],
        br"~x{20}\b",
    ]);
    let own = Own { scheme: None, host: b"" };
    let allows =
        |origin: &[u8]| origins.as_ref().is_ok_and(|it| it.check(once(origin), &own).is_ok());
    let protocols = Protocols::new([&b"websocket"[..], b"chat", b"foo/2"]);
    let request =
        b"GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: foo/2, chat\r\nUpgrade: h2c, websocket\r\n\r\n";
    let mut output = String::with_capacity(100);

    let before = ALLOCATIONS.get();
    let allowed = [
        allows(b"https://my-app-git-fix-git-it.example.ORG"),
        allows(b"https://my-app.example.org"),
        allows(&long),
        allows(&large),
    ];
    let head = Head::new(request);
    let [upgrade, host] = find(head.fields(), ["Upgrade", "Host"]);
    let hosts = host.count();
    let written =
        protocols.as_ref().map(|protocols| write!(output, "{}", protocols.select(upgrade)));
    let listed = first_that_can_be_listed([&b"h2c, a b"[..], b"a/b/c, \xff, foo"].into_iter());
    let polled = is_polled(br"^/app/Socket\.io/");
    let after = ALLOCATIONS.get();

    assert!(polled);
    assert_eq!(after - before, 0);
    assert_eq!(allowed, [true, false, true, false]);
    assert_eq!((head.uri(), hosts), (&b"/x"[..], 1));
    assert_eq!(written, Ok(Ok(())));
    assert_eq!(output, "foo/2, chat, websocket");
    assert_eq!(listed, Some(&b"foo"[..]));
}

#[test]
fn a_diagnosis_is_made_and_written_without_allocations() {
    let place = NamedPlace { name: b"/chat", place: Place { file: b"nginx.conf", line: 7 } };
    let asked = Facts {
        mode: Mode::On,
        location: Some(place),
        handler: Handler::Proxy,
        asks: Asks::WebSocket,
        upgrade: b"websocket",
        key: true,
        ..Facts::default()
    };
    let answered = |status, upstream| Facts { status, upstream: Some(upstream), ..asked };
    let upstream = BackendFacts {
        upgrade: Sent::Value(b"websocket"),
        connection: Sent::Value(b"upgrade"),
        reached: Reached::Header,
        status: 404,
        ..BackendFacts::default()
    };
    let requests = [
        Facts { status: 400, ..asked },
        Facts { status: 400, early: Some(Early::HeaderTooLarge), ..asked },
        Facts { status: 403, gate: Gate::Violated(Violation::Body), ..asked },
        Facts { status: 200, handler: Handler::Static, ..asked },
        Facts { status: 200, asks: Asks::Nothing, upgrade: b"", ..asked },
        answered(404, upstream),
        answered(
            502,
            BackendFacts {
                failure: Some(Failure::Closed),
                reached: Reached::Connection,
                status: 0,
                ..upstream
            },
        ),
        answered(
            502,
            BackendFacts { switch_fault: Some(SwitchFault::Unsolicited), status: 101, ..upstream },
        ),
        answered(200, BackendFacts { upgrade: Sent::Nothing, status: 200, ..upstream }),
    ];
    let end = TunnelEnd {
        end: End::Idle,
        age_ms: 90_000_000,
        limit_ms: 3_600_000,
        client_silent_ms: 3_600_001,
        backend_silent_ms: 1,
        peer: b"127.0.0.1:8080",
        handler: Handler::Proxy,
        mode: Mode::Check,
        lifetime: &[],
    };
    let mut line = String::with_capacity(Diagnosis::LINE_MAX);
    let mut lines = 0;
    let mut write_line = |diagnosis: Option<Diagnosis>| {
        line.clear();
        let written = diagnosis.map(|it| write!(line, "{}", it.line()));
        lines += usize::from(written.is_some_and(|written| written.is_ok()));
    };

    let before = ALLOCATIONS.get();
    requests.iter().for_each(|facts| write_line(diagnose(facts)));
    write_line(diagnose_end(&end));
    let after = ALLOCATIONS.get();

    assert_eq!(after - before, 0);
    assert_eq!(lines, requests.len() + 1);
}

#[test]
fn lines_are_counted_without_allocations() {
    static FLOOD: Mutex<Flood<Finding>> = Mutex::new(Flood::new());
    let mut flood = FLOOD.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut admitted, mut suppressed) = (0, 0);

    let before = ALLOCATIONS.get();
    for key in (0..20_000).chain([7; 100]) {
        admitted += u32::from(flood.admit(key, 4, Finding::HandshakeKey));
    }
    flood.end(|sum| suppressed += sum.events);
    let after = ALLOCATIONS.get();

    assert_eq!(after - before, 0);
    assert_eq!(admitted + suppressed, 20_100);
    assert!(admitted > LINES);
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

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
