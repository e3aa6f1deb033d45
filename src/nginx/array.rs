//! `ngx_array_t`

use core::ptr::NonNull;
use core::slice;

use ngx::ffi::{ngx_array_create, ngx_array_push, ngx_array_t, ngx_conf_t};

use super::pool::AllocationFailed;

/// Returns the elements of `array`; none where the pointer is null or `NGX_CONF_UNSET_PTR`.
///
/// # Safety
/// A pointer that is neither must be a live array of `T`, unchanged for `'a`.
pub unsafe fn elements<'a, T>(array: *const ngx_array_t) -> &'a [T] {
    if is_unset(array) {
        return &[];
    }
    // SAFETY: a pointer that is set is a live array, whose `elts` holds `nelts` initialized elements.
    unsafe {
        match (*array).nelts {
            0 => &[],
            n => slice::from_raw_parts((*array).elts.cast(), n),
        }
    }
}

/// Null and `NGX_CONF_UNSET_PTR` both mean "not set", depending on the field and the version.
pub fn is_unset<T>(pointer: *const T) -> bool {
    pointer.is_null() || pointer as usize == usize::MAX
}

/// Copies `items` into a new array of the configuration's pool.
pub fn array_of<T: Copy>(
    cf: &ngx_conf_t,
    items: impl ExactSizeIterator<Item = T>,
) -> Result<NonNull<ngx_array_t>, AllocationFailed> {
    // SAFETY: `cf.pool` lives as long as the configuration that is being read.
    unsafe {
        let array = ngx_array_create(cf.pool, items.len().max(1), size_of::<T>());
        let array = NonNull::new(array).ok_or(AllocationFailed)?;
        for item in items {
            let slot = ngx_array_push(array.as_ptr()).cast::<T>();
            NonNull::new(slot).ok_or(AllocationFailed)?.write(item);
        }
        Ok(array)
    }
}

/// Inserts `item` before the others.
///
/// # Safety
/// `array` must be an initialized array of `T`.
pub unsafe fn push_front<T: Copy>(
    array: &mut ngx_array_t,
    item: T,
) -> Result<(), AllocationFailed> {
    // SAFETY: the array has room for one more item after the push.
    unsafe {
        let last = NonNull::new(ngx_array_push(array)).ok_or(AllocationFailed)?.cast::<T>();
        last.write(item);
        slice::from_raw_parts_mut(array.elts.cast::<T>(), array.nelts).rotate_right(1);
    }
    Ok(())
}
