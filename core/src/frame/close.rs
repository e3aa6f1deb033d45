//! Status codes of Close frames (RFC 6455 section 7.4).

use core::fmt;

/// A status code, of those in use or any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// An endpoint goes away: a server that stops, a browser that leaves the page.
    pub const AWAY: Self = Self(1001);
    /// RFC 6455 was broken.
    pub const PROTOCOL: Self = Self(1002);
    /// A type of data that the endpoint cannot accept.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Stands for a Close without a code and is never sent.
    pub const STATUS: Self = Self(1005);
    /// Stands for the end of a connection without a Close and is never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// Data that does not fit the type of its message.
    pub const INVALID: Self = Self(1007);
    /// A policy was broken.
    pub const POLICY: Self = Self(1008);
    /// A message is too large.
    pub const SIZE: Self = Self(1009);
    /// A server did not negotiate an extension that its client needs.
    pub const EXTENSION: Self = Self(1010);
    /// A server cannot go on.
    pub const ERROR: Self = Self(1011);
    /// A server restarts.
    pub const RESTART: Self = Self(1012);
    /// A server is overloaded.
    pub const AGAIN: Self = Self(1013);
    /// A gateway lost its backend.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// Stands for a failed TLS handshake and is never sent.
    pub const TLS: Self = Self(1015);

    /// Whether a Close frame may hold it (RFC 6455 sections 7.4.1 and 7.4.2, and what was
    /// registered since).
    pub const fn is_allowed(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Its name in IANA's registry of WebSocket close codes, shortened where that is a sentence.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NORMAL => "Normal Closure",
            Self::AWAY => "Going Away",
            Self::PROTOCOL => "Protocol error",
            Self::UNSUPPORTED => "Unsupported Data",
            Self::STATUS => "No Status Rcvd",
            Self::ABNORMAL => "Abnormal Closure",
            Self::INVALID => "Invalid frame payload data",
            Self::POLICY => "Policy Violation",
            Self::SIZE => "Message Too Big",
            Self::EXTENSION => "Mandatory Ext.",
            Self::ERROR => "Internal Error",
            Self::RESTART => "Service Restart",
            Self::AGAIN => "Try Again Later",
            Self::BAD_GATEWAY => "Bad Gateway",
            Self::TLS => "TLS handshake",
            _ => return None,
        })
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_sent() {
        let allowed: Vec<u16> =
            (0..=u16::MAX).filter(|&code| CloseCode(code).is_allowed()).collect();
        let ranges: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(allowed, ranges);
    }

    #[test]
    fn all_that_are_registered_have_a_name() {
        let named: Vec<u16> =
            (0..=u16::MAX).filter(|&code| CloseCode(code).name().is_some()).collect();
        let registered: Vec<u16> = (1000..=1003).chain(1005..=1015).collect();
        assert_eq!(named, registered);
    }
}
