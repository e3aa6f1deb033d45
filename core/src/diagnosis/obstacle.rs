//! What keeps an upgrade from the backend.

use crate::http::token::contains_token;
use crate::http::version::HttpVersion;

use super::facts::{Facts, Handler, OwnSettings, Sent};

/// What a location does, or does not, so that the backend sees no upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle<'a> {
    Handler(Handler),
    NoUpgrade,
    OtherUpgrade(&'a [u8]),
    NoConnection,
    OtherConnection(&'a [u8]),
    HttpVersion(HttpVersion),
}

/// The first obstacle.
pub(super) fn obstacle<'a>(facts: &Facts<'a>) -> Option<Obstacle<'a>> {
    obstacles(facts).next()
}

/// All of them: whoever removes only one meets the next.
pub(super) fn obstacles<'a>(facts: &Facts<'a>) -> impl Iterator<Item = Obstacle<'a>> {
    let Some(upstream) = facts.upstream else { return [None; 3].into_iter().flatten() };
    if !facts.handler.can_upgrade() {
        return [Some(Obstacle::Handler(facts.handler)), None, None].into_iter().flatten();
    }
    // What such a request has of headers is not text.
    if upstream.http_version == Some(HttpVersion::Http2) {
        return [Some(Obstacle::HttpVersion(HttpVersion::Http2)), None, None].into_iter().flatten();
    }
    let upgrade = match upstream.upgrade {
        Sent::Nothing => Some(Obstacle::NoUpgrade),
        Sent::Value(value) if !has_token(value, b"websocket") => {
            Some(Obstacle::OtherUpgrade(value))
        }
        Sent::Value(_) | Sent::Unknown => None,
    };
    let connection = match upstream.connection {
        Sent::Nothing => Some(Obstacle::NoConnection),
        Sent::Value(value) if !has_token(value, b"upgrade") => {
            Some(Obstacle::OtherConnection(value))
        }
        Sent::Value(_) | Sent::Unknown => None,
    };
    let version = match upstream.http_version {
        None | Some(HttpVersion::Http11) => None,
        Some(version) => Some(Obstacle::HttpVersion(version)),
    };
    // Without any recipe nothing is set, which is one cause: nginx's defaults are not told one by one.
    let by_default =
        matches!(connection, Some(Obstacle::NoConnection | Obstacle::OtherConnection(b"close")));
    if upgrade == Some(Obstacle::NoUpgrade) && by_default && facts.own == OwnSettings::default() {
        return [upgrade, None, None].into_iter().flatten();
    }
    [upgrade, connection, version].into_iter().flatten()
}

impl Obstacle<'_> {
    /// The directive of the location that keeps `websocket_guard on` from removing it, if there is one. In a
    /// guarded location there must be, since what is inherited does not count there.
    pub(super) fn own_directive(self, facts: &Facts) -> Option<&'static str> {
        let guarded = facts.mode.is_guarded();
        match self {
            Self::Handler(_) => None,
            Self::NoUpgrade | Self::OtherUpgrade(_) => {
                (guarded || facts.own.upgrade).then_some("proxy_set_header Upgrade")
            }
            Self::NoConnection | Self::OtherConnection(_) => {
                (guarded || facts.own.connection).then_some("proxy_set_header Connection")
            }
            Self::HttpVersion(_) => {
                (guarded || facts.own.http_version).then_some("proxy_http_version")
            }
        }
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    contains_token(std::iter::once(value), token)
}
