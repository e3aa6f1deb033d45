//! How a tunnel ended.

use std::fmt::{self, Formatter};

use crate::findings::EndFinding;
use crate::text::duration::Duration;
use crate::text::escape::Escaped;

use crate::diagnosis::tunnel::TunnelEnd;

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
