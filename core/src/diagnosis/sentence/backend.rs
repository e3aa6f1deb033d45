//! What became of the request at the backend.

use std::fmt::{self, Formatter};

use crate::diagnosis::facts::{Facts, Failure, Sent, Waiting};
use crate::diagnosis::oddity::{oddities, offers_no_subprotocol};
use crate::diagnosis::origin::{self, Comparison};
use crate::text::duration::Duration;
use crate::text::escape::Escaped;

use super::parts::{Backend, To};
use super::scheme;

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
        None => {
            write!(
                f,
                "{backend} expects TLS and was sent plain HTTP, it answered {}",
                answer(facts)
            )?;
            says(f, facts)
        }
        _ => write!(f, "the TLS handshake with {backend} failed (SNI not sent)"),
    }
}

pub fn timeout(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let (waiting, limit, by_guard) = match facts.upstream.unwrap_or_default().failure {
        Some(Failure::TimedOut(waiting, limit, by_guard)) => (waiting, limit, by_guard),
        _ => (Waiting::Read, 0, false),
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
    if by_guard {
        return f.write_str(" (websocket_guard_timeout)");
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
    let origin = Escaped(origin::sent(facts).unwrap_or_default());
    write!(f, "{} answered {}", Backend::of(facts), upstream.status)?;
    if let Comparison::OtherHost { host, .. } = origin::compare(facts) {
        let host = Escaped(host);
        return write!(
            f,
            ": it was sent Host \"{host}\" with Origin \"{origin}\", which looks like another site"
        );
    }
    scheme(f, facts)
}

/// That the backend may take the client's scheme for another one.
pub fn scheme(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let origin = Escaped(origin::sent(facts).unwrap_or_default());
    write!(f, ": it was sent Origin \"{origin}\" ")?;
    match facts.upstream.unwrap_or_default().proto {
        Sent::Value(proto) => write!(f, "with X-Forwarded-Proto \"{}\"", Escaped(proto))?,
        Sent::Nothing | Sent::Unknown => f.write_str("without X-Forwarded-Proto")?,
    }
    f.write_str(", which looks like another scheme")
}

/// What a refusal says, if that is plain text.
pub fn says(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let body = facts.upstream.unwrap_or_default().body.trim_ascii();
    let line = body.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let is_text = line.iter().all(|byte| (b' '..=b'~').contains(byte));
    if line.is_empty() || !is_text || line.starts_with(b"<") {
        return Ok(());
    }
    write!(f, " and said \"{}\"", Escaped(line))
}

pub fn auth(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(f, "{} refused access with {}", Backend::of(facts), answer(facts))?;
    says(f, facts)?;
    match (origin::own_list_may_refuse(facts), origin::sent(facts)) {
        (true, Some(origin)) => {
            write!(f, "; it was sent Origin \"{}\", of the same site as Host", Escaped(origin))
        }
        _ => Ok(()),
    }
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
    write!(f, "{} answered {}", Backend::of(facts), answer(facts))?;
    if oddities(facts).next().is_none() {
        f.write_str(" to a correct handshake")?;
        if offers_no_subprotocol(facts) {
            f.write_str(" that offers no subprotocol")?;
        }
    }
    says(f, facts)
}

pub fn not_websocket(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let backend = Backend::of(facts);
    let upstream = facts.upstream.unwrap_or_default();
    if upstream.failure == Some(Failure::NotHttp) {
        return write!(f, "{backend} answered with something that is no HTTP");
    }
    if upstream.failure == Some(Failure::BadHeader) {
        return write!(f, "{backend} answered with a header that has an invalid line");
    }
    if sent_hints(facts) {
        return write!(
            f,
            "{backend} sent 103 (Early Hints) before its answer, and this nginx takes that for the answer"
        );
    }
    let uri = if upstream.uri.is_empty() { facts.uri } else { upstream.uri };
    write!(
        f,
        "{backend} answered {} to \"{}\", it has no WebSocket there",
        upstream.status,
        Escaped(uri)
    )
}

/// Whether the backend failed in this way.
pub fn failed(facts: &Facts, failure: Failure) -> bool {
    facts.upstream.unwrap_or_default().failure == Some(failure)
}

/// Whether the backend sent a 103 (RFC 8297), which nginx knows from 1.29.0 on.
pub fn sent_hints(facts: &Facts) -> bool {
    answer(facts) == 103
}

pub fn error(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(f, "{} answered {}", Backend::of(facts), answer(facts))
}

/// The backend's status.
fn answer(facts: &Facts) -> u16 {
    facts.upstream.unwrap_or_default().status
}
