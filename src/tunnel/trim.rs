//! Memory that ended tunnels leave behind in the heap of a worker.
//!
//! glibc returns only what lies at the end of its heap, and the little that is in use or kept for
//! reuse between ten thousand freed tunnels holds back all of theirs.

use core::cell::Cell;

use crate::nginx::OneThread;

/// For fewer tunnels, some MiB, the heap is not searched.
const FEW: usize = 256;

/// The tunnels of this worker.
struct Tunnels {
    open: Cell<usize>,
    /// How many have ended since the heap was last searched.
    ended: Cell<usize>,
}

static TUNNELS: OneThread<Tunnels> =
    OneThread::new(Tunnels { open: Cell::new(0), ended: Cell::new(0) });

/// Counts a tunnel that begins.
pub fn opened() {
    TUNNELS.open.set(TUNNELS.open.get() + 1);
}

/// Counts a tunnel that ends. Once more have ended than are left, their memory goes back to the
/// system: a search takes as long as there are tunnels, so that each pays for a few others.
pub fn ended() {
    let open = TUNNELS.open.get().saturating_sub(1);
    let ended = TUNNELS.ended.get() + 1;
    TUNNELS.open.set(open);
    TUNNELS.ended.set(ended);
    if ended >= open.max(FEW) {
        TUNNELS.ended.set(0);
        trim();
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: the function only looks at free memory.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries have no such function.
#[cfg(not(target_env = "gnu"))]
fn trim() {}
