//! One timer for all tunnels of a worker that wait for a moment: of their lifetime, of a drain.
//!
//! It runs only while a tunnel waits, and never keeps a worker that shuts down.

use core::cell::Cell;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::ptr;

use ngx::ffi::{ngx_event_t, ngx_msec_t};

use super::clock::Moment;
use crate::nginx::{OneThread, Timer};
use crate::request::view::Request;

/// How exact it is, in milliseconds.
pub const TICK: ngx_msec_t = 100;

const SLOTS: usize = 256;

/// A tunnel in the wheel. It stays where it is in memory while it waits, and leaves the wheel when it is
/// dropped.
pub struct Waiting {
    request: Request,
    /// Has it attended to later, when nothing goes through the wheel.
    call: fn(Request),
    due: Cell<Moment>,
    next: Cell<*const Waiting>,
    /// What points here; null outside of the wheel.
    from: Cell<*const Cell<*const Waiting>>,
    _pinned: PhantomPinned,
}

/// The tunnels that wait, by the tick in which they are due.
struct Wheel {
    slots: [Cell<*const Waiting>; SLOTS],
    count: Cell<usize>,
    /// The last tick that was looked at.
    last: Cell<ngx_msec_t>,
    timer: Timer,
}

static WHEEL: OneThread<Wheel> = OneThread::new(Wheel {
    slots: [const { Cell::new(ptr::null()) }; SLOTS],
    count: Cell::new(0),
    last: Cell::new(0),
    timer: Timer::new(),
});

impl Waiting {
    /// It does not wait yet.
    pub fn new(request: Request, call: fn(Request)) -> Self {
        Self {
            request,
            call,
            due: Cell::new(Moment::now()),
            next: Cell::new(ptr::null()),
            from: Cell::new(ptr::null()),
            _pinned: PhantomPinned,
        }
    }

    /// Waits until that moment, and for no other. Then the tunnel is attended to.
    pub fn wait_until(self: Pin<&Self>, due: Moment) {
        self.leave();
        self.due.set(due);
        let tick = due.milliseconds().div_ceil(TICK).max(this_tick() + 1);
        let Some(slot) = WHEEL.slots.get(tick % SLOTS) else { return };
        self.next.set(slot.get());
        // SAFETY: what is in the wheel is alive, since it leaves when it is dropped.
        if let Some(next) = unsafe { slot.get().as_ref() } {
            next.from.set(&self.next);
        }
        self.from.set(slot);
        slot.set(ptr::from_ref(self.get_ref()));
        WHEEL.count.set(WHEEL.count.get() + 1);
        WHEEL.start();
    }

    fn leave(&self) {
        // SAFETY: what points here is a slot, which is static, or another one in the wheel, which is alive.
        let Some(from) = (unsafe { self.from.get().as_ref() }) else { return };
        from.set(self.next.get());
        // SAFETY: what is in the wheel is alive, since it leaves when it is dropped.
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

fn this_tick() -> ngx_msec_t {
    Moment::now().milliseconds() / TICK
}

impl Wheel {
    fn start(&'static self) {
        if !self.timer.is_running() {
            self.last.set(this_tick());
            self.timer.start(TICK, Some(turn));
        }
    }
}

/// # Safety
/// Called by nginx for the wheel's timer.
unsafe extern "C" fn turn(_: *mut ngx_event_t) {
    let last = WHEEL.last.get();
    let ticks = this_tick().saturating_sub(last).min(SLOTS);
    for tick in last + 1..=last + ticks {
        let Some(slot) = WHEEL.slots.get(tick % SLOTS) else { continue };
        let mut next = slot.get();
        // SAFETY: what is in the wheel is alive; `call` only has nginx call the tunnel later, so that `next`
        // is in the wheel yet when its turn comes.
        while let Some(waiting) = unsafe { next.as_ref() } {
            next = waiting.next.get();
            if waiting.due.get().is_past() {
                waiting.leave();
                (waiting.call)(waiting.request);
            }
        }
    }
    WHEEL.last.set(this_tick());
    if WHEEL.count.get() > 0 {
        WHEEL.start();
    }
}
