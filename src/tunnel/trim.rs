//! Memory that ended tunnels leave behind in the heap of a worker.
//!
//! glibc returns only what lies at the end of its heap, and the little that is in use or kept for
//! reuse between ten thousand freed tunnels holds back all of theirs.

use core::cell::Cell;

use ngx::ffi::{ngx_event_t, ngx_msec_t};

use crate::nginx::{OneThread, Timer};

/// For fewer tunnels, some MiB, the heap is not searched.
const FEW: usize = 256;

/// A worker in which no tunnel has ended for so long has time for a search, in milliseconds.
const QUIET: ngx_msec_t = 100;

/// So often it is waited for such a time.
const PATIENCE: usize = 50;

/// The tunnels of this worker.
struct Tunnels {
    open: Cell<usize>,
    /// How many have ended since the heap was last searched.
    ended: Cell<usize>,
    /// How many had when the timer was last started, and how often it was.
    seen: Cell<usize>,
    waited: Cell<usize>,
    timer: Timer,
}

static TUNNELS: OneThread<Tunnels> = OneThread::new(Tunnels {
    open: Cell::new(0),
    ended: Cell::new(0),
    seen: Cell::new(0),
    waited: Cell::new(0),
    timer: Timer::new(),
});

/// Counts a tunnel that begins.
pub fn opened() {
    TUNNELS.open.set(TUNNELS.open.get() + 1);
}

/// Counts a tunnel that ends. Once more have ended than are left, their memory goes back to the
/// system: a search takes as long as there are tunnels, so that each pays for a few others. Nobody is to
/// wait for it, so it comes when no more tunnels end, or after [`PATIENCE`].
pub fn ended() {
    let open = TUNNELS.open.get().saturating_sub(1);
    let ended = TUNNELS.ended.get() + 1;
    TUNNELS.open.set(open);
    TUNNELS.ended.set(ended);
    if ended >= open.max(FEW) && !TUNNELS.timer.is_running() {
        TUNNELS.waited.set(0);
        TUNNELS.wait();
    }
}

impl Tunnels {
    fn wait(&'static self) {
        self.seen.set(self.ended.get());
        self.waited.set(self.waited.get() + 1);
        self.timer.start(QUIET, Some(look));
    }
}

/// # Safety
/// Called by nginx for the timer.
unsafe extern "C" fn look(_: *mut ngx_event_t) {
    let is_busy = TUNNELS.ended.get() != TUNNELS.seen.get();
    if is_busy && TUNNELS.waited.get() < PATIENCE {
        return TUNNELS.wait();
    }
    TUNNELS.ended.set(0);
    trim();
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: the function only looks at free memory.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries have no such function.
#[cfg(not(target_env = "gnu"))]
fn trim() {}
