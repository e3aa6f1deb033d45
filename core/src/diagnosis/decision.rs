//! Which finding explains a request that did not become a tunnel.
//!
//! The order is that of the request's way: what the client sent, what nginx answered by itself,
//! what was sent to the backend, whether it was reached, what it answered. The first thing that is
//! wrong is the cause.

use crate::findings::RunFinding;
use crate::handshake::switch::Fault;
use crate::handshake::Violation;
use crate::http::status::is_redirect;
use crate::http::version::HttpVersion;
use crate::words::Mode;

use super::connect::{Cause, Unconnected};
use super::facts::{
    Alteration, Asks, BackendFacts, Early, Facts, Failure, Gate, Handler, Limit, Reached,
    SwitchFault,
};
use super::obstacle::obstacle;
use super::origin;
use super::tls::says_tls_is_wanted;

/// The finding about a request, if there is anything to say about it.
///
/// There is not for a verified tunnel, nor for plain requests, with few exceptions.
pub(super) fn finding(facts: &Facts) -> Option<RunFinding> {
    match facts.asks {
        Asks::Nothing => plain(facts),
        Asks::Other => other_protocol(facts),
        Asks::Listed => listed_protocol(facts),
        Asks::WebSocket => websocket(facts),
    }
}

fn plain(facts: &Facts) -> Option<RunFinding> {
    if facts.preface.is_some() {
        return Some(RunFinding::ProxyProtocol);
    }
    if facts.header_was_not_read() {
        // The Upgrade header may have been among what was not read. Only a WebSocket client sends a key.
        return facts.key.then_some(RunFinding::HeaderTooLarge);
    }
    if facts.refused_early {
        return facts.key.then_some(RunFinding::NotProxied);
    }
    if facts.key {
        // A client that knows HTTP/2 leaves Upgrade out by itself, as curl does; who names himself as a proxy
        // did it for another.
        return Some(if facts.has_no_upgrade_header() && facts.via.is_none() {
            RunFinding::Http2Upgrade
        } else {
            RunFinding::StrippedUpgrade
        });
    }
    if facts.backend_answered(101) {
        return Some(RunFinding::Unsolicited101);
    }
    facts.polling_body_refused().then_some(RunFinding::BodyTooLarge)
}

fn other_protocol(facts: &Facts) -> Option<RunFinding> {
    if let Gate::Injected { .. } = facts.gate {
        return gate(facts);
    }
    if facts.switch_fault().is_some() {
        return Some(RunFinding::Unsolicited101);
    }
    if facts.early.is_some() || facts.backend_answered(101) {
        return None;
    }
    if facts.refused_early {
        return facts.key.then_some(RunFinding::NotProxied);
    }
    if facts.mode.is_guarded() && facts.has_no_upgrade_header() {
        return Some(RunFinding::Http2Upgrade);
    }
    if facts.polling_body_refused() {
        return Some(RunFinding::BodyTooLarge);
    }
    let refused = facts.upstream.is_some_and(|u| u.reached == Reached::Header && u.status >= 400);
    if facts.mode.is_guarded() && facts.dropped.is_some() && refused {
        return Some(RunFinding::ProtocolDropped);
    }
    Some(RunFinding::NotWebsocket)
}

/// Only what the guard itself does to it: what else can fail there is not for us to know.
fn listed_protocol(facts: &Facts) -> Option<RunFinding> {
    if facts.has_tunnel() {
        return None;
    }
    gate(facts).or_else(|| facts.switch_fault().map(switch))
}

fn websocket(facts: &Facts) -> Option<RunFinding> {
    if facts.has_no_upgrade_header() {
        return Some(RunFinding::Http2Upgrade);
    }
    if facts.has_tunnel() {
        // There is a tunnel, but the client will close it, or a 101 to a mirror's subrequest breaks it.
        return facts
            .switch_fault()
            .map(switch)
            .or(facts.subrequest_101.map(|_: &[u8]| RunFinding::SubrequestUpgrade));
    }
    client(facts)
        .or_else(|| nginx(facts))
        .or_else(|| sent(facts))
        .or_else(|| reached(facts))
        .or_else(|| answered(facts))
}

/// What the client sent.
fn client(facts: &Facts) -> Option<RunFinding> {
    let early = facts.early.map(|early| match early {
        Early::PlainOnTls => RunFinding::TlsMismatch,
        Early::CertificateRejected | Early::CertificateMissing => RunFinding::ClientCertificate,
        Early::HeaderTooLarge | Early::UriTooLong => RunFinding::HeaderTooLarge,
    });
    // nginx itself knows these and serves them nowhere (ngx_http_process_request_header).
    let method =
        matches!(facts.method, b"TRACE" | b"CONNECT").then_some(RunFinding::HandshakeMethod);
    gate(facts).or(early).or(method.filter(|_| facts.refused_early))
}

fn gate(facts: &Facts) -> Option<RunFinding> {
    match facts.gate {
        Gate::Passed => None,
        // Where nothing is guarded it was let through, so something else is the cause.
        Gate::OriginDenied { .. } => facts.mode.is_guarded().then_some(RunFinding::OriginDenied),
        Gate::Injected { .. } => Some(RunFinding::UpgradeInjected),
        Gate::Violated(violation) => Some(match violation {
            Violation::Http2Upgrade => RunFinding::Http2Upgrade,
            Violation::Method => RunFinding::HandshakeMethod,
            Violation::HttpVersion => RunFinding::HandshakeHttpVersion,
            Violation::Body => RunFinding::HandshakeBody,
            Violation::Connection(_) => RunFinding::HandshakeConnection,
            Violation::Key(_) => RunFinding::HandshakeKey,
            Violation::Version(_) => RunFinding::HandshakeVersion,
        }),
    }
}

/// What nginx answered by itself.
fn nginx(facts: &Facts) -> Option<RunFinding> {
    if facts.refused_early {
        return Some(if facts.status == 499 {
            RunFinding::ClientGone
        } else {
            RunFinding::NotProxied
        });
    }
    // What a sign-in answers, which may be an application of its own, is not the backend's answer.
    let redirects = (facts.upstream.is_none() || facts.auth_refused()) && is_redirect(facts.status);
    let refuses = facts.limit != Limit::Passed
        || facts.auth_refused()
        || (facts.upstream.is_none()
            && matches!(facts.status, 401 | 403 | 429 | 444 | 503)
            && !facts.files_refused());
    let forwards = facts.upstream.is_some() && obstacle(facts).is_none();

    if facts.mode == Mode::Off && facts.other_server.is_some() && !forwards {
        return Some(RunFinding::WrongServer);
    }
    // Without a location nginx gave up before it looked for one.
    if facts.mode == Mode::Off
        && facts.location.is_some()
        && facts.marked_location.is_some()
        // With a recipe of its own it is the right one, and the recipe is wrong.
        && !facts.own.upgrade
        && !(redirects || refuses || forwards)
    {
        return Some(RunFinding::WrongLocation);
    }
    if redirects {
        return Some(if facts.is_slash_redirect() {
            RunFinding::SlashRedirect
        } else {
            RunFinding::Redirected
        });
    }
    if facts.subrequest_101.is_some() || facts.auth_status == Some(101) {
        return Some(RunFinding::SubrequestUpgrade);
    }
    if facts.limit != Limit::Passed {
        return Some(RunFinding::RateLimited);
    }
    if facts.auth_refused() {
        return Some(match facts.auth_status {
            Some(401 | 403) => RunFinding::AccessDenied,
            _ => RunFinding::AccessCheckFailed,
        });
    }
    // A client that leaves because it does not like the backend's answer is not the cause.
    if facts.status == 499 && !facts.upstream.is_some_and(|u| u.reached == Reached::Header) {
        return Some(RunFinding::ClientGone);
    }
    match facts.upstream {
        Some(upstream) => upstream.cached.then_some(RunFinding::CachedResponse),
        None => Some(match facts.status {
            403 if facts.files_refused() => RunFinding::NotProxied,
            401 | 403 | 444 => RunFinding::AccessDenied,
            // As for the time of maintenance.
            429 | 503 if facts.answered_by.is_some() => RunFinding::NotProxied,
            429 | 503 => RunFinding::RateLimited,
            // The body of a handshake, which is thrown away, was too large as well.
            413 => RunFinding::HandshakeBody,
            _ => RunFinding::NotProxied,
        }),
    }
}

/// What was sent to the backend.
fn sent(facts: &Facts) -> Option<RunFinding> {
    if obstacle(facts).is_some() {
        return Some(RunFinding::UpgradeNotForwarded);
    }
    let upstream = facts.upstream?;
    let altered = upstream.altered.filter(|altered| match altered {
        // Some backends do not mind.
        Alteration::Doubled(_) => {
            upstream.reached == Reached::Header && matches!(upstream.status, 400 | 426)
        }
        Alteration::HeadersOff | Alteration::Emptied(_) | Alteration::Method(_) => true,
    });
    altered.map(|_: Alteration| RunFinding::HandshakeAltered)
}

/// Whether the backend was reached.
fn reached(facts: &Facts) -> Option<RunFinding> {
    let upstream = facts.upstream?;
    match upstream.failure {
        // nginx takes such an answer for HTTP/0.9 with status 200.
        Some(Failure::SpeaksTls) => return Some(RunFinding::BackendTls),
        Some(Failure::NotHttp) => return Some(RunFinding::BackendNotWebsocket),
        _ => {}
    }
    if upstream.reached == Reached::Header {
        return None;
    }
    let Some(failure) = upstream.failure else {
        return Some(unexplained(facts, &upstream));
    };
    Some(match failure {
        Failure::NoLivePeer => RunFinding::BackendNoLive,
        Failure::NotResolved(_) => RunFinding::BackendDns,
        Failure::NotConnected(Unconnected { cause, .. }) => match cause {
            Cause::Forbidden | Cause::LocalForbidden => RunFinding::BackendForbidden,
            cause if cause.is_exhaustion() => RunFinding::ConnectionsExhausted,
            _ => RunFinding::BackendUnreachable,
        },
        Failure::TimedOut(..) => RunFinding::BackendTimeout,
        Failure::TlsHandshake { .. } | Failure::SpeaksTls => RunFinding::BackendTls,
        Failure::Closed | Failure::Reset => RunFinding::BackendClosed,
        Failure::NotHttp | Failure::BadHeader => RunFinding::BackendNotWebsocket,
        Failure::HeaderTooBig => RunFinding::BackendHeaderTooBig,
    })
}

/// No answer, and nothing but the status tells why.
fn unexplained(facts: &Facts, upstream: &BackendFacts) -> RunFinding {
    match (upstream.status, facts.status, upstream.reached) {
        (504, ..) | (0, 504, _) => RunFinding::BackendTimeout,
        (0, status, Reached::Nothing) if status < 500 => RunFinding::NotProxied,
        (_, _, Reached::Nothing) => RunFinding::BackendUnreachable,
        _ => RunFinding::BackendClosed,
    }
}

/// What the backend answered.
fn answered(facts: &Facts) -> Option<RunFinding> {
    let upstream = facts.upstream?;
    if let Some(fault) = upstream.switch_fault {
        return Some(switch(fault));
    }
    Some(match upstream.status {
        // There is nothing wrong with it, but it was not what the client got.
        101 => RunFinding::SwitchReplaced,
        _ if facts.backend_wants_tls() => RunFinding::BackendTls,
        _ if origin::may_be_refused(facts) => RunFinding::BackendOrigin,
        401 | 403 => RunFinding::BackendAuth,
        status if is_redirect(status) => RunFinding::BackendRedirect,
        404 => RunFinding::BackendNotFound,
        400 | 426 => RunFinding::BackendBadHandshake,
        500.. => RunFinding::BackendError,
        _ => RunFinding::BackendNotWebsocket,
    })
}

fn switch(fault: SwitchFault) -> RunFinding {
    let fault = match fault {
        SwitchFault::Unsolicited => return RunFinding::Unsolicited101,
        SwitchFault::Wrong(fault) | SwitchFault::Delivered(fault) => fault,
    };
    match fault {
        Fault::BadAccept(_) => RunFinding::BadAccept,
        Fault::BadSwitch(_) => RunFinding::BadSwitch,
        Fault::SubprotocolMismatch { .. } => RunFinding::SubprotocolMismatch,
        Fault::ExtensionMismatch { .. } => RunFinding::ExtensionMismatch,
        Fault::Hidden { header } | Fault::Repeated { header } => match header {
            "Sec-WebSocket-Accept" => RunFinding::BadAccept,
            "Sec-WebSocket-Protocol" => RunFinding::SubprotocolMismatch,
            "Sec-WebSocket-Extensions" => RunFinding::ExtensionMismatch,
            _ => RunFinding::BadSwitch,
        },
    }
}

impl<'a> Facts<'a> {
    fn header_was_not_read(&self) -> bool {
        matches!(self.early, Some(Early::HeaderTooLarge | Early::UriTooLong))
    }

    /// Whether it is a version of HTTP that knows connections of its own only.
    fn has_no_upgrade_header(&self) -> bool {
        matches!(self.http_version, HttpVersion::Http2 | HttpVersion::Http3)
    }

    fn polling_body_refused(&self) -> bool {
        self.realtime && self.method == b"POST" && self.status == 413
    }

    fn backend_answered(&self, status: u16) -> bool {
        self.upstream.is_some_and(|u| u.reached == Reached::Header && u.status == status)
    }

    fn switch_fault(&self) -> Option<SwitchFault<'a>> {
        self.upstream?.switch_fault
    }

    /// Whether it was sent plain HTTP and says that it wants TLS.
    fn backend_wants_tls(&self) -> bool {
        self.upstream.is_some_and(|u| u.status == 400 && !u.tls && says_tls_is_wanted(u.body))
    }

    /// Whether the client got a 101 that it can use, or one that it will close by itself.
    fn has_tunnel(&self) -> bool {
        let by_directive = self.upstream.is_none() && self.answered_by.is_some();
        self.status == 101
            && !by_directive
            && match self.switch_fault() {
                None => true,
                Some(SwitchFault::Wrong(fault)) => !fault.is_fatal(),
                // nginx has sent it on.
                Some(SwitchFault::Delivered(_)) => true,
                Some(SwitchFault::Unsolicited) => false,
            }
    }

    /// Whether a 403 is not of an access rule but of the file: a directory without an index, or one that may not be read.
    fn files_refused(&self) -> bool {
        self.status == 403 && self.handler == Handler::Static && self.restricted == Some(false)
    }

    pub(super) fn auth_refused(&self) -> bool {
        self.auth_status.is_some_and(|status| !(200..300).contains(&status))
    }

    /// nginx answers `/chat` with a redirect to `/chat/` where a proxying location of that name is.
    fn is_slash_redirect(&self) -> bool {
        let path = self.uri.split(|byte| *byte == b'?').next();
        self.status == 301
            && self.location.is_some_and(|place| place.name.strip_suffix(b"/") == path)
    }
}
