//! The sentence for each finding: the cause with its values, then what to do.
//!
//! Every value of a peer goes through [`Escaped`], which also bounds its length.

use std::fmt::{self, Formatter};

use crate::findings::Finding;
use crate::handshake::origin::Denied;
use crate::handshake::switch::{BadAccept, BadSwitch, Fault};
use crate::handshake::{ValueFault, Violation};
use crate::text::duration::Duration;
use crate::text::escape::Escaped;

use super::decision::{obstacle, Obstacle};
use super::facts::{
    Alteration, Early, Facts, Failure, Gate, Handler, Limit, NamedPlace, Sent, SwitchFault,
    Upstream, Waiting,
};
use super::tunnel::TunnelEnd;

pub(super) fn request(f: &mut Formatter, finding: Finding, facts: &Facts) -> fmt::Result {
    if !matches!(finding, Finding::NotWebsocket | Finding::BodyTooLarge | Finding::Unsolicited101) {
        f.write_str("upgrade failed: ")?;
    }
    cause(f, finding, facts)?;
    write!(f, "; {}", fix(finding, facts))
}

pub(super) fn tunnel_end(f: &mut Formatter, finding: Finding, end: &TunnelEnd) -> fmt::Result {
    let TunnelEnd { handler, .. } = end;
    let peer = Escaped(end.peer);
    let age = Duration::about(end.age_ms);
    let limit = Duration::about(end.limit_ms);
    let client = Duration::about(end.client_silent_ms);
    let backend = Duration::about(end.backend_silent_ms);
    match finding {
        Finding::TunnelIdle => write!(
            f,
            "tunnel cut after {age}: no byte in either direction for {} (limit {limit}; ",
            Duration::about(end.client_silent_ms.min(end.backend_silent_ms))
        ),
        Finding::TunnelClientStalled => {
            write!(f, "tunnel cut after {age}: the client took no data for {limit} (send_timeout; ")
        }
        Finding::TunnelBackendStalled => write!(
            f,
            "tunnel cut after {age}: backend {peer} took no data for {limit} ({}_send_timeout; ",
            handler.name()
        ),
        Finding::TunnelClientReset => {
            write!(f, "tunnel ended after {age}: the client reset the connection (")
        }
        Finding::TunnelBackendReset => {
            write!(f, "tunnel ended after {age}: backend {peer} reset the connection (")
        }
        _ => write!(
            f,
            "tunnel cut after {age}: the old worker was shut down by worker_shutdown_timeout after \
             a reload ("
        ),
    }?;
    write!(f, "client silent for {client}, backend silent for {backend}); ")?;
    // websocket_guard_timeout would do nothing in such a location.
    if finding == Finding::TunnelIdle && !end.mode.is_guarded() {
        let module = handler.name();
        return write!(
            f,
            "have the application send pings more often than that, or raise {module}_read_timeout"
        );
    }
    f.write_str(finding.entry().fix)
}

/// The fix of the catalogue, or a better one where the facts allow it.
fn fix(finding: Finding, facts: &Facts) -> &'static str {
    let usual = finding.entry().fix;
    if finding == Finding::NotProxied && facts.gave_up_reading() {
        return "see what nginx says about it with \"error_log ... info\"";
    }
    match (finding, facts.gate) {
        (Finding::OriginDenied, Gate::OriginDenied { denied: Denied::Missing, .. }) => {
            return "add \"none\" to websocket_guard_origin if clients that are no browsers may \
                    connect";
        }
        (Finding::OriginDenied, Gate::OriginDenied { denied: Denied::Repeated(_), .. }) => {
            return "correct the client, or the proxy in front of this nginx";
        }
        // websocket_guard_forwarded would do nothing in such a location.
        (Finding::BackendOrigin, _) if !facts.mode.is_guarded() => {
            return "add \"proxy_set_header Host $http_host;\", or allow the origin in the backend";
        }
        (Finding::BackendRedirect, _) if !facts.mode.is_guarded() => {
            return "use the final URL in the client; if only http becomes https, send \
                    X-Forwarded-Proto (\"proxy_set_header X-Forwarded-Proto $scheme;\")";
        }
        (Finding::UpgradeNotForwarded, _) => {}
        _ => return usual,
    }
    match obstacle(facts) {
        Some(Obstacle::Handler(_)) => "use proxy_pass, uwsgi_pass or scgi_pass there",
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

fn cause(f: &mut Formatter, finding: Finding, facts: &Facts) -> fmt::Result {
    let place = Where(facts.location);
    let status = facts.status;
    let uri = Escaped(facts.uri);
    let upstream = facts.upstream.unwrap_or_default();
    let backend = Backend(&upstream);
    let answer = upstream.status;

    match finding {
        Finding::NotWebsocket => {
            let how = match upstream.upgrade {
                Sent::Value(_) if !facts.mode.is_guarded() => {
                    "passed on by a proxy_set_header of its location"
                }
                _ => "served as plain HTTP",
            };
            let upgrade = Escaped(facts.upgrade);
            write!(f, "Upgrade \"{upgrade}\" does not name websocket, {how}")
        }
        Finding::StrippedUpgrade => {
            write!(
                f,
                "the request has Sec-WebSocket-Key but no Upgrade header, which was removed in \
                 front of this nginx (peer {}",
                Escaped(facts.peer)
            )?;
            if let Some(via) = facts.via {
                write!(f, ", Via \"{}\"", Escaped(via))?;
            }
            f.write_str(")")
        }
        Finding::HandshakeMethod => write!(
            f,
            "the method is \"{}\" where a WebSocket handshake is a GET",
            Escaped(facts.method)
        ),
        Finding::HandshakeHttpVersion => {
            f.write_str("the request is HTTP/1.0 where a WebSocket handshake needs HTTP/1.1")
        }
        Finding::HandshakeBody => f.write_str("the handshake has a body"),
        Finding::HandshakeConnection => match facts.gate {
            Gate::Violated(Violation::Connection(Some(value))) => write!(
                f,
                "Connection \"{}\" of the request lacks the token \"upgrade\"",
                Escaped(value)
            ),
            _ => f.write_str("the request has an Upgrade header but no Connection header"),
        },
        Finding::HandshakeKey => match facts.gate {
            Gate::Violated(Violation::Key(fault)) => {
                value(f, "Sec-WebSocket-Key", fault, "not 16 bytes in base64")
            }
            _ => Ok(()),
        },
        Finding::HandshakeVersion => match facts.gate {
            Gate::Violated(Violation::Version(fault)) => {
                value(f, "Sec-WebSocket-Version", fault, "not 13")
            }
            _ => Ok(()),
        },
        Finding::OriginDenied => {
            let Gate::OriginDenied { denied, allowed } = facts.gate else {
                return Ok(());
            };
            match denied {
                Denied::Missing => f.write_str("a request without Origin is not allowed"),
                Denied::Repeated(second) => {
                    let second = Escaped(second);
                    write!(f, "Origin is given twice, the second is \"{second}\"")
                }
                Denied::NotListed(origin) => {
                    write!(f, "origin \"{}\" is not allowed", Escaped(origin))
                }
            }?;
            write!(f, ", allowed: \"{}\"", Escaped(allowed.as_bytes()))
        }
        Finding::Http2Upgrade => write!(
            f,
            "an {} request has an Upgrade header, which only HTTP/1.1 knows",
            facts.http_version
        ),
        Finding::TlsMismatch => f.write_str("a plain HTTP request was sent to a TLS port"),
        Finding::ClientCertificate => f.write_str(match facts.early {
            Some(Early::CertificateMissing) => {
                "the client sent no certificate and ssl_verify_client requires one"
            }
            _ => "the client's certificate was not accepted by ssl_verify_client",
        }),
        Finding::HeaderTooLarge => f.write_str(match facts.early {
            Some(Early::UriTooLong) => {
                "the request line is longer than large_client_header_buffers"
            }
            _ => "the request header is larger than large_client_header_buffers",
        }),

        Finding::WrongLocation => write!(
            f,
            "\"{uri}\" falls into {place}, not into the marked location \"{}\"",
            Escaped(facts.marked_location.unwrap_or_default())
        ),
        Finding::NotProxied if facts.gave_up_reading() => {
            write!(f, "nginx refused the request with {status} before it looked for a location")
        }
        Finding::NotProxied => match facts.handler {
            Handler::Static => {
                write!(f, "{place} serves files and answered {status}, no backend was asked")
            }
            Handler::Return => {
                write!(f, "{place} answered {status} by \"return\", no backend was asked")
            }
            _ => write!(f, "{place} answered {status} itself, no backend was asked"),
        },
        Finding::Redirected => {
            write!(f, "{place} answered {status}{}", To(facts.redirect))?;
            f.write_str(", and WebSocket clients do not follow redirects")
        }
        Finding::SlashRedirect => {
            write!(f, "{place} redirected \"{uri}\"{}", To(facts.redirect))?;
            f.write_str(", and WebSocket clients do not follow redirects")
        }
        Finding::AccessDenied if status == 444 => {
            write!(f, "{place} closed the connection without an answer (444)")
        }
        Finding::AccessDenied => {
            write!(f, "{place} refused access with {}", facts.auth_status.unwrap_or(status))
        }
        Finding::RateLimited => match facts.limit {
            Limit::Requests => write!(f, "limit_req refused the request with {status} in {place}"),
            Limit::Connections => {
                write!(f, "limit_conn refused the request with {status} in {place}")
            }
            Limit::Passed => write!(f, "{place} answered {status} itself, as limits do"),
        },
        Finding::AccessCheckFailed => write!(
            f,
            "auth_request in {place} was answered with {}, which nginx turns into 500",
            facts.auth_status.unwrap_or_default()
        ),
        Finding::BodyTooLarge => write!(
            f,
            "a plain request to {place} was refused with 413, a WebSocket message would have no \
             such limit"
        ),
        Finding::ClientGone => {
            f.write_str("the client left before the handshake was answered (499)")
        }
        Finding::CachedResponse => {
            write!(f, "the cache of {place} answered the handshake with a stored {status}")
        }
        Finding::SubrequestUpgrade => {
            f.write_str("a subrequest")?;
            if let Some(uri) = facts.subrequest_101 {
                write!(f, " to \"{}\"", Escaped(uri))?;
            }
            f.write_str(" got a 101, which belongs to the main request only")
        }

        Finding::UpgradeNotForwarded => match obstacle(facts) {
            Some(Obstacle::Handler(handler)) => {
                write!(f, "{place} uses {}_pass, which cannot carry a WebSocket", handler.name())
            }
            Some(Obstacle::OtherUpgrade(value)) => {
                write!(f, "{place} sends Upgrade \"{}\" in place of \"websocket\"", Escaped(value))
            }
            Some(Obstacle::NoConnection) => {
                write!(f, "{place} passes the request on without its Connection header")
            }
            Some(Obstacle::OtherConnection(value)) => {
                write!(f, "{place} sends Connection \"{}\" in place of \"upgrade\"", Escaped(value))
            }
            Some(Obstacle::HttpVersion(version)) => {
                write!(f, "{place} speaks {version} to the backend, which cannot upgrade")
            }
            Some(Obstacle::NoUpgrade) | None => {
                write!(f, "{place} passes the request on without its Upgrade header")
            }
        },
        Finding::HandshakeAltered => {
            write!(f, "{place} changes the handshake by \"")?;
            let directives = facts.handler.name();
            match upstream.altered {
                Some(Alteration::Emptied(header)) => {
                    write!(f, "{directives}_set_header {} ''", Escaped(header))
                }
                Some(Alteration::Method(method)) => {
                    write!(f, "{directives}_method {}", Escaped(method))
                }
                Some(Alteration::HeadersOff) | None => {
                    write!(f, "{directives}_pass_request_headers off")
                }
            }?;
            f.write_str("\"")
        }

        Finding::BackendUnreachable => write!(f, "no connection to {backend}"),
        Finding::BackendNoLive => {
            write!(f, "no server of upstream \"{}\" is free or alive", Escaped(upstream.name))
        }
        Finding::BackendDns => {
            let name = match upstream.failure {
                Some(Failure::NotResolved(name)) => name,
                _ => upstream.name,
            };
            write!(f, "the backend's name \"{}\" did not resolve", Escaped(name))
        }
        Finding::BackendTls => match upstream.failure {
            Some(Failure::TlsHandshake { sni: Some(sni) }) => {
                write!(f, "the TLS handshake with {backend} failed (SNI \"{}\")", Escaped(sni))
            }
            Some(Failure::SpeaksTls) => {
                write!(f, "{backend} seems to expect TLS and was sent plain HTTP")
            }
            _ => write!(f, "the TLS handshake with {backend} failed (SNI not sent)"),
        },
        Finding::BackendTimeout => {
            let (waiting, limit) = match upstream.failure {
                Some(Failure::TimedOut(waiting, limit)) => (waiting, limit),
                _ => (Waiting::Read, 0),
            };
            let (what, directive) = match waiting {
                Waiting::Connect => ("accept the connection", "connect_timeout"),
                Waiting::Send => ("take the handshake", "send_timeout"),
                Waiting::Read => ("answer the handshake", "read_timeout"),
            };
            write!(f, "{backend} did not {what}")?;
            if limit > 0 {
                write!(f, " within {}", Duration::about(limit))?;
            }
            write!(f, " ({}_{directive})", facts.handler.name())
        }
        Finding::BackendClosed => match upstream.failure {
            Some(Failure::Reset) => {
                write!(f, "{backend} reset the connection before it answered")
            }
            _ => write!(f, "{backend} closed the connection before it answered"),
        },
        Finding::BackendHeaderTooBig => write!(
            f,
            "the header of the answer of {backend} is larger than {}_buffer_size",
            facts.handler.name()
        ),

        Finding::BackendOrigin => write!(
            f,
            "{backend} answered {answer}: it was sent Host \"{}\" with Origin \"{}\", which looks \
             like another site",
            Escaped(upstream.host.unwrap_or_default()),
            Escaped(facts.origin.unwrap_or_default())
        ),
        Finding::BackendAuth => write!(f, "{backend} refused access with {answer}"),
        Finding::BackendRedirect => write!(
            f,
            "{backend} answered {answer}{}, and WebSocket clients do not follow redirects",
            To(upstream.redirect)
        ),
        Finding::BackendNotFound if upstream.uri.is_empty() => {
            write!(f, "{backend} answered 404, the client asked for \"{uri}\"")
        }
        Finding::BackendNotFound => {
            write!(f, "{backend} answered 404 to \"{}\"", Escaped(upstream.uri))?;
            if upstream.uri == facts.uri {
                f.write_str(", the path that the client asked for")
            } else {
                write!(f, ", the client asked for \"{uri}\"")
            }
        }
        Finding::BackendBadHandshake => {
            write!(f, "{backend} answered {answer} to a correct handshake")
        }
        Finding::BackendNotWebsocket if upstream.failure == Some(Failure::NotHttp) => {
            write!(f, "{backend} answered with something that is no HTTP")
        }
        Finding::BackendNotWebsocket => write!(
            f,
            "{backend} answered {answer} to \"{}\", it has no WebSocket there",
            if upstream.uri.is_empty() { uri } else { Escaped(upstream.uri) }
        ),
        Finding::BackendError => write!(f, "{backend} answered {answer}"),

        Finding::BadAccept
        | Finding::BadSwitch
        | Finding::SubprotocolMismatch
        | Finding::ExtensionMismatch
        | Finding::Unsolicited101 => switch_fault(f, facts, &upstream),

        // Not findings about a request.
        other => f.write_str(other.entry().title),
    }
}

fn switch_fault(f: &mut Formatter, facts: &Facts, upstream: &Upstream) -> fmt::Result {
    let backend = Backend(upstream);
    let fault = match upstream.switch_fault {
        Some(SwitchFault::Wrong(fault)) => fault,
        Some(SwitchFault::Unsolicited) | None => {
            return write!(f, "{backend} answered 101 to a request that asked for no upgrade");
        }
    };
    match fault {
        Fault::BadAccept(BadAccept::NoKey) => {
            write!(f, "{backend} answered 101 to a handshake without Sec-WebSocket-Key")
        }
        Fault::BadAccept(BadAccept::Missing { .. }) => {
            write!(f, "{backend} answered 101 without Sec-WebSocket-Accept")
        }
        Fault::BadAccept(BadAccept::Wrong { received, expected }) => write!(
            f,
            "{backend} answered 101 with Sec-WebSocket-Accept \"{}\" where \"{}\" belongs to the \
             key that it was sent",
            Escaped(received),
            Escaped(&expected)
        ),
        Fault::BadSwitch(BadSwitch::NoUpgrade) => {
            write!(f, "{backend} answered 101 without an Upgrade header")
        }
        Fault::BadSwitch(BadSwitch::OtherProtocol(answered)) => {
            write!(f, "{backend} answered 101 with Upgrade \"{}\"", Escaped(answered))?;
            match upstream.upgrade {
                Sent::Value(asked) => write!(f, " where \"{}\" was asked for", Escaped(asked)),
                Sent::Nothing | Sent::Unknown => f.write_str(", which was not asked for"),
            }
        }
        Fault::BadSwitch(BadSwitch::Connection(Some(connection))) => write!(
            f,
            "{backend} answered 101 with Connection \"{}\", which lacks the token \"upgrade\"",
            Escaped(connection)
        ),
        Fault::BadSwitch(BadSwitch::Connection(None)) => {
            write!(f, "{backend} answered 101 without a Connection header")
        }
        Fault::SubprotocolMismatch { chosen } => {
            write!(f, "{backend} chose subprotocol \"{}\", ", Escaped(chosen))?;
            match facts.subprotocols {
                Some(offered) => write!(f, "offered: \"{}\"", Escaped(offered)),
                None => f.write_str("none was offered"),
            }
        }
        Fault::ExtensionMismatch { chosen } => {
            write!(f, "{backend} chose extension \"{}\", which was not offered", Escaped(chosen))
        }
    }
}

/// What is wrong with a header that must have one value.
fn value(f: &mut Formatter, name: &str, fault: ValueFault, wrong: &str) -> fmt::Result {
    match fault {
        ValueFault::Missing => write!(f, "{name} is missing"),
        ValueFault::Repeated(second) => {
            write!(f, "{name} is given twice, the second is \"{}\"", Escaped(second))
        }
        ValueFault::Invalid(value) => write!(f, "{name} \"{}\" is {wrong}", Escaped(value)),
    }
}

struct Where<'a>(Option<NamedPlace<'a>>);

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self(Some(place)) => place.fmt(f),
            Self(None) => f.write_str("the server (no location)"),
        }
    }
}

#[derive(Clone, Copy)]
struct Backend<'a>(&'a Upstream<'a>);

impl fmt::Display for Backend<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(upstream) = self;
        match (upstream.peer, upstream.name) {
            (b"", b"") => f.write_str("the backend"),
            (b"", name) => write!(f, "backend \"{}\"", Escaped(name)),
            (peer, _) => write!(f, "backend {}", Escaped(peer)),
        }
    }
}

/// The target of a redirect.
struct To<'a>(Option<&'a [u8]>);

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self(Some(target)) => write!(f, " to \"{}\"", Escaped(target)),
            Self(None) => Ok(()),
        }
    }
}
