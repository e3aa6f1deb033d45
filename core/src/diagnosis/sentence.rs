//! The sentence for each finding: the cause with its values, then what to do.
//!
//! Every value of a peer goes through [`Escaped`](crate::text::escape::Escaped), which also bounds its length.

mod backend;
mod client;
mod connect;
mod location;
mod oddity;
mod origin;
mod parts;
mod scheme;
mod switch;
mod tunnel;

use std::fmt::{self, Formatter};

use crate::config::{Answer, Answering};
use crate::findings::RunFinding;
use crate::handshake::origin::Denied;

use super::facts::{Alteration, Facts, Failure, Gate, Handler};
use super::oddity::offers_no_subprotocol;
use super::origin::own_list_may_refuse;
use super::redirect::{self, Redirect};

pub(super) use tunnel::tunnel_end;

pub(super) fn request(f: &mut Formatter, finding: RunFinding, facts: &Facts) -> fmt::Result {
    if !matches!(
        finding,
        RunFinding::NotWebsocket | RunFinding::BodyTooLarge | RunFinding::Unsolicited101
    ) {
        f.write_str("upgrade failed: ")?;
    }
    cause(f, finding, facts)?;
    oddity::clauses(f, finding, facts)?;
    f.write_str("; ")?;
    remedy(f, finding, facts)
}

/// What to do, with values of the request where they belong into it.
fn remedy(f: &mut Formatter, finding: RunFinding, facts: &Facts) -> fmt::Result {
    let dropped = facts.dropped.filter(|_| facts.mode.is_guarded());
    match (finding, dropped) {
        (RunFinding::ProtocolDropped | RunFinding::Unsolicited101, Some(dropped)) => {
            return client::list_protocol(f, dropped);
        }
        (RunFinding::OriginDenied, _) => {
            if let Some(written) = scheme::fix_of_origin(f, facts) {
                return written;
            }
        }
        (RunFinding::UpgradeNotForwarded, _) => return location::fix_of_obstacles(f, facts),
        _ => {}
    }
    oddity::fix(f, finding, facts, fix(finding, facts))
}

fn cause(f: &mut Formatter, finding: RunFinding, facts: &Facts) -> fmt::Result {
    match finding {
        RunFinding::NotWebsocket => client::not_websocket(f, facts),
        RunFinding::ProtocolDropped => client::protocol_dropped(f, facts),
        RunFinding::StrippedUpgrade => client::stripped_upgrade(f, facts),
        RunFinding::HandshakeMethod => client::handshake_method(f, facts),
        RunFinding::HandshakeHttpVersion => {
            f.write_str("the request is HTTP/1.0 where a WebSocket handshake needs HTTP/1.1")
        }
        RunFinding::HandshakeBody => f.write_str("the handshake has a body"),
        RunFinding::HandshakeConnection => client::handshake_connection(f, facts),
        RunFinding::HandshakeKey => client::handshake_key(f, facts),
        RunFinding::HandshakeVersion => client::handshake_version(f, facts),
        RunFinding::OriginDenied => client::origin_denied(f, facts),
        RunFinding::UpgradeInjected => location::upgrade_injected(f, facts),
        RunFinding::Http2Upgrade => client::http2_upgrade(f, facts),
        RunFinding::ProxyProtocol => client::proxy_protocol(f, facts),
        RunFinding::TlsMismatch => f.write_str("a plain HTTP request was sent to a TLS port"),
        RunFinding::ClientCertificate => client::certificate(f, facts),
        RunFinding::HeaderTooLarge => client::header_too_large(f, facts),

        RunFinding::WrongServer => location::wrong_server(f, facts),
        RunFinding::WrongLocation => location::wrong_location(f, facts),
        RunFinding::NotProxied => location::not_proxied(f, facts),
        RunFinding::Redirected => location::redirected(f, facts),
        RunFinding::SlashRedirect => location::slash_redirect(f, facts),
        RunFinding::AccessDenied => location::access_denied(f, facts),
        RunFinding::RateLimited => location::rate_limited(f, facts),
        RunFinding::AccessCheckFailed => location::access_check_failed(f, facts),
        RunFinding::BodyTooLarge => location::body_too_large(f, facts),
        RunFinding::ClientGone => {
            f.write_str("the client left before the handshake was answered (499)")
        }
        RunFinding::CachedResponse => location::cached_response(f, facts),
        RunFinding::SubrequestUpgrade => location::subrequest_upgrade(f, facts),
        RunFinding::UpgradeNotForwarded => location::upgrade_not_forwarded(f, facts),
        RunFinding::HandshakeAltered => location::handshake_altered(f, facts),

        RunFinding::BackendUnreachable
        | RunFinding::BackendForbidden
        | RunFinding::ConnectionsExhausted => connect::cause(f, facts),
        RunFinding::BackendNoLive => backend::no_live(f, facts),
        RunFinding::BackendDns => backend::dns(f, facts),
        RunFinding::BackendTls => backend::tls(f, facts),
        RunFinding::BackendTimeout => backend::timeout(f, facts),
        RunFinding::BackendClosed => backend::closed(f, facts),
        RunFinding::BackendHeaderTooBig => backend::header_too_big(f, facts),
        RunFinding::BackendOrigin => backend::origin(f, facts),
        RunFinding::BackendAuth => backend::auth(f, facts),
        RunFinding::BackendRedirect => backend::redirect(f, facts),
        RunFinding::BackendNotFound => backend::not_found(f, facts),
        RunFinding::BackendBadHandshake => backend::bad_handshake(f, facts),
        RunFinding::BackendNotWebsocket => backend::not_websocket(f, facts),
        RunFinding::BackendError => backend::error(f, facts),

        RunFinding::SwitchReplaced => switch::replaced(f, facts),
        RunFinding::BadAccept
        | RunFinding::BadSwitch
        | RunFinding::SubprotocolMismatch
        | RunFinding::ExtensionMismatch
        | RunFinding::Unsolicited101 => switch::fault(f, facts),
    }
}

/// The fix of the catalogue, or a better one where the facts allow it.
fn fix(finding: RunFinding, facts: &Facts) -> &'static str {
    let usual = finding.entry().fix;
    if finding == RunFinding::NotProxied && facts.refused_early {
        return "see what nginx says about it with \"error_log ... info\"";
    }
    if let (RunFinding::NotProxied | RunFinding::AccessDenied, Some(answer)) =
        (finding, facts.answered_by)
    {
        return fix_of_answer(answer);
    }
    if let Some(fix) = switch::fix_of_delivered(facts) {
        return fix;
    }
    match (finding, facts.gate) {
        (RunFinding::OriginDenied, Gate::OriginDenied { denied: Denied::Missing, .. }) => {
            "add \"none\" to websocket_guard_origin if clients that are no browsers may \
                    connect"
        }
        (RunFinding::OriginDenied, Gate::OriginDenied { denied: Denied::Repeated(_), .. }) => {
            "correct the client, or the proxy in front of this nginx"
        }
        (RunFinding::BackendOrigin, _) => origin::fix(facts),
        (RunFinding::BackendAuth, _) if own_list_may_refuse(facts) => {
            "allow that origin in the application's own list of origins if it has one, else see \
                    the backend's log, and that cookies or tokens reach it"
        }
        (RunFinding::BackendBadHandshake, _) if offers_no_subprotocol(facts) => {
            "see the backend's log; with several servers check session affinity, else the list of \
                    trusted proxies, and whether the backend wants a subprotocol"
        }
        (RunFinding::SubprotocolMismatch, _) if switch::offered_by_nginx(facts).is_some() => {
            "remove the location's \"proxy_set_header Sec-WebSocket-Protocol\", and have the client \
                    offer that subprotocol if the backend wants it"
        }
        (RunFinding::BackendTls, _) if is_plain(facts) => {
            "use https:// in proxy_pass"
        }
        (RunFinding::BackendClosed, _) if is_plain(facts) && facts.handler == Handler::Proxy => {
            "see the backend's log; if it expects TLS, use https:// in proxy_pass"
        }
        (RunFinding::BackendRedirect, _) => scheme::fix_of_redirect(facts).unwrap_or(usual),
        (RunFinding::SwitchReplaced, _)
            if facts.upstream.is_some_and(|upstream| upstream.accel_redirect.is_some()) =>
        {
            "have the backend leave that header out, or add \
                    \"proxy_ignore_headers X-Accel-Redirect;\" to the location"
        }
        (RunFinding::SwitchReplaced, _)
            if facts.upstream.is_some_and(|upstream| upstream.for_error_page) =>
        {
            "write that error_page with a \"=\" behind its status, such as \"error_page 502 = /other;\""
        }
        (RunFinding::Unsolicited101, _) if matches!(facts.handler, Handler::Uwsgi | Handler::Scgi) => {
            "correct the backend, and see that no uwsgi_param or scgi_param sets HTTP_UPGRADE"
        }
        (RunFinding::BackendNotWebsocket, _) if backend::failed(facts, Failure::BadHeader) => {
            "correct the header that the backend sends; the line of nginx itself before this one shows it"
        }
        (RunFinding::BackendNotWebsocket, _) if backend::sent_hints(facts) => {
            "have the backend send nothing before the 101, or use nginx 1.29.0 or later"
        }
        (
            RunFinding::BackendUnreachable
            | RunFinding::BackendForbidden
            | RunFinding::ConnectionsExhausted,
            _,
        ) => connect::fix(facts).unwrap_or(usual),
        (RunFinding::NotWebsocket, _)
            if client::passes_upgrade_on(facts) && facts.has_own_mark =>
        {
            "set \"websocket_guard on;\" in it, which passes on what websocket_guard_upgrade lists"
        }
        (RunFinding::CachedResponse, _) if facts.has_own_mark => {
            "set \"websocket_guard auto;\" in the location, or \"proxy_cache_bypass $http_upgrade;\""
        }
        (RunFinding::NotWebsocket, _) if client::passes_upgrade_on(facts) => {
            "add \"websocket_guard on;\" to it, which passes on what websocket_guard_upgrade lists"
        }
        // Such as h2c, which cannot be listed.
        (RunFinding::NotWebsocket, _) if facts.dropped.is_none() => {
            "nothing is to be done, clients that offer it go on without it"
        }
        (RunFinding::Redirected, _) => fix_of_redirect(facts).unwrap_or(usual),
        (RunFinding::HandshakeAltered, _)
            if matches!(
                facts.upstream.and_then(|upstream| upstream.altered),
                Some(Alteration::Doubled(_))
            ) =>
        {
            "keep one of the two lines; one may stand in an included file"
        }
        _ => usual,
    }
}

fn fix_of_redirect(facts: &Facts) -> Option<&'static str> {
    match redirect::cause(facts) {
        Redirect::SignIn => Some(
            "sign in first, with a page of the same site: the cookie of its session goes with the \
             handshake",
        ),
        Redirect::HttpsAlready { .. } => {
            Some("let that rule look at this header in place of $scheme")
        }
        Redirect::ToHttps => Some(
            "use wss:// in the client; if TLS ends in front of this nginx, have the proxy there send \
             X-Forwarded-Proto and let the rule look at $http_x_forwarded_proto in place of $scheme",
        ),
        Redirect::Elsewhere => None,
    }
}

/// What to do about a directive that answers without a backend.
fn fix_of_answer(answer: Answer) -> &'static str {
    match answer.directive {
        Answering::Return | Answering::Rewrite if answer.conditional => {
            "correct the condition of that \"if\", or let upgrades pass it"
        }
        Answering::Return | Answering::Rewrite => {
            "put a proxy_pass in its place, or correct the URL in the client"
        }
        Answering::Deny => "put an \"allow\" for the client's address before it",
        Answering::AuthBasic => {
            "send the credentials with the handshake, or use \"auth_basic off;\" there and check a \
             cookie or a query argument"
        }
        Answering::AuthRequest => {
            "send with the handshake what that subrequest asks for: a page's cookies go with it, a \
             header of its own cannot"
        }
    }
}

/// Whether the backend was spoken to without TLS.
fn is_plain(facts: &Facts) -> bool {
    facts.upstream.is_some_and(|upstream| {
        !upstream.tls && !matches!(upstream.failure, Some(Failure::TlsHandshake { .. }))
    })
}
