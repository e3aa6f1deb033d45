//! What is wrong with a 101.

use std::fmt::{self, Formatter};

use crate::diagnosis::facts::{Facts, Sent, SwitchFault};
use crate::handshake::switch::{BadAccept, BadSwitch, Fault};
use crate::text::escape::Escaped;

use super::parts::{Backend, Where};

pub fn fault(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let upstream = facts.upstream.unwrap_or_default();
    let backend = Backend::of(facts);
    let fault = match upstream.switch_fault {
        Some(SwitchFault::Wrong(fault)) => fault,
        Some(SwitchFault::Unsolicited) | None => {
            return match facts.upgrade {
                b"" => write!(f, "{backend} answered 101 to a request that asked for no upgrade"),
                upgrade => {
                    let upgrade = Escaped(upgrade);
                    write!(
                        f,
                        "{backend} answered 101, although Upgrade \"{upgrade}\" was not passed on"
                    )
                }
            };
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
            }?;
            match offered_by_nginx(facts) {
                Some(sent) => write!(f, ", but nginx sent \"{}\"", Escaped(sent)),
                None => Ok(()),
            }
        }
        Fault::ExtensionMismatch { chosen } => {
            write!(f, "{backend} chose extension \"{}\", which was not offered", Escaped(chosen))
        }
    }
}

/// The subprotocols that the backend was offered, if they are not the client's.
pub fn offered_by_nginx<'a>(facts: &Facts<'a>) -> Option<&'a [u8]> {
    match facts.upstream.unwrap_or_default().subprotocols {
        Sent::Value(sent) if facts.subprotocols != Some(sent) => Some(sent),
        Sent::Value(_) | Sent::Nothing | Sent::Unknown => None,
    }
}

/// A 101 that was right, and that the client did not get.
pub fn replaced(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let backend = Backend::of(facts);
    let place = Where(facts.location);
    match (facts.upstream.unwrap_or_default().accel_redirect, facts.status) {
        (Some(uri), _) => write!(
            f,
            "{backend} answered 101 with X-Accel-Redirect \"{}\", of which nginx makes another request",
            Escaped(uri)
        ),
        (None, 0) => write!(
            f,
            "{backend} answered 101, and another module of this nginx closed the connection in {place}"
        ),
        (None, status) => write!(
            f,
            "{backend} answered 101, and another module of this nginx put {status} in its place in {place}"
        ),
    }
}
