//! How a worker learns that it is to leave, and what it tells of the tunnels that it closed.
//!
//! nginx tells no module, but it closes idle connections then (`ngx_close_idle_connections`): it calls the
//! read handler of each. One of them is the guard's.

use core::cell::Cell;

use ngx::ffi::{
    ngx_close_connection, ngx_cycle, ngx_cycle_t, ngx_event_t, ngx_exiting, ngx_get_connection,
    ngx_log_t, NGX_LOG_NOTICE,
};
use ngx::ngx_log_error;
use websocket_guard_core::findings::EndFinding;
use websocket_guard_core::text::count::Count;

use crate::nginx::OneThread;

/// What this worker knows.
struct Worker {
    /// What is to be done then, while the connection is there.
    drain: Cell<Option<fn(&ngx_cycle_t)>>,
    drained: Cell<u64>,
    unanswered: Cell<u64>,
}

static WORKER: OneThread<Worker> = OneThread::new(Worker {
    drain: Cell::new(None),
    drained: Cell::new(0),
    unanswered: Cell::new(0),
});

/// Whether this worker is leaving.
pub fn has_begun() -> bool {
    // SAFETY: nginx changes it between two events only.
    unsafe { ngx_exiting != 0 }
}

/// Makes sure that tunnels are drained when this worker is told to leave. Without memory, or a connection, they
/// are not, and nginx has logged why.
pub fn learn(log: *mut ngx_log_t, drain: fn(&ngx_cycle_t)) {
    if WORKER.drain.get().is_some() || has_begun() {
        return;
    }
    // SAFETY: the descriptor is the connection's alone; nothing is read from it or waited for.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if fd == -1 {
            return;
        }
        let Some(connection) = ngx_get_connection(fd, log).as_mut() else {
            libc::close(fd);
            return;
        };
        // The log of a tunnel is gone with it.
        connection.log = (*ngx_cycle).log;
        connection.set_idle(1);
        (*connection.read).handler = Some(told);
        (*connection.read).log = connection.log;
        (*connection.write).log = connection.log;
    }
    WORKER.drain.set(Some(drain));
}

/// # Safety
/// Called by nginx with an event of the connection, when the worker is to leave.
unsafe extern "C" fn told(event: *mut ngx_event_t) {
    let drain = WORKER.drain.take();
    // SAFETY: nginx passes the event of the connection; a worker's cycle is live.
    let cycle = unsafe {
        ngx_close_connection((*event).data.cast());
        &*ngx_cycle
    };
    if let Some(drain) = drain {
        drain(cycle);
    }
}

/// Counts a tunnel whose turn has come.
pub fn note_drained() {
    WORKER.drained.set(WORKER.drained.get() + 1);
}

/// Counts one that had to be cut.
pub fn note_unanswered() {
    WORKER.unanswered.set(WORKER.unanswered.get() + 1);
}

/// Tells the sum when the worker exits.
pub fn sum_up(cycle: &ngx_cycle_t) {
    let (drained, unanswered) = (WORKER.drained.take(), WORKER.unanswered.take());
    if drained > 0 {
        ngx_log_error!(
            NGX_LOG_NOTICE,
            cycle.log,
            "websocket_guard: {} of this worker {} drained, {} of them without an answer in time [{}]",
            Count(drained, "tunnel"),
            if drained == 1 { "was" } else { "were" },
            unanswered,
            EndFinding::TunnelDrained.entry().slug
        );
    }
}
