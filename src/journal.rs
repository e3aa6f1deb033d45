//! Writes diagnoses to the error log, and keeps a client from flooding it.
//!
//! In each worker a finding of a location is written at most [`LINES`] times within [`WINDOW`]; the
//! others are counted, and the sum is written when the window ends.

use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::mem::zeroed;
use core::ptr;
use std::collections::BTreeMap;

use ngx::ffi::{
    ngx_add_timer, ngx_connection_t, ngx_del_timer, ngx_event_t, ngx_http_request_t, ngx_int_t,
    ngx_log_error_core, ngx_log_t, ngx_msec_t, ngx_uint_t,
};
use websocket_guard_core::diagnosis::{diagnose, Diagnosis};
use websocket_guard_core::findings::Finding;

use crate::conf::{nginx_level, LocationConf, LogLevel};
use crate::facts;
use crate::request::{Location, Request};

/// How many lines of one finding in one location are written in a window.
const LINES: u32 = 10;

/// How long a window is, in milliseconds.
const WINDOW: ngx_msec_t = 10_000;

/// How many findings and locations are told apart in a window. What comes after is written: nobody
/// can make nginx have more locations.
const MAX_KEYS: usize = 4096;

/// The handler of the log phase.
///
/// # Safety
/// Called by nginx with a live request.
pub unsafe extern "C" fn log_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: guaranteed by the caller.
    let request = unsafe { Request::live(r) };
    let refused_body = request.raw().err_status == 413;
    let has_key = request.has_key();
    if request.may_have_attempt() || refused_body || has_key {
        conclude(&request, refused_body || has_key);
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
    if attempt.is_some_and(|it| it.is_sound_tunnel() || it.is_served_by_other()) {
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
    let mut buffer = LineBuffer { bytes: [0; Diagnosis::LINE_MAX], length: 0 };
    // A longer line is cut, and nothing else can fail.
    let _ = buffer.write_fmt(line);
    // SAFETY: the format reads a length and that many bytes.
    unsafe {
        ngx_log_error_core(
            level as ngx_uint_t,
            log,
            0,
            c"%*s".as_ptr(),
            buffer.length,
            buffer.bytes.as_ptr(),
        );
    }
}

struct LineBuffer {
    bytes: [u8; Diagnosis::LINE_MAX],
    length: usize,
}

impl Write for LineBuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(text.bytes()) {
            *place = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// What was written and counted in the current window of this worker.
struct Window {
    counts: BTreeMap<(usize, u32), Count>,
    timer: Option<Box<Timer>>,
}

struct Count {
    written: u32,
    suppressed: u32,
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

static STATE: OneThread<Window> =
    OneThread(UnsafeCell::new(Window { counts: BTreeMap::new(), timer: None }));

/// Whether another line of this finding may be written; if not, it is counted.
fn admit(finding: Finding, level: u32, location: Location) -> bool {
    // SAFETY: one thread, and nothing called here comes back.
    let window = unsafe { &mut *STATE.0.get() };
    if window.counts.is_empty() {
        window.start();
    }
    let key = (ptr::from_ref(location.conf) as usize, finding as u32);
    if window.counts.len() >= MAX_KEYS && !window.counts.contains_key(&key) {
        return true;
    }
    let count = window.counts.entry(key).or_insert(Count {
        written: 0,
        suppressed: 0,
        finding,
        level,
        location,
    });
    let admitted = count.written < LINES;
    let counter = if admitted { &mut count.written } else { &mut count.suppressed };
    *counter = counter.saturating_add(1);
    admitted
}

/// Ends the window of this worker, and writes the sums.
pub fn flush() {
    // SAFETY: as in `admit`.
    let window = unsafe { &mut *STATE.0.get() };
    window.stop();
    for count in core::mem::take(&mut window.counts).into_values() {
        if count.suppressed > 0 {
            // SAFETY: the location's error log lives as long as its configuration.
            unsafe {
                let log = count.location.core.error_log;
                if (*log).log_level >= count.level as usize {
                    write_line(
                        log,
                        count.level,
                        format_args!(
                            "websocket_guard: {} more in the last {}s: {} [{}]",
                            count.suppressed,
                            WINDOW / 1000,
                            facts::place(count.location),
                            count.finding.slug()
                        ),
                    );
                }
            }
        }
    }
}

impl Window {
    fn start(&mut self) {
        // SAFETY: an event and a connection of zeroes are valid.
        let timer = self.timer.get_or_insert_with(|| unsafe { Box::new(zeroed()) });
        timer.connection.fd = -1;
        timer.event.handler = Some(expired);
        timer.event.data = ptr::addr_of_mut!(timer.connection).cast();
        // SAFETY: the cycle's log is live.
        timer.event.log = unsafe { (*ngx::ffi::ngx_cycle).log };
        // Without this a worker that shuts down would wait for the event.
        timer.event.set_cancelable(1);
        // SAFETY: the event stays where it is.
        unsafe { ngx_add_timer(&mut timer.event, WINDOW) };
    }

    fn stop(&mut self) {
        if let Some(timer) = &mut self.timer {
            if timer.event.timer_set() != 0 {
                // SAFETY: the event is in the tree of timers.
                unsafe { ngx_del_timer(&mut timer.event) };
            }
        }
    }
}

/// # Safety
/// Called by nginx for the timer of a window.
unsafe extern "C" fn expired(_: *mut ngx_event_t) {
    flush();
}
