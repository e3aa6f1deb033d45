//! Which finding explains a request that did not become a tunnel.
//!
//! The order is that of the request's way: what the client sent, what nginx answered by itself,
//! what was sent to the backend, whether it was reached, what it answered. The first thing that is
//! wrong is the cause.

use crate::findings::Finding;
use crate::handshake::origin::{is_same, Own};
use crate::handshake::switch::Fault;
use crate::handshake::Violation;
use crate::http::status::is_redirect;
use crate::http::token::contains_token;
use crate::http::version::HttpVersion;
use crate::words::Mode;

use super::facts::{
    Alteration, Asks, Early, Facts, Failure, Gate, Handler, Limit, Reached, Sent, SwitchFault,
    Upstream,
};
use super::{Diagnosis, Subject};

/// The diagnosis of a request, if there is anything to say about it.
///
/// There is not for a verified tunnel, nor for plain requests, with few exceptions.
pub fn diagnose<'a>(facts: &'a Facts<'a>) -> Option<Diagnosis<'a>> {
    let finding = match facts.asks {
        Asks::Nothing => plain(facts),
        Asks::Other => other_protocol(facts),
        Asks::Listed => listed_protocol(facts),
        Asks::WebSocket => websocket(facts),
    }?;
    Some(Diagnosis { finding, subject: Subject::Request(facts) })
}

fn plain(facts: &Facts) -> Option<Finding> {
    if facts.header_was_not_read() {
        // The Upgrade header may have been among what was not read.
        return None;
    }
    if facts.gave_up_reading() {
        return facts.key.then_some(Finding::NotProxied);
    }
    if facts.key {
        return Some(Finding::StrippedUpgrade);
    }
    if facts.backend_answered(101) {
        return Some(Finding::Unsolicited101);
    }
    facts.polling_body_refused().then_some(Finding::BodyTooLarge)
}

fn other_protocol(facts: &Facts) -> Option<Finding> {
    if facts.switch_fault().is_some() {
        return Some(Finding::Unsolicited101);
    }
    if facts.early.is_some() || facts.backend_answered(101) {
        return None;
    }
    if facts.gave_up_reading() {
        return facts.key.then_some(Finding::NotProxied);
    }
    if facts.mode.is_guarded() && facts.has_no_upgrade_header() {
        return Some(Finding::Http2Upgrade);
    }
    if facts.polling_body_refused() {
        return Some(Finding::BodyTooLarge);
    }
    Some(Finding::NotWebsocket)
}

/// Only what the guard itself does to it: what else can fail there is not for us to know.
fn listed_protocol(facts: &Facts) -> Option<Finding> {
    if facts.has_tunnel() {
        return None;
    }
    gate(facts).or_else(|| facts.switch_fault().map(switch))
}

fn websocket(facts: &Facts) -> Option<Finding> {
    if facts.has_no_upgrade_header() {
        return Some(Finding::Http2Upgrade);
    }
    if facts.has_tunnel() {
        // It lives, but the client will close it, or the answer to a mirror's subrequest does.
        return facts
            .switch_fault()
            .map(switch)
            .or(facts.subrequest_101.map(|_: &[u8]| Finding::SubrequestUpgrade));
    }
    client(facts)
        .or_else(|| nginx(facts))
        .or_else(|| sent(facts))
        .or_else(|| reached(facts))
        .or_else(|| answered(facts))
}

/// What the client sent.
fn client(facts: &Facts) -> Option<Finding> {
    gate(facts).or(facts.early.map(|early| match early {
        Early::PlainOnTls => Finding::TlsMismatch,
        Early::CertificateRejected | Early::CertificateMissing => Finding::ClientCertificate,
        Early::HeaderTooLarge | Early::UriTooLong => Finding::HeaderTooLarge,
    }))
}

fn gate(facts: &Facts) -> Option<Finding> {
    match facts.gate {
        Gate::Passed => None,
        // Elsewhere it was let through, and something else has failed.
        Gate::OriginDenied { .. } => facts.mode.is_guarded().then_some(Finding::OriginDenied),
        Gate::Violated(violation) => Some(match violation {
            Violation::Http2Upgrade => Finding::Http2Upgrade,
            Violation::Method => Finding::HandshakeMethod,
            Violation::HttpVersion => Finding::HandshakeHttpVersion,
            Violation::Body => Finding::HandshakeBody,
            Violation::Connection(_) => Finding::HandshakeConnection,
            Violation::Key(_) => Finding::HandshakeKey,
            Violation::Version(_) => Finding::HandshakeVersion,
        }),
    }
}

/// What nginx answered by itself.
fn nginx(facts: &Facts) -> Option<Finding> {
    let redirects = facts.upstream.is_none() && is_redirect(facts.status);
    let refuses = facts.limit != Limit::Passed
        || facts.auth_refused()
        || (facts.upstream.is_none() && matches!(facts.status, 401 | 403 | 429 | 444 | 503));
    let forwards = facts.upstream.is_some() && obstacle(facts).is_none();

    // Without a location nginx gave up before it looked for one.
    if facts.mode == Mode::Off
        && facts.location.is_some()
        && facts.marked_location.is_some()
        && !(redirects || refuses || forwards)
    {
        return Some(Finding::WrongLocation);
    }
    if redirects {
        return Some(if facts.is_slash_redirect() {
            Finding::SlashRedirect
        } else {
            Finding::Redirected
        });
    }
    if facts.subrequest_101.is_some() || facts.auth_status == Some(101) {
        return Some(Finding::SubrequestUpgrade);
    }
    if facts.limit != Limit::Passed {
        return Some(Finding::RateLimited);
    }
    if facts.auth_refused() {
        return Some(match facts.auth_status {
            Some(401 | 403) => Finding::AccessDenied,
            _ => Finding::AccessCheckFailed,
        });
    }
    // A client that leaves because it does not like the backend's answer is not the cause.
    if facts.status == 499 && !facts.upstream.is_some_and(|u| u.reached == Reached::Header) {
        return Some(Finding::ClientGone);
    }
    match facts.upstream {
        Some(upstream) => upstream.cached.then_some(Finding::CachedResponse),
        None => Some(match facts.status {
            401 | 403 | 444 => Finding::AccessDenied,
            429 | 503 => Finding::RateLimited,
            // Too large as well, and thrown away.
            413 => Finding::HandshakeBody,
            _ => Finding::NotProxied,
        }),
    }
}

/// What was sent to the backend.
fn sent(facts: &Facts) -> Option<Finding> {
    if obstacle(facts).is_some() {
        return Some(Finding::UpgradeNotForwarded);
    }
    facts.upstream?.altered.map(|_: Alteration| Finding::HandshakeAltered)
}

/// Whether the backend was reached.
fn reached(facts: &Facts) -> Option<Finding> {
    let upstream = facts.upstream?;
    match upstream.failure {
        // Seen in its answer, which nginx takes for HTTP/0.9 with status 200.
        Some(Failure::SpeaksTls) => return Some(Finding::BackendTls),
        Some(Failure::NotHttp) => return Some(Finding::BackendNotWebsocket),
        _ => {}
    }
    if upstream.reached == Reached::Header {
        return None;
    }
    let Some(failure) = upstream.failure else {
        return Some(unexplained(facts, &upstream));
    };
    Some(match failure {
        Failure::NoLivePeer => Finding::BackendNoLive,
        Failure::NotResolved(_) => Finding::BackendDns,
        Failure::NotConnected => Finding::BackendUnreachable,
        Failure::TimedOut(..) => Finding::BackendTimeout,
        Failure::TlsHandshake { .. } | Failure::SpeaksTls => Finding::BackendTls,
        Failure::Closed | Failure::Reset => Finding::BackendClosed,
        Failure::NotHttp => Finding::BackendNotWebsocket,
        Failure::HeaderTooBig => Finding::BackendHeaderTooBig,
    })
}

/// No answer, and nothing but the status tells why.
fn unexplained(facts: &Facts, upstream: &Upstream) -> Finding {
    match (upstream.status, facts.status, upstream.reached) {
        (504, ..) | (0, 504, _) => Finding::BackendTimeout,
        (0, status, Reached::Nothing) if status < 500 => Finding::NotProxied,
        (_, _, Reached::Nothing) => Finding::BackendUnreachable,
        _ => Finding::BackendClosed,
    }
}

/// What the backend answered.
fn answered(facts: &Facts) -> Option<Finding> {
    let upstream = facts.upstream?;
    if let Some(fault) = upstream.switch_fault {
        return Some(switch(fault));
    }
    Some(match upstream.status {
        // It passed, and something else went wrong that nginx has told itself.
        101 => return None,
        400 | 403 if facts.origin_looks_foreign() => Finding::BackendOrigin,
        401 | 403 => Finding::BackendAuth,
        status if is_redirect(status) => Finding::BackendRedirect,
        404 => Finding::BackendNotFound,
        400 | 426 => Finding::BackendBadHandshake,
        500.. => Finding::BackendError,
        _ => Finding::BackendNotWebsocket,
    })
}

fn switch(fault: SwitchFault) -> Finding {
    match fault {
        SwitchFault::Unsolicited => Finding::Unsolicited101,
        SwitchFault::Wrong(Fault::BadAccept(_)) => Finding::BadAccept,
        SwitchFault::Wrong(Fault::BadSwitch(_)) => Finding::BadSwitch,
        SwitchFault::Wrong(Fault::SubprotocolMismatch { .. }) => Finding::SubprotocolMismatch,
        SwitchFault::Wrong(Fault::ExtensionMismatch { .. }) => Finding::ExtensionMismatch,
    }
}

/// What keeps the upgrade from the backend.
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

impl<'a> Facts<'a> {
    fn header_was_not_read(&self) -> bool {
        matches!(self.early, Some(Early::HeaderTooLarge | Early::UriTooLong))
    }

    /// Whether nginx found fault with the request before it looked for a location, maybe with half
    /// of the header unread: nothing can be told from what is missing there.
    pub(super) fn gave_up_reading(&self) -> bool {
        self.location.is_none() && self.upstream.is_none() && matches!(self.status, 400 | 408)
    }

    /// Whether it is a version of HTTP that knows connections of its own only.
    fn has_no_upgrade_header(&self) -> bool {
        matches!(self.http_version, HttpVersion::Http2 | HttpVersion::Http3)
    }

    fn polling_body_refused(&self) -> bool {
        self.mode != Mode::Off && self.status == 413
    }

    fn backend_answered(&self, status: u16) -> bool {
        self.upstream.is_some_and(|u| u.reached == Reached::Header && u.status == status)
    }

    fn switch_fault(&self) -> Option<SwitchFault<'a>> {
        self.upstream?.switch_fault
    }

    /// Whether the client got a 101 that it can use, or one that it will close by itself.
    fn has_tunnel(&self) -> bool {
        self.status == 101
            && match self.switch_fault() {
                None => true,
                Some(SwitchFault::Wrong(fault)) => !fault.is_fatal(),
                Some(SwitchFault::Unsolicited) => false,
            }
    }

    fn auth_refused(&self) -> bool {
        self.auth_status.is_some_and(|status| !(200..300).contains(&status))
    }

    /// nginx answers `/chat` with a redirect to `/chat/` where a proxying location of that name is.
    fn is_slash_redirect(&self) -> bool {
        let path = self.uri.split(|byte| *byte == b'?').next();
        self.status == 301
            && self.location.is_some_and(|place| place.name.strip_suffix(b"/") == path)
    }

    fn origin_looks_foreign(&self) -> bool {
        match (self.origin, self.upstream.and_then(|u| u.host)) {
            (Some(origin), Some(host)) => !is_same(origin, &Own { scheme: None, host }),
            _ => false,
        }
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    contains_token(std::iter::once(value), token)
}
