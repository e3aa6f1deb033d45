//! Where the lines of the audit land: once in the configured error log, and once on the terminal.
//!
//! While nginx reads a configuration it logs to the log of the configuration before, or at the start
//! to the one that was compiled in, and what is a warning or worse to stderr as well. The error log
//! that is configured may be another one; it is open only when `init_module` is called.

use core::fmt::{self, Write};
use core::mem::zeroed;
use core::ptr;

use ngx::ffi::{
    ngx_conf_t, ngx_cycle_t, ngx_log_t, ngx_process, ngx_quiet_mode, ngx_syslog_peer_t,
    ngx_syslog_writer, ngx_test_config, ngx_uint_t, ngx_use_stderr, NGX_LOG_WARN,
    NGX_PROCESS_SIGNALLER,
};

use super::{bytes, write_line};

/// The lines that were written while a configuration was read, and where they can be read already.
#[derive(Default)]
pub struct Delivered {
    lines: Vec<Line>,
    /// The logs of that time with their levels, as nginx goes through them.
    logs: Vec<(usize, Option<Sink>)>,
    /// The terminal, if it shows warnings.
    stderr: Option<Sink>,
}

struct Line {
    level: u32,
    text: String,
}

/// What is behind a log: a file by its identity, however it is named, a syslog server, or memory.
#[derive(PartialEq, Eq)]
enum Sink {
    File { device: u64, inode: u64 },
    Syslog { server: Vec<u8>, tag: Vec<u8>, facility: usize },
    Memory(usize),
}

/// Whether this process reads the configuration to use or to test it, and not only to find the
/// process that it is to signal (`nginx -s`), which reads it again.
pub fn is_wanted() -> bool {
    // SAFETY: set before a configuration is read.
    unsafe { ngx_process != NGX_PROCESS_SIGNALLER as ngx_uint_t }
}

/// Whether a line of that level is written now, or to the error log that is configured. `nginx -t -q` shows
/// what is wrong and no more.
pub fn is_visible(cf: &ngx_conf_t, level: u32) -> bool {
    // SAFETY: set before a configuration is read; the logs of one that is being read are live.
    unsafe {
        if ngx_test_config != 0 && ngx_quiet_mode != 0 && level > NGX_LOG_WARN {
            return false;
        }
        logs(cf.log).any(|log| log.log_level >= level as usize)
            || logs(&(*cf.cycle).new_log).any(|log| log.log_level >= level as usize)
    }
}

/// Writes lines while the configuration is read.
pub struct Delivery<'c> {
    cf: &'c ngx_conf_t,
    delivered: Delivered,
    /// The line that was written last.
    text: String,
}

impl<'c> Delivery<'c> {
    pub fn new(cf: &'c ngx_conf_t) -> Self {
        // SAFETY: the logs of a configuration that is being read are live; the static is set before.
        let (logs, stderr) = unsafe {
            let logs = logs(cf.log).map(|log| (log.log_level, sink(log))).collect();
            (logs, if ngx_use_stderr != 0 { file(libc::STDERR_FILENO) } else { None })
        };
        Self { cf, delivered: Delivered { lines: Vec::new(), logs, stderr }, text: String::new() }
    }

    pub fn write(&mut self, level: u32, line: impl fmt::Display) {
        if !is_visible(self.cf, level) {
            return;
        }
        self.text.clear();
        // Nothing can fail but the memory.
        let _ = write!(self.text, "{line}");
        // SAFETY: the log is live.
        unsafe { write_line(self.cf.log, level, self.text.as_bytes()) };
        // SAFETY: set before a configuration is read.
        if unsafe { ngx_test_config } == 0 {
            self.delivered.lines.push(Line { level, text: self.text.clone() });
        }
    }

    pub fn finish(self) -> Delivered {
        self.delivered
    }
}

impl Delivered {
    /// Writes the lines to those of the configured error logs that do not have them yet.
    ///
    /// # Safety
    /// Must be called from `init_module`.
    pub unsafe fn repeat(self, cycle: &ngx_cycle_t) {
        // SAFETY: the cycle's logs are open; nginx has one thread here.
        unsafe {
            // Or nginx would show the lines on the terminal a second time.
            let use_stderr = ptr::replace(ptr::addr_of_mut!(ngx_use_stderr), 0);
            for log in logs(cycle.log) {
                let Some(sink) = sink(log) else { continue };
                let mut alone = ngx_log_t { next: ptr::null_mut(), ..*log };
                for line in self.lines.iter().filter(|line| !self.has_reached(&sink, line.level)) {
                    write_line(&mut alone, line.level, line.text.as_bytes());
                }
            }
            ngx_use_stderr = use_stderr;
        }
    }

    /// Whether lines of that level can be read there already.
    fn has_reached(&self, sink: &Sink, level: u32) -> bool {
        let mut logs = self.logs.iter().take_while(|(limit, _)| *limit >= level as usize);
        logs.any(|(_, log)| log.as_ref() == Some(sink))
            || level <= NGX_LOG_WARN && self.stderr.as_ref() == Some(sink)
    }
}

/// A log and those behind it.
///
/// # Safety
/// They must be live for as long as the iterator is used.
unsafe fn logs<'a>(log: *const ngx_log_t) -> impl Iterator<Item = &'a ngx_log_t> {
    // SAFETY: the logs are live and end with null.
    core::iter::successors(unsafe { log.as_ref() }, |log| unsafe { log.next.as_ref() })
}

fn sink(log: &ngx_log_t) -> Option<Sink> {
    if let Some(writer) = log.writer {
        if writer as usize != ngx_syslog_writer as *const () as usize {
            return Some(Sink::Memory(log.wdata as usize));
        }
        // SAFETY: what that writer was given.
        let peer = unsafe { log.wdata.cast::<ngx_syslog_peer_t>().as_ref() }?;
        return Some(Sink::Syslog {
            server: bytes(peer.server.name).to_vec(),
            tag: bytes(peer.tag).to_vec(),
            facility: peer.facility,
        });
    }
    // SAFETY: a log without a writer has an open file.
    file(unsafe { log.file.as_ref() }?.fd)
}

fn file(fd: i32) -> Option<Sink> {
    // SAFETY: the structure is plain data.
    unsafe {
        let mut stat: libc::stat = zeroed();
        (libc::fstat(fd, &mut stat) == 0)
            .then_some(Sink::File { device: stat.st_dev as u64, inode: stat.st_ino as u64 })
    }
}
