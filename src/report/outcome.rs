//! What became of a request that asks for an upgrade: its diagnosis, for the log and for the variables.

use websocket_guard_core::diagnosis::{diagnose, Diagnosis, Facts};
use websocket_guard_core::http::version::HttpVersion;

use crate::report::{facts, journal};
use crate::request::view::{Location, Request};

/// Writes the diagnosis of a request, once.
pub fn report(request: &Request) {
    let attempt = request.attempt();
    if attempt.is_some_and(|attempt| attempt.reported.replace(true)) {
        return;
    }
    // nginx makes a tunnel of an HTTP/2 request too, in which nothing moves.
    let is_http1 = request.http_version() == HttpVersion::Http11;
    if attempt.is_some_and(|it| it.is_sound_tunnel() && is_http1 || it.is_served_by_other()) {
        return;
    }
    let Some(facts) = facts::gather(request, attempt) else { return };
    let location = attempt.and_then(|attempt| attempt.subject(request).0);
    let Some(location) = location.or_else(|| Location::of(request)) else { return };
    if let Some(diagnosis) = diagnose(&facts) {
        journal::write(request, location, &diagnosis);
    }
}

/// Looks at a handshake that has got its answer; `None` for any other request.
pub fn with_diagnosis<T>(
    request: &Request,
    look: impl FnOnce(&Facts, Option<Diagnosis>) -> T,
) -> Option<T> {
    let request = request.main();
    let attempt = request.attempt();
    if attempt.is_none() && !request.has_key() {
        return None;
    }
    let is_answered = |facts: &Facts| {
        facts.status != 0 || attempt.is_some_and(|attempt| attempt.is_answered(&request))
    };
    let facts = facts::gather(&request, attempt).filter(is_answered)?;
    Some(look(&facts, diagnose(&facts)))
}
