//! The request to the backend, looked at when it is made and before anything of it is sent: whatever variables wrote
//! into it, an Upgrade line that the gate did not let pass does not leave a guarded location.
//!
//! Between the two nginx asks one thing only, whatever proxy_pass names: the value of `proxy_bind`
//! (`ngx_http_upstream_set_local`). So a guarded location has one whose script begins with this module's code, and
//! goes on with what the operator wrote there.

use core::mem::{offset_of, zeroed};
use core::ptr::{self, NonNull};

use ngx::core::Status;
use ngx::ffi::{
    ngx_array_t, ngx_conf_t, ngx_http_complex_value_t, ngx_http_complex_value_t__bindgen_ty_1,
    ngx_http_request_t, ngx_http_script_code_pt, ngx_http_script_engine_t,
    ngx_http_script_len_code_pt, ngx_http_upstream_conf_t, ngx_http_upstream_local_t,
    ngx_http_upstream_peer_t, ngx_http_upstream_srv_conf_t, ngx_int_t, ngx_keyval_t, ngx_str_t,
};
use websocket_guard_core::diagnosis::Gate;
use websocket_guard_core::http::token::trim;

use crate::configuration::conf::{Level, LocationConf, MainConf, MergedLevel};
use crate::configuration::foreign::proxies::Value;
use crate::configuration::recipe::headers::constant_upgrades;
use crate::nginx::{elements, place, AllocationFailed};
use crate::request::attempt::{Attempt, Checked};
use crate::request::view::Request;

/// The first code of the script; the script engine calls it with its own address.
#[repr(C)]
struct Check {
    code: ngx_http_script_len_code_pt,
    /// A null ends the codes.
    end: usize,
    /// The operator's `proxy_bind`.
    bind: Option<Bind>,
    /// The location's headers.
    headers: *const ngx_array_t,
    /// What a request that is refused goes on with: its upstream fails at once.
    refused: NonNull<ngx_http_upstream_conf_t>,
}

#[derive(Clone, Copy)]
enum Bind {
    Address(ngx_str_t),
    Value(NonNull<ngx_http_complex_value_t>),
}

/// The code for the value of a constant `proxy_bind`.
#[repr(C)]
struct Address {
    code: ngx_http_script_code_pt,
    end: usize,
    text: ngx_str_t,
}

/// Puts the check into a location that the proxy module serves.
///
/// # Safety
/// All modules must be done with merging the location.
pub unsafe fn prepare(
    cf: &ngx_conf_t,
    main: &MainConf,
    location: MergedLevel,
) -> Result<(), AllocationFailed> {
    // SAFETY: the location's configurations live as long as the cycle.
    let conf = unsafe { location.conf.as_ref() };
    if location.level == Level::Server || !conf.mode().is_guarded() {
        return Ok(());
    }
    // Headers of uwsgi and scgi have no ends of lines.
    let [Some(proxy), ..] = &main.proxies else { return Ok(()) };
    let (Some(bind), Some(headers)) = (proxy.bind, proxy.headers_source) else { return Ok(()) };
    // SAFETY: the configurations are complete, and of the module that the fields were found in.
    unsafe {
        let around = conf.recipe.loc_conf.map_or(location.loc_conf, NonNull::as_ptr);
        if !proxy.serves(location.loc_conf, around) {
            return Ok(());
        }
        let proxy_conf = proxy.location_conf(location.loc_conf);
        let refused = refusing(cf, &*proxy.upstream_conf(proxy_conf))?;
        let headers = headers.read(proxy_conf);
        let own = Some(bind.read(proxy_conf)).filter(|own| own.is_set());
        let local = checked(cf, own.and_then(|own| own.as_ref()), headers, refused)?;
        bind.write(proxy_conf, local.as_ptr());
    }
    Ok(())
}

/// The same configuration with an upstream of which no peer can be had.
///
/// # Safety
/// `conf` must be complete.
unsafe fn refusing(
    cf: &ngx_conf_t,
    conf: &ngx_http_upstream_conf_t,
) -> Result<NonNull<ngx_http_upstream_conf_t>, AllocationFailed> {
    // SAFETY: all zeroes are a value of this C type; an upstream that is named is complete.
    let usual = unsafe { conf.upstream.as_ref().copied().unwrap_or_else(|| zeroed()) };
    let peer = ngx_http_upstream_peer_t { init: Some(refuse_peer), ..usual.peer };
    let upstream = place(cf, ngx_http_upstream_srv_conf_t { peer, ..usual })?;
    place(cf, ngx_http_upstream_conf_t { upstream: upstream.as_ptr(), ..*conf })
}

/// The value of `proxy_bind` with the check in front of it.
///
/// # Safety
/// `own` must be the operator's: its value and its address live as long as the configuration.
unsafe fn checked(
    cf: &ngx_conf_t,
    own: Option<&ngx_http_upstream_local_t>,
    headers: *const ngx_array_t,
    refused: NonNull<ngx_http_upstream_conf_t>,
) -> Result<NonNull<ngx_http_upstream_local_t>, AllocationFailed> {
    let own_value = own.and_then(|own| NonNull::new(own.value));
    // SAFETY: the operator's address lives as long as the configuration.
    let address = own.and_then(|own| unsafe { own.addr.as_ref() });
    let bind = own_value.map(Bind::Value).or(address.map(|it| Bind::Address(it.name)));
    let check = place(cf, Check { code: Some(check), end: 0, bind, headers, refused })?;
    let (values, flushes) = match bind {
        Some(Bind::Value(value)) => {
            // SAFETY: the operator's value was compiled, and lives as long as the configuration.
            let value = unsafe { value.as_ref() };
            (value.values, value.flushes)
        }
        Some(Bind::Address(text)) => {
            let copy = place(cf, Address { code: Some(copy), end: 0, text })?;
            (copy.as_ptr().cast(), ptr::null_mut())
        }
        // SAFETY: the check was just placed.
        None => (unsafe { ptr::addr_of_mut!((*check.as_ptr()).end) }.cast(), ptr::null_mut()),
    };
    let value = ngx_http_complex_value_t {
        value: ngx_str_t::empty(),
        flushes,
        lengths: check.as_ptr().cast(),
        values,
        u: ngx_http_complex_value_t__bindgen_ty_1 { size: 0 },
    };
    let value = place(cf, value)?.as_ptr();
    // SAFETY: all zeroes are a value of this C type.
    let usual = own.copied().unwrap_or_else(|| unsafe { zeroed() });
    place(cf, ngx_http_upstream_local_t { addr: ptr::null_mut(), value, ..usual })
}

/// What nginx's script engine calls for the length of the value.
///
/// # Safety
/// `engine` must be live and stand at this code, which begins a [`Check`] of the configuration; its request too.
unsafe extern "C" fn check(engine: *mut ngx_http_script_engine_t) -> usize {
    // SAFETY: the engine stands at a `Check`, and goes on behind its code; its request is live, and the operator's value
    // of that request's configuration.
    unsafe {
        let check = (*engine).ip.cast::<Check>();
        inspect(Request::live((*engine).request), &*check);
        let length = match (*check).bind {
            Some(Bind::Value(value)) => length(engine, value),
            Some(Bind::Address(text)) => text.len,
            None => 0,
        };
        (*engine).ip = check.cast::<u8>().add(offset_of!(Check, end));
        length
    }
}

/// The length of the operator's own value (`ngx_http_complex_value`).
///
/// # Safety
/// `engine` must be live, and the value of the configuration of its request.
unsafe fn length(
    engine: *mut ngx_http_script_engine_t,
    value: NonNull<ngx_http_complex_value_t>,
) -> usize {
    let mut length = 0;
    // SAFETY: the value is of the request's configuration; each code moves the engine to the next, and a null
    // ends them.
    unsafe {
        (*engine).ip = (*value.as_ptr()).lengths.cast();
        while let Some(code) = *(*engine).ip.cast::<ngx_http_script_len_code_pt>() {
            length += code(engine);
        }
    }
    length
}

/// What the engine calls for the value itself.
///
/// # Safety
/// `engine` must be live, stand at this code, which begins an [`Address`] of the configuration, and have room for as
/// many bytes as [`check`] said.
unsafe extern "C" fn copy(engine: *mut ngx_http_script_engine_t) {
    // SAFETY: the engine stands at an `Address`, has room for its text, and goes on behind its code.
    unsafe {
        let engine = &mut *engine;
        let address = engine.ip.cast::<Address>();
        let text = (*address).text;
        ptr::copy_nonoverlapping(text.data, engine.pos, text.len);
        engine.pos = engine.pos.add(text.len);
        engine.ip = address.cast::<u8>().add(offset_of!(Address, end));
    }
}

/// Refuses the request of a handshake, if its head has an Upgrade line that was not allowed. Others are not looked at.
fn inspect(request: Request, check: &Check) {
    if !request.may_have_attempt() || !request.is_main() {
        return;
    }
    let (Some(attempt), Some(conf)) = (request.attempt(), request.location()) else { return };
    if let Some(checked) = attempt.checked.get() {
        refuse(request, attempt, checked, conf, check);
    }
}

fn refuse(
    request: Request,
    attempt: &Attempt,
    checked: Checked,
    conf: &LocationConf,
    check: &Check,
) {
    let Some(exchange) = attempt.exchange(&request) else { return };
    // SAFETY: the request was just made, and nothing of it was sent.
    unsafe { exchange.note_head() };
    let Some(head) = exchange.head() else { return };
    let passed = request.upgrade(conf).is_some_and(|upgrade| !upgrade.is_empty());
    let is_allowed = |value: &[u8]| {
        // SAFETY: the list of the location, which lives as long as its configuration.
        let headers: &[ngx_keyval_t] = unsafe { elements(check.headers) };
        (passed && conf.protocols().allow([value].into_iter()))
            || constant_upgrades(headers).any(|constant| trim(constant) == value)
    };
    let Some(upgrade) = head.upgrade_other_than(is_allowed) else { return };

    attempt.note_check(Checked { gate: Gate::Injected { upgrade }, ..checked }, true);
    // SAFETY: the request has no peer yet; it is given one of its configuration's upstream next
    // (`ngx_http_upstream_init_request`).
    unsafe {
        let upstream = exchange.upstream().as_ptr();
        (*upstream).resolved = ptr::null_mut();
        (*upstream).conf = check.refused.as_ptr();
    }
}

/// The balancer of requests that were refused: it has no peer.
///
/// # Safety
/// None; nginx's type asks for it.
unsafe extern "C" fn refuse_peer(
    _: *mut ngx_http_request_t,
    _: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    Status::NGX_ERROR.into()
}
