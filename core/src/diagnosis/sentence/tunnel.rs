//! How a tunnel ended.

use std::fmt::{self, Formatter};

use crate::findings::EndFinding;
use crate::frame::Role;
use crate::text::count::Count;
use crate::text::duration::Duration;
use crate::text::escape::Escaped;

use crate::diagnosis::tunnel::{End, FrameError, MessageRate, MessageTooLarge, TunnelEnd};

pub fn tunnel_end(f: &mut Formatter, finding: EndFinding, end: &TunnelEnd) -> fmt::Result {
    let TunnelEnd { handler, .. } = end;
    let peer = Escaped(end.peer);
    let age = Duration::about(end.age_ms);
    let limit = Duration::about(end.limit_ms);
    let client = Duration::about(end.client_silent_ms);
    let backend = Duration::about(end.backend_silent_ms);
    match finding {
        EndFinding::TunnelIdle => write!(
            f,
            "tunnel cut after {age}: no byte in either direction for {} (limit {limit}; ",
            Duration::about(end.client_silent_ms.min(end.backend_silent_ms))
        ),
        EndFinding::TunnelClientStalled => {
            write!(f, "tunnel cut after {age}: the client took no data for {limit} (send_timeout; ")
        }
        EndFinding::TunnelBackendStalled => write!(
            f,
            "tunnel cut after {age}: backend {peer} took no data for {limit} ({}_send_timeout; ",
            handler.name()
        ),
        EndFinding::TunnelClientReset => {
            write!(f, "tunnel ended after {age}: the client reset the connection (")
        }
        EndFinding::TunnelBackendReset => {
            write!(f, "tunnel ended after {age}: backend {peer} reset the connection (")
        }
        EndFinding::TunnelClientGone => write!(
            f,
            "tunnel ended after {age}: the client's connection ended without a Close frame ("
        ),
        EndFinding::TunnelBackendGone => write!(
            f,
            "tunnel ended after {age}: the connection of backend {peer} ended without a Close frame ("
        ),
        EndFinding::TunnelFrameError => frame_error(f, end),
        EndFinding::TunnelClientDead => {
            write!(f, "tunnel cut after {age}: no answer of the client to a Ping for {limit} (")
        }
        EndFinding::TunnelBackendDead => {
            write!(f, "tunnel cut after {age}: no answer of backend {peer} to a Ping for {limit} (")
        }
        EndFinding::TunnelMessageTooLarge => message_too_large(f, end),
        EndFinding::TunnelMessageRate => message_rate(f, end),
        EndFinding::TunnelLifetime => write!(f, "tunnel closed after {age}: its lifetime was over ("),
        EndFinding::TunnelLifetimeUnknown => {
            let value = Escaped(end.lifetime);
            let fix = finding.entry().fix;
            return write!(
                f,
                "a tunnel has no limit, for \"{value}\" in websocket_guard_lifetime is no number of seconds; {fix}"
            );
        }
        EndFinding::TunnelDrained => {
            write!(f, "tunnel closed after {age}: its worker is leaving (")
        }
        EndFinding::TunnelShutdown if end.end == End::FastStop => {
            write!(f, "tunnel cut after {age}: nginx was stopped at once (")
        }
        EndFinding::TunnelShutdown => write!(
            f,
            "tunnel cut after {age}: the old worker was shut down by worker_shutdown_timeout after \
             a reload ("
        ),
    }?;
    write!(f, "client silent for {client}, backend silent for {backend}); ")?;
    // websocket_guard_timeout would do nothing in such a location.
    if finding == EndFinding::TunnelIdle && !end.mode.is_guarded() {
        let module = handler.name();
        return write!(
            f,
            "have the application send pings more often than that, or raise {module}_read_timeout"
        );
    }
    f.write_str(finding.entry().fix)
}

fn frame_error(f: &mut Formatter, end: &TunnelEnd) -> fmt::Result {
    let End::FrameError(FrameError { sender, violation, is_end }) = end.end else { return Ok(()) };
    let age = Duration::about(end.age_ms);
    let section = violation.section();
    if is_end {
        write!(f, "tunnel cut after {age}: ")?;
    }
    match sender {
        Role::Client => f.write_str("the client")?,
        Role::Server => write!(f, "backend {}", Escaped(end.peer))?,
    }
    write!(f, " broke RFC 6455 section {section}: {violation}")?;
    if !is_end {
        write!(f, "; its tunnel goes on after {age}, and nobody looks at its frames any more")?;
    }
    f.write_str(" (")
}

fn message_too_large(f: &mut Formatter, end: &TunnelEnd) -> fmt::Result {
    let End::MessageTooLarge(MessageTooLarge { sender, size, limit }) = end.end else {
        return Ok(());
    };
    write!(f, "tunnel closed after {}: a message of ", Duration::about(end.age_ms))?;
    match sender {
        Role::Client => f.write_str("the client")?,
        Role::Server => write!(f, "backend {}", Escaped(end.peer))?,
    }
    write!(f, " has {size} bytes or more, and the limit is {limit} (websocket_guard_max_message; ")
}

fn message_rate(f: &mut Formatter, end: &TunnelEnd) -> fmt::Result {
    let End::MessageRate(MessageRate { messages, rate }) = end.end else { return Ok(()) };
    let age = Duration::about(end.age_ms);
    write!(
        f,
        "tunnel closed after {age}: the client sent more than {}, which is faster than {rate} \
         (websocket_guard_message_rate; ",
        Count(messages, "message")
    )
}
