//! `ngx_pool_t`

use core::mem::{align_of, needs_drop};
use core::ptr::NonNull;

use ngx::ffi::{ngx_conf_t, ngx_palloc, ngx_pool_t};

/// An allocation failed, from a pool or from the system. nginx has logged it already.
#[derive(Clone, Copy, Debug)]
pub struct AllocationFailed;

/// Moves `value` into the configuration's pool, where it stays as long as the configuration.
pub fn place<T>(cf: &ngx_conf_t, value: T) -> Result<NonNull<T>, AllocationFailed> {
    // SAFETY: `cf.pool` is live.
    unsafe { place_in(cf.pool, value) }
}

/// Moves `value` into a pool, where it stays as long as the pool.
///
/// # Safety
/// `pool` must be live.
pub unsafe fn place_in<T>(pool: *mut ngx_pool_t, value: T) -> Result<NonNull<T>, AllocationFailed> {
    const {
        assert!(!needs_drop::<T>(), "the pool frees memory and runs no destructor");
        assert!(
            align_of::<T>() <= align_of::<usize>(),
            "the pool aligns to a word (NGX_ALIGNMENT)"
        );
    }
    // SAFETY: the pool is live; the memory has the size of a `T`, and the alignment that a pool gives is enough for it.
    unsafe {
        let memory = ngx_palloc(pool, size_of::<T>()).cast::<T>();
        let memory = NonNull::new(memory).ok_or(AllocationFailed)?;
        memory.write(value);
        Ok(memory)
    }
}
