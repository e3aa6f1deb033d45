//! `ngx_log_t`

use ngx::ffi::{ngx_log_error_core, ngx_log_t, ngx_uint_t};

/// Writes a line to a log and those behind it, if its level is one of theirs.
///
/// # Safety
/// `log` must be live.
pub unsafe fn write_line(log: *mut ngx_log_t, level: u32, line: &[u8]) {
    // SAFETY: the log is live; the format reads a length and that many bytes.
    unsafe {
        if (*log).log_level >= level as usize {
            let (length, data) = (line.len(), line.as_ptr());
            ngx_log_error_core(level as ngx_uint_t, log, 0, c"%*s".as_ptr(), length, data);
        }
    }
}
