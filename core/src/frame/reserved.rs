//! The reserved bits that extensions use (RFC 6455 section 5.2).

use super::header::RSV;
use crate::http::token::{elements, same, trim, Lines};

/// Which reserved bits may be set in the frames of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved(u8);

impl Reserved {
    /// None: no extension was negotiated.
    pub const NONE: Self = Self(0);
    /// RSV1, in the first frame of a message: permessage-deflate (RFC 7692 section 6).
    pub const DEFLATE: Self = Self(0x40);
    /// All of them, in every frame: an extension that is not known here.
    pub const ANY: Self = Self(RSV);

    /// What the extensions allow that a backend chose: the Sec-WebSocket-Extensions of its 101.
    pub fn negotiated<'a>(extensions: impl Lines<'a>) -> Self {
        let mut names = elements(extensions)
            .map(|extension| trim(extension.split(|&byte| byte == b';').next().unwrap_or_default()))
            .peekable();
        if names.peek().is_none() {
            Self::NONE
        } else if names.all(|name| same(name, b"permessage-deflate")) {
            Self::DEFLATE
        } else {
            Self::ANY
        }
    }

    #[inline]
    pub(super) fn bits(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backend_chose() {
        let negotiated = |lines: &[&'static [u8]]| Reserved::negotiated(lines.iter().copied());
        assert_eq!(negotiated(&[]), Reserved::NONE);
        assert_eq!(negotiated(&[b"", b" , "]), Reserved::NONE);
        assert_eq!(negotiated(&[b"permessage-deflate"]), Reserved::DEFLATE);
        let parameters =
            b" Permessage-Deflate ;client_max_window_bits=\"15\"; server_no_context_takeover";
        assert_eq!(negotiated(&[parameters]), Reserved::DEFLATE);
        assert_eq!(negotiated(&[b"permessage-deflate, x-bar"]), Reserved::ANY);
        assert_eq!(negotiated(&[b"permessage-deflate", b"x-bar"]), Reserved::ANY);
        assert_eq!(negotiated(&[b"permessage-deflate-2"]), Reserved::ANY);
        assert_eq!(negotiated(&[b"x-webkit-deflate-frame"]), Reserved::ANY);
    }
}
