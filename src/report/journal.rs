//! Writes diagnoses to the error log, and keeps a client from flooding it.
//!
//! In each worker a [`Flood`] decides, for a [`WINDOW`] of time, which lines are written. The others are
//! counted, and the sums are written when the window ends.

use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::ptr;

use ngx::ffi::{ngx_event_t, ngx_log_t, ngx_msec_t};
use websocket_guard_core::diagnosis::flood::{Flood, Sum};
use websocket_guard_core::diagnosis::Diagnosis;
use websocket_guard_core::findings::{Finding, Level};

use crate::configuration::words::{nginx_level, LogLevel};
use crate::nginx::text::Filler;
use crate::nginx::{write_line, OneThread, Timer};
use crate::request::view::{Location, Request};

/// How long a window is, in milliseconds.
const WINDOW: ngx_msec_t = 10_000;

/// Writes a diagnosis, unless it is silenced, below the level of the error log, or one of too many.
pub fn write(request: &Request, location: Location, diagnosis: &Diagnosis) {
    if let Some(place) = place(request, location, diagnosis.finding(), diagnosis.level()) {
        place.write(diagnosis);
    }
}

/// The place of a line that is to be written; it is counted among the lines of its finding.
pub struct Place {
    log: *mut ngx_log_t,
    level: u32,
}

/// Where a diagnosis is written that still has to be made; `None` if it is silenced, below the level of the error
/// log, or one of too many. `own` is the finding's own level, if it has one.
pub fn place(
    request: &Request,
    location: Location,
    finding: Finding,
    own: Option<Level>,
) -> Option<Place> {
    let LogLevel::Level(configured) = location.conf.log() else { return None };
    let level = own.map_or(configured, nginx_level);
    let log = request.connection().log;
    // SAFETY: a connection has a log.
    let enabled = unsafe { (*log).log_level >= level as usize };
    let is_written =
        enabled && !location.conf.ignored().contains(finding) && admit(finding, level, location);
    is_written.then_some(Place { log, level })
}

impl Place {
    /// Writes the line.
    pub fn write(self, diagnosis: &Diagnosis) {
        let Self { log, level } = self;
        // SAFETY: the log is that of the connection of a live request. What nginx was doing does not belong into the
        // line.
        unsafe {
            let action = ptr::replace(&mut (*log).action, ptr::null_mut());
            print(log, level, format_args!("{}", diagnosis.line()));
            (*log).action = action;
        }
    }
}

/// # Safety
/// `log` must be live.
unsafe fn print(log: *mut ngx_log_t, level: u32, line: fmt::Arguments) {
    let mut buffer = [0; Diagnosis::LINE_MAX];
    let mut filler = Filler::new(&mut buffer);
    // A longer line is cut, and nothing else can fail.
    let _ = filler.write_fmt(line);
    let length = filler.length();
    // SAFETY: the log is live.
    unsafe { write_line(log, level, buffer.get(..length).unwrap_or_default()) };
}

/// The current window of this worker. All of it is static: it takes no memory when there is none.
static WINDOW_OF_WORKER: OneThread<UnsafeCell<Flood<Subject>>> =
    OneThread::new(UnsafeCell::new(Flood::new()));

/// Its end.
static END_OF_WINDOW: OneThread<Timer> = OneThread::new(Timer::new());

/// What a sum is about.
#[derive(Clone, Copy)]
struct Subject {
    finding: Finding,
    level: u32,
    location: Location,
}

/// Whether another line of this finding may be written; if not, it is counted.
fn admit(finding: Finding, level: u32, location: Location) -> bool {
    // SAFETY: one thread, and nothing called here comes back.
    let flood = unsafe { &mut *WINDOW_OF_WORKER.get() };
    // The window begins with the first event.
    END_OF_WINDOW.start(WINDOW, Some(expired));
    // No address has more than 57 bits.
    let key = (ptr::from_ref(location.conf) as u64) << 7 | finding as u64;
    flood.admit(key, level, Subject { finding, level, location })
}

/// Ends the window of this worker, and writes the sums.
pub fn flush() {
    // SAFETY: one thread, and nothing called here comes back.
    let flood = unsafe { &mut *WINDOW_OF_WORKER.get() };
    END_OF_WINDOW.stop();
    flood.end(|sum| {
        let Sum { events, subject: Subject { finding, level, location }, of_others } = sum;
        let seconds = WINDOW / 1000;
        let log = location.core.error_log;
        // SAFETY: the location's error log lives as long as its configuration.
        let write = |line| unsafe { print(log, level, line) };
        // SAFETY: as long as that, too.
        if unsafe { (*log).log_level } < level as usize {
            return;
        }
        if of_others {
            write(format_args!(
                "websocket_guard: {events} more in the last {seconds}s: other findings and locations"
            ));
        } else {
            let place = location.place();
            write(format_args!(
                "websocket_guard: {events} more in the last {seconds}s: {place} [{}]",
                finding.slug()
            ));
        }
    });
}

const _: () = assert!(Finding::ALL.len() <= 128);

/// The timer of a window.
///
/// # Safety
/// None; nginx's type asks for it.
unsafe extern "C" fn expired(_: *mut ngx_event_t) {
    flush();
}
