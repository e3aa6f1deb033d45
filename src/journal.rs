//! Writes diagnoses to the error log, and keeps a client from flooding it.
//!
//! In each worker a [`Flood`] decides, for a [`WINDOW`] of time, which lines are written. The others are
//! counted, and the sums are written when the window ends.

use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::mem::zeroed;
use core::ptr;

use ngx::ffi::{
    ngx_add_timer, ngx_connection_t, ngx_del_timer, ngx_event_t, ngx_http_request_t, ngx_int_t,
    ngx_log_error_core, ngx_log_t, ngx_msec_t, ngx_uint_t,
};
use websocket_guard_core::diagnosis::flood::{Flood, Sum};
use websocket_guard_core::diagnosis::{diagnose, Diagnosis};
use websocket_guard_core::findings::Finding;
use websocket_guard_core::http::version::HttpVersion;

use crate::conf::{nginx_level, LocationConf, LogLevel};
use crate::facts;
use crate::request::{Location, Request};
use crate::text::Filler;

/// How long a window is, in milliseconds.
const WINDOW: ngx_msec_t = 10_000;

/// The handler of the log phase.
///
/// # Safety
/// Called by nginx with a live request.
pub unsafe extern "C" fn log_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: guaranteed by the caller.
    let request = unsafe { Request::live(r) };
    let refused = matches!(request.raw().err_status, 400 | 413);
    let has_key = request.has_key();
    if request.may_have_attempt() || refused || has_key {
        conclude(&request, refused || has_key);
    }
    0
}

/// Writes the diagnosis of a request that is over, if it needs one. It may without an attempt.
#[inline(never)]
fn conclude(request: &Request, anyway: bool) {
    if request.is_main() && (anyway || request.attempt().is_some()) {
        report(request);
    }
}

/// Writes the diagnosis of a request, once.
pub fn report(request: &Request) {
    let attempt = request.attempt();
    if attempt.is_some_and(|attempt| attempt.reported.replace(true)) {
        return;
    }
    // nginx makes a tunnel of an HTTP/2 request too, in which nothing moves.
    let is_http1 = request.http_version() == HttpVersion::Http11;
    if attempt.is_some_and(|it| it.is_sound_tunnel() && is_http1 || it.is_served_by_other()) {
        return;
    }
    let Some(facts) = facts::gather(request, attempt) else { return };
    let location = attempt.and_then(|attempt| attempt.subject(request).0);
    let Some(location) = location.or_else(|| Location::of(request)) else { return };
    if let Some(diagnosis) = diagnose(&facts) {
        write(request, location, &diagnosis);
    }
}

/// Writes a diagnosis, unless it is silenced, below the level of the error log, or one of too many.
pub fn write(request: &Request, location: Location, diagnosis: &Diagnosis) {
    let finding = diagnosis.finding();
    let Some(level) = level(location.conf, diagnosis) else { return };
    let log = request.connection().log;
    // SAFETY: a connection has a log.
    let enabled = unsafe { (*log).log_level >= level as usize };
    if !enabled || location.conf.ignores(finding) || !admit(finding, level, location) {
        return;
    }
    // SAFETY: the log is live. What nginx was doing does not belong into the line.
    unsafe {
        let action = ptr::replace(&mut (*log).action, ptr::null_mut());
        write_line(log, level, format_args!("{}", diagnosis.line()));
        (*log).action = action;
    }
}

/// The level at which a diagnosis is written; `None` if it is not.
fn level(conf: &LocationConf, diagnosis: &Diagnosis) -> Option<u32> {
    let LogLevel::Level(configured) = conf.log() else { return None };
    Some(diagnosis.level().map_or(configured, nginx_level))
}

/// # Safety
/// `log` must be live.
unsafe fn write_line(log: *mut ngx_log_t, level: u32, line: fmt::Arguments) {
    let mut buffer = [0; Diagnosis::LINE_MAX];
    let mut filler = Filler::new(&mut buffer);
    // A longer line is cut, and nothing else can fail.
    let _ = filler.write_fmt(line);
    let length = filler.length();
    // SAFETY: the format reads a length and that many bytes.
    unsafe {
        ngx_log_error_core(level as ngx_uint_t, log, 0, c"%*s".as_ptr(), length, buffer.as_ptr());
    }
}

/// The current window of this worker. All of it is static: it takes no memory when there is none.
struct Window {
    flood: Flood<Subject>,
    timer: Timer,
}

/// What a sum is about.
#[derive(Clone, Copy)]
struct Subject {
    finding: Finding,
    level: u32,
    location: Location,
}

/// The end of the window, as an event of nginx.
struct Timer {
    event: ngx_event_t,
    /// nginx expects a connection behind each event when it writes its debug log.
    connection: ngx_connection_t,
}

/// A worker has one thread.
struct OneThread<T>(UnsafeCell<T>);

// SAFETY: see above.
unsafe impl<T> Sync for OneThread<T> {}

static WINDOW_OF_WORKER: OneThread<Window> = OneThread(UnsafeCell::new(Window {
    flood: Flood::new(),
    // SAFETY: an event and a connection of zeroes are valid.
    timer: unsafe { zeroed() },
}));

/// Whether another line of this finding may be written; if not, it is counted.
fn admit(finding: Finding, level: u32, location: Location) -> bool {
    // SAFETY: one thread, and nothing called here comes back.
    let window = unsafe { &mut *WINDOW_OF_WORKER.0.get() };
    window.start();
    // No address has more than 57 bits.
    let key = (ptr::from_ref(location.conf) as u64) << 7 | finding as u64;
    window.flood.admit(key, level, Subject { finding, level, location })
}

/// Ends the window of this worker, and writes the sums.
pub fn flush() {
    // SAFETY: as in `admit`.
    let window = unsafe { &mut *WINDOW_OF_WORKER.0.get() };
    window.stop();
    window.flood.end(|sum| {
        let Sum { events, subject: Subject { finding, level, location }, of_others } = sum;
        let seconds = WINDOW / 1000;
        // SAFETY: the location's error log lives as long as its configuration.
        unsafe {
            let log = location.core.error_log;
            if (*log).log_level < level as usize {
                return;
            }
            if of_others {
                let line = format_args!(
                    "websocket_guard: {events} more in the last {seconds}s: other findings and locations"
                );
                return write_line(log, level, line);
            }
            let place = facts::place(location);
            let line = format_args!(
                "websocket_guard: {events} more in the last {seconds}s: {place} [{}]",
                finding.slug()
            );
            write_line(log, level, line);
        }
    });
}

const _: () = assert!(Finding::ALL.len() <= 128);

impl Window {
    /// The window begins with the first event.
    fn start(&mut self) {
        let Timer { event, connection } = &mut self.timer;
        if event.timer_set() != 0 {
            return;
        }
        connection.fd = -1;
        event.handler = Some(expired);
        event.data = ptr::from_mut(connection).cast();
        // SAFETY: the cycle's log is live.
        event.log = unsafe { (*ngx::ffi::ngx_cycle).log };
        // Without this a worker that shuts down would wait for the event.
        event.set_cancelable(1);
        // SAFETY: the event stays where it is.
        unsafe { ngx_add_timer(event, WINDOW) };
    }

    fn stop(&mut self) {
        let event = &mut self.timer.event;
        if event.timer_set() != 0 {
            // SAFETY: the event is in the tree of timers.
            unsafe { ngx_del_timer(event) };
        }
    }
}

/// # Safety
/// Called by nginx for the timer of a window.
unsafe extern "C" fn expired(_: *mut ngx_event_t) {
    flush();
}
