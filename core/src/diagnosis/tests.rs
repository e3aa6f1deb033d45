use std::num::NonZeroU32;
use std::sync::LazyLock;

use proptest::prelude::*;

use crate::config::{Answer, Answering};
use crate::findings::{EndFinding, Finding, Level, RunFinding};
use crate::frame::rate::Rate;
use crate::frame::{self, Role};
use crate::handshake::origin::Denied;
use crate::handshake::switch::{BadAccept, BadSwitch, Fault};
use crate::handshake::upgrade::Protocols;
use crate::handshake::{ValueFault, Violation};
use crate::http::version::HttpVersion;

use crate::words::{Mode, Place};

use super::*;

const ACCEPT: &[u8; 28] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Longer than what is printed of it.
const ALLOWED: &str = "same \
    https://a.example https://b.example https://c.example https://d.example https://e.example \
    https://f.example https://g.example https://h.example https://i.example https://j.example \
    https://k.example \u{e9}\n";

const CHAT: NamedPlace =
    NamedPlace { name: b"/chat", place: Place { file: b"conf/nginx.conf", line: 31 } };

/// A correct WebSocket request in an unmarked location that forwards it to a backend which
/// answers `status`.
fn answered(status: u16) -> Facts<'static> {
    Facts {
        location: Some(CHAT),
        handler: Handler::Proxy,
        uri: b"/chat",
        asks: Asks::WebSocket,
        upgrade: b"websocket",
        key: true,
        origin: Some(b"https://app.example.com"),
        peer: b"10.0.0.9",
        status,
        upstream: Some(BackendFacts {
            peer: b"127.0.0.1:8080",
            name: b"backend",
            http_version: Some(HttpVersion::Http11),
            upgrade: Sent::Value(b"websocket"),
            connection: Sent::Value(b"upgrade"),
            host: Some(b"app.example.com"),
            uri: b"/chat",
            reached: Reached::Header,
            status,
            ..BackendFacts::default()
        }),
        ..Facts::default()
    }
}

/// Likewise, with changes to what happened between nginx and the backend.
fn upstream(status: u16, change: impl FnOnce(&mut BackendFacts<'static>)) -> Facts<'static> {
    let mut facts = answered(status);
    if let Some(upstream) = &mut facts.upstream {
        change(upstream);
    }
    facts
}

/// The backend could not be asked, or gave no answer.
fn failed(status: u16, reached: Reached, failure: Option<Failure<'static>>) -> Facts<'static> {
    upstream(status, |u| {
        u.reached = reached;
        u.failure = failure;
    })
}

fn not_connected(step: Step, number: i32, text: &'static [u8]) -> Option<Failure<'static>> {
    Some(Failure::NotConnected(Unconnected { cause: Cause::infer(step, number), number, text }))
}

fn unconnected(step: Step, number: i32, text: &'static [u8]) -> Facts<'static> {
    failed(502, Reached::Nothing, not_connected(step, number, text))
}

/// nginx answered by itself.
fn by_nginx(status: u16) -> Facts<'static> {
    Facts { upstream: None, ..answered(status) }
}

fn violated(violation: Violation<'static>) -> Facts<'static> {
    Facts { mode: Mode::On, gate: Gate::Violated(violation), ..by_nginx(400) }
}

fn foreign_origin() -> Gate<'static> {
    Gate::OriginDenied {
        denied: Denied::NotListed(b"https://evil.example"),
        allowed: "https://app.example.com",
    }
}

fn early(status: u16, early: Early) -> Facts<'static> {
    Facts { early: Some(early), ..by_nginx(status) }
}

fn wrong(fault: Fault<'static>) -> Facts<'static> {
    switched(SwitchFault::Wrong(fault))
}

fn switched(fault: SwitchFault<'static>) -> Facts<'static> {
    Facts { mode: Mode::On, status: 502, ..upstream(101, |u| u.switch_fault = Some(fault)) }
}

/// A request for another protocol, which the guard made a plain one.
fn dropped(status: u16) -> Facts<'static> {
    static LISTED: LazyLock<Protocols> = LazyLock::new(Protocols::default);
    Facts {
        mode: Mode::On,
        asks: Asks::Other,
        method: b"POST",
        upgrade: b"SPDY/3.1",
        dropped: Some(Dropped { name: b"SPDY/3.1", listed: &LISTED }),
        key: false,
        ..upstream(status, |u| u.upgrade = Sent::Nothing)
    }
}

fn plain(status: u16) -> Facts<'static> {
    Facts { asks: Asks::Nothing, upgrade: b"", key: false, ..answered(status) }
}

/// For each finding a request that has it, worded as the catalogue's example, and others that
/// nearly have it.
fn cases() -> Vec<(RunFinding, Facts<'static>, Vec<Facts<'static>>)> {
    let location =
        |name: &'static [u8], line| Some(NamedPlace { name, place: Place { line, ..CHAT.place } });
    vec![
        (
            RunFinding::SubrequestUpgrade,
            Facts { subrequest_101: Some(b"/auth"), auth_status: Some(101), ..by_nginx(500) },
            vec![Facts { auth_status: Some(200), ..answered(502) }],
        ),
        (
            RunFinding::NotWebsocket,
            Facts {
                asks: Asks::Other,
                upgrade: b"foo/2",
                dropped: dropped(200).dropped,
                key: false,
                ..upstream(200, |u| u.upgrade = Sent::Nothing)
            },
            vec![
                plain(200),
                answered(200),
                Facts { asks: Asks::Listed, upgrade: b"foo", ..answered(200) },
                dropped(400),
            ],
        ),
        (
            RunFinding::ProtocolDropped,
            dropped(400),
            vec![
                dropped(200),
                dropped(302),
                // Nothing could be listed, or nothing was taken away.
                Facts { upgrade: b"h2c", dropped: None, ..dropped(400) },
                Facts { mode: Mode::Check, ..dropped(400) },
                Facts { asks: Asks::Listed, dropped: None, ..dropped(400) },
                // The backend said nothing.
                Facts { upstream: None, ..dropped(400) },
            ],
        ),
        (
            RunFinding::StrippedUpgrade,
            Facts { key: true, via: Some(b"1.1 edge"), ..plain(400) },
            vec![
                plain(400),
                // 414 and 494 may come before the Upgrade header is read.
                Facts { key: true, early: Some(Early::HeaderTooLarge), ..plain(400) },
                Facts { key: true, early: Some(Early::UriTooLong), ..plain(414) },
                // HTTP/2 has none.
                Facts { key: true, http_version: HttpVersion::Http2, ..plain(400) },
            ],
        ),
        (
            RunFinding::HandshakeMethod,
            Facts { method: b"POST", ..violated(Violation::Method) },
            vec![violated(Violation::Body)],
        ),
        (
            RunFinding::HandshakeHttpVersion,
            Facts { http_version: HttpVersion::Http10, ..violated(Violation::HttpVersion) },
            vec![
                plain(200),
                Facts { http_version: HttpVersion::Http2, ..violated(Violation::Http2Upgrade) },
            ],
        ),
        (
            RunFinding::HandshakeConnection,
            violated(Violation::Connection(Some(b"close"))),
            // Forwarded in `auto`, and the backend took it.
            vec![Facts { gate: Gate::Violated(Violation::Connection(None)), ..answered(101) }],
        ),
        (
            RunFinding::HandshakeKey,
            violated(Violation::Key(ValueFault::Invalid(b"test"))),
            vec![violated(Violation::Version(ValueFault::Missing))],
        ),
        (
            RunFinding::HandshakeVersion,
            Facts { status: 426, ..violated(Violation::Version(ValueFault::Invalid(b"8"))) },
            vec![answered(426)],
        ),
        (RunFinding::HandshakeBody, violated(Violation::Body), vec![plain(413)]),
        (
            RunFinding::OriginDenied,
            Facts { mode: Mode::On, gate: foreign_origin(), ..by_nginx(403) },
            vec![
                by_nginx(403),
                Facts { mode: Mode::Check, gate: foreign_origin(), ..answered(404) },
            ],
        ),
        (
            RunFinding::UpgradeInjected,
            Facts { mode: Mode::On, gate: Gate::Injected { upgrade: b"h2c" }, ..by_nginx(500) },
            vec![Facts { mode: Mode::On, ..by_nginx(500) }],
        ),
        (
            RunFinding::ProxyProtocol,
            Facts {
                preface: Some(Preface::Proxy1),
                server: NamedPlace { name: b"example.com", place: Place { line: 9, ..CHAT.place } },
                location: None,
                upstream: None,
                ..plain(400)
            },
            vec![plain(400), by_nginx(400)],
        ),
        (
            RunFinding::WrongServer,
            Facts {
                host: b"www.example.com",
                server: NamedPlace { name: b"", place: Place { line: 9, ..CHAT.place } },
                other_server: Some(OtherServer { server: b"example.com", location: CHAT }),
                ..by_nginx(404)
            },
            vec![
                by_nginx(404),
                Facts {
                    other_server: Some(OtherServer { server: b"example.com", location: CHAT }),
                    ..answered(404)
                },
            ],
        ),
        (
            RunFinding::Http2Upgrade,
            Facts { mode: Mode::On, http_version: HttpVersion::Http2, ..by_nginx(400) },
            vec![
                Facts { http_version: HttpVersion::Http2, ..plain(200) },
                Facts { mode: Mode::On, ..by_nginx(400) },
            ],
        ),
        (
            RunFinding::TlsMismatch,
            early(400, Early::PlainOnTls),
            vec![by_nginx(400), Facts { early: Some(Early::PlainOnTls), ..plain(400) }],
        ),
        (RunFinding::ClientCertificate, early(400, Early::CertificateMissing), vec![by_nginx(400)]),
        (
            RunFinding::HeaderTooLarge,
            early(400, Early::HeaderTooLarge),
            vec![by_nginx(400), Facts { early: Some(Early::HeaderTooLarge), ..plain(400) }],
        ),
        (
            RunFinding::WrongLocation,
            Facts {
                location: location(b"/", 12),
                marked_location: Some(b"/ws/"),
                ..upstream(200, |u| u.upgrade = Sent::Nothing)
            },
            vec![
                // It forwards.
                Facts { marked_location: Some(b"/ws/"), ..answered(404) },
                // It redirects.
                Facts { marked_location: Some(b"/ws/"), ..by_nginx(302) },
                // It refuses.
                Facts { marked_location: Some(b"/ws/"), ..by_nginx(403) },
                // It is marked itself.
                Facts { mode: Mode::Check, marked_location: Some(b"/ws/"), ..by_nginx(404) },
                by_nginx(404),
            ],
        ),
        (
            RunFinding::NotProxied,
            Facts { handler: Handler::Static, ..by_nginx(404) },
            vec![answered(404), by_nginx(301), by_nginx(403), by_nginx(499)],
        ),
        (
            RunFinding::Redirected,
            Facts { redirect: Some(b"https://example.com/chat"), ..by_nginx(301) },
            vec![answered(301), by_nginx(304)],
        ),
        (
            RunFinding::SlashRedirect,
            Facts {
                location: location(b"/chat/", 31),
                redirect: Some(b"http://example.com/chat/"),
                ..by_nginx(301)
            },
            vec![
                by_nginx(301),
                Facts { location: location(b"/chat/", 31), ..by_nginx(302) },
                Facts { location: location(b"/chat/", 31), uri: b"/chat/", ..by_nginx(301) },
            ],
        ),
        (
            RunFinding::AccessDenied,
            by_nginx(401),
            vec![
                answered(401),
                // A sign-in redirect.
                Facts { auth_status: Some(401), ..by_nginx(302) },
                by_nginx(404),
            ],
        ),
        (
            RunFinding::RateLimited,
            Facts { limit: Limit::Connections, ..by_nginx(503) },
            vec![answered(503), by_nginx(500)],
        ),
        (
            RunFinding::AccessCheckFailed,
            Facts { auth_status: Some(426), ..by_nginx(500) },
            vec![
                by_nginx(500),
                Facts { auth_status: Some(204), ..answered(500) },
                Facts { auth_status: Some(403), ..by_nginx(403) },
            ],
        ),
        (
            RunFinding::BodyTooLarge,
            Facts { realtime: true, method: b"POST", upstream: None, ..plain(413) },
            vec![
                plain(413),
                Facts { mode: Mode::On, method: b"POST", ..plain(413) },
                Facts { realtime: true, method: b"PUT", ..plain(413) },
                Facts { realtime: true, method: b"POST", ..plain(400) },
            ],
        ),
        (
            RunFinding::ClientGone,
            upstream(499, |u| {
                u.status = 0;
                u.reached = Reached::Connection;
            }),
            vec![
                plain(499),
                upstream(499, |u| u.connection = Sent::Nothing).clone_with_status(504),
            ],
        ),
        (
            RunFinding::CachedResponse,
            upstream(200, |u| {
                u.cached = true;
                u.reached = Reached::Nothing;
                u.status = 0;
            }),
            vec![answered(200)],
        ),
        (
            RunFinding::UpgradeNotForwarded,
            upstream(400, |u| {
                u.upgrade = Sent::Nothing;
                u.connection = Sent::Value(b"close");
                u.http_version = Some(HttpVersion::Http10);
            }),
            vec![
                answered(400),
                upstream(400, |u| {
                    u.upgrade = Sent::Unknown;
                    u.connection = Sent::Unknown;
                    u.http_version = None;
                }),
                upstream(400, |u| {
                    u.upgrade = Sent::Value(b"WebSocket");
                    u.connection = Sent::Value(b"keep-alive, Upgrade");
                }),
            ],
        ),
        (
            RunFinding::HandshakeAltered,
            upstream(400, |u| u.altered = Some(Alteration::HeadersOff)),
            vec![answered(400), upstream(101, |u| u.altered = Some(Alteration::HeadersOff))],
        ),
        (
            RunFinding::BackendUnreachable,
            unconnected(Step::Connect, 111, b"Connection refused"),
            vec![
                answered(502),
                failed(502, Reached::Connection, None),
                unconnected(Step::Connect, 13, b"Permission denied"),
                unconnected(Step::Connect, 99, b"Cannot assign requested address"),
            ],
        ),
        (
            RunFinding::BackendForbidden,
            upstream(502, |u| {
                u.peer = b"10.0.0.5:8080";
                u.reached = Reached::Nothing;
                u.failure = not_connected(Step::Connect, 13, b"Permission denied");
            }),
            vec![
                unconnected(Step::Connect, 2, b"No such file or directory"),
                unconnected(Step::Connect, 11, b"Resource temporarily unavailable"),
                answered(403),
            ],
        ),
        (
            RunFinding::ConnectionsExhausted,
            unconnected(Step::Before { bound: false, exhausted: Some(512) }, 0, b""),
            vec![
                unconnected(Step::Before { bound: false, exhausted: None }, 0, b""),
                // It was asked.
                unconnected(Step::Connect, 0, b""),
                unconnected(Step::Connect, 101, b"Network is unreachable"),
                unconnected(Step::Before { bound: true, exhausted: None }, 99, b"Cannot assign"),
                failed(502, Reached::Nothing, Some(Failure::NoLivePeer)),
            ],
        ),
        (
            RunFinding::BackendNoLive,
            upstream(502, |u| {
                u.peer = b"";
                u.name = b"pool";
                u.reached = Reached::Nothing;
                u.failure = Some(Failure::NoLivePeer);
            }),
            vec![failed(502, Reached::Nothing, None)],
        ),
        (
            RunFinding::BackendDns,
            failed(502, Reached::Nothing, Some(Failure::NotResolved(b"app.internal"))),
            vec![failed(502, Reached::Nothing, None)],
        ),
        (
            RunFinding::BackendTls,
            upstream(502, |u| {
                u.peer = b"10.0.0.5:443";
                u.reached = Reached::Connection;
                u.failure = Some(Failure::TlsHandshake { sni: None });
            }),
            vec![failed(502, Reached::Connection, Some(Failure::Closed))],
        ),
        (
            RunFinding::BackendTimeout,
            failed(504, Reached::Connection, Some(Failure::TimedOut(Waiting::Read, 60_000, false))),
            vec![answered(504), failed(502, Reached::Connection, None)],
        ),
        (
            RunFinding::BackendClosed,
            failed(502, Reached::Connection, Some(Failure::Closed)),
            vec![answered(502), failed(502, Reached::Nothing, None)],
        ),
        (
            RunFinding::BackendHeaderTooBig,
            failed(502, Reached::Connection, Some(Failure::HeaderTooBig)),
            vec![failed(502, Reached::Connection, None)],
        ),
        (
            RunFinding::BackendOrigin,
            Facts {
                mode: Mode::On,
                ..upstream(403, |u| {
                    (u.host, u.host_from) = (Some(&b"backend"[..]), HostFrom::NoSite)
                })
            },
            vec![
                answered(403),
                Facts { origin: None, ..upstream(403, |u| u.host = Some(b"backend")) },
                upstream(403, |u| u.host = Some(b"APP.example.com:443")),
                upstream(403, |u| u.host = None),
                upstream(405, |u| u.host = Some(b"backend")),
            ],
        ),
        (
            RunFinding::BackendAuth,
            answered(401),
            vec![by_nginx(401), upstream(403, |u| u.host = Some(b"backend"))],
        ),
        (
            RunFinding::BackendRedirect,
            Facts { mode: Mode::Auto, ..upstream(302, |u| u.redirect = Some(b"/login")) },
            vec![by_nginx(302), answered(304)],
        ),
        (
            RunFinding::BackendNotFound,
            Facts { uri: b"/ws/chat", ..upstream(404, |u| u.uri = b"//chat") },
            vec![by_nginx(404), answered(410)],
        ),
        (
            RunFinding::BackendBadHandshake,
            Facts {
                subprotocols: Some(b"chat"),
                ..upstream(400, |u| u.body = b"Session ID unknown\n")
            },
            vec![
                upstream(400, |u| u.host = Some(b"backend")),
                upstream(400, |u| u.upgrade = Sent::Nothing),
                answered(405),
            ],
        ),
        (
            RunFinding::BackendNotWebsocket,
            answered(200),
            vec![answered(500), by_nginx(200), plain(200)],
        ),
        (
            RunFinding::BackendError,
            answered(500),
            vec![by_nginx(500), failed(502, Reached::Nothing, None)],
        ),
        (
            RunFinding::BadAccept,
            wrong(Fault::BadAccept(BadAccept::Wrong { received: b"x", expected: *ACCEPT })),
            vec![answered(101), answered(200)],
        ),
        (
            RunFinding::BadSwitch,
            wrong(Fault::BadSwitch(BadSwitch::OtherProtocol(b"h2c"))),
            vec![answered(101)],
        ),
        (
            RunFinding::SubprotocolMismatch,
            Facts {
                subprotocols: Some(b"graphql-ws"),
                status: 101,
                ..wrong(Fault::SubprotocolMismatch { chosen: b"mqtt" })
            },
            vec![answered(101)],
        ),
        (
            RunFinding::ExtensionMismatch,
            wrong(Fault::ExtensionMismatch { chosen: b"permessage-deflate" })
                .clone_with_status(101),
            vec![answered(101)],
        ),
        (
            RunFinding::SwitchReplaced,
            Facts { status: 403, ..answered(101) },
            vec![
                answered(101),
                answered(403),
                by_nginx(403),
                wrong(Fault::BadSwitch(BadSwitch::NoUpgrade)),
                Facts { status: 499, ..failed(499, Reached::Connection, None) },
            ],
        ),
        (
            RunFinding::Unsolicited101,
            plain(101),
            vec![
                answered(101),
                plain(200),
                // nginx makes a tunnel of it, as the location asks it to.
                Facts {
                    asks: Asks::Other,
                    upgrade: b"h2c",
                    ..upstream(101, |u| u.upgrade = Sent::Value(b"h2c"))
                },
            ],
        ),
    ]
}

impl Facts<'_> {
    fn clone_with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

fn finding(facts: &Facts) -> Option<Finding> {
    diagnose(facts).map(|diagnosis| diagnosis.finding())
}

fn line(facts: &Facts) -> String {
    diagnose(facts).map_or_else(String::new, |diagnosis| diagnosis.line().to_string())
}

#[test]
fn each_finding_is_found_and_worded_as_in_the_catalogue() {
    for (expected, facts, near_misses) in cases() {
        assert_eq!(finding(&facts), Some(expected.into()), "{facts:?}");
        let example = expected.entry().example;
        let line = line(&facts);
        assert!(example.ends_with(&line), "{example}\n{line}");
        assert!(line.starts_with("websocket_guard: "), "{line}");

        assert!(!near_misses.is_empty(), "{expected:?}");
        for facts in near_misses {
            assert_ne!(finding(&facts), Some(expected.into()), "{facts:?}");
        }
    }
}

#[test]
fn each_finding_of_the_catalogue_has_a_case() {
    for finding in RunFinding::ALL {
        let count = cases().iter().filter(|(tested, ..)| tested == finding).count();
        assert_eq!(count, 1, "{finding:?}");
    }
}

#[test]
fn good_traffic_has_no_diagnosis() {
    for status in [200, 204, 301, 302, 400, 401, 403, 404, 413, 499, 500, 502, 504] {
        assert_eq!(finding(&plain(status)), None, "{status}");
    }
    for mode in [Mode::Off, Mode::Check, Mode::Auto, Mode::On] {
        assert_eq!(finding(&Facts { mode, marked_location: Some(b"/ws/"), ..answered(101) }), None);
    }
    assert_eq!(finding(&Facts::default()), None);
}

#[test]
fn the_first_thing_that_is_wrong_is_the_cause() {
    // Everything is wrong; mended one by one, in the order of the request's way.
    let mut facts = Facts {
        gate: Gate::Violated(Violation::Connection(None)),
        early: Some(Early::PlainOnTls),
        marked_location: Some(b"/ws/"),
        status: 499,
        ..upstream(403, |u| {
            u.reached = Reached::Connection;
            u.upgrade = Sent::Nothing;
            u.altered = Some(Alteration::HeadersOff);
            u.failure = Some(Failure::SpeaksTls);
            u.host = Some(b"backend");
        })
    };
    assert_eq!(finding(&facts), Some(Finding::HandshakeConnection));
    facts.gate = Gate::Passed;
    assert_eq!(finding(&facts), Some(Finding::TlsMismatch));
    facts.early = None;
    assert_eq!(finding(&facts), Some(Finding::WrongLocation));
    facts.marked_location = None;
    assert_eq!(finding(&facts), Some(Finding::ClientGone));
    facts.status = 403;
    assert_eq!(finding(&facts), Some(Finding::UpgradeNotForwarded));
    let mend = |facts: &mut Facts<'static>, change: fn(&mut BackendFacts)| {
        facts.upstream.iter_mut().for_each(change);
    };
    mend(&mut facts, |u| u.upgrade = Sent::Value(b"websocket"));
    assert_eq!(finding(&facts), Some(Finding::HandshakeAltered));
    mend(&mut facts, |u| u.altered = None);
    assert_eq!(finding(&facts), Some(Finding::BackendTls));
    mend(&mut facts, |u| u.failure = None);
    assert_eq!(finding(&facts), Some(Finding::BackendClosed));
    mend(&mut facts, |u| u.reached = Reached::Header);
    assert_eq!(finding(&facts), Some(Finding::BackendOrigin));
    mend(&mut facts, |u| u.host = None);
    assert_eq!(finding(&facts), Some(Finding::BackendAuth));
}

#[test]
fn a_request_that_came_to_no_location_is_in_no_wrong_one() {
    let facts = Facts {
        location: None,
        refused_early: true,
        marked_location: Some(b"/ws/"),
        other_server: Some(OtherServer { server: b"a", location: CHAT }),
        upstream: None,
        ..answered(400)
    };
    assert_eq!(finding(&facts), Some(Finding::NotProxied));
    assert_eq!(
        line(&facts),
        "websocket_guard: upgrade failed: nginx refused the request with 400 before it looked for \
         a location; see what nginx says about it with \"error_log ... info\" [not-proxied]"
    );
    // Whatever an error_page made of it.
    let page = Facts { status: 200, ..facts };
    assert_eq!(finding(&page), Some(Finding::NotProxied));
    assert!(line(&page).contains("for a location, and an error_page made 200 of it; see"));
    let redirect = Facts { status: 302, redirect: Some(b"/"), ..facts };
    assert_eq!(finding(&redirect), Some(Finding::NotProxied));

    // nginx serves these methods nowhere.
    assert_eq!(finding(&Facts { method: b"TRACE", ..page }), Some(Finding::HandshakeMethod));
    assert_eq!(finding(&Facts { method: b"POST", ..page }), Some(Finding::NotProxied));
    let trace = Facts { method: b"TRACE", refused_early: false, location: Some(CHAT), ..page };
    assert_ne!(finding(&trace), Some(Finding::HandshakeMethod));

    // The header was not read to its end.
    for asks in [Asks::Nothing, Asks::Other] {
        for (key, expected) in [(false, None), (true, Some(Finding::NotProxied))] {
            assert_eq!(finding(&Facts { asks, key, ..facts }), expected);
        }
    }
}

#[test]
fn refusals_survive_an_error_page_that_proxies() {
    let facts = Facts { limit: Limit::Requests, ..answered(429) };
    assert_eq!(finding(&facts), Some(Finding::RateLimited));
    let facts = Facts { auth_status: Some(401), ..answered(200) };
    assert_eq!(finding(&facts), Some(Finding::AccessDenied));
}

#[test]
fn other_upgrade_protocols() {
    let other = |facts| Facts { asks: Asks::Other, upgrade: b"h2c", ..facts };
    let listed = |facts| Facts { asks: Asks::Listed, upgrade: b"foo", ..facts };

    // A fake 101 to a request whose Upgrade was dropped.
    assert_eq!(finding(&other(switched(SwitchFault::Unsolicited))), Some(Finding::Unsolicited101));
    let refused = Facts { mode: Mode::On, http_version: HttpVersion::Http2, ..by_nginx(400) };
    assert_eq!(finding(&other(refused)), Some(Finding::Http2Upgrade));
    assert_eq!(finding(&other(early(400, Early::PlainOnTls))), None);
    let large = Facts { realtime: true, method: b"POST", ..by_nginx(413) };
    assert_eq!(finding(&other(large)), Some(Finding::BodyTooLarge));
    assert!(line(&other(answered(200))).contains("passed on by a proxy_set_header"));

    // One that the guard took away, answered all the same.
    let taken =
        Facts { status: 502, ..upstream(101, |u| u.switch_fault = Some(SwitchFault::Unsolicited)) };
    let Facts { mode, asks, upgrade, dropped, .. } = dropped(400);
    let taken = Facts { mode, asks, upgrade, dropped, key: false, ..taken };
    assert_eq!(finding(&taken), Some(Finding::Unsolicited101));
    assert!(line(&taken).contains(
        "answered 101, although Upgrade \"SPDY/3.1\" was not passed on; add \"websocket_guard_upgrade \
         websocket SPDY/3.1;\" to the location ["
    ));
    let h2c = Facts { upgrade: b"h2c", dropped: None, ..taken };
    assert!(line(&h2c).contains("although Upgrade \"h2c\" was not passed on; correct the backend"));
    // A long list is not repeated.
    let words: Vec<String> = (0..64).map(|n| format!("{n}{}", "x".repeat(500))).collect();
    let listed_words = Protocols::new(words.iter().map(|word| word.as_bytes())).unwrap();
    let name = &[b'y'; 9000][..];
    let long = Facts { dropped: Some(Dropped { name, listed: &listed_words }), ..taken };
    assert!(line(&long).contains("yyy...\" to websocket_guard_upgrade ["), "{}", line(&long));

    assert_eq!(finding(&listed(answered(101))), None);
    assert_eq!(finding(&listed(answered(500))), None);
    assert_eq!(finding(&listed(violated(Violation::Method))), Some(Finding::HandshakeMethod));
    let fault = SwitchFault::Wrong(Fault::BadSwitch(BadSwitch::NoUpgrade));
    assert_eq!(finding(&listed(switched(fault))), Some(Finding::BadSwitch));
}

#[test]
fn a_failure_without_details_is_told_from_the_status() {
    let cases = [
        (504, 504, Reached::Nothing, Finding::BackendTimeout),
        (0, 504, Reached::Connection, Finding::BackendTimeout),
        (502, 502, Reached::Nothing, Finding::BackendUnreachable),
        // Behind an error_page.
        (502, 200, Reached::Nothing, Finding::BackendUnreachable),
        (0, 500, Reached::Nothing, Finding::BackendUnreachable),
        (0, 413, Reached::Nothing, Finding::NotProxied),
        (502, 502, Reached::Connection, Finding::BackendClosed),
    ];
    for (upstream_status, status, reached, expected) in cases {
        let facts = upstream(status, |u| {
            u.status = upstream_status;
            u.reached = reached;
        });
        assert_eq!(finding(&facts), Some(expected), "{facts:?}");
    }
}

#[test]
fn what_an_error_of_the_system_means() {
    let free = Step::Before { bound: false, exhausted: None };
    let taken = Step::Before { bound: false, exhausted: Some(17) };
    let bound = Step::Before { bound: true, exhausted: None };
    let cases = [
        (taken, 0, Cause::WorkerConnections(17)),
        // Both are at their end; the first to fail is told.
        (taken, libc::EMFILE, Cause::Descriptors),
        (free, libc::EMFILE, Cause::Descriptors),
        (bound, libc::EMFILE, Cause::Descriptors),
        (free, libc::ENFILE, Cause::SystemDescriptors),
        (free, libc::ENOBUFS, Cause::Memory),
        (Step::Connect, libc::ENOMEM, Cause::Memory),
        (Step::Connect, libc::EADDRNOTAVAIL, Cause::Ports),
        // The same number for two things.
        (bound, libc::EADDRNOTAVAIL, Cause::LocalAddress),
        (bound, libc::EINVAL, Cause::LocalAddress),
        (bound, libc::EADDRINUSE, Cause::Ports),
        (bound, libc::EACCES, Cause::LocalForbidden),
        (bound, libc::EPERM, Cause::LocalForbidden),
        (Step::Connect, libc::EACCES, Cause::Forbidden),
        (Step::Connect, libc::EPERM, Cause::Forbidden),
        (free, libc::EACCES, Cause::Forbidden),
        (Step::Connect, libc::EAGAIN, Cause::QueueFull),
        (Step::Connect, libc::EHOSTUNREACH, Cause::NoRoute),
        (Step::Connect, libc::ENETUNREACH, Cause::NoRoute),
        (Step::Connect, libc::ECONNREFUSED, Cause::Absent),
        (Step::Connect, libc::ENOENT, Cause::Absent),
        (Step::Connect, 0, Cause::Absent),
        (free, 0, Cause::Absent),
    ];
    for (step, number, cause) in cases {
        assert_eq!(Cause::infer(step, number), cause, "{step:?} {number}");
    }
}

#[test]
fn who_cannot_connect_is_told_what_helps() {
    let unix = |number| {
        let mut facts = unconnected(Step::Connect, number, b"");
        if let Some(upstream) = &mut facts.upstream {
            upstream.peer = b"unix:/run/app.sock";
        }
        facts
    };
    let bound = Step::Before { bound: true, exhausted: None };
    let cases = [
        (unix(libc::EACCES), "write to that socket, and search the folders above it"),
        (unconnected(Step::Connect, libc::EACCES, b""), "SELinux"),
        (unix(libc::ENOENT), "start the backend"),
        (unix(libc::EAGAIN), "listen backlog"),
        (unconnected(Step::Connect, libc::ENETUNREACH, b""), "routes"),
        (unconnected(Step::Connect, libc::EADDRNOTAVAIL, b""), "ip_local_port_range"),
        (unconnected(bound, libc::EADDRNOTAVAIL, b""), "correct that directive"),
        (unconnected(bound, libc::EPERM, b""), "capability"),
        (unconnected(bound, libc::EMFILE, b""), "raise worker_rlimit_nofile"),
        (unconnected(Step::Connect, libc::ENFILE, b""), "fs.file-max"),
    ];
    for (facts, remedy) in cases {
        let line = line(&facts);
        let fix = line.split_once("; ").map(|(_, fix)| fix).unwrap_or_default();
        assert!(fix.contains(remedy), "{line}");
        assert!(remedy == "start the backend" || !fix.contains("start the backend"), "{line}");
    }
}

#[test]
fn origins_that_the_backend_may_have_refused() {
    let told = |status, host: &'static [u8], proto, asked: &'static [u8]| {
        let facts = Facts {
            host: asked,
            mode: Mode::On,
            ..upstream(status, |u| {
                u.host = Some(host);
                u.proto = proto;
            })
        };
        (finding(&facts), line(&facts))
    };
    let (app, pool) = (&b"app.example.com"[..], &b"pool"[..]);
    let https = Sent::Value(b"https");
    let cases = [
        // Another host, which the client's is not.
        (
            400,
            pool,
            https,
            app,
            Finding::BackendOrigin,
            "proxy_set_header Host $http_host;",
            "else",
        ),
        (401, pool, https, app, Finding::BackendOrigin, "else see that cookies or tokens", "path"),
        (
            403,
            pool,
            https,
            app,
            Finding::BackendOrigin,
            "proxy_set_header Host $http_host;",
            "else",
        ),
        (404, pool, https, app, Finding::BackendOrigin, "else correct the path", "cookies"),
        // The client's is another one, too: to send it is no remedy.
        (
            403,
            pool,
            https,
            b"api.example",
            Finding::BackendOrigin,
            "allow that origin",
            "$http_host",
        ),
        (
            403,
            b"api.example",
            https,
            b"api.example",
            Finding::BackendOrigin,
            "allow that",
            "$http_host",
        ),
        // The same host, and another scheme.
        (
            403,
            app,
            Sent::Nothing,
            app,
            Finding::BackendOrigin,
            "X-Forwarded-Proto say https",
            "Host $",
        ),
        (
            403,
            app,
            Sent::Value(b"http"),
            app,
            Finding::BackendOrigin,
            "with X-Forwarded-Proto",
            "Host $",
        ),
        (
            404,
            app,
            Sent::Nothing,
            app,
            Finding::BackendNotFound,
            "X-Forwarded-Proto say https",
            "Host $",
        ),
        (401, app, Sent::Nothing, app, Finding::BackendAuth, "cookies or tokens", "X-Forwarded"),
        // The same site.
        (403, app, https, app, Finding::BackendAuth, "the application's own list", "$http_host"),
        (401, app, https, app, Finding::BackendAuth, "cookies or tokens", "own list"),
        (404, app, https, app, Finding::BackendNotFound, "correct the path", "rigin"),
        (400, app, https, app, Finding::BackendBadHandshake, "affinity", "rigin"),
        (405, pool, https, app, Finding::BackendNotWebsocket, "enable WebSocket", "rigin"),
    ];
    for (status, host, proto, asked, expected, has, lacks) in cases {
        let (finding, line) = told(status, host, proto, asked);
        assert_eq!(finding, Some(expected), "{line}");
        assert!(line.contains(has) && !line.contains(lacks), "{has} {lacks}: {line}");
    }
    // What nginx sends in place of the client's counts, and TLS to the backend speaks for itself.
    let sent = |origin| upstream(403, |u| (u.origin, u.host) = (origin, Some(pool)));
    assert_eq!(finding(&sent(Sent::Nothing)), Some(Finding::BackendAuth));
    assert!(line(&sent(Sent::Value(b"http://a"))).contains("\"http://a\""));
    assert_eq!(finding(&sent(Sent::Value(b"http://pool"))), Some(Finding::BackendAuth));
    let tls = upstream(403, |u| (u.tls, u.proto) = (true, Sent::Nothing));
    assert_eq!(finding(&tls), Some(Finding::BackendAuth));
}

#[test]
fn plain_http_to_a_backend_that_wants_tls() {
    const GO: &[u8] = b"Client sent an HTTP request to an HTTPS server.\n";
    let told = |status, tls, body: &'static [u8]| {
        let facts = upstream(status, |u| (u.tls, u.body) = (tls, body));
        (finding(&facts), line(&facts))
    };
    let (tls, line_of_tls) = told(400, false, GO);
    assert_eq!(tls, Some(Finding::BackendTls));
    assert!(line_of_tls
        .contains("said \"Client sent an HTTP request to an HTTPS server.\"; use https:// in"));
    for (status, tls, body) in [(400, true, GO), (403, false, GO), (400, false, b"HTTPS required")]
    {
        let (finding, line) = told(status, tls, body);
        assert_ne!(finding, Some(Finding::BackendTls), "{line}");
        assert!(!line.contains("use https://"), "{line}");
    }
    let closed = |tls| {
        let closed = Some(Failure::Closed);
        line(&upstream(502, |u| (u.tls, u.reached, u.failure) = (tls, Reached::Connection, closed)))
    };
    assert!(closed(false).contains("if it expects TLS, use https://"));
    assert!(!closed(true).contains("https://"));
    // The other way round the remedy is another one.
    let handshake = Failure::TlsHandshake { sni: None };
    assert!(!line(&failed(502, Reached::Connection, Some(handshake))).contains("use https://"));
}

#[test]
fn what_is_peculiar_about_a_handshake_that_was_refused() {
    let told = |host, offered, body: &'static [u8], change: fn(&mut Facts)| {
        let mut facts = Facts {
            origin: None,
            subprotocols: offered,
            host: b"app.example.com",
            ..upstream(400, |u| (u.host, u.body) = (Some(host), body))
        };
        change(&mut facts);
        line(&facts)
    };
    let none = |_: &mut Facts| {};
    let app = &b"app.example.com"[..];
    let wanted = b"Missing or wrong subprotocol";
    let cases = [
        (told(app, None, b"", none), "offers no subprotocol; ", "\"_\""),
        (told(app, None, wanted, none), "; have the client offer the subprotocol", "affinity"),
        (told(app, Some(b"mqtt"), wanted, none), "affinity", "offer"),
        (
            told(b"chat_app", None, b"", none),
            "set \"proxy_set_header Host $http_host;\"",
            "affinity",
        ),
        (
            told(b"chat_app", None, b"", |f| {
                f.mode = Mode::On;
                f.upstream.as_mut().unwrap().host_from = HostFrom::NoSite;
            }),
            "set \"websocket_guard_forwarded host;\" in the location",
            "affinity",
        ),
        // It is the client's own.
        (
            told(b"chat_app", None, b"", |f| f.host = b"chat_app"),
            "give the site a name",
            "$http_host",
        ),
        // All at once.
        (told(b"chat_app", None, wanted, |f| f.uri = b"/a?b"), "$uri", "affinity"),
        (told(b"chat_app", None, wanted, |f| f.uri = b"/a?b"), "have the client offer", "affinity"),
        (
            told(b"chat_app", None, wanted, |f| f.origin = Some(b"http://a")),
            "it was sent Host",
            "affinity",
        ),
        // Not for the log.
        (told(app, None, b"<html><body>no", none), "correct handshake", "html"),
        (told(app, None, b"\x1f\x8b\x08", none), "correct handshake", "said"),
    ];
    for (line, has, lacks) in cases {
        assert!(line.contains(has) && !line.contains(lacks), "{has} {lacks}: {line}");
    }
    let missing = upstream(404, |u| u.host = Some(b"chat_app"));
    assert!(!line(&Facts { origin: None, ..missing }).contains("\"_\""));
}

#[test]
fn a_uri_that_changed_is_told_whatever_the_status() {
    let sent = |uri: &'static [u8], status| Facts {
        uri: b"/c/my%20doc/ws?a=b",
        ..upstream(status, |u| u.uri = uri)
    };
    let remedy = "pass the URI on as it came";
    for status in [200, 302, 400, 401, 403, 404, 405, 426, 500] {
        let told = line(&sent(b"/c/my doc/ws", status));
        assert!(told.contains("\"/c/my%20doc/ws?a=b\""), "{told}");
        assert!(told.contains("\"/c/my doc/ws\""), "{told}");
        assert!(told.contains(remedy) && !told.contains("correct handshake"), "{told}");
        for same in [&b"/c/my%20doc/ws?a=b"[..], b"/x/my%20doc/ws?a=b", b""] {
            let line = line(&sent(same, status));
            assert!(!line.contains(remedy), "{line}");
        }
    }
    let closed = Facts { uri: b"/a?b", ..failed(502, Reached::Connection, Some(Failure::Closed)) };
    assert!(line(&closed).contains(remedy));
    assert!(!line(&Facts { uri: b"/chat", ..closed }).contains(remedy));
    // What has nothing to do with it.
    for failure in [Failure::HeaderTooBig, Failure::TimedOut(Waiting::Read, 1000, false)] {
        let facts = Facts { uri: b"/a?b", ..failed(502, Reached::Connection, Some(failure)) };
        assert!(!line(&facts).contains(remedy));
    }
}

#[test]
fn answers_of_the_backend() {
    let cases = [
        (200, Finding::BackendNotWebsocket),
        (304, Finding::BackendNotWebsocket),
        (307, Finding::BackendRedirect),
        (400, Finding::BackendBadHandshake),
        (401, Finding::BackendAuth),
        (403, Finding::BackendAuth),
        (404, Finding::BackendNotFound),
        (405, Finding::BackendNotWebsocket),
        (426, Finding::BackendBadHandshake),
        (502, Finding::BackendError),
        (599, Finding::BackendError),
    ];
    for (status, expected) in cases {
        assert_eq!(finding(&answered(status)), Some(expected), "{status}");
        // proxy_intercept_errors with error_page: the cause is still the backend's answer.
        let intercepted = answered(status).clone_with_status(200);
        assert_eq!(finding(&intercepted), Some(expected), "{status}");
        // The client closes the connection before it has all of the answer.
        let left = answered(status).clone_with_status(499);
        assert_eq!(finding(&left), Some(expected), "{status}");
    }
}

#[test]
fn hosts_of_origins() {
    let foreign = |origin: &'static [u8], host: &'static [u8]| {
        let facts = Facts { origin: Some(origin), ..upstream(403, |u| u.host = Some(host)) };
        finding(&facts) == Some(Finding::BackendOrigin)
    };
    assert!(!foreign(b"https://a.example", b"a.example"));
    assert!(!foreign(b"https://a.example", b"a.example:443"));
    assert!(!foreign(b"http://a.example:80", b"A.example"));
    assert!(!foreign(b"HTTP://a.example:8080", b"a.example:8080"));
    assert!(foreign(b"https://a.example:8443", b"a.example"));
    assert!(foreign(b"http://a.example", b"a.example:443"));
    assert!(foreign(b"https://a.example", b"b.example"));
    assert!(foreign(b"null", b"a.example"));
    assert!(foreign(b"", b"a.example"));
}

#[test]
fn what_keeps_the_upgrade_from_the_backend() {
    let place = "websocket_guard: upgrade failed: location \"/chat\" (conf/nginx.conf:31)";
    let check = |facts: Facts, text: &str| {
        assert_eq!(line(&facts), format!("{place} {text} [upgrade-not-forwarded]"));
    };
    let guarded =
        |change: fn(&mut BackendFacts<'static>)| Facts { mode: Mode::On, ..upstream(400, change) };
    check(
        Facts { handler: Handler::Fastcgi, ..answered(200) },
        "uses fastcgi_pass, which cannot carry a WebSocket; use proxy_pass, uwsgi_pass or \
         scgi_pass there",
    );
    check(
        Facts {
            mode: Mode::Check,
            has_own_mark: true,
            ..upstream(400, |u| u.http_version = Some(HttpVersion::Http10))
        },
        "speaks HTTP/1.0 to the backend, which cannot upgrade; set \"websocket_guard on;\" in it",
    );
    check(
        upstream(400, |u| u.http_version = Some(HttpVersion::Http10)),
        "speaks HTTP/1.0 to the backend, which cannot upgrade; add \"websocket_guard on;\" to it",
    );
    check(
        guarded(|u| u.http_version = Some(HttpVersion::Http2)),
        "speaks HTTP/2 to the backend, which cannot upgrade; set \"proxy_http_version 1.1;\" in it",
    );
    check(
        upstream(400, |u| (u.http_version, u.upgrade) = (Some(HttpVersion::Http2), Sent::Nothing)),
        "speaks HTTP/2 to the backend, which cannot upgrade; add \"websocket_guard on;\" to it, and set \
         \"proxy_http_version 1.1;\"",
    );
    check(
        upstream(400, |u| u.connection = Sent::Value(b"close")),
        "sends Connection \"close\" in place of \"upgrade\"; add \"websocket_guard on;\" to it",
    );
    check(
        guarded(|u| u.connection = Sent::Nothing),
        "passes the request on without its Connection header; remove its own \"proxy_set_header \
         Connection\"",
    );
    check(
        guarded(|u| u.upgrade = Sent::Value(b"h2c")),
        "sends Upgrade \"h2c\" in place of \"websocket\"; remove its own \"proxy_set_header \
         Upgrade\"",
    );
}

#[test]
fn other_wordings() {
    let check = |facts: Facts, text: &str| {
        let line = line(&facts);
        assert!(line.contains(text), "{line}");
    };
    check(violated(Violation::Key(ValueFault::Missing)), "failed: Sec-WebSocket-Key is missing; ");
    check(
        violated(Violation::Version(ValueFault::Repeated(b"13"))),
        "Sec-WebSocket-Version is given twice, the second is \"13\"; ",
    );
    check(
        violated(Violation::Connection(None)),
        "has an Upgrade header but no Connection header; ",
    );
    check(
        Facts {
            mode: Mode::Auto,
            gate: Gate::OriginDenied { denied: Denied::Missing, allowed: "same" },
            host: b"app.example.com",
            ..by_nginx(403)
        },
        "a request without Origin is not allowed, allowed: \"same\", which is \
         \"http://app.example.com\" here; add \"none\" to ",
    );
    // TLS ends in front, and nginx does not know.
    let behind = |origin| Facts {
        mode: Mode::On,
        gate: Gate::OriginDenied { denied: Denied::NotListed(origin), allowed: "same null" },
        host: b"app.example.com",
        tls_in_front: Some((b"X-Forwarded-Proto", b"https")),
        address_header: Some("X-Forwarded-For"),
        ..by_nginx(403)
    };
    let own = behind(b"https://app.example.com");
    check(
        own,
        "which is \"http://app.example.com\" here; trust the X-Forwarded-Proto of the proxy in front \
         with \"set_real_ip_from 10.0.0.9; real_ip_header X-Forwarded-For;\", or add that origin to ",
    );
    check(Facts { address_header: None, ..own }, " here; if TLS ends in front of this nginx, add ");
    check(Facts { tls_in_front: None, ..own }, " here; if TLS ends in front of this nginx, add ");
    // Another origin, or a scheme that nginx knows.
    check(behind(b"https://evil.example"), " here; add it to websocket_guard_origin if ");
    check(Facts { scheme: b"https", ..behind(b"http://app.example.com") }, " here; add it to ");
    check(by_nginx(444), "closed the connection without an answer (444); ");
    check(
        Facts { location: None, ..by_nginx(404) },
        "the server (no location) answered 404 itself, no backend was asked; ",
    );
    check(
        Facts { location: Some(NamedPlace { name: b"", ..CHAT }), ..by_nginx(400) },
        "failed: the server (conf/nginx.conf:31) answered 400 itself, no backend was asked; ",
    );
    check(
        upstream(500, |u| {
            u.reached = Reached::Nothing;
            (u.peer, u.name) = (b"", b"");
        }),
        "failed: no connection to the backend; ",
    );
    check(
        upstream(400, |u| u.altered = Some(Alteration::Emptied(b"Sec-WebSocket-Key"))),
        "by \"proxy_set_header Sec-WebSocket-Key ''\"; ",
    );
    check(
        Facts { status: 0, ..answered(101) },
        "answered 101, and another module of this nginx closed the connection in location ",
    );
    check(
        Facts { status: 404, ..upstream(101, |u| u.accel_redirect = Some(b"/files/a")) },
        "answered 101 with X-Accel-Redirect \"/files/a\", of which nginx makes another request; \
         have the backend leave that header out",
    );
    check(
        upstream(400, |u| u.altered = Some(Alteration::Method(b"POST"))),
        "by \"proxy_method POST\"; ",
    );
    // What does nothing in an unguarded location is not advised there.
    check(
        upstream(403, |u| u.host = Some(b"backend")),
        "another site; set \"proxy_set_header Host $http_host;\" where Upgrade is set, or allow the origin",
    );
    check(answered(302), "; use the final URL in the client, or sign in first if that is a ");
    check(answered(404), "answered 404 to \"/chat\", the path that the client asked for; ");
    check(upstream(404, |u| u.uri = b""), "answered 404, the client asked for \"/chat\"; ");
    check(upstream(200, |u| u.uri = b""), "answered 200 to \"/chat\", it has no WebSocket there; ");
    check(
        failed(504, Reached::Nothing, Some(Failure::TimedOut(Waiting::Connect, 0, false))),
        "did not accept the connection (proxy_connect_timeout); ",
    );
    check(
        failed(504, Reached::Connection, Some(Failure::TimedOut(Waiting::Read, 3_600_000, true))),
        "did not answer the handshake within 1h (websocket_guard_timeout); ",
    );
    check(
        Facts { handler: Handler::Uwsgi, ..failed(504, Reached::Connection, None) },
        "did not answer the handshake (uwsgi_read_timeout); ",
    );
    check(
        answered(200).with_failure(Failure::SpeaksTls),
        "seems to expect TLS and was sent plain HTTP; ",
    );
    check(
        answered(200).with_failure(Failure::NotHttp),
        "answered with something that is no HTTP; ",
    );
    check(
        wrong(Fault::BadAccept(BadAccept::Missing { expected: *ACCEPT })),
        "answered 101 without Sec-WebSocket-Accept; ",
    );
    check(
        wrong(Fault::BadSwitch(BadSwitch::Connection(Some(b"close")))),
        "answered 101 with Connection \"close\", which lacks the token \"upgrade\"; ",
    );
}

impl Facts<'static> {
    fn with_failure(mut self, failure: Failure<'static>) -> Self {
        if let Some(upstream) = &mut self.upstream {
            upstream.failure = Some(failure);
        }
        self
    }
}

#[test]
fn a_mirrored_101_ends_the_tunnel() {
    let tunnel = Facts { subrequest_101: Some(b"/mirror"), ..answered(101) };
    assert_eq!(finding(&tunnel), Some(Finding::SubrequestUpgrade));
    assert_eq!(finding(&answered(101)), None);
}

#[test]
fn a_refused_body_is_one_though_nginx_has_thrown_it_away() {
    assert_eq!(finding(&by_nginx(413)), Some(Finding::HandshakeBody));
}

#[test]
fn early_refusals_are_inferred() {
    let none = EarlySigns::default();
    let refused = EarlySigns { no_phases: true, ..none };
    let cases = [
        (400, none, None),
        (404, none, None),
        (101, none, None),
        (400, refused, None),
        (414, none, None),
        (414, refused, Some(Early::UriTooLong)),
        (400, EarlySigns { lingering_close: true, ..none }, None),
        (400, EarlySigns { lingering_close: true, ..refused }, Some(Early::HeaderTooLarge)),
        (400, EarlySigns { tls_listener: true, ..refused }, Some(Early::PlainOnTls)),
        // error_page 497 =301 ...
        (301, EarlySigns { tls_listener: true, ..none }, Some(Early::PlainOnTls)),
        (200, EarlySigns { tls_listener: true, tls_connection: true, ..none }, None),
        (400, EarlySigns { certificate_missing: true, ..none }, None),
        (400, EarlySigns { certificate_missing: true, ..refused }, Some(Early::CertificateMissing)),
        (
            400,
            EarlySigns { certificate_rejected: true, ..refused },
            Some(Early::CertificateRejected),
        ),
        // error_page 495 =302 ...
        (
            302,
            EarlySigns { certificate_rejected: true, ..refused },
            Some(Early::CertificateRejected),
        ),
        // ssl_verify_client optional_no_ca
        (200, EarlySigns { certificate_rejected: true, ..none }, None),
    ];
    for (status, signs, expected) in cases {
        assert_eq!(Early::infer(status, signs), expected, "{status} {signs:?}");
    }
}

#[test]
fn levels() {
    let level = |facts: &Facts| diagnose(facts).map(|diagnosis| diagnosis.level());
    assert_eq!(level(&answered(500)), Some(None));
    assert_eq!(level(&by_nginx(499)), Some(Some(Level::Info)));
    let end = ended(End::Shutdown);
    let level = diagnose_end(&end).map(|diagnosis| diagnosis.level());
    assert_eq!(level, Some(Some(Level::Error)));
}

fn ended(end: End) -> TunnelEnd<'static> {
    TunnelEnd {
        end,
        age_ms: 300_000,
        limit_ms: 60_000,
        client_silent_ms: 350,
        backend_silent_ms: 240_000,
        peer: b"127.0.0.1:8080",
        handler: Handler::Proxy,
        mode: Mode::On,
        lifetime: &[],
    }
}

#[test]
fn tunnel_ends_are_worded_as_in_the_catalogue() {
    let client_silent =
        |end| TunnelEnd { client_silent_ms: 240_000, backend_silent_ms: 350, ..ended(end) };
    let cases = [
        (
            EndFinding::TunnelIdle,
            TunnelEnd {
                age_ms: 3_720_000,
                limit_ms: 3_600_000,
                client_silent_ms: 3_660_000,
                backend_silent_ms: 3_600_004,
                ..ended(End::Idle)
            },
        ),
        (EndFinding::TunnelClientStalled, client_silent(End::ClientStalled)),
        (EndFinding::TunnelBackendStalled, ended(End::BackendStalled)),
        (EndFinding::TunnelClientReset, client_silent(End::ClientReset)),
        (EndFinding::TunnelBackendReset, ended(End::BackendReset)),
        (EndFinding::TunnelClientGone, client_silent(End::ClientGone)),
        (EndFinding::TunnelBackendGone, ended(End::BackendGone)),
        (EndFinding::TunnelFrameError, ended(frame_error(Role::Client, true))),
        (EndFinding::TunnelClientDead, client_silent(End::ClientDead)),
        (EndFinding::TunnelBackendDead, ended(End::BackendDead)),
        (EndFinding::TunnelMessageTooLarge, ended(too_large(Role::Client))),
        (EndFinding::TunnelMessageRate, ended(too_fast())),
        (EndFinding::TunnelLifetime, ended(End::Lifetime)),
        (
            EndFinding::TunnelLifetimeUnknown,
            TunnelEnd { lifetime: b"30m", ..ended(End::LifetimeUnknown) },
        ),
        (EndFinding::TunnelDrained, ended(End::Drained)),
        (EndFinding::TunnelShutdown, ended(End::Shutdown)),
    ];
    assert_eq!(cases.map(|(finding, _)| finding), EndFinding::ALL);
    for (finding, end) in cases {
        let diagnosis = diagnose_end(&end);
        assert_eq!(diagnosis.map(|d| d.finding()), Some(finding.into()));
        let line = diagnosis.map_or_else(String::new, |d| d.line().to_string());
        assert_eq!(line, finding.entry().example);
    }
    for (mode, handler, limit) in [
        (Mode::Auto, Handler::Uwsgi, "websocket_guard_timeout"),
        (Mode::Check, Handler::Proxy, "proxy_read_timeout"),
        (Mode::Off, Handler::Uwsgi, "uwsgi_read_timeout"),
        (Mode::Off, Handler::Scgi, "scgi_read_timeout"),
    ] {
        let end = TunnelEnd { mode, handler, ..ended(End::Idle) };
        let line = diagnose_end(&end).map_or_else(String::new, |d| d.line().to_string());
        assert!(line.ends_with(&format!(", or raise {limit} [tunnel-idle]")), "{line}");
    }
    for end in [End::Closed, End::ClientClose, End::BackendClose] {
        assert!(diagnose_end(&ended(end)).is_none());
    }
    for (end, text) in [
        (
            frame_error(Role::Server, false),
            "websocket_guard: backend 127.0.0.1:8080 broke RFC 6455 section 5.1: a frame of a client \
             is not masked; its tunnel goes on after 5m, and nobody looks at its frames any more \
             (client silent for 350ms, ",
        ),
        (
            too_large(Role::Server),
            "websocket_guard: tunnel closed after 5m: a message of backend 127.0.0.1:8080 has 1048577 \
             bytes or more, and the limit is 1048576 (websocket_guard_max_message; client silent ",
        ),
        (End::FastStop, "websocket_guard: tunnel cut after 5m: nginx was stopped at once (client "),
    ] {
        let end = ended(end);
        let line = diagnose_end(&end).map_or_else(String::new, |d| d.line().to_string());
        assert!(line.starts_with(text), "{line}");
    }
}

fn too_large(sender: Role) -> End {
    End::MessageTooLarge(MessageTooLarge { sender, size: 1_048_577, limit: 1_048_576 })
}

fn too_fast() -> End {
    let rate = Rate::parse(b"10r/s").unwrap().with_burst(NonZeroU32::new(20).unwrap());
    End::MessageRate(MessageRate { messages: 30, rate })
}

fn frame_error(sender: Role, is_end: bool) -> End {
    End::FrameError(FrameError { sender, violation: frame::Violation::Unmasked, is_end })
}

#[test]
fn frames_tell_who_closed() {
    let none = EndSigns::default();
    let tracked = EndSigns { client_tracked: true, backend_tracked: true, ..none };
    let eof = EndSigns { client_eof: true, backend_eof: true, ..tracked };
    for (signs, end, name) in [
        (EndSigns { client_eof: true, ..tracked }, End::ClientGone, "client-gone"),
        (EndSigns { backend_eof: true, ..tracked }, End::BackendGone, "backend-gone"),
        (EndSigns { client_first: true, ..eof }, End::ClientGone, "client-gone"),
        (eof, End::BackendGone, "backend-gone"),
        (EndSigns { client_tracked: false, client_first: true, ..eof }, End::Closed, ""),
        (EndSigns { backend_tracked: false, ..eof }, End::Closed, ""),
        (EndSigns { first_close: Some(Role::Client), ..eof }, End::ClientClose, "client-close"),
        (EndSigns { first_close: Some(Role::Server), ..eof }, End::BackendClose, "backend-close"),
        (
            EndSigns { first_close: Some(Role::Client), backend_error: true, ..eof },
            End::ClientClose,
            "client-close",
        ),
        (EndSigns { first_close: Some(Role::Client), rc: 504, ..eof }, End::Idle, "idle"),
        (
            EndSigns { client_error: true, client_eof: true, ..tracked },
            End::ClientReset,
            "client-reset",
        ),
    ] {
        assert_eq!(End::infer(signs), end, "{signs:?}");
        assert_eq!(end.name(), name);
    }
}

#[test]
fn tunnel_ends_are_inferred() {
    let none = EndSigns::default();
    let infer = |signs: EndSigns| End::infer(signs);
    assert_eq!(infer(none), End::Closed);
    assert_eq!(infer(EndSigns { rc: 504, ..none }), End::Idle);
    assert_eq!(
        infer(EndSigns { rc: 504, backend_write_timedout: true, ..none }),
        End::BackendStalled
    );
    assert_eq!(infer(EndSigns { rc: 408, ..none }), End::ClientStalled);
    let client_error = EndSigns { rc: -1, client_error: true, ..none };
    assert_eq!(infer(client_error), End::ClientReset);
    let backend_reset = EndSigns { backend_eof: true, backend_error: true, ..none };
    assert_eq!(infer(backend_reset), End::BackendReset);
    // The client had closed already.
    assert_eq!(infer(EndSigns { client_eof: true, ..backend_reset }), End::Closed);
    let shutdown = EndSigns { rc: -4, shutdown: true, ..none };
    assert_eq!(infer(shutdown), End::Shutdown);
    // It closed while the worker was exiting.
    assert_eq!(infer(EndSigns { rc: 0, backend_eof: true, ..shutdown }), End::Closed);
}

/// Any facts, made of arbitrary bytes: every choice and every value is taken from `choices`.
struct Any<'a> {
    values: &'a [Vec<u8>],
    choices: std::slice::Iter<'a, u16>,
}

impl<'a> Any<'a> {
    fn number(&mut self) -> u16 {
        self.choices.next().copied().unwrap_or(0)
    }

    fn flag(&mut self) -> bool {
        self.number() % 2 == 1
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::from(self.number()) % items.len()]
    }

    fn bytes(&mut self) -> &'a [u8] {
        &self.values[usize::from(self.number()) % self.values.len()]
    }

    fn maybe(&mut self) -> Option<&'a [u8]> {
        self.flag().then(|| self.bytes())
    }

    fn status(&mut self) -> u16 {
        let any = self.number();
        self.one_of(&[
            0, 101, 200, 204, 301, 302, 304, 400, 401, 403, 404, 413, 414, 426, 429, 444, 494, 497,
            499, 500, 502, 503, 504, any,
        ])
    }

    fn version(&mut self) -> HttpVersion {
        self.one_of(&[
            HttpVersion::Http11,
            HttpVersion::Http10,
            HttpVersion::Http2,
            HttpVersion::Http3,
        ])
    }

    fn place(&mut self) -> Option<NamedPlace<'a>> {
        let name = self.bytes();
        self.flag()
            .then(|| NamedPlace { name, place: Place { file: self.bytes(), line: u32::MAX } })
    }

    fn handler(&mut self) -> Handler {
        self.one_of(&[
            Handler::Proxy,
            Handler::Uwsgi,
            Handler::Scgi,
            Handler::Fastcgi,
            Handler::Grpc,
            Handler::Memcached,
            Handler::Static,
            Handler::Return,
            Handler::Other,
        ])
    }

    fn fault(&mut self) -> ValueFault<'a> {
        let value = self.bytes();
        self.one_of(&[ValueFault::Missing, ValueFault::Repeated(value), ValueFault::Invalid(value)])
    }

    fn gate(&mut self) -> Gate<'a> {
        let (connection, fault) = (self.maybe(), self.fault());
        let value = self.bytes();
        let denied =
            self.one_of(&[Denied::Missing, Denied::Repeated(value), Denied::NotListed(value)]);
        self.one_of(&[
            Gate::Passed,
            Gate::Passed,
            Gate::Passed,
            Gate::Violated(Violation::Http2Upgrade),
            Gate::Violated(Violation::Method),
            Gate::Violated(Violation::HttpVersion),
            Gate::Violated(Violation::Body),
            Gate::Violated(Violation::Connection(connection)),
            Gate::Violated(Violation::Key(fault)),
            Gate::Violated(Violation::Version(fault)),
            Gate::OriginDenied { denied, allowed: ALLOWED },
            Gate::Injected { upgrade: value },
        ])
    }

    fn sent(&mut self) -> Sent<'a> {
        let value = self.bytes();
        self.one_of(&[
            Sent::Unknown,
            Sent::Nothing,
            Sent::Value(b"websocket, upgrade"),
            Sent::Value(value),
        ])
    }

    fn upstream(&mut self) -> BackendFacts<'a> {
        let value = self.bytes();
        let limit = u64::from(self.number()) << (self.number() % 48);
        let step = self.one_of(&[
            Step::Connect,
            Step::Before { bound: false, exhausted: Some(limit) },
            Step::Before { bound: true, exhausted: None },
        ]);
        let number = i32::from(self.number() % 130);
        let unconnected = Unconnected { cause: Cause::infer(step, number), number, text: value };
        let failures = [
            Failure::NoLivePeer,
            Failure::NotResolved(value),
            Failure::NotConnected(unconnected),
            Failure::TimedOut(Waiting::Connect, limit, false),
            Failure::TimedOut(Waiting::Send, limit, false),
            Failure::TimedOut(Waiting::Read, limit, false),
            Failure::TlsHandshake { sni: Some(value) },
            Failure::SpeaksTls,
            Failure::NotHttp,
            Failure::Closed,
            Failure::Reset,
            Failure::HeaderTooBig,
        ];
        let (maybe, chosen) = (self.maybe(), self.bytes());
        let faults = [
            SwitchFault::Wrong(Fault::BadAccept(BadAccept::NoKey)),
            SwitchFault::Wrong(Fault::BadAccept(BadAccept::Missing { expected: *ACCEPT })),
            SwitchFault::Wrong(Fault::BadAccept(BadAccept::Wrong {
                received: chosen,
                expected: *ACCEPT,
            })),
            SwitchFault::Wrong(Fault::BadSwitch(BadSwitch::NoUpgrade)),
            SwitchFault::Wrong(Fault::BadSwitch(BadSwitch::OtherProtocol(chosen))),
            SwitchFault::Wrong(Fault::BadSwitch(BadSwitch::Connection(maybe))),
            SwitchFault::Wrong(Fault::SubprotocolMismatch { chosen }),
            SwitchFault::Wrong(Fault::ExtensionMismatch { chosen }),
            SwitchFault::Wrong(Fault::Repeated { header: "Upgrade" }),
            SwitchFault::Delivered(Fault::BadAccept(BadAccept::Wrong {
                received: chosen,
                expected: *ACCEPT,
            })),
            SwitchFault::Delivered(Fault::BadSwitch(BadSwitch::OtherProtocol(chosen))),
            SwitchFault::Delivered(Fault::SubprotocolMismatch { chosen }),
            SwitchFault::Delivered(Fault::Hidden { header: "Sec-WebSocket-Protocol" }),
            SwitchFault::Delivered(Fault::Repeated { header: "Sec-WebSocket-Accept" }),
            SwitchFault::Unsolicited,
        ];
        let alterations = [
            Alteration::HeadersOff,
            Alteration::Emptied(value),
            Alteration::Doubled(value),
            Alteration::Method(value),
        ];
        BackendFacts {
            peer: self.bytes(),
            name: self.bytes(),
            http_version: self.flag().then(|| self.version()),
            upgrade: self.sent(),
            connection: self.sent(),
            altered: self.flag().then(|| self.one_of(&alterations)),
            host: self.maybe(),
            host_from: self.one_of(&[
                HostFrom::Unknown,
                HostFrom::Directive,
                HostFrom::NoSite,
                HostFrom::Domain,
            ]),
            origin: self.sent(),
            key_replaced: self.flag(),
            subprotocols: self.sent(),
            tls: self.flag(),
            body: self.bytes(),
            proto: self.sent(),
            proto_by_guard: self.flag(),
            uri: self.bytes(),
            cached: self.number() % 8 == 1,
            reached: self.one_of(&[Reached::Nothing, Reached::Connection, Reached::Header]),
            status: self.status(),
            failure: self.flag().then(|| self.one_of(&failures)),
            redirect: self.maybe(),
            accel_redirect: self.maybe(),
            switch_fault: self.flag().then(|| self.one_of(&faults)),
            for_error_page: self.flag(),
        }
    }

    fn answer(&mut self) -> Answer<'a> {
        let directives = [
            Answering::Return,
            Answering::Rewrite,
            Answering::Deny,
            Answering::AuthBasic,
            Answering::AuthRequest,
        ];
        Answer {
            directive: self.one_of(&directives),
            conditional: self.flag(),
            place: Place { file: self.bytes(), line: 7 },
            others: self.number().into(),
        }
    }

    fn facts(&mut self) -> Facts<'a> {
        let early = [
            Early::PlainOnTls,
            Early::CertificateRejected,
            Early::CertificateMissing,
            Early::HeaderTooLarge,
            Early::UriTooLong,
        ];
        static LISTED: LazyLock<Protocols> = LazyLock::new(|| {
            let words: Vec<String> = (0..8).map(|n| format!("{n}{}", "x".repeat(5000))).collect();
            Protocols::new(words.iter().map(|word| word.as_bytes())).unwrap_or_default()
        });
        Facts {
            mode: self.one_of(&[Mode::Off, Mode::Check, Mode::Auto, Mode::On]),
            has_own_mark: self.flag(),
            location: self.place(),
            own: OwnSettings {
                upgrade: self.flag(),
                connection: self.flag(),
                http_version: self.flag(),
            },
            realtime: self.flag(),
            server: self.place().unwrap_or(CHAT),
            other_server: self
                .place()
                .map(|location| OtherServer { server: self.bytes(), location }),
            preface: (self.number() % 16 == 1).then_some(Preface::Proxy1),
            marked_location: self.maybe(),
            handler: self.handler(),
            http_version: self.version(),
            method: self.bytes(),
            uri: self.bytes(),
            scheme: self.bytes(),
            address_header: self.one_of(&[None, Some("X-Forwarded-For")]),
            host: self.bytes(),
            tls_in_front: self.flag().then(|| (self.bytes(), self.bytes())),
            asks: self.one_of(&[
                Asks::WebSocket,
                Asks::Nothing,
                Asks::WebSocket,
                Asks::Listed,
                Asks::WebSocket,
                Asks::Other,
            ]),
            upgrade: self.bytes(),
            dropped: self.flag().then(|| Dropped { name: self.bytes(), listed: &LISTED }),
            key: self.flag(),
            origin: self.maybe(),
            subprotocols: self.maybe(),
            via: self.maybe(),
            peer: self.bytes(),
            gate: self.gate(),
            refused_early: self.number() % 8 == 1,
            early: (self.number() % 8 == 1).then(|| self.one_of(&early)),
            status: self.status(),
            redirect: self.maybe(),
            limit: self.one_of(&[
                Limit::Passed,
                Limit::Passed,
                Limit::Requests,
                Limit::Passed,
                Limit::Connections,
            ]),
            auth_status: (self.number() % 4 == 1).then(|| self.status()),
            subrequest_101: (self.number() % 8 == 1).then(|| self.bytes()),
            restricted: self.flag().then(|| self.flag()),
            answered_by: self.flag().then(|| self.answer()),
            upstream: self.flag().then(|| self.upstream()),
        }
    }
}

fn is_safe(line: &str) -> bool {
    line.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_facts_make_at_most_one_short_and_safe_line(
        values in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..400),
                Just(vec![0; 1000]),
                Just(vec![b'a'; 5000]),
            ],
            1..6,
        ),
        choices in prop::collection::vec(any::<u16>(), 100),
    ) {
        let mut any = Any { values: &values, choices: choices.iter() };
        let facts = any.facts();
        if let Some(diagnosis) = diagnose(&facts) {
            let finding = diagnosis.finding();
            let line = diagnosis.line().to_string();
            let of_run_time = RunFinding::ALL.iter().any(|it| Finding::from(*it) == finding);
            prop_assert!(of_run_time, "{finding:?}");
            prop_assert!(line.len() <= Diagnosis::LINE_MAX, "{} {line}", line.len());
            prop_assert!(is_safe(&line), "{line}");
            let tail = format!(" [{}]", finding.slug());
            prop_assert!(line.ends_with(&tail), "{line}");
            prop_assert!(line.contains(&diagnosis.to_string()));
            if facts.asks == Asks::Nothing {
                prop_assert!(matches!(
                    finding,
                    Finding::StrippedUpgrade
                        | Finding::Http2Upgrade
                        | Finding::HeaderTooLarge
                        | Finding::ProxyProtocol
                        | Finding::NotProxied
                        | Finding::BodyTooLarge
                        | Finding::Unsolicited101
                ));
            }
        } else if facts.asks == Asks::WebSocket && facts.status != 101 {
            // Nothing fails without a reason.
            prop_assert!(false, "{:?}", facts);
        }
    }

    #[test]
    fn any_tunnel_end_makes_a_short_and_safe_line(
        peer in prop::collection::vec(any::<u8>(), 0..400),
        times in any::<[u64; 4]>(),
        rc in prop_oneof![Just(0), Just(408), Just(504), any::<isize>()],
        signs in any::<[bool; 6]>(),
        tracked in any::<[bool; 3]>(),
    ) {
        let [client_eof, client_error, backend_eof, backend_error, backend_write_timedout, shutdown] =
            signs;
        let [client_tracked, backend_tracked, client_first] = tracked;
        let [age_ms, limit_ms, client_silent_ms, backend_silent_ms] = times;
        let end = TunnelEnd {
            end: End::infer(EndSigns {
                rc,
                client_eof,
                client_error,
                backend_eof,
                backend_error,
                backend_write_timedout,
                shutdown,
                first_close: None,
                client_tracked,
                backend_tracked,
                client_first,
            }),
            age_ms,
            limit_ms,
            client_silent_ms,
            backend_silent_ms,
            peer: &peer,
            handler: Handler::Proxy,
            mode: Mode::Off, lifetime: &[], };
        match diagnose_end(&end) {
            None => prop_assert_eq!(end.end, End::Closed),
            Some(diagnosis) => {
                let line = diagnosis.line().to_string();
                prop_assert!(line.len() <= Diagnosis::LINE_MAX, "{line}");
                prop_assert!(is_safe(&line), "{line}");
            }
        }
    }
}
