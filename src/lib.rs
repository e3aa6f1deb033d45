//! `ngx_http_websocket_guard_module`: WebSocket on nginx that simply works.
//!
//! The shared object holds two nginx modules. The first owns the directives and stands before
//! `ngx_http_proxy_module`, so that it sees every location's proxy settings before they are
//! merged and compiled. The second lands last, so that its header filter runs first.

use core::ffi::c_char;
use core::ptr;

use ngx::ffi::{ngx_module_t, ngx_uint_t, NGX_HTTP_MODULE};

mod audit;
mod configuration;
mod handshake;
mod lifecycle;
mod nginx;
mod report;
mod request;
mod tunnel;

/// The module that owns directives, configuration, variables and the gate.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_websocket_guard_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(lifecycle::GUARD_CONTEXT).cast_mut().cast(),
    commands: configuration::directives::COMMANDS.as_ptr().cast_mut(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(lifecycle::init_module),
    exit_process: Some(lifecycle::exit_process),
    ..ngx_module_t::default()
};

/// The module whose header filter sees every response first.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_websocket_guard_filter_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(lifecycle::FILTER_CONTEXT).cast_mut().cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    ..ngx_module_t::default()
};

/// A table of pointers that nginx reads from the shared object (`ngx_load_module`).
#[repr(transparent)]
pub struct Exported<T, const N: usize>([*const T; N]);

// SAFETY: the tables are constant; nginx only reads them, in its single-threaded master.
unsafe impl<T, const N: usize> Sync for Exported<T, N> {}

/// The modules of this shared object.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_modules: Exported<ngx_module_t, 3> = Exported([
    ptr::addr_of!(ngx_http_websocket_guard_module),
    ptr::addr_of!(ngx_http_websocket_guard_filter_module),
    ptr::null(),
]);

/// Their names, in the same order.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_module_names: Exported<c_char, 3> = Exported([
    c"ngx_http_websocket_guard_module".as_ptr(),
    c"ngx_http_websocket_guard_filter_module".as_ptr(),
    ptr::null(),
]);

/// A module named here is placed before the next one that is found; the filter module is not
/// named and so comes last (`ngx_add_module` in `ngx_module.c`).
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_module_order: Exported<c_char, 3> = Exported([
    c"ngx_http_websocket_guard_module".as_ptr(),
    c"ngx_http_proxy_module".as_ptr(),
    ptr::null(),
]);
