//! Small safe wrappers around nginx's own types, for what the `ngx` crate does not cover.

use core::ffi::c_char;
use core::marker::PhantomData;
use core::mem::{needs_drop, zeroed};
use core::ptr::NonNull;
use core::slice;

use ngx::ffi::{
    ngx_array_create, ngx_array_push, ngx_array_t, ngx_conf_t, ngx_connection_t,
    ngx_http_compile_complex_value, ngx_http_compile_complex_value_t, ngx_http_complex_value,
    ngx_http_complex_value_t, ngx_http_request_t, ngx_keyval_t, ngx_list_part_t, ngx_list_t,
    ngx_palloc, ngx_str_t, ngx_table_elt_t,
};

/// An allocation from a pool failed. nginx has logged it already.
#[derive(Debug)]
pub struct AllocationFailed;

/// Returns the elements of `array`; none where the pointer is null or `NGX_CONF_UNSET_PTR`.
///
/// # Safety
/// A pointer that is neither must be a live array of `T`, unchanged for `'a`.
pub unsafe fn elements<'a, T>(array: *const ngx_array_t) -> &'a [T] {
    if is_unset(array) {
        return &[];
    }
    // SAFETY: the caller vouches for the array; `elts` holds `nelts` initialized elements.
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

/// Moves `value` into the configuration's pool, where it stays as long as the configuration.
pub fn place<T>(cf: &ngx_conf_t, value: T) -> Result<NonNull<T>, AllocationFailed> {
    const { assert!(!needs_drop::<T>(), "the pool frees memory and runs no destructor") };
    // SAFETY: `cf.pool` is live; the memory has the size of a `T` and nginx's alignment.
    unsafe {
        let memory = ngx_palloc(cf.pool, size_of::<T>()).cast::<T>();
        let memory = NonNull::new(memory).ok_or(AllocationFailed)?;
        memory.write(value);
        Ok(memory)
    }
}

/// A string constant as nginx keeps them: the byte behind the last is a NUL, because nginx
/// compares some of its strings as C strings (`ngx_http_proxy_init_headers`).
pub const fn ngx_str(text: &'static core::ffi::CStr) -> ngx_str_t {
    ngx_str_t { len: text.count_bytes(), data: text.as_ptr() as *mut u8 }
}

/// An entry of a `proxy_set_header` list.
pub const fn keyval(
    key: &'static core::ffi::CStr,
    value: &'static core::ffi::CStr,
) -> ngx_keyval_t {
    ngx_keyval_t { key: ngx_str(key), value: ngx_str(value) }
}

/// Compiles `text`, which may hold variables (`ngx_http_compile_complex_value`).
pub fn compile(
    cf: &mut ngx_conf_t,
    mut text: ngx_str_t,
) -> Result<NonNull<ngx_http_complex_value_t>, AllocationFailed> {
    // SAFETY: all pointers are live for the call; the value is allocated from the same pool as
    // the configuration that keeps it.
    unsafe {
        let value = place(cf, zeroed::<ngx_http_complex_value_t>())?;
        let mut ccv: ngx_http_compile_complex_value_t = zeroed();
        ccv.cf = cf;
        ccv.value = &mut text;
        ccv.complex_value = value.as_ptr();
        match ngx_http_compile_complex_value(&mut ccv) {
            0 => Ok(value),
            _ => Err(AllocationFailed),
        }
    }
}

/// Evaluates a compiled value for this request; `None` if memory runs out.
///
/// # Safety
/// `r` must be a live request whose configuration compiled `value`.
pub unsafe fn evaluate(
    r: *mut ngx_http_request_t,
    value: NonNull<ngx_http_complex_value_t>,
) -> Option<ngx_str_t> {
    let mut result = ngx_str_t::empty();
    // SAFETY: guaranteed by the caller.
    match unsafe { ngx_http_complex_value(r, value.as_ptr(), &mut result) } {
        0 => Some(result),
        _ => None,
    }
}

/// The lines of a header table (`ngx_list_t` of `ngx_table_elt_t`), as pointers, because nginx
/// keeps aliases to its lines.
#[derive(Clone)]
pub struct HeaderLines<'a> {
    part: *const ngx_list_part_t,
    index: usize,
    lifetime: PhantomData<&'a ngx_list_t>,
}

impl<'a> HeaderLines<'a> {
    /// # Safety
    /// `list` must be a list of `ngx_table_elt_t`.
    pub unsafe fn new(list: &'a ngx_list_t) -> Self {
        Self { part: &list.part, index: 0, lifetime: PhantomData }
    }
}

impl Iterator for HeaderLines<'_> {
    type Item = NonNull<ngx_table_elt_t>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // SAFETY: the parts of a live list are linked and end with null.
            let part = unsafe { self.part.as_ref()? };
            if self.index < part.nelts {
                // SAFETY: the part holds `nelts` initialized elements.
                let line = unsafe { part.elts.cast::<ngx_table_elt_t>().add(self.index) };
                self.index += 1;
                return NonNull::new(line);
            }
            self.part = part.next;
            self.index = 0;
        }
    }
}

/// The bytes of an nginx C string such as a module's name.
///
/// # Safety
/// `text` must be null or NUL-terminated and outlive `'a`.
pub unsafe fn c_bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: guaranteed by the caller.
    unsafe { core::ffi::CStr::from_ptr(text) }.to_bytes()
}

/// Whether a connection speaks TLS. An nginx without it has not even the field.
#[cfg(any(ngx_feature = "ssl", ngx_feature = "compat"))]
pub fn speaks_tls(connection: &ngx_connection_t) -> bool {
    !connection.ssl.is_null()
}

/// See above.
#[cfg(not(any(ngx_feature = "ssl", ngx_feature = "compat")))]
pub fn speaks_tls(_: &ngx_connection_t) -> bool {
    false
}
