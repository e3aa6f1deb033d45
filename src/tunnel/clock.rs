//! Moments of `ngx_current_msec`, and times at random.

use core::num::NonZero;

use ngx::ffi::{ngx_current_msec, ngx_msec_t};

use super::random::random;

/// A moment of `ngx_current_msec`. It is never 0: one that may not be there takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(NonZero<ngx_msec_t>);

impl Moment {
    /// So many milliseconds after nginx's clock began.
    #[inline(always)]
    pub fn at(milliseconds: ngx_msec_t) -> Self {
        Self(NonZero::new(milliseconds).unwrap_or(NonZero::<ngx_msec_t>::MIN))
    }

    /// This one.
    #[inline(always)]
    pub fn now() -> Self {
        // SAFETY: nginx changes it between two events only.
        Self::at(unsafe { ngx_current_msec })
    }

    /// The milliseconds since nginx's clock began.
    pub fn milliseconds(self) -> ngx_msec_t {
        self.0.get()
    }

    /// So many milliseconds later.
    pub fn plus(self, milliseconds: ngx_msec_t) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// So many milliseconds after now.
    pub fn later(milliseconds: ngx_msec_t) -> Self {
        Self::now().plus(milliseconds)
    }

    /// Whether it has come.
    pub fn is_past(self) -> bool {
        self <= Self::now()
    }

    /// The milliseconds since another one.
    pub fn since(self, other: Self) -> ngx_msec_t {
        self.milliseconds().saturating_sub(other.milliseconds())
    }
}

/// Any time up to that.
pub fn up_to(milliseconds: ngx_msec_t) -> ngx_msec_t {
    let random = u64::from(u32::from_ne_bytes(random()));
    // Of 32 bits a product with a time of days has less than 64.
    (random.saturating_mul(milliseconds as u64 + 1) >> 32) as ngx_msec_t
}
