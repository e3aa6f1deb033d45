//! Which origins may open a WebSocket (RFC 6454, RFC 6455 section 10.2).

use std::net::Ipv6Addr;
use std::str;

use thiserror::Error;

use crate::http::token::{only_line, Lines};
use crate::text::escape::Escaped;

use super::regex::{Regex, RegexError};

/// The words of `websocket_guard_origin`.
#[derive(Clone, Debug)]
pub struct OriginPolicy {
    words: Box<str>,
    /// `None` for `any`.
    listed: Option<Vec<Listed>>,
}

impl OriginPolicy {
    /// The policy of a directive's words.
    ///
    /// - `any`: no check at all
    /// - `same`: the origin of the request's own URL
    /// - `none`: a request without an Origin header, which no browser sends
    /// - `null`: the origin of sandboxed frames and local files
    /// - `https://app.example.com:8443`: this one, with the scheme's own port if none is given
    /// - `https://*.example.com`: every host below example.com, at any depth
    /// - `~REGEX`, `~*REGEX`: what the expression finds, as in nginx; in the syntax of the regex
    ///   crate, which has no backreferences and no lookaround, on bytes
    pub fn new<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, OriginError> {
        let mut texts = Vec::new();
        let mut listed = Vec::new();
        for word in words {
            let text = str::from_utf8(word).map_err(|_| OriginError::new(word, Reason::NotText))?;
            texts.push(text);
            if !text.eq_ignore_ascii_case("any") {
                listed.push(Listed::parse(text).map_err(|reason| OriginError::new(word, reason))?);
            }
        }
        if texts.is_empty() {
            return Err(OriginError::new(b"", Reason::Empty));
        }
        let is_any = texts.iter().any(|text| text.eq_ignore_ascii_case("any"));
        if is_any && !listed.is_empty() {
            return Err(OriginError::new(b"any", Reason::AnyAndOthers));
        }
        Ok(Self { words: texts.join(" ").into(), listed: (!is_any).then_some(listed) })
    }

    /// Whether every request passes, so that there is no need to look at it.
    pub fn is_any(&self) -> bool {
        self.listed.is_none()
    }

    /// The words as they were configured, to be escaped before they are logged.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Whether a request with these Origin lines may open a WebSocket.
    pub fn check<'a>(&self, origin: impl Lines<'a>, own: &Own<'_>) -> Result<(), Denied<'a>> {
        let Some(listed) = &self.listed else {
            return Ok(());
        };
        let value = only_line(origin).map_err(Denied::Repeated)?;
        if listed.iter().any(|it| it.allows(value, own)) {
            return Ok(());
        }
        Err(value.map_or(Denied::Missing, Denied::NotListed))
    }
}

impl Default for OriginPolicy {
    fn default() -> Self {
        Self { words: "any".into(), listed: None }
    }
}

/// What `same` compares an origin with.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// The scheme that the client used, `http` or `https`.
    ///
    /// `None` if something in front of this server may have ended TLS. Then only host and port are
    /// compared, and a page that came over plain HTTP from the same host is allowed, too.
    pub scheme: Option<&'a [u8]>,
    /// The value of the Host header, with its port if it has one.
    pub host: &'a [u8],
}

/// Why a request may not open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied<'a> {
    /// It has no Origin header, and `none` is not listed.
    Missing,
    /// It has several Origin headers; the second one.
    Repeated(&'a [u8]),
    /// Its origin is not listed.
    NotListed(&'a [u8]),
}

/// Why a word cannot stand in `websocket_guard_origin`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("\"{}\": {reason}", Escaped(.word))]
pub struct OriginError {
    word: Box<[u8]>,
    reason: Reason,
}

impl OriginError {
    fn new(word: &[u8], reason: Reason) -> Self {
        Self { word: word.into(), reason }
    }
}

/// The longest value that a regular expression is tried on: a name of a host has 253 bytes at most, and an
/// expression takes time for each byte.
const MAX_SEARCHED: usize = 512;

/// What one word of `websocket_guard_origin` allows.
#[derive(Clone, Debug)]
enum Listed {
    Same,
    None,
    Null,
    Exact(Pattern),
    Below(Pattern),
    Matching(Regex),
}

impl Listed {
    fn parse(word: &str) -> Result<Self, Reason> {
        match &*word.to_ascii_lowercase() {
            "same" => return Ok(Self::Same),
            "none" => return Ok(Self::None),
            "null" => return Ok(Self::Null),
            "*" | "all" | "off" => return Err(Reason::Star),
            _ => {}
        }
        if let Some(regex) = word.strip_prefix("~*") {
            return compile(regex, true);
        }
        if let Some(regex) = word.strip_prefix('~') {
            return compile(regex, false);
        }
        if word.contains('$') {
            return Err(Reason::Variable);
        }

        let (scheme, authority) = word
            .split_once("://")
            .ok_or_else(|| Reason::NoScheme { instead: format!("https://{word}") })?;
        match &*scheme.to_ascii_lowercase() {
            "ws" => return Err(Reason::SocketScheme { instead: format!("http://{authority}") }),
            "wss" => return Err(Reason::SocketScheme { instead: format!("https://{authority}") }),
            _ => {}
        }
        if let Some(end) = authority.find(['/', '?', '#']) {
            let (kept, _) = authority.split_at(end);
            return Err(Reason::Path { instead: format!("{scheme}://{kept}") });
        }
        if !authority.is_ascii() {
            return Err(Reason::NotAscii);
        }

        let (below, origin) = match authority.strip_prefix("*.") {
            Some(parent) => (true, format!("{scheme}://{parent}")),
            None => (false, word.to_owned()),
        };
        if origin.contains('*') {
            return Err(Reason::StarElsewhere);
        }
        let origin = Origin::parse(origin.as_bytes()).ok_or(Reason::Invalid)?;
        match (below, origin.host) {
            (true, Host::Ipv6(_)) => Err(Reason::StarElsewhere),
            (true, Host::Name(_)) => Ok(Self::Below(Pattern::new(&origin))),
            (false, _) => Ok(Self::Exact(Pattern::new(&origin))),
        }
    }

    /// Whether the request with this origin, `None` without the header, is one that the word
    /// means.
    fn allows(&self, value: Option<&[u8]>, own: &Own<'_>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::None);
        };
        match self {
            Self::None => false,
            Self::Null => value == b"null",
            // Only ever a single origin: an expression without anchors must not find a listed one
            // beside another.
            Self::Matching(regex) => {
                value.len() <= MAX_SEARCHED
                    && value.iter().all(u8::is_ascii_graphic)
                    && regex.is_match(value)
            }
            Self::Same => is_same(value, own),
            Self::Exact(pattern) => Origin::parse(value)
                .is_some_and(|origin| pattern.agrees(&origin) && pattern.host_is(origin.host)),
            Self::Below(pattern) => Origin::parse(value).is_some_and(|origin| {
                pattern.agrees(&origin) && pattern.host_is_above(origin.host)
            }),
        }
    }
}

/// An origin that was configured, whole or below a `*.`.
#[derive(Clone, Debug)]
struct Pattern {
    scheme: Box<[u8]>,
    host: PatternHost,
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum PatternHost {
    Name(Box<[u8]>),
    Ipv6(Ipv6Addr),
}

impl Pattern {
    fn new(origin: &Origin<'_>) -> Self {
        Self {
            scheme: origin.scheme.into(),
            host: match origin.host {
                Host::Name(name) => PatternHost::Name(name.into()),
                Host::Ipv6(address) => PatternHost::Ipv6(address),
            },
            port: origin.port,
        }
    }

    fn agrees(&self, origin: &Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(origin.scheme) && self.port == origin.port
    }

    fn host_is(&self, host: Host<'_>) -> bool {
        match (&self.host, host) {
            (PatternHost::Name(name), Host::Name(other)) => name.eq_ignore_ascii_case(other),
            (PatternHost::Ipv6(address), Host::Ipv6(other)) => *address == other,
            _ => false,
        }
    }

    fn host_is_above(&self, host: Host<'_>) -> bool {
        let (PatternHost::Name(parent), Host::Name(name)) = (&self.host, host) else {
            return false;
        };
        let Some((below, end)) =
            name.len().checked_sub(parent.len()).and_then(|length| name.split_at_checked(length))
        else {
            return false;
        };
        matches!(below, [_, .., b'.']) && end.eq_ignore_ascii_case(parent)
    }
}

/// The serialization of an origin (RFC 6454 section 6.2).
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    scheme: &'a [u8],
    host: Host<'a>,
    /// The port, with the default of the scheme filled in. `None` where the scheme has none.
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        let colon = value.iter().position(|&byte| byte == b':')?;
        let (scheme, rest) = value.split_at_checked(colon)?;
        if !is_scheme(scheme) {
            return None;
        }
        let (host, port) = parse_authority(rest.strip_prefix(b"://")?)?;
        Some(Self { scheme, host, port: port.or(default_port(scheme)) })
    }

    fn is_same(&self, own: &Own<'_>) -> bool {
        let Some((host, port)) = parse_authority(own.host) else {
            return false;
        };
        let scheme = own.scheme.unwrap_or(self.scheme);
        self.scheme.eq_ignore_ascii_case(scheme)
            && self.host.is(host)
            && self.port == port.or(default_port(scheme))
    }
}

/// Whether the value of an Origin header is the origin of the request's own URL.
pub fn is_same(origin: &[u8], own: &Own<'_>) -> bool {
    Origin::parse(origin).is_some_and(|origin| origin.is_same(own))
}

#[derive(Clone, Copy, Debug)]
enum Host<'a> {
    /// A domain name, an IPv4 address, or whatever else the scheme has at this place.
    Name(&'a [u8]),
    Ipv6(Ipv6Addr),
}

impl Host<'_> {
    fn is(self, other: Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(name), Host::Name(other)) => name.eq_ignore_ascii_case(other),
            (Self::Ipv6(address), Host::Ipv6(other)) => address == other,
            _ => false,
        }
    }
}

/// Takes `host[:port]` apart.
fn parse_authority(authority: &[u8]) -> Option<(Host<'_>, Option<u16>)> {
    let (host, rest) = match authority.strip_prefix(b"[") {
        Some(literal) => {
            let end = literal.iter().position(|&byte| byte == b']')?;
            let (address, rest) = literal.split_at_checked(end)?;
            let address = str::from_utf8(address).ok()?.parse().ok()?;
            (Host::Ipv6(address), rest.strip_prefix(b"]")?)
        }
        None => {
            let end = authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len());
            let (name, rest) = authority.split_at_checked(end)?;
            if name.is_empty() || !name.iter().all(|&byte| is_name_char(byte)) {
                return None;
            }
            (Host::Name(name), rest)
        }
    };
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(b":")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let port = str::from_utf8(digits).ok()?.parse().ok()?;
    Some((host, Some(port)))
}

fn default_port(scheme: &[u8]) -> Option<u16> {
    if scheme.eq_ignore_ascii_case(b"https") {
        Some(443)
    } else if scheme.eq_ignore_ascii_case(b"http") {
        Some(80)
    } else {
        None
    }
}

/// RFC 3986 section 3.1.
fn is_scheme(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}

fn is_name_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

fn compile(pattern: &str, ignore_case: bool) -> Result<Listed, Reason> {
    if pattern.is_empty() {
        return Err(Reason::EmptyRegex);
    }
    Regex::new(pattern, ignore_case).map(Listed::Matching).map_err(Reason::Regex)
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
enum Reason {
    #[error("at least one origin is needed, or \"any\", \"same\" or \"none\"")]
    Empty,
    #[error("allows every origin, so that the others have no meaning: remove it, or them")]
    AnyAndOthers,
    #[error("not an origin: write \"any\" to allow every origin")]
    Star,
    #[error("variables have no meaning here: list the origins, or write \"same\" or a regular expression")]
    Variable,
    #[error("\"*\" can only stand for whole labels at the front of a name, as in \"https://*.example.com\"")]
    StarElsewhere,
    #[error("an origin begins with a scheme: write \"{}\"", Escaped(.instead.as_bytes()))]
    NoScheme { instead: String },
    #[error("an origin has the scheme of the page that opens the WebSocket: write \"{}\"", Escaped(.instead.as_bytes()))]
    SocketScheme { instead: String },
    #[error("an origin ends with the host or the port: write \"{}\"", Escaped(.instead.as_bytes()))]
    Path { instead: String },
    #[error("browsers send an international name in its ASCII form: write \"xn--...\"")]
    NotAscii,
    #[error("not text in UTF-8")]
    NotText,
    #[error("not an origin: write one such as \"https://app.example.com\" or \"https://app.example.com:8443\"")]
    Invalid,
    #[error("no regular expression after the \"~\"")]
    EmptyRegex,
    #[error("{}", Escaped(.0.to_string().as_bytes()))]
    Regex(RegexError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HTTPS: Own<'static> = Own { scheme: Some(b"https"), host: b"app.example.com" };

    fn policy(words: &str) -> OriginPolicy {
        OriginPolicy::new(words.split(' ').map(str::as_bytes)).unwrap()
    }

    fn allows(words: &str, origin: &str) -> bool {
        let origin = [origin.as_bytes()];
        policy(words).check(origin.into_iter(), &HTTPS).is_ok()
    }

    fn error(word: &[u8]) -> String {
        OriginPolicy::new([word]).unwrap_err().to_string()
    }

    #[test]
    fn any_is_the_default() {
        for policy in [OriginPolicy::default(), policy("any"), policy("any Any")] {
            assert!(policy.is_any());
            for lines in [&[][..], &[&b"null"[..]], &[b"\0\xff"], &[b"a", b"b"]] {
                assert_eq!(policy.check(lines.iter().copied(), &HTTPS), Ok(()));
            }
        }
        assert_eq!(OriginPolicy::default().words(), "any");
        assert!(!policy("same").is_any());
    }

    #[test]
    fn an_exact_origin() {
        let listed = "https://app.example.com";
        for origin in [
            "https://app.example.com",
            "https://app.example.com:443",
            "HTTPS://App.Example.COM",
            " https://app.example.com\t",
        ] {
            assert!(allows(listed, origin), "{origin}");
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com:80",
            "https://example.com",
            "https://a.app.example.com",
            "https://app.example.com.",
            "https://app.example.com.evil.com",
            "https://app.example.com/",
            "https://app.example.com:",
            "https://app.example.com:+443",
            "https://app.example.com:65979",
            "https://user@app.example.com",
            "https://app.example.com https://evil.com",
            "https://app.example.com, https://evil.com",
            "https:app.example.com",
            "app.example.com",
            "null",
            "",
            "\0",
        ] {
            assert!(!allows(listed, origin), "{origin}");
        }
        assert!(allows("HTTPS://App.example.com:443", "https://app.example.com"));
        assert!(allows("http://localhost:3000", "http://localhost:3000"));
        assert!(!allows("http://localhost", "http://localhost:3000"));
        assert!(allows("http://a", "http://a:80"));
    }

    #[test]
    fn origins_of_apps_and_extensions() {
        let listed = "chrome-extension://abcdefghijklmnop capacitor://localhost";
        assert!(allows(listed, "chrome-extension://abcdefghijklmnop"));
        assert!(allows(listed, "capacitor://localhost"));
        assert!(!allows(listed, "capacitor://localhost:443"));
        assert!(!allows(listed, "https://localhost"));
    }

    #[test]
    fn ip_addresses() {
        assert!(allows("http://192.0.2.1:8080", "http://192.0.2.1:8080"));
        assert!(allows("http://[2001:DB8:0::1]", "http://[2001:db8::1]"));
        assert!(allows("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"));
        for origin in [
            "http://[2001:db8::2]",
            "http://[2001:db8::1]:81",
            "http://[2001:db8::1]x",
            "http://[2001:db8::1",
            "http://2001:db8::1",
            "http://[]",
        ] {
            assert!(!allows("http://[2001:db8::1]", origin), "{origin}");
        }
    }

    #[test]
    fn a_wildcard_means_every_host_below() {
        let listed = "https://*.example.com";
        for origin in
            ["https://a.example.com", "https://A.B.EXAMPLE.com", "https://a.example.com:443"]
        {
            assert!(allows(listed, origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://evilexample.com",
            "https://.example.com",
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://a.example.com.evil.com",
            "https://evil.com/.example.com",
            "https://evil.com#.example.com",
            "https://evil.com:80.example.com",
            "https://evil.com@a.example.com",
            "https://evil\0.example.com",
            "https://[::1].example.com",
            "com",
        ] {
            assert!(!allows(listed, origin), "{origin}");
        }
        assert!(allows("https://*.example.com:8443", "https://a.example.com:8443"));
    }

    #[test]
    fn none_and_null_are_listed_or_denied() {
        let missing = |words| policy(words).check([].into_iter(), &HTTPS);
        assert_eq!(missing("none"), Ok(()));
        assert_eq!(missing("same none"), Ok(()));
        assert_eq!(missing("same"), Err(Denied::Missing));
        assert_eq!(missing("~."), Err(Denied::Missing));
        assert!(!allows("none", ""));
        assert!(!allows("none", "https://app.example.com"));

        assert!(allows("null", "null"));
        assert!(allows("~^null$", "null"));
        assert!(!allows("same none https://null", "null"));
        assert!(!allows("null", "NULL"));
    }

    #[test]
    fn the_denied_value_is_told() {
        let check = |lines: &'static [&'static [u8]]| {
            policy("https://a.example").check(lines.iter().copied(), &HTTPS)
        };
        assert_eq!(check(&[b" https://b.example"]), Err(Denied::NotListed(b"https://b.example")));
        assert_eq!(
            check(&[b"https://a.example", b"https://b.example"]),
            Err(Denied::Repeated(b"https://b.example"))
        );
        assert_eq!(
            check(&[b"https://a.example", b"https://a.example"]),
            Err(Denied::Repeated(b"https://a.example"))
        );
    }

    #[test]
    fn same_is_the_url_of_the_request() {
        let same = |scheme: Option<&'static str>, host: &'static str, origin: &'static str| {
            let own = Own { scheme: scheme.map(str::as_bytes), host: host.as_bytes() };
            policy("same").check([origin.as_bytes()].into_iter(), &own).is_ok()
        };
        let https = Some("https");
        let http = Some("http");

        assert!(same(https, "a.example", "https://a.example"));
        assert!(same(https, "A.example:443", "https://a.EXAMPLE"));
        assert!(same(http, "a.example", "http://a.example:80"));
        assert!(same(http, "a.example:8080", "http://a.example:8080"));
        assert!(same(http, "[::1]:8080", "http://[0:0::1]:8080"));
        assert!(!same(http, "a.example", "https://a.example"));
        assert!(!same(https, "a.example", "https://a.example:8443"));
        assert!(!same(https, "a.example:80", "https://a.example"));
        assert!(!same(http, "a.example", "http://b.example"));
        assert!(!same(http, "a.example", "null"));
        assert!(!same(http, "", "http://"));
        assert!(!same(http, "a/b", "http://a/b"));

        // TLS may have ended in front.
        assert!(same(None, "a.example", "https://a.example"));
        assert!(same(None, "a.example", "http://a.example"));
        assert!(same(None, "a.example:8443", "https://a.example:8443"));
        assert!(!same(None, "a.example", "https://a.example:8443"));
        assert!(!same(None, "a.example:8443", "https://a.example"));
    }

    #[test]
    fn regular_expressions() {
        let listed = r"~^https://(www|app)\.example\.(com|org)$";
        assert!(allows(listed, "https://www.example.org"));
        assert!(!allows(listed, "https://WWW.example.org"));
        assert!(!allows(listed, "https://www.example.org:8443"));
        assert!(!allows(listed, "https://wwwxexample.org"));
        assert!(allows(r"~*^https://www\.", "HTTPS://WWW.example.org"));
        // Without anchors, but still one origin.
        assert!(allows(r"~\.example\.com$", "https://a.example.com"));
        assert!(!allows(r"~\.example\.com$", "https://evil.com https://a.example.com"));
        assert!(!allows("~.", "\u{e9}"));
    }

    #[test]
    fn words_stay_as_configured() {
        let words = r"Same NONE https://*.Example.com ~*^a\d none";
        assert_eq!(policy(words).words(), words);
    }

    #[test]
    fn wrong_words_are_explained() {
        for (word, expected) in [
            ("*", "\"*\": not an origin: write \"any\" to allow every origin"),
            ("off", "\"off\": not an origin: write \"any\" to allow every origin"),
            (
                "https://$host",
                "\"https://$host\": variables have no meaning here: list the origins, or write \"same\" or a regular expression",
            ),
            (
                "app.example.com",
                "\"app.example.com\": an origin begins with a scheme: write \"https://app.example.com\"",
            ),
            (
                "*.example.com",
                "\"*.example.com\": an origin begins with a scheme: write \"https://*.example.com\"",
            ),
            (
                "wss://app.example.com:8443",
                "\"wss://app.example.com:8443\": an origin has the scheme of the page that opens the WebSocket: write \"https://app.example.com:8443\"",
            ),
            (
                "WS://a",
                "\"WS://a\": an origin has the scheme of the page that opens the WebSocket: write \"http://a\"",
            ),
            (
                "https://app.example.com/",
                "\"https://app.example.com/\": an origin ends with the host or the port: write \"https://app.example.com\"",
            ),
            (
                "https://a:81/chat?x",
                "\"https://a:81/chat?x\": an origin ends with the host or the port: write \"https://a:81\"",
            ),
            (
                "https://b\u{fc}cher.example",
                "\"https://b\\xC3\\xBCcher.example\": browsers send an international name in its ASCII form: write \"xn--...\"",
            ),
            ("~", "\"~\": no regular expression after the \"~\""),
            ("~*", "\"~*\": no regular expression after the \"~\""),
            ("~(", "\"~(\": not a regular expression: unclosed group"),
        ] {
            assert_eq!(error(word.as_bytes()), expected);
        }
        for word in
            ["https://*", "https://a.*.com", "https://*a.com", "https://*.*.com", "https://*.[::1]"]
        {
            assert!(error(word.as_bytes()).contains("\"*\" can only stand for"), "{word}");
        }
        for word in [
            "https://",
            "https://a:",
            "https://a:x",
            "https://a:65536",
            "https://a b",
            "https://[::1",
            "https://[::g]",
            "https://::1",
            "https://u@a",
            "1https://a",
            "://a",
            "https://*.",
        ] {
            assert!(error(word.as_bytes()).contains("not an origin: write one such"), "{word}");
        }
        assert_eq!(error(b"https://\xff"), "\"https://\\xFF\": not text in UTF-8");
        assert!(error(br"~(?=a)").contains("look-around"));
        assert!(error(br"~(\w{1000}){1000}").contains("size limit"));

        let combined = OriginPolicy::new([&b"same"[..], b"any"]).unwrap_err();
        assert_eq!(
            combined.to_string(),
            "\"any\": allows every origin, so that the others have no meaning: remove it, or them"
        );
        assert!(OriginPolicy::new([]).is_err());
    }

    #[test]
    fn large_values_are_denied() {
        let long = "a.".repeat(32768) + "example.com";
        assert!(!allows("https://*.example.com null same ~^x", &long));
        assert!(allows("https://*.example.com", &format!("https://{long}")));
        let label = |length: usize| format!("https://{}.example.com", "a".repeat(length));
        assert!(allows(r"~\.example\.com$", &label(253)));
        assert!(!allows(r"~\.example\.com$", &label(600)));
    }

    proptest! {
        #[test]
        fn wildcards_as_by_labels(labels in prop::collection::vec("[a-c]{1,2}", 1..5)) {
            let origin = format!("https://{}", labels.join("."));
            let expected = labels.len() > 2 && labels.ends_with(&["b".to_owned(), "c".to_owned()]);
            prop_assert_eq!(allows("https://*.b.c", &origin), expected);
        }

        #[test]
        fn exact_origins_are_equal_triples(
            schemes in [0..2_usize, 0..2],
            hosts in ["[ab]{1,2}", "[ab]{1,2}"],
            ports in [prop::option::of(79..82_u16), prop::option::of(79..82_u16)],
        ) {
            let text = |n: usize| {
                let scheme = ["http", "https"][schemes[n]];
                match ports[n] {
                    Some(port) => format!("{scheme}://{}:{port}", hosts[n]),
                    None => format!("{scheme}://{}", hosts[n]),
                }
            };
            let triple = |n: usize| {
                (schemes[n], &hosts[n], ports[n].unwrap_or([80, 443][schemes[n]]))
            };
            prop_assert_eq!(allows(&text(0), &text(1)), triple(0) == triple(1));
        }

        #[test]
        fn whatever_is_sent_is_no_listed_origin(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let policy = policy("same none https://*.example.com http://[::1]:8080");
            prop_assert!(policy.check([&bytes[..]].into_iter(), &HTTPS).is_err());
        }
    }
}
