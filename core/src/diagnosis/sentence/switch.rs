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
        Some(SwitchFault::Delivered(fault)) => return delivered(f, facts, fault),
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
        // It is nginx that hides.
        Fault::Hidden { header } => write!(f, "{header} does not reach the client"),
        Fault::Repeated { header } => {
            write!(f, "{backend} answered 101 with two {header} headers, which browsers refuse")
        }
        Fault::SubprotocolMismatch { chosen } => {
            write!(f, "{backend} chose subprotocol \"{}\", ", Escaped(chosen))?;
            offered(f, facts)?;
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

/// What the client offered.
fn offered(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    match facts.subprotocols {
        Some(offered) => write!(f, "offered: \"{}\"", Escaped(offered)),
        None => f.write_str("none was offered"),
    }
}

/// A 101 that was right, and that nginx has changed on its way to the client.
fn delivered(f: &mut Formatter, facts: &Facts, fault: Fault) -> fmt::Result {
    let (backend, place) = (Backend::of(facts), Where(facts.location));
    match fault {
        Fault::Hidden { header } => {
            write!(f, "{place} hides {header} of the 101 of {backend} from the client")
        }
        Fault::BadSwitch(BadSwitch::OtherProtocol(other)) => {
            write!(f, "{place} adds Upgrade \"{}\" to the 101 of {backend}", Escaped(other))
        }
        Fault::BadAccept(BadAccept::Wrong { received, expected }) => write!(
            f,
            "{place} sends the client Sec-WebSocket-Accept \"{}\" where \"{}\" belongs to its key",
            Escaped(received),
            Escaped(&expected)
        ),
        Fault::Repeated { header } => write!(
            f,
            "{place} adds a second {header} header to the 101 of {backend}, which browsers refuse"
        ),
        Fault::SubprotocolMismatch { chosen } => {
            write!(
                f,
                "{place} adds subprotocol \"{}\" to the 101 of {backend}, ",
                Escaped(chosen)
            )?;
            offered(f, facts)
        }
        Fault::ExtensionMismatch { chosen } => write!(
            f,
            "{place} adds extension \"{}\" to the 101 of {backend}, which was not offered",
            Escaped(chosen)
        ),
        // nginx writes that header, and what is not there at all is hidden.
        Fault::BadSwitch(BadSwitch::Connection(_) | BadSwitch::NoUpgrade)
        | Fault::BadAccept(BadAccept::NoKey | BadAccept::Missing { .. }) => {
            write!(f, "{place} changes the 101 of {backend}")
        }
    }
}

/// What to do about that; `None` for a 101 that came so from the backend.
pub fn fix_of_delivered(facts: &Facts) -> Option<&'static str> {
    let upstream = facts.upstream.unwrap_or_default();
    let Some(SwitchFault::Delivered(fault)) = upstream.switch_fault else { return None };
    Some(match fault {
        Fault::Hidden { .. } => {
            "remove the \"proxy_hide_header\" of that header there, or what else clears it (more_clear_headers, Lua)"
        }
        Fault::BadAccept(_) if upstream.key_replaced => {
            "remove the \"proxy_set_header Sec-WebSocket-Key\" there"
        }
        _ => "remove the \"add_header\" of that header there, or what else adds it (more_set_headers, Lua)",
    })
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
    let upstream = facts.upstream.unwrap_or_default();
    if upstream.for_error_page && upstream.accel_redirect.is_none() {
        return write!(
            f,
            "{backend} answered 101 in {place}, to which an error_page had brought the request, and that keeps the \
             status {}",
            facts.status
        );
    }
    match (upstream.accel_redirect, facts.status) {
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
