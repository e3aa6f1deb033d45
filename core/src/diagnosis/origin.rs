//! Whether a backend that compares Origin with its own address may have refused the request for that.

use crate::handshake::origin::{is_same, Own};

use super::facts::{BackendFacts, Facts, Sent};

/// What the backend could see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison<'a> {
    /// There was no Origin, or no Host is known.
    Nothing,
    /// The same site.
    Same,
    /// Origin is https, and X-Forwarded-Proto does not say so.
    OtherScheme,
    /// Host is that of another site.
    OtherHost {
        /// The one that was sent.
        host: &'a [u8],
        /// Whether that of the client would be the same site.
        asked_is_same: bool,
    },
}

/// Compares what was sent.
pub(super) fn compare<'a>(facts: &Facts<'a>) -> Comparison<'a> {
    let upstream = facts.upstream.unwrap_or_default();
    let (Some(origin), Some(host)) = (sent(facts), upstream.host) else {
        return Comparison::Nothing;
    };
    let is_own = |host| is_same(origin, &Own { scheme: None, host });
    if !is_own(host) {
        let asked_is_same = facts.host.is_empty() || is_own(facts.host);
        return Comparison::OtherHost { host, asked_is_same };
    }
    let is_https = origin.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https:"));
    match upstream.proto {
        _ if upstream.tls || !is_https => Comparison::Same,
        Sent::Nothing => Comparison::OtherScheme,
        Sent::Value(proto) if !proto.eq_ignore_ascii_case(b"https") => Comparison::OtherScheme,
        Sent::Value(_) | Sent::Unknown => Comparison::Same,
    }
}

/// The Origin that the backend got.
pub(super) fn sent<'a>(facts: &Facts<'a>) -> Option<&'a [u8]> {
    match facts.upstream.unwrap_or_default().origin {
        Sent::Value(origin) => Some(origin),
        Sent::Nothing => None,
        Sent::Unknown => facts.origin,
    }
}

/// Whether the application may have refused it by a list of its own.
pub(super) fn own_list_may_refuse(facts: &Facts) -> bool {
    let BackendFacts { status, .. } = facts.upstream.unwrap_or_default();
    status == 403 && compare(facts) == Comparison::Same
}

/// Whether that is the likeliest reason for the answer. Origin checks answer any of these.
pub(super) fn may_be_refused(facts: &Facts) -> bool {
    let BackendFacts { status, .. } = facts.upstream.unwrap_or_default();
    match (status, compare(facts)) {
        (400 | 401 | 403, Comparison::OtherHost { .. }) | (403, Comparison::OtherScheme) => true,
        // Nobody knows the URI that the client did not ask for.
        (404, Comparison::OtherHost { .. }) => !facts.uri_changed(),
        _ => false,
    }
}
