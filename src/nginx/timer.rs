//! `ngx_event_t` as a timer

use core::cell::UnsafeCell;
use core::mem::zeroed;
use core::ptr;

use ngx::ffi::{
    ngx_add_timer, ngx_connection_t, ngx_cycle, ngx_del_timer, ngx_event_handler_pt, ngx_event_t,
    ngx_msec_t,
};

/// A timer of this process, which belongs to no connection. A worker that shuts down does not wait for it.
pub struct Timer(UnsafeCell<Parts>);

struct Parts {
    event: ngx_event_t,
    /// nginx expects a connection behind each event when it writes its debug log.
    connection: ngx_connection_t,
}

impl Timer {
    pub const fn new() -> Self {
        // SAFETY: an event and a connection of zeroes are valid.
        Self(UnsafeCell::new(unsafe { zeroed() }))
    }

    /// Has nginx call `handler` once, after so many milliseconds; nothing if the timer is running.
    pub fn start(&'static self, time: ngx_msec_t, handler: ngx_event_handler_pt) {
        // SAFETY: a process of nginx has one thread, and the reference is not kept.
        let Parts { event, connection } = unsafe { &mut *self.0.get() };
        if event.timer_set() != 0 {
            return;
        }
        connection.fd = -1;
        event.handler = handler;
        event.data = ptr::from_mut(connection).cast();
        // SAFETY: the cycle's log is live.
        event.log = unsafe { (*ngx_cycle).log };
        event.set_cancelable(1);
        // SAFETY: the event is static.
        unsafe { ngx_add_timer(event, time) };
    }

    /// Whether the handler is still to be called.
    pub fn is_running(&self) -> bool {
        // SAFETY: a process of nginx has one thread, and the reference is not kept.
        unsafe { &(*self.0.get()).event }.timer_set() != 0
    }

    pub fn stop(&self) {
        // SAFETY: a process of nginx has one thread, and the reference is not kept.
        let event = unsafe { &mut (*self.0.get()).event };
        if event.timer_set() != 0 {
            // SAFETY: the event is in the tree of timers.
            unsafe { ngx_del_timer(event) };
        }
    }
}
