//! Moments of `ngx_current_msec`, and times at random.

use ngx::ffi::{ngx_current_msec, ngx_msec_t};

use super::random::random;

/// This moment.
pub fn now() -> ngx_msec_t {
    // SAFETY: nginx changes it between two events only.
    unsafe { ngx_current_msec }
}

/// Whether a moment has come.
pub fn is_past(moment: ngx_msec_t) -> bool {
    moment <= now()
}

/// So much later than now.
pub fn later(milliseconds: ngx_msec_t) -> ngx_msec_t {
    now().saturating_add(milliseconds)
}

/// Any time up to that.
pub fn up_to(milliseconds: ngx_msec_t) -> ngx_msec_t {
    let random = u64::from(u32::from_ne_bytes(random()));
    // Of 32 bits a product with a time of days has less than 64.
    (random.saturating_mul(milliseconds as u64 + 1) >> 32) as ngx_msec_t
}
