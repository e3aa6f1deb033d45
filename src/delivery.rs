//! Where the lines of the audit land: once in the configured error log, and once on the terminal.
//!
//! While nginx reads a configuration it logs to the log of the configuration before, or at the start
//! to the one that was compiled in, and what is a warning or worse to stderr as well. The error log
//! that is configured may be another one; it is open only when `init_module` is called.

use core::mem::zeroed;
use core::ptr;

use ngx::ffi::{
    ngx_conf_t, ngx_cycle_t, ngx_log_error_core, ngx_log_t, ngx_process, ngx_syslog_peer_t,
    ngx_syslog_writer, ngx_test_config, ngx_uint_t, ngx_use_stderr, NGX_LOG_WARN,
    NGX_PROCESS_SIGNALLER,
};

use crate::request::bytes;

/// A line that was written while the configuration was read.
pub struct Line {
    level: u32,
    text: String,
    /// Where it can be read already.
    written: Vec<Sink>,
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

/// Whether a line of that level is written now, or to the error log that is configured.
pub fn is_visible(cf: &ngx_conf_t, level: u32) -> bool {
    // SAFETY: the logs of a configuration that is being read are live.
    unsafe {
        logs(cf.log).any(|log| log.log_level >= level as usize)
            || logs(&(*cf.cycle).new_log).any(|log| log.log_level >= level as usize)
    }
}

/// Writes a line while the configuration is read.
pub fn write(cf: &ngx_conf_t, level: u32, text: String) -> Line {
    let mut written = Vec::new();
    // SAFETY: as above.
    unsafe {
        log_line(cf.log, level, &text);
        let reached = logs(cf.log).take_while(|log| log.log_level >= level as usize);
        written.extend(reached.filter_map(sink));
        if ngx_use_stderr != 0 && level <= NGX_LOG_WARN {
            written.extend(file(libc::STDERR_FILENO));
        }
    }
    Line { level, text, written }
}

/// Writes the lines to those of the configured error logs that do not have them yet.
///
/// # Safety
/// Must be called from `init_module`.
pub unsafe fn repeat(cycle: &ngx_cycle_t, lines: Vec<Line>) {
    // SAFETY: the cycle's logs are open; nginx has one thread here.
    unsafe {
        if ngx_test_config != 0 {
            return;
        }
        // Or nginx would show the lines on the terminal a second time.
        let use_stderr = ptr::replace(ptr::addr_of_mut!(ngx_use_stderr), 0);
        for line in lines {
            for log in logs(cycle.log) {
                let missing = sink(log).is_some_and(|sink| !line.written.contains(&sink));
                if missing && log.log_level >= line.level as usize {
                    let mut alone = ngx_log_t { next: ptr::null_mut(), ..*log };
                    log_line(&mut alone, line.level, &line.text);
                }
            }
        }
        ngx_use_stderr = use_stderr;
    }
}

/// A log and those behind it.
///
/// # Safety
/// They must be live for as long as the iterator is used.
unsafe fn logs<'a>(log: *const ngx_log_t) -> impl Iterator<Item = &'a ngx_log_t> {
    // SAFETY: guaranteed by the caller.
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

/// # Safety
/// `log` must be live.
unsafe fn log_line(log: *mut ngx_log_t, level: u32, text: &str) {
    // SAFETY: guaranteed by the caller; the format reads a length and that many bytes.
    unsafe {
        if (*log).log_level >= level as usize {
            let (length, data) = (text.len(), text.as_ptr());
            ngx_log_error_core(level as ngx_uint_t, log, 0, c"%*s".as_ptr(), length, data);
        }
    }
}
