//! The Upgrade header, as soon as it has come, and the end of the header.
//!
//! nginx looks up the handler of each request header in a table that is built for every
//! configuration. The guard puts its own in the place of that for Upgrade.

use core::ptr;

use ngx::core::Status;
use ngx::ffi::{
    ngx_cacheline_size, ngx_conf_t, ngx_hash_init, ngx_hash_init_t, ngx_hash_key_lc,
    ngx_hash_key_t, ngx_http_finalize_request, ngx_http_header_t, ngx_http_headers_in,
    ngx_http_request_t, ngx_int_t, ngx_str_t, ngx_table_elt_t, ngx_uint_t,
    NGX_HTTP_INTERNAL_SERVER_ERROR,
};
use ngx::http::{HttpModuleMainConf, NgxHttpCoreModule};

use crate::configuration::conf::MainConf;
use crate::nginx::{array_of, elements, ConfigurationError};
use crate::request::view::Request;

/// Builds the table of request headers anew, with the guard's handler for Upgrade lines
/// (`ngx_http_init_headers_in_hash`). No other header can have one: a module that looks a header up
/// there (embedded perl, njs) takes what stands at the entry's offset in `headers_in` for its lines, and
/// nginx keeps none of the others there.
pub fn watch(cf: &mut ngx_conf_t, main: &mut MainConf) -> Result<(), ConfigurationError> {
    let core = NgxHttpCoreModule::main_conf_mut(cf)
        .ok_or(ConfigurationError::Missing("ngx_http_core_module"))?;
    let mut headers = known_headers();
    for header in headers.iter_mut().filter(|header| header.name.as_bytes() == b"Upgrade") {
        main.process_upgrade = header.handler.replace(upgrade_line);
    }
    let headers = array_of(cf, headers.into_iter())?;
    // SAFETY: the array was just filled, and lives in the pool of the configuration, as the hash does.
    let entries = unsafe { elements::<ngx_http_header_t>(headers.as_ptr()) };
    let mut keys: Vec<ngx_hash_key_t> = entries.iter().map(key).collect();
    let mut hash = ngx_hash_init_t {
        hash: &mut core.headers_in_hash,
        key: Some(ngx_hash_key_lc),
        max_size: 512,
        // SAFETY: nginx sets it before it reads a configuration.
        bucket_size: 64usize.next_multiple_of(unsafe { ngx_cacheline_size }.max(1)),
        name: c"headers_in_hash".as_ptr().cast_mut(),
        pool: cf.pool,
        temp_pool: ptr::null_mut(),
    };
    // SAFETY: what the hash is made of is live, and its keys are as many as is said.
    match unsafe { ngx_hash_init(&mut hash, keys.as_mut_ptr(), keys.len()) } {
        0 => Ok(()),
        _ => Err(ConfigurationError::HeaderTable),
    }
}

/// An entry as the hash takes it; it keeps the address.
fn key(header: &ngx_http_header_t) -> ngx_hash_key_t {
    let ngx_str_t { data, len } = header.name;
    ngx_hash_key_t {
        key: header.name,
        // SAFETY: a name has that many bytes.
        key_hash: unsafe { ngx_hash_key_lc(data, len) },
        value: ptr::from_ref(header).cast_mut().cast(),
    }
}

/// The request headers that nginx knows (`ngx_http_headers_in`).
fn known_headers() -> Vec<ngx_http_header_t> {
    let mut headers = Vec::new();
    // SAFETY: the table ends with an entry without a name.
    unsafe {
        let mut header = ptr::addr_of!(ngx_http_headers_in).cast::<ngx_http_header_t>();
        while !(*header).name.is_empty() {
            headers.push(*header);
            header = header.add(1);
        }
    }
    headers
}

/// The handler of an Upgrade line: nginx's own, and the request is remembered.
///
/// # Safety
/// `r` must be a live request, and `line` one of its header.
unsafe extern "C" fn upgrade_line(
    r: *mut ngx_http_request_t,
    line: *mut ngx_table_elt_t,
    offset: ngx_uint_t,
) -> ngx_int_t {
    // SAFETY: `r` is a live request.
    let request = unsafe { Request::live(r) };
    let process = request.main_conf().and_then(|main| main.process_upgrade);
    match (request.start_attempt(), process) {
        // SAFETY: the function is nginx's for lines of this name, and `line` is one of the live request.
        (Some(_), Some(process)) => unsafe { process(r, line, offset) },
        _ => {
            // A handler that fails ends the request, as those of nginx do.
            // SAFETY: `r` is a live request.
            unsafe { ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t) };
            Status::NGX_ERROR.into()
        }
    }
}

/// The handler of the first phase, which an error page for a request that nginx has refused before does not come to
/// (`ngx_http_handler`).
///
/// # Safety
/// Called by nginx with a live request.
pub unsafe extern "C" fn handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a live request.
    let request = unsafe { Request::live(r) };
    if request.may_have_attempt() {
        if let Some(attempt) = request.attempt() {
            attempt.begin();
        }
    }
    Status::NGX_DECLINED.into()
}
