//! What the client sent.

use std::fmt::{self, Formatter};

use crate::diagnosis::facts::{Dropped, Early, Facts, Gate, Preface, Sent};
use crate::handshake::origin::Denied;
use crate::handshake::{ValueFault, Violation};
use crate::text::escape::Escaped;

use super::parts::Backend;
use super::scheme;

pub fn not_websocket(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let how = match passes_upgrade_on(facts) {
        true => "passed on by a proxy_set_header of its location",
        false => "served as plain HTTP",
    };
    write!(f, "Upgrade \"{}\" does not name websocket, {how}", Escaped(facts.upgrade))
}

/// Whether a location that is not guarded sends the backend any Upgrade header.
pub fn passes_upgrade_on(facts: &Facts) -> bool {
    !facts.mode.is_guarded() && matches!(facts.upstream.unwrap_or_default().upgrade, Sent::Value(_))
}

pub fn protocol_dropped(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let name = facts.dropped.map_or(facts.upgrade, |dropped| dropped.name);
    let status = facts.upstream.unwrap_or_default().status;
    write!(f, "Upgrade \"{}\" was not passed on", Escaped(name))?;
    write!(f, ", and {} answered {status} to what was left", Backend::of(facts))
}

/// How to have a protocol passed on.
pub fn list_protocol(f: &mut Formatter, dropped: Dropped) -> fmt::Result {
    /// A longer list is not repeated, in bytes.
    const SHOWN: usize = 200;
    let Dropped { name, listed } = dropped;
    let name = Escaped(name);
    if listed.iter().map(str::len).sum::<usize>() > SHOWN {
        return write!(f, "add \"{name}\" to websocket_guard_upgrade");
    }
    f.write_str("add \"websocket_guard_upgrade")?;
    for protocol in listed.iter() {
        write!(f, " {}", Escaped(protocol.as_bytes()))?;
    }
    write!(f, " {name};\" to the location")
}

pub fn stripped_upgrade(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    write!(
        f,
        "the request has Sec-WebSocket-Key but no Upgrade header, which was removed in front of \
         this nginx (peer {}",
        Escaped(facts.peer)
    )?;
    if let Some(via) = facts.via {
        write!(f, ", Via \"{}\"", Escaped(via))?;
    }
    f.write_str(")")
}

pub fn handshake_method(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let method = Escaped(facts.method);
    write!(f, "the method is \"{method}\" where a WebSocket handshake is a GET")
}

pub fn handshake_connection(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    match facts.gate {
        Gate::Violated(Violation::Connection(Some(value))) => {
            let value = Escaped(value);
            write!(f, "Connection \"{value}\" of the request lacks the token \"upgrade\"")
        }
        _ => f.write_str("the request has an Upgrade header but no Connection header"),
    }
}

pub fn handshake_key(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    match facts.gate {
        Gate::Violated(Violation::Key(fault)) => {
            value(f, "Sec-WebSocket-Key", fault, "not 16 bytes in base64")
        }
        _ => Ok(()),
    }
}

pub fn handshake_version(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    match facts.gate {
        Gate::Violated(Violation::Version(fault)) => {
            value(f, "Sec-WebSocket-Version", fault, "not 13")
        }
        _ => Ok(()),
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

pub fn origin_denied(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let Gate::OriginDenied { denied, allowed } = facts.gate else {
        return Ok(());
    };
    match denied {
        Denied::Missing => f.write_str("a request without Origin is not allowed"),
        Denied::Repeated(second) => {
            write!(f, "Origin is given twice, the second is \"{}\"", Escaped(second))
        }
        Denied::NotListed(origin) => write!(f, "origin \"{}\" is not allowed", Escaped(origin)),
    }?;
    write!(f, ", allowed: \"{}\"", Escaped(allowed.as_bytes()))?;
    scheme::own_origin(f, facts, allowed)
}

pub fn http2_upgrade(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let version = facts.http_version;
    if facts.upgrade.is_empty() {
        return write!(
            f,
            "an {version} request has Sec-WebSocket-Key and no Upgrade header, which only HTTP/1.1 \
             knows: a client such as curl leaves it out there"
        );
    }
    write!(f, "an {version} request has an Upgrade header, which only HTTP/1.1 knows")
}

pub fn proxy_protocol(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let version = if facts.preface == Some(Preface::Proxy2) { 2 } else { 1 };
    write!(
        f,
        "the connection from {} begins with a header of the PROXY protocol (version {version}), which {} does \
         not expect",
        Escaped(facts.peer),
        facts.server.as_server()
    )
}

pub fn certificate(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    f.write_str(match facts.early {
        Some(Early::CertificateMissing) => {
            "the client sent no certificate and ssl_verify_client requires one"
        }
        _ => "the client's certificate was not accepted by ssl_verify_client",
    })
}

pub fn header_too_large(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    f.write_str(match facts.early {
        Some(Early::UriTooLong) => "the request line is longer than large_client_header_buffers",
        _ => "the request header is larger than large_client_header_buffers",
    })
}
