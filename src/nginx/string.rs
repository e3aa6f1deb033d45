//! `ngx_str_t`

use core::ffi::c_char;

use ngx::ffi::{ngx_keyval_t, ngx_str_t};

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

/// The bytes of an nginx C string such as a module's name.
///
/// # Safety
/// `text` must be null or NUL-terminated and outlive `'a`.
pub unsafe fn c_bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: the text ends with a NUL.
    unsafe { core::ffi::CStr::from_ptr(text) }.to_bytes()
}

/// A protocol of the configuration, which outlives the request.
pub fn configured(protocol: &str) -> ngx_str_t {
    ngx_str_t { len: protocol.len(), data: protocol.as_ptr().cast_mut() }
}

/// The bytes of a string that lives as long as the request.
pub fn bytes(text: ngx_str_t) -> &'static [u8] {
    text.into()
}
