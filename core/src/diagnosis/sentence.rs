//! The sentence for each finding: the cause with its values, then what to do.
//!
//! Every value of a peer goes through [`Escaped`](crate::text::escape::Escaped), which also bounds its length.

mod backend;
mod client;
mod location;
mod parts;
mod scheme;
mod switch;
mod tunnel;

use std::fmt::{self, Formatter};

use crate::config::{Answer, Answering};
use crate::findings::RunFinding;
use crate::handshake::origin::Denied;
use crate::http::version::HttpVersion;

use super::facts::{Facts, Gate};
use super::obstacle::{obstacle, Obstacle};
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
        _ => {}
    }
    f.write_str(fix(finding, facts))
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

        RunFinding::BackendUnreachable => backend::unreachable(f, facts),
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
    if finding == RunFinding::NotProxied && facts.gave_up_reading() {
        return "see what nginx says about it with \"error_log ... info\"";
    }
    if let (RunFinding::NotProxied | RunFinding::AccessDenied, Some(answer)) =
        (finding, facts.answered_by)
    {
        return fix_of_answer(answer);
    }
    match (finding, facts.gate) {
        (RunFinding::OriginDenied, Gate::OriginDenied { denied: Denied::Missing, .. }) => {
            return "add \"none\" to websocket_guard_origin if clients that are no browsers may \
                    connect";
        }
        (RunFinding::OriginDenied, Gate::OriginDenied { denied: Denied::Repeated(_), .. }) => {
            return "correct the client, or the proxy in front of this nginx";
        }
        // websocket_guard_forwarded would do nothing in such a location.
        (RunFinding::BackendOrigin, _) if !facts.mode.is_guarded() => {
            return "add \"proxy_set_header Host $http_host;\", or allow the origin in the backend";
        }
        (RunFinding::BackendRedirect, _) => return scheme::fix_of_redirect(facts).unwrap_or(usual),
        (RunFinding::SwitchReplaced, _)
            if facts.upstream.is_some_and(|upstream| upstream.accel_redirect.is_some()) =>
        {
            return "have the backend leave that header out, or add \
                    \"proxy_ignore_headers X-Accel-Redirect;\" to the location";
        }
        (RunFinding::NotWebsocket, _) if client::passes_upgrade_on(facts) => {
            return "add \"websocket_guard on;\" to it, which passes on what websocket_guard_upgrade lists";
        }
        // Such as h2c, which cannot be listed.
        (RunFinding::NotWebsocket, _) if facts.dropped.is_none() => {
            return "nothing is to be done, clients that offer it go on without it";
        }
        (RunFinding::Redirected, _) => return fix_of_redirect(facts).unwrap_or(usual),
        (RunFinding::UpgradeNotForwarded, _) => {}
        _ => return usual,
    }
    match obstacle(facts) {
        Some(Obstacle::Handler(_)) => "use proxy_pass, uwsgi_pass or scgi_pass there",
        Some(Obstacle::HttpVersion(HttpVersion::Http2)) => match facts.mode.is_guarded() {
            true => "set \"proxy_http_version 1.1;\" in it",
            false => "add \"websocket_guard on;\" to it, and set \"proxy_http_version 1.1;\"",
        },
        Some(Obstacle::HttpVersion(_)) if facts.mode.is_guarded() => {
            "remove its own proxy_http_version, or set it to 1.1"
        }
        Some(Obstacle::NoUpgrade | Obstacle::OtherUpgrade(_)) if facts.mode.is_guarded() => {
            "remove its own \"proxy_set_header Upgrade\""
        }
        Some(Obstacle::NoConnection | Obstacle::OtherConnection(_)) if facts.mode.is_guarded() => {
            "remove its own \"proxy_set_header Connection\""
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
