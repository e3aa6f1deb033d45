//! Why there is no connection to the backend.

use std::fmt::{self, Formatter};

use crate::diagnosis::connect::{Cause, Unconnected};
use crate::diagnosis::facts::{Facts, Failure};

use super::parts::Backend;

pub fn cause(f: &mut Formatter, facts: &Facts) -> fmt::Result {
    let backend = Backend::of(facts);
    let error = unconnected(facts);
    match error.cause {
        Cause::WorkerConnections(all) => write!(
            f,
            "nginx did not ask {backend}: all {all} worker_connections of this worker are taken, and each \
             WebSocket takes two"
        ),
        Cause::Descriptors => write!(
            f,
            "nginx did not ask {backend}: this worker has no file descriptor left{error}, and each \
             WebSocket takes two"
        ),
        Cause::SystemDescriptors => {
            write!(f, "nginx did not ask {backend}: this host has no file descriptor left{error}")
        }
        Cause::Memory => write!(f, "nginx did not ask {backend}: no memory for a socket{error}"),
        Cause::Ports => {
            write!(f, "nginx did not ask {backend}: no local port is left for a connection to it{error}")
        }
        Cause::LocalAddress => write!(
            f,
            "nginx did not ask {backend}: the address of {}_bind cannot be had{error}",
            facts.handler.name()
        ),
        Cause::LocalForbidden => write!(
            f,
            "nginx did not ask {backend}: it may not use the address of {}_bind{error}",
            facts.handler.name()
        ),
        Cause::Forbidden => write!(f, "nginx may not connect to {backend}{error}"),
        Cause::QueueFull => {
            write!(f, "no connection to {backend}: its queue of connections is full{error}")
        }
        Cause::NoRoute | Cause::Absent => write!(f, "no connection to {backend}{error}"),
    }
}

/// What to do, where it is not what the catalogue says.
pub fn fix(facts: &Facts) -> Option<&'static str> {
    let is_unix = facts.upstream.is_some_and(|upstream| upstream.peer.starts_with(b"unix:"));
    Some(match unconnected(facts).cause {
        Cause::Descriptors => "raise worker_rlimit_nofile",
        Cause::SystemDescriptors => "raise the host's fs.file-max, or close what holds them",
        Cause::Memory => "see what takes the host's memory",
        Cause::Ports => {
            "widen the host's net.ipv4.ip_local_port_range, or spread the connections over several \
             local addresses (proxy_bind)"
        }
        Cause::LocalAddress => {
            "correct that directive: it needs an address of this host, of the same family as the \
             backend's"
        }
        Cause::LocalForbidden => {
            "give nginx's workers the right to do so (\"transparent\" and ports below 1024 need root \
             or a capability), or change that directive"
        }
        Cause::Forbidden if is_unix => {
            "let the user that nginx's workers run as write to that socket, and search the folders \
             above it"
        }
        Cause::QueueFull => {
            "see why the backend accepts none, or raise its listen backlog (and the host's \
             net.core.somaxconn)"
        }
        Cause::NoRoute => "correct the address in proxy_pass, or this host's routes and firewall",
        Cause::WorkerConnections(_) | Cause::Forbidden | Cause::Absent => return None,
    })
}

fn unconnected<'a>(facts: &Facts<'a>) -> Unconnected<'a> {
    match facts.upstream.and_then(|upstream| upstream.failure) {
        Some(Failure::NotConnected(error)) => error,
        _ => Unconnected::UNKNOWN,
    }
}
