//! A value of its own in the heap, for what only some tunnels need, or only for a moment.

use core::ffi::c_void;
use core::mem::size_of;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use ngx::ffi::{ngx_alloc, ngx_log_t};

use crate::nginx::AllocationFailed;

/// A `Box` whose making can fail.
pub struct Own<T>(NonNull<T>);

impl<T> Own<T> {
    /// `log` must be live; a failure is written there.
    pub fn new(value: T, log: *mut ngx_log_t) -> Result<Self, AllocationFailed> {
        const { assert!(align_of::<T>() <= 16 && size_of::<T>() > 0) };
        // SAFETY: guaranteed by the caller; `ngx_alloc` is malloc, whose memory is aligned to 16.
        unsafe {
            let memory = NonNull::new(ngx_alloc(size_of::<T>(), log)).ok_or(AllocationFailed)?;
            let memory = memory.cast::<T>();
            memory.write(value);
            Ok(Self(memory))
        }
    }
}

impl<T> Deref for Own<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value is there until it is dropped, and belongs to `self`.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for Own<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        // SAFETY: as above; the memory came from malloc.
        unsafe {
            self.0.drop_in_place();
            libc::free(self.0.as_ptr().cast::<c_void>());
        }
    }
}
