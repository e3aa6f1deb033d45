//! What is peculiar about a request that a backend was sent, and did not like.

use super::facts::{BackendFacts, Facts, Sent};
use super::origin::{compare, Comparison};

/// One of the things that a backend may have stumbled over. There may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oddity<'a> {
    /// More of the URI has changed on its way than the beginning of its path.
    Uri {
        /// What the client asked for.
        asked: &'a [u8],
        /// What nginx asked for.
        sent: &'a [u8],
    },
    /// Origin is https, and X-Forwarded-Proto does not say so.
    Scheme,
    /// A Host that is no host name.
    Host {
        /// It.
        host: &'a [u8],
        /// Whether the client asked for it.
        asked: bool,
    },
    /// No subprotocol was offered, and the backend speaks of one.
    NoSubprotocol,
}

/// All of them, of a request that did not get a 101.
pub(super) fn oddities<'a>(facts: &Facts<'a>) -> impl Iterator<Item = Oddity<'a>> {
    let upstream = facts.upstream.unwrap_or_default();
    [
        uri(facts, &upstream),
        scheme(facts, &upstream),
        host(facts, &upstream),
        subprotocol(facts, &upstream),
    ]
    .into_iter()
    .flatten()
}

/// Whether the backend was offered none. That is nothing peculiar by itself.
pub(super) fn offers_no_subprotocol(facts: &Facts) -> bool {
    match facts.upstream.unwrap_or_default().subprotocols {
        Sent::Nothing => true,
        Sent::Value(_) => false,
        Sent::Unknown => facts.subprotocols.is_none(),
    }
}

fn subprotocol<'a>(facts: &Facts<'a>, upstream: &BackendFacts<'a>) -> Option<Oddity<'a>> {
    let speaks_of_it = [&b"subprotocol"[..], b"sub-protocol", b"sec-websocket-protocol"]
        .iter()
        .any(|name| upstream.body.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name)));
    (speaks_of_it && offers_no_subprotocol(facts)).then_some(Oddity::NoSubprotocol)
}

/// Besides the path: an origin check may answer 404.
fn scheme<'a>(facts: &Facts<'a>, upstream: &BackendFacts<'a>) -> Option<Oddity<'a>> {
    let differs = upstream.status == 404 && compare(facts) == Comparison::OtherScheme;
    differs.then_some(Oddity::Scheme)
}

/// Frameworks that look at Host refuse one that cannot be the name of a host (RFC 1123 section 2.1).
fn host<'a>(facts: &Facts<'a>, upstream: &BackendFacts<'a>) -> Option<Oddity<'a>> {
    let host = upstream.host.filter(|_| matches!(upstream.status, 400 | 421))?;
    host.contains(&b'_').then_some(Oddity::Host { host, asked: host == facts.host })
}

fn uri<'a>(facts: &Facts<'a>, upstream: &BackendFacts<'a>) -> Option<Oddity<'a>> {
    facts.uri_changed().then_some(Oddity::Uri { asked: facts.uri, sent: upstream.uri })
}
