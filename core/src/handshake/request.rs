//! The client's opening handshake (RFC 6455 section 4.2.1).

use crate::http::token::{contains_token, only_line, Lines};
use crate::http::version::HttpVersion;

/// The version of the WebSocket protocol that RFC 6455 defines.
pub const VERSION: &str = "13";

/// What a request with an Upgrade header says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Request<L> {
    /// Whether the method is GET.
    pub is_get: bool,
    /// The version of HTTP.
    pub http_version: HttpVersion,
    /// Whether a body follows: a Content-Length other than 0, or a Transfer-Encoding.
    pub has_body: bool,
    /// The Upgrade lines, which [`Protocols::select`](crate::handshake::upgrade::Protocols::select) reads.
    pub upgrade: L,
    /// The Connection lines.
    pub connection: L,
    /// The Sec-WebSocket-Key lines.
    pub key: L,
    /// The Sec-WebSocket-Version lines.
    pub version: L,
}

impl<'a, L: Lines<'a>> Request<L> {
    /// The first rule that the request breaks.
    ///
    /// The rules stand in the order of what breaking them means, so that the first violation
    /// decides both what happens to the request and what is said about it. The method, the body, the
    /// key and the version belong to RFC 6455: they count only if `websocket` is among the protocols
    /// that the request may upgrade to. Others are used with POST and a body too (RFC 9110 section 7.8).
    pub fn violation(&self, websocket: bool) -> Option<Violation<'a>> {
        if matches!(self.http_version, HttpVersion::Http2 | HttpVersion::Http3) {
            return Some(Violation::Http2Upgrade);
        }
        if websocket && !self.is_get {
            return Some(Violation::Method);
        }
        if self.http_version == HttpVersion::Http10 {
            return Some(Violation::HttpVersion);
        }
        if websocket && self.has_body {
            return Some(Violation::Body);
        }
        if !contains_token(self.connection.clone(), b"Upgrade") {
            return Some(Violation::Connection(self.connection.clone().next()));
        }
        if !websocket {
            return None;
        }
        if let Err(fault) = single(self.key.clone(), is_key) {
            return Some(Violation::Key(fault));
        }
        if let Err(fault) = single(self.version.clone(), |value| value == VERSION.as_bytes()) {
            return Some(Violation::Version(fault));
        }
        None
    }
}

/// A rule of the opening handshake that a request breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation<'a> {
    /// An Upgrade header in HTTP/2 or HTTP/3.
    Http2Upgrade,
    /// The method is not GET.
    Method,
    /// The request is HTTP/1.0.
    HttpVersion,
    /// The request has a body.
    Body,
    /// Connection lacks the token `upgrade`; its first line.
    Connection(Option<&'a [u8]>),
    /// Sec-WebSocket-Key is not one base64 value of 16 bytes.
    Key(ValueFault<'a>),
    /// Sec-WebSocket-Version is not 13.
    Version(ValueFault<'a>),
}

impl Violation<'_> {
    /// What happens to the request.
    pub fn action(&self, strictness: Strictness) -> Action {
        match (strictness, self) {
            (_, Self::Http2Upgrade) => Action::BadRequest,
            (Strictness::Lenient, Self::Method | Self::HttpVersion | Self::Body) => {
                Action::PlainHttp
            }
            (Strictness::Lenient, Self::Connection(_) | Self::Key(_) | Self::Version(_)) => {
                Action::Forward
            }
            // Two versions are a malformed request, not one that an older client would send.
            (Strictness::Strict, Self::Version(ValueFault::Missing | ValueFault::Invalid(_))) => {
                Action::UpgradeRequired
            }
            (Strictness::Strict, _) => Action::BadRequest,
        }
    }
}

/// What is wrong with a header that must have exactly one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueFault<'a> {
    /// There is no such header.
    Missing,
    /// There are several; the second one.
    Repeated(&'a [u8]),
    /// The value is none that the rule allows.
    Invalid(&'a [u8]),
}

/// The words of `websocket_guard_handshake`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// A malformed handshake is refused.
    #[default]
    Strict,
    /// A malformed handshake is left to the backend.
    Lenient,
}

/// What happens to a request with a malformed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is forwarded as an upgrade all the same.
    Forward,
    /// It is proxied as a request that asks for no upgrade.
    PlainHttp,
    /// It is refused with 400.
    BadRequest,
    /// It is refused with 426 and `Sec-WebSocket-Version: 13`.
    UpgradeRequired,
}

fn single<'a>(
    lines: impl Lines<'a>,
    is_valid: impl Fn(&[u8]) -> bool,
) -> Result<(), ValueFault<'a>> {
    match only_line(lines) {
        Ok(Some(value)) if is_valid(value) => Ok(()),
        Ok(Some(value)) => Err(ValueFault::Invalid(value)),
        Ok(None) => Err(ValueFault::Missing),
        Err(second) => Err(ValueFault::Repeated(second)),
    }
}

/// Whether `value` is the base64 of 16 bytes.
///
/// The bits which the last character has to spare may be set: neither the grammar of RFC 6455
/// section 4.3 nor any backend minds them.
fn is_key(value: &[u8]) -> bool {
    let digits = value.strip_suffix(b"==").map(<&[u8; 22]>::try_from);
    // No early return, so that the compiler can check several digits at once.
    digits.is_some_and(|digits| {
        digits
            .is_ok_and(|digits| digits.iter().fold(true, |valid, &digit| valid & is_base64(digit)))
    })
}

/// Whether `byte` is a digit of base64 (RFC 4648 section 4).
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | (byte == b'+') | (byte == b'/')
}

#[cfg(test)]
mod tests {
    use base64::alphabet;
    use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
    use proptest::prelude::*;

    use super::*;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

    type TestLines<'a> = std::iter::Copied<std::slice::Iter<'a, &'a [u8]>>;

    fn lines<'a>(lines: &'a [&'a [u8]]) -> TestLines<'a> {
        lines.iter().copied()
    }

    fn good<'a>() -> Request<TestLines<'a>> {
        Request {
            is_get: true,
            http_version: HttpVersion::Http11,
            has_body: false,
            upgrade: lines(&[b"websocket"]),
            connection: lines(&[b"Upgrade"]),
            key: lines(&[KEY]),
            version: lines(&[b"13"]),
        }
    }

    #[test]
    fn example_of_rfc_6455_section_1_3() {
        assert_eq!(good().violation(true), None);
    }

    #[test]
    fn every_rule_has_its_name() {
        let cases = [
            (Request { http_version: HttpVersion::Http2, ..good() }, Violation::Http2Upgrade),
            (Request { http_version: HttpVersion::Http3, ..good() }, Violation::Http2Upgrade),
            (Request { is_get: false, ..good() }, Violation::Method),
            (Request { http_version: HttpVersion::Http10, ..good() }, Violation::HttpVersion),
            (Request { has_body: true, ..good() }, Violation::Body),
            (Request { connection: lines(&[]), ..good() }, Violation::Connection(None)),
            (Request { key: lines(&[]), ..good() }, Violation::Key(ValueFault::Missing)),
            (Request { version: lines(&[]), ..good() }, Violation::Version(ValueFault::Missing)),
        ];
        for (request, violation) in cases {
            assert_eq!(request.violation(true), Some(violation));
        }
    }

    #[test]
    fn the_gravest_violation_comes_first() {
        let mut worst = Request {
            is_get: false,
            http_version: HttpVersion::Http2,
            has_body: true,
            upgrade: lines(&[]),
            connection: lines(&[]),
            key: lines(&[]),
            version: lines(&[]),
        };
        let mut first = |mend: fn(&mut Request<TestLines<'static>>)| {
            let first = worst.violation(true);
            mend(&mut worst);
            first
        };
        let missing = ValueFault::Missing;
        assert_eq!(first(|r| r.http_version = HttpVersion::Http10), Some(Violation::Http2Upgrade));
        assert_eq!(first(|r| r.is_get = true), Some(Violation::Method));
        assert_eq!(first(|r| r.http_version = HttpVersion::Http11), Some(Violation::HttpVersion));
        assert_eq!(first(|r| r.has_body = false), Some(Violation::Body));
        assert_eq!(
            first(|r| r.connection = lines(&[b"upgrade"])),
            Some(Violation::Connection(None))
        );
        assert_eq!(first(|r| r.key = lines(&[KEY])), Some(Violation::Key(missing)));
        assert_eq!(first(|r| r.version = lines(&[b"13"])), Some(Violation::Version(missing)));
        assert_eq!(first(|_| {}), None);
    }

    #[test]
    fn connection_is_a_list_in_several_lines() {
        for connection in
            [&[&b"keep-alive, Upgrade"[..]][..], &[b"keep-alive", b"UPGRADE"], &[b"", b",upgrade,"]]
        {
            let request = Request { connection: lines(connection), ..good() };
            assert_eq!(request.violation(true), None);
        }
        let stripped = Request { connection: lines(&[b"close", b"upgrade\0"]), ..good() };
        assert_eq!(stripped.violation(true), Some(Violation::Connection(Some(b"close"))));
    }

    #[test]
    fn keys() {
        fn key<'a>(key: &'a [&'a [u8]]) -> Option<Violation<'a>> {
            Request { key: lines(key), ..good() }.violation(true)
        }
        assert_eq!(key(&[b" dGhlIHNhbXBsZSBub25jZQ==\t"]), None);
        assert_eq!(key(&[b"+/+/+/+/+/+/+/+/+/+/+x=="]), None);
        assert_eq!(key(&[KEY, b"second"]), Some(Violation::Key(ValueFault::Repeated(b"second"))));
        for invalid in [
            &b""[..],
            b"==",
            // 13 bytes, of a much copied curl command.
            b"SGVsbG8sIHdvcmxkIQ==",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBsZSBub25jZQAA",
            b"dGhlIHNhbXBsZSBub25j=Q==",
            b"dGhlIHNhbXBsZSBub25j-_==",
            b"dGhlIHNhbXBsZSBub25j\0Q==",
            b"dGhlIHNhbXBsZSBub25j\xe9Q==",
            b"dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        ] {
            assert_eq!(key(&[invalid]), Some(Violation::Key(ValueFault::Invalid(invalid))));
        }
    }

    #[test]
    fn versions() {
        fn version<'a>(version: &'a [&'a [u8]]) -> Option<Violation<'a>> {
            Request { version: lines(version), ..good() }.violation(true)
        }
        assert_eq!(version(&[b" 13 "]), None);
        assert_eq!(version(&[b"13", b"13"]), Some(Violation::Version(ValueFault::Repeated(b"13"))));
        for invalid in [&b"8"[..], b"", b"013", b"13, 8", b"1\x003", b"+13"] {
            assert_eq!(version(&[invalid]), Some(Violation::Version(ValueFault::Invalid(invalid))));
        }
    }

    #[test]
    fn other_protocols_need_no_key_and_may_have_a_body() {
        let post = || Request {
            is_get: false,
            has_body: true,
            key: lines(&[]),
            version: lines(&[]),
            ..good()
        };
        assert_eq!(post().violation(false), None);
        assert_eq!(post().violation(true), Some(Violation::Method));
        for http_version in [HttpVersion::Http10, HttpVersion::Http2] {
            assert!(Request { http_version, ..post() }.violation(false).is_some());
        }
        assert!(Request { connection: lines(&[]), ..post() }.violation(false).is_some());
    }

    #[test]
    fn what_happens_to_each() {
        use Action::*;

        let invalid = ValueFault::Invalid(b"8");
        let repeated = ValueFault::Repeated(b"13");
        for (violation, strict, lenient) in [
            (Violation::Http2Upgrade, BadRequest, BadRequest),
            (Violation::Method, BadRequest, PlainHttp),
            (Violation::HttpVersion, BadRequest, PlainHttp),
            (Violation::Body, BadRequest, PlainHttp),
            (Violation::Connection(None), BadRequest, Forward),
            (Violation::Key(ValueFault::Missing), BadRequest, Forward),
            (Violation::Key(invalid), BadRequest, Forward),
            (Violation::Key(repeated), BadRequest, Forward),
            (Violation::Version(ValueFault::Missing), UpgradeRequired, Forward),
            (Violation::Version(invalid), UpgradeRequired, Forward),
            (Violation::Version(repeated), BadRequest, Forward),
        ] {
            assert_eq!(violation.action(Strictness::Strict), strict, "{violation:?}");
            assert_eq!(violation.action(Strictness::Lenient), lenient, "{violation:?}");
        }
    }

    #[test]
    fn http_versions() {
        assert_eq!(HttpVersion::new(0, 9), HttpVersion::Http10);
        assert_eq!(HttpVersion::new(1, 0), HttpVersion::Http10);
        assert_eq!(HttpVersion::new(1, 1), HttpVersion::Http11);
        assert_eq!(HttpVersion::new(1, 2), HttpVersion::Http11);
        assert_eq!(HttpVersion::new(2, 0), HttpVersion::Http2);
        assert_eq!(HttpVersion::new(3, 0), HttpVersion::Http3);
    }

    proptest! {
        #[test]
        fn a_key_is_what_decodes_to_16_bytes(
            key in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..30),
                "[A-Za-z0-9+/]{21,23}={0,3}".prop_map(String::into_bytes),
            ],
        ) {
            let decoder = GeneralPurpose::new(
                &alphabet::STANDARD,
                GeneralPurposeConfig::new()
                    .with_decode_allow_trailing_bits(true)
                    .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
            );
            let mut decoded = [0; 32];
            let expected = decoder.decode_slice(&key, &mut decoded) == Ok(16);
            prop_assert_eq!(is_key(&key), expected);
        }

        #[test]
        fn every_16_bytes_make_a_key(bytes in any::<[u8; 16]>()) {
            let mut key = [0; 24];
            let length = base64::engine::general_purpose::STANDARD.encode_slice(bytes, &mut key);
            prop_assert_eq!(length, Ok(24));
            let key = [&key[..]];
            let request = Request { key: lines(&key), ..good() };
            prop_assert_eq!(request.violation(true), None);
        }
    }
}
