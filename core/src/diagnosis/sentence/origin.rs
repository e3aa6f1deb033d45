//! What to do about an origin that the backend refused.

use std::fmt::{self, Formatter};

use crate::diagnosis::facts::{Facts, HostFrom};
use crate::diagnosis::origin::{compare, Comparison};

/// What has the backend get the client's Host.
pub fn host(facts: &Facts) -> &'static str {
    // Where nothing is guarded, beside the lines that forward the upgrade: a line elsewhere would end their inheritance.
    if !facts.mode.is_guarded() {
        return "set \"proxy_set_header Host $http_host;\" where Upgrade is set";
    }
    match facts.upstream.unwrap_or_default().host_from {
        HostFrom::NoSite => "set \"websocket_guard_forwarded host;\" in the location",
        HostFrom::Directive => "have the location's \"proxy_set_header Host\" say $http_host",
        HostFrom::Domain | HostFrom::Unknown => {
            "set \"proxy_set_header Host $http_host;\" beside the location's other headers"
        }
    }
}

pub const SCHEME: &str =
    "have X-Forwarded-Proto say https, also where TLS ends in front of this nginx";

/// What else may help, and what to do in case that it was something else.
pub fn otherwise(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    if !matches!(compare(facts), Comparison::OtherHost { asked_is_same: false, .. }) {
        f.write_str(", or allow the origin in the backend")?;
    }
    f.write_str(match facts.upstream.unwrap_or_default().status {
        401 => ", else see that cookies or tokens reach it",
        404 => ", else correct the path in the client",
        _ => "",
    })
}

/// What to do about the origin.
pub fn fix(facts: &Facts) -> &'static str {
    match compare(facts) {
        Comparison::OtherHost { asked_is_same: false, .. } => {
            "allow that origin in the backend: it is not the host that the client asked for"
        }
        Comparison::OtherHost { .. } => host(facts),
        Comparison::OtherScheme | Comparison::Same | Comparison::Nothing => SCHEME,
    }
}
