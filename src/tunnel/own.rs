//! A value of its own in the heap, for what only some tunnels need, or only for a moment.

use core::ffi::c_void;
use core::mem::size_of;
use core::ops::Deref;
use core::pin::Pin;
use core::ptr::NonNull;

use ngx::ffi::{ngx_alloc, ngx_log_t};

use crate::nginx::AllocationFailed;

/// A `Box` whose making can fail.
pub struct Own<T>(NonNull<T>);

impl<T> Own<T> {
    /// `log` must be live; a failure is written there.
    pub fn new(value: T, log: *mut ngx_log_t) -> Result<Self, AllocationFailed> {
        const { assert!(align_of::<T>() <= 16 && size_of::<T>() > 0) };
        // SAFETY: the logs that nginx hands out are live while its handlers run; `ngx_alloc` is malloc, whose
        // memory is aligned to 16.
        unsafe {
            let memory = NonNull::new(ngx_alloc(size_of::<T>(), log)).ok_or(AllocationFailed)?;
            let memory = memory.cast::<T>();
            memory.write(value);
            Ok(Self(memory))
        }
    }
}

impl<T> Own<T> {
    /// The value, which stays where it is until it is dropped.
    #[inline(always)]
    pub fn pinned(&self) -> Pin<&T> {
        // SAFETY: it lies in memory of its own, and a reference through which it could be moved is never
        // given out.
        unsafe { Pin::new_unchecked(self) }
    }
}

impl<T> Deref for Own<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: `new` has written the value, and it is there until `self` is dropped.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        // SAFETY: the value is there, and nobody else has the memory, which came from malloc.
        unsafe {
            self.0.drop_in_place();
            libc::free(self.0.as_ptr().cast::<c_void>());
        }
    }
}
