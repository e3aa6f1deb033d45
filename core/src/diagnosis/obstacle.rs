//! What keeps an upgrade from the backend.

use crate::http::token::contains_token;
use crate::http::version::HttpVersion;

use super::facts::{Facts, Handler, Sent};

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

pub(super) fn obstacle<'a>(facts: &Facts<'a>) -> Option<Obstacle<'a>> {
    let upstream = facts.upstream?;
    if !facts.handler.can_upgrade() {
        return Some(Obstacle::Handler(facts.handler));
    }
    // What it has of headers is not text.
    if upstream.http_version == Some(HttpVersion::Http2) {
        return Some(Obstacle::HttpVersion(HttpVersion::Http2));
    }
    match upstream.upgrade {
        Sent::Nothing => return Some(Obstacle::NoUpgrade),
        Sent::Value(value) if !has_token(value, b"websocket") => {
            return Some(Obstacle::OtherUpgrade(value));
        }
        Sent::Value(_) | Sent::Unknown => {}
    }
    match upstream.connection {
        Sent::Nothing => return Some(Obstacle::NoConnection),
        Sent::Value(value) if !has_token(value, b"upgrade") => {
            return Some(Obstacle::OtherConnection(value));
        }
        Sent::Value(_) | Sent::Unknown => {}
    }
    match upstream.http_version {
        None | Some(HttpVersion::Http11) => None,
        Some(version) => Some(Obstacle::HttpVersion(version)),
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    contains_token(std::iter::once(value), token)
}
