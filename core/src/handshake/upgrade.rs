//! The upgrade protocols that a location forwards (RFC 9110 section 7.8).

use std::fmt;

use thiserror::Error;

use crate::http::token::{elements, is_token, same, Lines};
use crate::text::escape::Escaped;

/// The protocol that RFC 6455 registers.
pub const WEBSOCKET: &str = "websocket";

/// Whether a protocol is HTTP/2, of which every request after the first would pass nginx unseen.
fn is_http2(name: &[u8]) -> bool {
    same(name, b"h2c") || same(name, b"h2")
}

/// The first protocol of a request's Upgrade lines that could be put into `websocket_guard_upgrade`.
pub fn first_that_can_be_listed<'a>(upgrade: impl Lines<'a>) -> Option<&'a [u8]> {
    elements(upgrade).find(|offered| check(offered).is_ok())
}

/// The words of `websocket_guard_upgrade`: the protocols to which a client may upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols(Vec<Box<str>>);

impl Protocols {
    /// Every selection keeps the protocols that it has seen in the bits of a `u64`.
    const MAX: usize = u64::BITS as usize;

    /// The protocols of a directive, such as `websocket` or `foo/2`.
    pub fn new<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, ProtocolsError> {
        let mut protocols: Vec<Box<str>> = Vec::new();
        for word in words {
            let protocol = parse(word)?;
            if protocols.iter().any(|known| known.eq_ignore_ascii_case(protocol)) {
                continue;
            }
            if protocols.len() == Self::MAX {
                return Err(ProtocolsError::TooMany(Self::MAX));
            }
            protocols.push(protocol.into());
        }
        if protocols.is_empty() {
            return Err(ProtocolsError::Empty);
        }
        Ok(Self(protocols))
    }

    /// The protocols, as they were configured.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|protocol| &**protocol)
    }

    /// The protocols of a request's Upgrade lines that are allowed.
    pub fn select<'p, 'a, L: Lines<'a>>(&'p self, upgrade: L) -> Selection<'p, impl Lines<'a>> {
        Selection { protocols: self, offered: elements(upgrade), seen: 0 }
    }

    /// Whether each protocol in these Upgrade lines is allowed.
    pub fn allow<'a>(&self, upgrade: impl Lines<'a>) -> bool {
        elements(upgrade).all(|offered| self.position(offered).is_some())
    }

    /// The protocol of this name, as it was configured.
    pub fn named(&self, name: &[u8]) -> Option<&str> {
        self.position(name).map(|(_, protocol)| protocol)
    }

    fn position(&self, offered: &[u8]) -> Option<(usize, &str)> {
        self.iter().enumerate().find(|(_, protocol)| same(protocol.as_bytes(), offered))
    }
}

impl Default for Protocols {
    fn default() -> Self {
        Self(vec![WEBSOCKET.into()])
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_separated(f, self.iter(), " ")
    }
}

/// The allowed protocols of one request, in the client's order of preference.
///
/// Each comes once and in the configured spelling, so what is sent on never holds a byte of the
/// client, and is never longer than the configured list. Printing it gives the value of the
/// Upgrade header for the backend.
#[derive(Clone, Debug)]
pub struct Selection<'p, E> {
    protocols: &'p Protocols,
    offered: E,
    seen: u64,
}

impl<'p, 'a, E: Lines<'a>> Selection<'p, E> {
    /// Whether nothing that the client asked for is allowed.
    pub fn is_empty(&self) -> bool {
        self.clone().next().is_none()
    }

    /// The protocol, if it is the only one.
    pub fn only(&self) -> Option<&'p str> {
        let mut protocols = self.clone();
        protocols.next().filter(|_| protocols.next().is_none())
    }

    /// Whether the rules of RFC 6455 apply to the request.
    pub fn has_websocket(&self) -> bool {
        self.clone().any(|protocol| same(protocol.as_bytes(), WEBSOCKET.as_bytes()))
    }
}

impl<'p, 'a, E: Lines<'a>> Iterator for Selection<'p, E> {
    type Item = &'p str;

    fn next(&mut self) -> Option<&'p str> {
        let protocols = self.protocols;
        let seen = &mut self.seen;
        self.offered.find_map(|offered| {
            let (position, protocol) = protocols.position(offered)?;
            let bit = 1 << position;
            let first = *seen & bit == 0;
            *seen |= bit;
            first.then_some(protocol)
        })
    }
}

impl<'p, 'a, E: Lines<'a>> fmt::Display for Selection<'p, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_separated(f, self.clone(), ", ")
    }
}

/// Why a word is not an upgrade protocol.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProtocolsError {
    /// There is no word at all.
    #[error("at least one upgrade protocol is needed, such as \"websocket\"")]
    Empty,
    /// More words than a selection can keep apart.
    #[error("more than {0} upgrade protocols")]
    TooMany(usize),
    /// Several protocols in one word.
    #[error("\"{0}\" is not an upgrade protocol: separate protocols with spaces, not with commas")]
    Comma(String),
    /// HTTP/2.
    #[error("\"{0}\" is HTTP/2, with which a client would get all its requests past this nginx")]
    Http2(String),
    /// Not a name with an optional version.
    #[error("\"{0}\" is not an upgrade protocol: write a name such as \"websocket\", or a name and a version such as \"foo/2\"")]
    Invalid(String),
}

/// A protocol of a directive.
fn parse(word: &[u8]) -> Result<&str, ProtocolsError> {
    check(word).map_err(|mistake| mistake(Escaped(word).to_string()))
}

/// The same for a word of a client's, about which there is nothing to print: this allocates nothing.
fn check(word: &[u8]) -> Result<&str, fn(String) -> ProtocolsError> {
    if word.contains(&b',') {
        return Err(ProtocolsError::Comma);
    }
    let mut parts = word.splitn(2, |&byte| byte == b'/');
    if !parts.all(is_token) {
        return Err(ProtocolsError::Invalid);
    }
    if is_http2(word) {
        return Err(ProtocolsError::Http2);
    }
    match std::str::from_utf8(word) {
        Ok(word) => Ok(word),
        Err(_) => Err(ProtocolsError::Invalid),
    }
}

fn write_separated<'p>(
    f: &mut fmt::Formatter<'_>,
    words: impl Iterator<Item = &'p str>,
    separator: &str,
) -> fmt::Result {
    for (n, word) in words.enumerate() {
        if n > 0 {
            f.write_str(separator)?;
        }
        f.write_str(word)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn protocols(words: &[&str]) -> Protocols {
        Protocols::new(words.iter().map(|word| word.as_bytes())).unwrap()
    }

    fn selected(protocols: &Protocols, lines: &[&[u8]]) -> String {
        protocols.select(lines.iter().copied()).to_string()
    }

    #[test]
    fn websocket_is_the_default() {
        let default = Protocols::default();
        assert_eq!(default, protocols(&["websocket"]));
        assert_eq!(selected(&default, &[b"WebSocket"]), "websocket");
        assert!(default.select([&b"websocket"[..]].into_iter()).has_websocket());
    }

    #[test]
    fn all_of_them_or_not() {
        let default = Protocols::default();
        for allowed in [&b""[..], b" , ", b"websocket", b" WebSocket ,,websocket\t"] {
            assert!(default.allow([allowed].into_iter()), "{allowed:?}");
        }
        for other in
            [&b"h2c"[..], b"websocket, h2c", b"websocket\r\nX: y", b"websocket h2c", b"websocket\0"]
        {
            assert!(!default.allow([other].into_iter()), "{other:?}");
            assert!(!default.allow([b"websocket", other].into_iter()), "{other:?}");
        }
        assert!(default.allow([].into_iter()));
    }

    #[test]
    fn what_is_not_allowed_is_dropped() {
        let default = Protocols::default();
        for foreign in [
            &b"h2c"[..],
            b"websocket/13",
            b"web socket",
            b"websocket\0",
            b"\"websocket\"",
            b"websocket;h2c",
            b"",
            b",,",
        ] {
            assert!(default.select([foreign].into_iter()).is_empty());
        }
        assert!(default.select([].into_iter()).is_empty());
        assert_eq!(selected(&default, &[b"h2c, websocket"]), "websocket");
        assert_eq!(selected(&default, &[b"h2c", b"websocket"]), "websocket");
    }

    #[test]
    fn order_of_the_client_spelling_of_the_configuration() {
        let both = protocols(&["WebSocket", "foo/2"]);
        assert_eq!(selected(&both, &[b"FOO/2, websocket, foo/3", b"foo/2"]), "foo/2, WebSocket");
        assert_eq!(both.named(b"websocket"), Some("WebSocket"));
        assert_eq!(both.named(b"foo"), None);
        assert!(!both.select([&b"foo/2"[..]].into_iter()).has_websocket());
        assert!(both.select([&b"foo/2, WEBSOCKET"[..]].into_iter()).has_websocket());
        assert_eq!(both.select([&b"foo/2, websocket"[..]].into_iter()).only(), None);
        assert_eq!(both.select([&b"h2c, foo/2, FOO/2"[..]].into_iter()).only(), Some("foo/2"));
        assert_eq!(both.select([&b"h2c"[..]].into_iter()).only(), None);
    }

    #[test]
    fn a_large_header_gives_a_small_selection() {
        let line = b"websocket,".repeat(6554);
        assert_eq!(selected(&Protocols::default(), &[&line]), "websocket");
    }

    #[test]
    fn duplicates_are_one() {
        let once = protocols(&["foo", "FOO"]);
        assert_eq!(once.to_string(), "foo");
    }

    #[test]
    fn wrong_words_are_explained() {
        let error = |word: &[u8]| Protocols::new([word]).unwrap_err().to_string();
        assert_eq!(
            error(b"websocket,foo"),
            "\"websocket,foo\" is not an upgrade protocol: separate protocols with spaces, not with commas"
        );
        for word in [&b"web socket"[..], b"", b"/2", b"foo/", b"a/b/c", b"w\xe9b", b"a\0"] {
            assert!(matches!(Protocols::new([word]), Err(ProtocolsError::Invalid(_))));
        }
        assert!(error(b"a\"\n").starts_with("\"a\\x22\\x0A\" is not an upgrade protocol: write"));
        assert_eq!(Protocols::new([]), Err(ProtocolsError::Empty));
    }

    #[test]
    fn http2_is_never_allowed() {
        for word in [&b"h2c"[..], b"H2C", b"h2"] {
            assert!(matches!(Protocols::new([word]), Err(ProtocolsError::Http2(_))));
        }
        assert!(Protocols::new([&b"h2cx"[..], b"spdy/3.1", b"TLS/1.0"]).is_ok());
    }

    #[test]
    fn what_could_be_listed() {
        let first = |lines: &[&'static [u8]]| first_that_can_be_listed(lines.iter().copied());
        assert_eq!(first(&[b"h2c, \"x\"", b"h2,SPDY/3.1, tcp"]), Some(&b"SPDY/3.1"[..]));
        assert_eq!(first(&[b"h2c", b"a b", b""]), None);
    }

    #[test]
    fn up_to_64_protocols() {
        let words: Vec<String> = (0..65).map(|n| format!("p{n}")).collect();
        let bytes = |n| words.iter().take(n).map(|word: &String| word.as_bytes());
        let most = Protocols::new(bytes(64)).unwrap();
        assert_eq!(selected(&most, &[b"p63, p0, p63"]), "p63, p0");
        assert_eq!(Protocols::new(bytes(65)), Err(ProtocolsError::TooMany(64)));
    }

    proptest! {
        #[test]
        fn selects_what_a_set_would(
            offered in prop::collection::vec("(?i:websocket|foo|foo/2|h2c|)", 0..8),
        ) {
            let allowed = protocols(&["websocket", "foo/2"]);
            let mut expected: Vec<String> = Vec::new();
            for protocol in offered.iter().map(|protocol| protocol.to_ascii_lowercase()) {
                if ["websocket", "foo/2"].contains(&&*protocol) && !expected.contains(&protocol) {
                    expected.push(protocol);
                }
            }
            let line = offered.join(" ,");
            prop_assert_eq!(selected(&allowed, &[line.as_bytes()]), expected.join(", "));
        }
    }
}
