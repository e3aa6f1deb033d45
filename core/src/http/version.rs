//! The versions of HTTP.

use std::fmt;

/// The versions of HTTP, as far as an upgrade differs between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0 and older: there is no Upgrade header.
    Http10,
    /// HTTP/1.1 and its later minor versions.
    Http11,
    /// HTTP/2, where an Upgrade header makes a request malformed (RFC 9113 section 8.2.2).
    Http2,
    /// HTTP/3, likewise (RFC 9114 section 4.2).
    Http3,
}

impl HttpVersion {
    /// The version with these numbers.
    pub fn new(major: u16, minor: u16) -> Self {
        match (major, minor) {
            (0, _) | (1, 0) => Self::Http10,
            (1, _) => Self::Http11,
            (2, _) => Self::Http2,
            _ => Self::Http3,
        }
    }
}

impl fmt::Display for HttpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        })
    }
}
