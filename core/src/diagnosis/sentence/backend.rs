//! What became of the request at the backend.

use std::fmt::{self, Formatter};

use crate::diagnosis::facts::{Facts, Failure, Waiting};
use crate::text::duration::Duration;
use crate::text::escape::Escaped;

use super::parts::{Backend, To};
use super::scheme;

pub fn unreachable(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(f, "no connection to {}", Backend::of(facts))
}

pub fn no_live(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let name = facts.upstream.unwrap_or_default().name;
    write!(f, "no server of upstream \"{}\" is free or alive", Escaped(name))
}

pub fn dns(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let upstream = facts.upstream.unwrap_or_default();
    let name = match upstream.failure {
        Some(Failure::NotResolved(name)) => name,
        _ => upstream.name,
    };
    write!(f, "the backend's name \"{}\" did not resolve", Escaped(name))
}

pub fn tls(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let backend = Backend::of(facts);
    match facts.upstream.unwrap_or_default().failure {
        Some(Failure::TlsHandshake { sni: Some(sni) }) => {
            write!(f, "the TLS handshake with {backend} failed (SNI \"{}\")", Escaped(sni))
        }
        Some(Failure::SpeaksTls) => {
            write!(f, "{backend} seems to expect TLS and was sent plain HTTP")
        }
        _ => write!(f, "the TLS handshake with {backend} failed (SNI not sent)"),
    }
}

pub fn timeout(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let (waiting, limit) = match facts.upstream.unwrap_or_default().failure {
        Some(Failure::TimedOut(waiting, limit)) => (waiting, limit),
        _ => (Waiting::Read, 0),
    };
    let (what, directive) = match waiting {
        Waiting::Connect => ("accept the connection", "connect_timeout"),
        Waiting::Send => ("take the handshake", "send_timeout"),
        Waiting::Read => ("answer the handshake", "read_timeout"),
    };
    write!(f, "{} did not {what}", Backend::of(facts))?;
    if limit > 0 {
        write!(f, " within {}", Duration::about(limit))?;
    }
    write!(f, " ({}_{directive})", facts.handler.name())
}

pub fn closed(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let how = match facts.upstream.unwrap_or_default().failure {
        Some(Failure::Reset) => "reset",
        _ => "closed",
    };
    write!(f, "{} {how} the connection before it answered", Backend::of(facts))
}

pub fn header_too_big(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(
        f,
        "the header of the answer of {} is larger than {}_buffer_size",
        Backend::of(facts),
        facts.handler.name()
    )
}

pub fn origin(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let upstream = facts.upstream.unwrap_or_default();
    write!(
        f,
        "{} answered {}: it was sent Host \"{}\" with Origin \"{}\", which looks like another site",
        Backend::of(facts),
        upstream.status,
        Escaped(upstream.host.unwrap_or_default()),
        Escaped(facts.origin.unwrap_or_default())
    )
}

pub fn auth(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(f, "{} refused access with {}", Backend::of(facts), answer(facts))
}

pub fn redirect(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let target = To(facts.upstream.unwrap_or_default().redirect);
    write!(f, "{} answered {}{target}", Backend::of(facts), answer(facts))?;
    f.write_str(", and WebSocket clients do not follow redirects")?;
    scheme::redirect(f, facts)
}

pub fn not_found(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let asked_for = Escaped(facts.uri);
    let sent = facts.upstream.unwrap_or_default().uri;
    write!(f, "{} answered 404", Backend::of(facts))?;
    if !sent.is_empty() {
        write!(f, " to \"{}\"", Escaped(sent))?;
    }
    if !sent.is_empty() && sent == facts.uri {
        return f.write_str(", the path that the client asked for");
    }
    write!(f, ", the client asked for \"{asked_for}\"")
}

pub fn bad_handshake(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(f, "{} answered {} to a correct handshake", Backend::of(facts), answer(facts))
}

pub fn not_websocket(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let backend = Backend::of(facts);
    let upstream = facts.upstream.unwrap_or_default();
    if upstream.failure == Some(Failure::NotHttp) {
        return write!(f, "{backend} answered with something that is no HTTP");
    }
    let uri = if upstream.uri.is_empty() { facts.uri } else { upstream.uri };
    write!(
        f,
        "{backend} answered {} to \"{}\", it has no WebSocket there",
        upstream.status,
        Escaped(uri)
    )
}

pub fn error(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(f, "{} answered {}", Backend::of(facts), answer(facts))
}

/// The backend's status.
fn answer(facts: &Facts) -> u16 {
    facts.upstream.unwrap_or_default().status
}
