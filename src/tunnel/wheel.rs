//! One timer for all tunnels of a worker that wait for a moment: of their lifetime, of a drain.
//!
//! It runs only while a tunnel waits, and never keeps a worker that shuts down.

use core::cell::{Cell, UnsafeCell};
use core::mem::zeroed;
use core::ptr;

use ngx::ffi::{
    ngx_add_timer, ngx_connection_t, ngx_current_msec, ngx_cycle, ngx_event_t, ngx_msec_t,
};

use crate::request::view::Request;

/// How exact it is, in milliseconds.
pub const TICK: ngx_msec_t = 100;

const SLOTS: usize = 256;

/// A tunnel in the wheel. It stays where it is in memory while it waits, and leaves the wheel when it is
/// dropped.
pub struct Waiting {
    request: Request,
    /// Who attends to it.
    call: fn(Request),
    due: Cell<ngx_msec_t>,
    next: Cell<*const Waiting>,
    /// What points here; null outside of the wheel.
    from: Cell<*const Cell<*const Waiting>>,
}

/// The tunnels that wait, by the tick in which they are due.
struct Wheel {
    slots: [Cell<*const Waiting>; SLOTS],
    count: Cell<usize>,
    /// The last tick that was looked at.
    last: Cell<ngx_msec_t>,
    timer: UnsafeCell<Timer>,
}

struct Timer {
    event: ngx_event_t,
    /// nginx expects a connection behind each event when it writes its debug log.
    connection: ngx_connection_t,
}

// SAFETY: a worker has one thread.
unsafe impl Sync for Wheel {}

static WHEEL: Wheel = Wheel {
    slots: [const { Cell::new(ptr::null()) }; SLOTS],
    count: Cell::new(0),
    last: Cell::new(0),
    // SAFETY: an event and a connection of zeroes are valid.
    timer: UnsafeCell::new(unsafe { zeroed() }),
};

impl Waiting {
    /// It does not wait yet.
    pub fn new(request: Request, call: fn(Request)) -> Self {
        Self {
            request,
            call,
            due: Cell::new(0),
            next: Cell::new(ptr::null()),
            from: Cell::new(ptr::null()),
        }
    }

    /// Waits until that moment of `ngx_current_msec`, and for no other. Then the tunnel is attended to.
    ///
    /// # Safety
    /// It must not be moved until it is dropped.
    pub unsafe fn wait_until(&self, due: ngx_msec_t) {
        self.leave();
        self.due.set(due);
        let tick = due.div_ceil(TICK).max(now() / TICK + 1);
        let Some(slot) = WHEEL.slots.get(tick % SLOTS) else { return };
        self.next.set(slot.get());
        // SAFETY: what is in the wheel is alive, since it leaves when it is dropped.
        if let Some(next) = unsafe { slot.get().as_ref() } {
            next.from.set(&self.next);
        }
        self.from.set(slot);
        slot.set(self);
        WHEEL.count.set(WHEEL.count.get() + 1);
        WHEEL.start();
    }

    fn leave(&self) {
        // SAFETY: what points here is a slot, or another one that is in the wheel.
        let Some(from) = (unsafe { self.from.get().as_ref() }) else { return };
        from.set(self.next.get());
        // SAFETY: as above.
        if let Some(next) = unsafe { self.next.get().as_ref() } {
            next.from.set(from);
        }
        self.from.set(ptr::null());
        WHEEL.count.set(WHEEL.count.get().saturating_sub(1));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.leave();
    }
}

fn now() -> ngx_msec_t {
    // SAFETY: nginx changes it between two events only.
    unsafe { ngx_current_msec }
}

impl Wheel {
    fn start(&self) {
        // SAFETY: one thread, and nothing called here comes back.
        let Timer { event, connection } = unsafe { &mut *self.timer.get() };
        if event.timer_set() != 0 {
            return;
        }
        self.last.set(now() / TICK);
        connection.fd = -1;
        event.handler = Some(turn);
        event.data = ptr::from_mut(connection).cast();
        // SAFETY: the cycle's log is live.
        event.log = unsafe { (*ngx_cycle).log };
        // Without this a worker that shuts down would wait for the event.
        event.set_cancelable(1);
        // SAFETY: the event stays where it is.
        unsafe { ngx_add_timer(event, TICK) };
    }
}

/// # Safety
/// Called by nginx for the wheel's timer.
unsafe extern "C" fn turn(_: *mut ngx_event_t) {
    let (now, last) = (now(), WHEEL.last.get());
    let ticks = (now / TICK).saturating_sub(last).min(SLOTS);
    for tick in last + 1..=last + ticks {
        let Some(slot) = WHEEL.slots.get(tick % SLOTS) else { continue };
        let mut next = slot.get();
        // SAFETY: as in `wait_until`; attending to a tunnel changes nothing in the wheel.
        while let Some(waiting) = unsafe { next.as_ref() } {
            next = waiting.next.get();
            if waiting.due.get() <= now {
                waiting.leave();
                (waiting.call)(waiting.request);
            }
        }
    }
    WHEEL.last.set(now / TICK);
    if WHEEL.count.get() > 0 {
        WHEEL.start();
    }
}
