//! Only a request that RFC 6455 describes passes as a handshake.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use websocket_guard_core::handshake::{Action, Request, Strictness};
use websocket_guard_core::http::version::HttpVersion;
use websocket_guard_core::handshake::upgrade::Protocols;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    is_get: bool,
    http_version: (u16, u16),
    has_body: bool,
    protocol: &'a [u8],
    upgrade: Vec<&'a [u8]>,
    connection: Vec<&'a [u8]>,
    key: Vec<&'a [u8]>,
    version: Vec<&'a [u8]>,
}

fuzz_target!(|input: Input| {
    let (major, minor) = input.http_version;
    let request = Request {
        is_get: input.is_get,
        http_version: HttpVersion::new(major, minor),
        has_body: input.has_body,
        upgrade: input.upgrade.iter().copied(),
        connection: input.connection.iter().copied(),
        key: input.key.iter().copied(),
        version: input.version.iter().copied(),
    };
    match request.violation(true) {
        None => {
            assert!(input.is_get && major == 1 && minor >= 1 && !input.has_body);
            assert_eq!(input.key.len(), 1);
            assert_eq!(input.version.len(), 1);
            assert_eq!(request.violation(false), None);
        }
        Some(violation) => {
            let strict = violation.action(Strictness::Strict);
            assert!(matches!(strict, Action::BadRequest | Action::UpgradeRequired));
            if violation.action(Strictness::Lenient) == Action::Forward {
                assert!(input.is_get && major == 1 && minor >= 1 && !input.has_body);
            }
        }
    }

    let protocols = Protocols::new([&b"websocket"[..], input.protocol])
        .unwrap_or_else(|_| Protocols::default());
    let selection = protocols.select(input.upgrade.iter().copied());
    assert_eq!(selection.is_empty(), selection.clone().count() == 0);
    assert!(selection.clone().all(|selected| protocols.iter().any(|known| known == selected)));
    assert!(selection.clone().count() <= protocols.iter().count());
    assert_eq!(
        selection.has_websocket(),
        input
            .upgrade
            .join(&b',')
            .split(|&byte| byte == b',')
            .any(|element| element.trim_ascii().eq_ignore_ascii_case(b"websocket")
                && !element.iter().any(|byte| b"\n\r\x0c".contains(byte)))
    );
});
