//! What the location did: its own answer, or what it sent to the backend.

use std::fmt::{self, Formatter};

use crate::diagnosis::facts::{Alteration, Facts, Gate, Handler, Limit, OtherServer};
use crate::diagnosis::obstacle::{obstacle, obstacles, Obstacle};
use crate::diagnosis::redirect::{self, Redirect};
use crate::findings::RunFinding;
use crate::http::version::HttpVersion;
use crate::text::escape::Escaped;

use super::parts::{By, To, Where};

pub fn wrong_location(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(
        f,
        "\"{}\" falls into {}, not into the marked location \"{}\"",
        Escaped(facts.uri),
        Where(facts.location),
        Escaped(facts.marked_location.unwrap_or_default())
    )
}

pub fn wrong_server(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let host = Escaped(facts.host);
    let server = facts.server.as_server();
    write!(
        f,
        "no server_name fits Host \"{host}\", so {server} took the request as the default server"
    )?;
    match facts.other_server {
        Some(OtherServer { server, location }) => {
            write!(f, " of its socket, and not server \"{}\" with its {location}", Escaped(server))
        }
        None => Ok(()),
    }
}

pub fn not_proxied(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let place = Where(facts.location);
    let status = facts.status;
    if facts.refused_early {
        f.write_str("nginx refused the request ")?;
        return match status {
            400.. => write!(f, "with {status} before it looked for a location"),
            _ => {
                write!(f, "before it looked for a location, and an error_page made {status} of it")
            }
        };
    }
    match facts.handler {
        Handler::Static => {
            write!(f, "{place} serves files and answered {status}, no backend was asked")
        }
        Handler::Return if facts.answered_by.is_some() => {
            write!(f, "{place} answered {status}{}, no backend was asked", By(facts.answered_by))
        }
        _ => write!(f, "{place} answered {status} itself, no backend was asked"),
    }
}

pub fn redirected(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let (place, by, to) = (Where(facts.location), By(facts.answered_by), To(facts.redirect));
    let cause = redirect::cause(facts);
    if cause == Redirect::SignIn {
        let denied = facts.auth_status.unwrap_or_default();
        match facts.answered_by {
            Some(answer) => write!(f, "{answer}")?,
            None => f.write_str("auth_request")?,
        }
        write!(
            f,
            " refused {place} with {denied}, and an error_page made {}{to} of it",
            facts.status
        )?;
    } else {
        write!(f, "{place} answered {}{to}{by}", facts.status)?;
    }
    f.write_str(", and WebSocket clients do not follow redirects")?;
    if let Redirect::HttpsAlready { header, value } = cause {
        let (header, value) = (Escaped(header), Escaped(value));
        write!(
            f,
            "; this one uses TLS already, which ends in front of this nginx ({header} \"{value}\")"
        )?;
    }
    Ok(())
}

pub fn slash_redirect(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let uri = Escaped(facts.uri);
    write!(f, "{} redirected \"{uri}\"{}", Where(facts.location), To(facts.redirect))?;
    f.write_str(", and WebSocket clients do not follow redirects")
}

pub fn access_denied(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let place = Where(facts.location);
    if facts.status == 444 {
        let by = By(facts.answered_by);
        return write!(f, "{place} closed the connection without an answer (444){by}");
    }
    let status = facts.auth_status.unwrap_or(facts.status);
    write!(f, "{place} refused access with {status}{}", By(facts.answered_by))
}

pub fn rate_limited(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let place = Where(facts.location);
    let status = facts.status;
    match facts.limit {
        Limit::Requests => write!(f, "limit_req refused the request with {status} in {place}"),
        Limit::Connections => write!(f, "limit_conn refused the request with {status} in {place}"),
        Limit::Passed => write!(f, "{place} answered {status} itself, as limits do"),
    }
}

pub fn access_check_failed(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    match facts.answered_by {
        Some(answer) => write!(f, "{answer}")?,
        None => f.write_str("auth_request")?,
    }
    write!(f, " in {}", Where(facts.location))?;
    let status = facts.auth_status.unwrap_or_default();
    write!(f, " was answered with {status}, which nginx turns into 500")
}

pub fn body_too_large(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(
        f,
        "a plain request to {} was refused with 413, a WebSocket message would have no such limit",
        Where(facts.location)
    )
}

pub fn cached_response(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(
        f,
        "the cache of {} answered the handshake with a stored {}",
        Where(facts.location),
        facts.status
    )
}

pub fn subrequest_upgrade(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    f.write_str("a subrequest")?;
    if let Some(uri) = facts.subrequest_101 {
        write!(f, " to \"{}\"", Escaped(uri))?;
    }
    f.write_str(" got a 101, which belongs to the main request only")
}

pub fn upgrade_not_forwarded(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(f, "{} ", Where(facts.location))?;
    list(f, obstacles(facts), |f, obstacle| match obstacle {
        Obstacle::Handler(handler) => {
            write!(f, "uses {}_pass, which cannot carry a WebSocket", handler.name())
        }
        Obstacle::NoUpgrade => f.write_str("passes the request on without its Upgrade header"),
        Obstacle::OtherUpgrade(value) => {
            write!(f, "sends Upgrade \"{}\" in place of \"websocket\"", Escaped(value))
        }
        Obstacle::NoConnection => {
            f.write_str("passes the request on without its Connection header")
        }
        Obstacle::OtherConnection(value) => {
            write!(f, "sends Connection \"{}\" in place of \"upgrade\"", Escaped(value))
        }
        Obstacle::HttpVersion(version) => {
            write!(f, "speaks {version} to the backend, which cannot upgrade")
        }
    })
}

/// What to do about all that keeps the upgrade from the backend.
pub fn fix_of_obstacles(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    if let Some(Obstacle::Handler(_)) = obstacle(facts) {
        return f.write_str("use proxy_pass, uwsgi_pass or scgi_pass there");
    }
    // The guard leaves such a location alone, whether it says so itself or has it from above.
    if let Some(Obstacle::HttpVersion(HttpVersion::Http2)) = obstacle(facts) {
        return f.write_str(match facts.mode.is_guarded() {
            true => "set \"proxy_http_version 1.1;\" in it",
            false if facts.has_own_mark => {
                "set \"websocket_guard on;\" in it, and \"proxy_http_version 1.1;\""
            }
            false => "add \"websocket_guard on;\" to it, and set \"proxy_http_version 1.1;\"",
        });
    }
    let mut own = obstacles(facts).filter_map(|obstacle| obstacle.own_directive(facts)).peekable();
    if !facts.mode.is_guarded() {
        f.write_str(match facts.has_own_mark {
            true => "set \"websocket_guard on;\" in it",
            false => RunFinding::UpgradeNotForwarded.entry().fix,
        })?;
        if own.peek().is_none() {
            return Ok(());
        }
        f.write_str(" and ")?;
    }
    f.write_str("remove its own ")?;
    list(f, own, |f, directive| write!(f, "\"{directive}\""))
}

/// Writes one, two or three things: "a", "a and b", "a, b and c".
fn list<T>(
    f: &mut Formatter,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Formatter, T) -> fmt::Result,
) -> fmt::Result {
    let mut items = items.peekable();
    let mut first = true;
    while let Some(item) = items.next() {
        if !first {
            f.write_str(if items.peek().is_some() { ", " } else { " and " })?;
        }
        first = false;
        write(f, item)?;
    }
    Ok(())
}

pub fn handshake_altered(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    if let Some(Alteration::Doubled(header)) = facts.upstream.unwrap_or_default().altered {
        let (place, header) = (Where(facts.location), Escaped(header));
        return write!(f, "{place} sends {header} twice, by two lines of \"proxy_set_header\"");
    }
    write!(f, "{} changes the handshake by \"", Where(facts.location))?;
    let directives = facts.handler.name();
    match facts.upstream.unwrap_or_default().altered {
        Some(Alteration::Emptied(header)) => {
            write!(f, "{directives}_set_header {} ''", Escaped(header))
        }
        Some(Alteration::Method(method)) => write!(f, "{directives}_method {}", Escaped(method)),
        Some(Alteration::HeadersOff | Alteration::Doubled(_)) | None => {
            write!(f, "{directives}_pass_request_headers off")
        }
    }?;
    f.write_str("\"")
}

pub fn upgrade_injected(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let Gate::Injected { upgrade } = facts.gate else {
        return Ok(());
    };
    write!(
        f,
        "the request to the backend had a line \"Upgrade: {}\", which {} does not allow",
        Escaped(upgrade),
        Where(facts.location)
    )
}
