//! The head of a request (RFC 9112 section 2.1).

use std::iter;

use memchr::memchr;

use crate::http::field::{FieldLine, Fields};
use crate::http::token::{same, trim};
use crate::http::version::HttpVersion;

/// The request line and the header of a request that was written to a backend.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    request_line: &'a [u8],
    fields: HeadLines<'a>,
}

impl<'a> Head<'a> {
    /// `request` begins with a head; what follows does not matter.
    pub fn new(request: &'a [u8]) -> Self {
        let mut fields = HeadLines { rest: request, after_crlf: false };
        let request_line = fields.next().map(|line| line.0).unwrap_or_default();
        Self { request_line, fields }
    }

    /// The method.
    pub fn method(self) -> &'a [u8] {
        self.request_line.split(|&byte| byte == b' ').next().unwrap_or_default()
    }

    /// The request target, with what does not belong into one: a URI that was decoded may have blanks.
    pub fn uri(self) -> &'a [u8] {
        self.target_and_version().0
    }

    /// The version of HTTP. The preface of HTTP/2 looks like a request, too (RFC 9113 section 3.4).
    pub fn http_version(self) -> HttpVersion {
        match self.target_and_version().1 {
            b"HTTP/1.0" => HttpVersion::Http10,
            b"HTTP/2.0" => HttpVersion::Http2,
            _ => HttpVersion::Http11,
        }
    }

    fn target_and_version(self) -> (&'a [u8], &'a [u8]) {
        let mut words = self.request_line.splitn(2, |&byte| byte == b' ');
        let rest = words.nth(1).unwrap_or_default();
        let mut words = rest.rsplitn(2, |&byte| byte == b' ');
        match (words.next(), words.next()) {
            (Some(version), Some(target)) if version.starts_with(b"HTTP/") => (target, version),
            _ => (rest, b""),
        }
    }

    /// The lines of the header.
    pub fn fields(self) -> impl Fields<'a> {
        self.fields
    }

    /// The value of the first Upgrade line that is not empty and not allowed. A line counts as one if any backend
    /// may take it for that: ends of lines are CR LF, and CR or LF alone; white space may stand around the name; a
    /// line that begins with white space may go on with the one before.
    pub fn upgrade_other_than(self, is_allowed: impl Fn(&[u8]) -> bool) -> Option<&'a [u8]> {
        let request_line = iter::once(self.request_line);
        let lines = request_line.chain(self.fields.map(|line| line.0));
        let mut after_upgrade = false;
        let mut other = |line: &'a [u8]| {
            let value = match upgrade_value(line) {
                None if after_upgrade && matches!(line, [b' ' | b'\t', ..]) => Some(trim(line)),
                value => value,
            };
            after_upgrade = value.is_some();
            value.filter(|value| !value.is_empty() && !is_allowed(value))
        };
        for line in lines {
            let found = match memchr(b'\r', line) {
                None => other(line),
                Some(_) => line.split(|&byte| byte == b'\r').find_map(&mut other),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The first value of a header.
    pub fn value(self, name: &str) -> Option<&'a [u8]> {
        self.fields().find_map(|field| field.value(name))
    }
}

/// The lines of a head, up to the empty one. One that ends without a CR is a line, too, but no such end.
#[derive(Clone, Copy, Debug)]
struct HeadLines<'a> {
    rest: &'a [u8],
    after_crlf: bool,
}

impl<'a> Iterator for HeadLines<'a> {
    type Item = HeadLine<'a>;

    #[inline]
    fn next(&mut self) -> Option<HeadLine<'a>> {
        let (line, rest) = self.rest.split_at_checked(memchr(b'\n', self.rest)?)?;
        let crlf = line.strip_suffix(b"\r");
        if self.after_crlf && crlf.is_some_and(<[u8]>::is_empty) {
            return None;
        }
        self.rest = rest.get(1..)?;
        self.after_crlf = crlf.is_some();
        Some(HeadLine(crlf.unwrap_or(line)))
    }
}

/// A line without its end.
#[derive(Clone, Copy, Debug)]
struct HeadLine<'a>(&'a [u8]);

impl<'a> FieldLine<'a> for HeadLine<'a> {
    #[inline(always)]
    fn value(self, name: &str) -> Option<&'a [u8]> {
        let (key, value) = self.0.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        same(key, name.as_bytes()).then(|| trim(value))
    }
}

/// The value of a line that may be taken for an Upgrade line.
fn upgrade_value(line: &[u8]) -> Option<&[u8]> {
    let is_visible = |byte: &u8| *byte > b' ';
    let line = line.get(line.iter().position(is_visible)?..)?;
    // Most lines end the search here.
    if !matches!(line, [b'U' | b'u', ..]) {
        return None;
    }
    let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
    let end = name.iter().rposition(is_visible)?;
    same(name.get(..=end)?, b"Upgrade").then(|| trim(value.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::field::find;

    const REQUEST: &[u8] = b"GET /chat?a=b HTTP/1.1\r\nHost: example.com\r\nupgrade:websocket \r\n\
                             Empty:\r\nUpgraded: no\r\nUPGRADE: foo: bar\r\n\r\nUpgrade: body\r\n\r\n";

    #[test]
    fn request_line() {
        let head = Head::new(REQUEST);
        assert_eq!(head.method(), b"GET");
        assert_eq!(head.uri(), b"/chat?a=b");
        assert_eq!(head.http_version(), HttpVersion::Http11);
        let version = |line: &[u8]| Head::new(line).http_version();
        let uri = |line: &'static [u8]| Head::new(line).uri();
        assert_eq!(uri(b"GET /my doc/ws HTTP/1.0\r\n\r\n"), b"/my doc/ws");
        assert_eq!(version(b"GET /my doc/ws HTTP/1.0\r\n\r\n"), HttpVersion::Http10);
        // A line end has got into it.
        assert_eq!(uri(b"GET /my\nX: y HTTP/1.1\r\n\r\n"), b"/my");
        assert_eq!(uri(b"GET \r\n\r\n"), b"");
        assert_eq!(version(b"GET / HTTP/1.0\r\n\r\n"), HttpVersion::Http10);
        assert_eq!(version(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HttpVersion::Http2);
    }

    #[test]
    fn header() {
        let head = Head::new(REQUEST);
        let [upgrade, empty, get] =
            find(head.fields(), ["upgrade", "empty", "get /chat?a=b http/1.1"]);
        assert_eq!(upgrade.collect::<Vec<_>>(), [&b"websocket"[..], b"foo: bar"]);
        assert_eq!(empty.only(), Some(&b""[..]));
        assert_eq!(get.count(), 0);
        assert_eq!(head.value("Host"), Some(&b"example.com"[..]));
        assert_eq!(head.value("Hos"), None);
        assert_eq!(head.value("Connection"), None);
    }

    #[test]
    fn upgrade_lines_that_are_not_allowed() {
        fn other(lines: &str) -> Option<String> {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}X: y\r\n\r\nUpgrade: body\r\n");
            let other =
                Head::new(head.as_bytes()).upgrade_other_than(|value| value == b"websocket");
            other.map(|other| String::from_utf8(other.to_vec()).unwrap())
        }
        for sound in [
            "",
            "Upgrade: websocket\r\n",
            "upgrade:\twebsocket \r\nUPGRADE: websocket\r\n",
            "Upgrade:\r\n",
            "X-Upgrade: h2c\r\nUpgrade-X: h2c\r\nUpgrade h2c\r\nUp grade: h2c\r\nX: Upgrade: h2c\r\n",
            "Upgrade: websocket\r\nX: y\r\n z\r\n",
        ] {
            assert_eq!(other(sound), None, "{sound:?}");
        }
        for foreign in [
            "Upgrade: h2c\r\n",
            "uPGRADE:h2c\n",
            "Upgrade: websocket\r\nUpgrade: h2c\r\n",
            "X: y\nUpgrade: h2c\r\n",
            "X: y\rUpgrade: h2c\r\n",
            "X: y\n\nUpgrade: h2c\r\n",
            "Upgrade : h2c\r\n",
            "\x0bUpgrade\t: h2c\r\n",
            " Upgrade: h2c\r\n",
            "Upgrade: websocket\r\n h2c\r\n",
            "Upgrade:\r\n\th2c\r\n",
            "Upgrade: websocket\r\n \r\n h2c\r\n",
        ] {
            assert_eq!(other(foreign).as_deref(), Some("h2c"), "{foreign:?}");
        }
        assert_eq!(other("Upgrade: websocket, h2c\r\n").as_deref(), Some("websocket, h2c"));
        let head = Head::new(b"GET /\rUpgrade: h2c\r\nX: / HTTP/1.1\r\n\r\n");
        assert_eq!(head.upgrade_other_than(|_| false), Some(&b"h2c"[..]));
        assert_eq!(Head::new(b"Upgrade: h2c").upgrade_other_than(|_| false), None);
    }

    #[test]
    fn ends_of_lines() {
        let value = |head: &'static [u8]| Head::new(head).value("b");
        // Backends differ in what an LF by itself ends, so the lines after it count.
        assert_eq!(value(b"GET / HTTP/1.1\r\na: 1\nb: 2\r\n\r\n"), Some(&b"2"[..]));
        assert_eq!(value(b"GET / HTTP/1.1\r\na: 1\n\nb: 2\r\n\r\n"), Some(&b"2"[..]));
        assert_eq!(value(b"GET / HTTP/1.1\r\na: 1\n\r\nb: 2\r\n\r\n"), Some(&b"2"[..]));
        assert_eq!(value(b"GET / HTTP/1.1\r\na: 1\r\n\r\nb: 2\r\n\r\n"), None);
        assert_eq!(value(b"GET / HTTP/1.1\r\na: 1\r\nb: 2"), None);
        assert_eq!(value(b""), None);
    }
}
