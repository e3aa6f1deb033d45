//! The gate in front of a guarded location (RFC 6455 section 4.2.1): only a well-formed handshake
//! for an allowed protocol, from an allowed origin, goes on as an upgrade.

use core::ptr::NonNull;

use ngx::core::Status;
use ngx::ffi::{
    ngx_hash_key_lc, ngx_http_request_t, ngx_int_t, ngx_list_push, ngx_str_t, ngx_table_elt_t,
    ngx_uint_t, NGX_HTTP_BAD_REQUEST, NGX_HTTP_FORBIDDEN,
};
use websocket_guard_core::diagnosis::{Asks, Gate};
use websocket_guard_core::handshake::Action;
use websocket_guard_core::http::field::{Fields, Values};

use crate::configuration::conf::LocationConf;
use crate::nginx::{bytes, configured};
use crate::nginx::{ngx_str, AllocationFailed};
use crate::request::attempt::{Attempt, Checked};
use crate::request::judge::{check, mode_action, Handshake};
use crate::request::view::Request;

/// 426, for which nginx has no name.
pub const UPGRADE_REQUIRED: ngx_uint_t = 426;

/// The handler of the preaccess phase.
///
/// # Safety
/// `r` must be a live request.
pub unsafe extern "C" fn handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: `r` is a live request.
    let request = unsafe { Request::live(r) };
    let concerned = request.may_have_attempt() || request.has_upgrade();
    let answer = if concerned { pass(request) } else { Ok(()) };
    answer.err().unwrap_or(Status::NGX_DECLINED.into())
}

/// Lets the request go on, or answers with a status of nginx.
#[inline(never)]
fn pass(request: Request) -> Result<(), ngx_int_t> {
    if !request.is_main() || request.is_post_action() {
        if request.has_upgrade() && is_guarded(&request) {
            // Only in this view of the request: the lines belong to the main request as well.
            request.forget_upgrade();
        }
        return Ok(());
    }
    // Another module may have set the header, without nginx's handler of it.
    let attempt = match request.has_upgrade() {
        true => Some(request.start_attempt().ok_or(Status::NGX_ERROR.0)?),
        false => request.attempt(),
    };
    let (Some(attempt), Some(conf)) = (attempt, request.location()) else { return Ok(()) };
    attempt.enter(&request);
    if !request.has_upgrade() {
        return Ok(());
    }

    let handshake = request.handshake();
    let checked = check(&request, conf, &handshake);
    let answer = match conf.mode().is_guarded() {
        true if attempt.is_at_error_page() => {
            // Its status is that of the error, so that no 101 can come of it: only the page is wanted, and was not
            // what the gate may have refused.
            make_plain(request);
            Ok(())
        }
        true => decide(request, attempt, conf, &handshake, &checked),
        false => Ok(()),
    };
    attempt.note_check(checked, answer.is_err());
    answer
}

fn decide<F: Fields<'static>>(
    request: Request,
    attempt: &Attempt,
    conf: &LocationConf,
    handshake: &Handshake<F>,
    checked: &Checked,
) -> Result<(), ngx_int_t> {
    if let Gate::OriginDenied { .. } = checked.gate {
        return Err(NGX_HTTP_FORBIDDEN as ngx_int_t);
    }
    match action(conf, checked) {
        Action::Forward => forward(request, attempt, conf, &handshake.upgrade),
        Action::PlainHttp => {
            make_plain(request);
            Ok(())
        }
        Action::BadRequest => Err(NGX_HTTP_BAD_REQUEST as ngx_int_t),
        Action::UpgradeRequired => {
            attempt.needs_version.set(true);
            Err(UPGRADE_REQUIRED as ngx_int_t)
        }
    }
}

fn is_guarded(request: &Request) -> bool {
    request.location().is_some_and(|conf| conf.mode().is_guarded())
}

/// What happens to the request in a guarded location that allows its origin.
fn action(conf: &LocationConf, checked: &Checked) -> Action {
    match (checked.gate, checked.asks) {
        (Gate::Violated(violation), _) => mode_action(conf, &violation),
        (_, Asks::WebSocket | Asks::Listed) => Action::Forward,
        _ => Action::PlainHttp,
    }
}

/// Reduces the Upgrade header to what is allowed, so that even an explicit
/// `proxy_set_header Upgrade $http_upgrade` sends no more.
fn forward<F: Fields<'static>>(
    request: Request,
    attempt: &Attempt,
    conf: &LocationConf,
    upgrade: &Values<'static, F>,
) -> Result<(), ngx_int_t> {
    let protocols = conf.protocols();
    let named = upgrade.only().and_then(|line| Some((line, protocols.named(line)?)));
    let (passed, allowed) = match named {
        Some((line, protocol)) => (line, configured(protocol)),
        None => {
            let allowed = request.allowed(&protocols.select(upgrade.clone()));
            let allowed = allowed.ok_or(Status::NGX_ERROR.0)?;
            reduce(request, allowed);
            (bytes(allowed), allowed)
        }
    };
    attempt.note_forwarded(passed, allowed);
    Ok(())
}

/// Makes it a request that has no Upgrade header.
fn make_plain(request: Request) {
    request.lines("Upgrade").for_each(discard);
    request.forget_upgrade();
    request.forget_variable();
}

fn reduce(request: Request, allowed: ngx_str_t) {
    let mut lines = request.lines("Upgrade");
    if let Some(mut first) = lines.next() {
        // SAFETY: the line belongs to the live request.
        unsafe { first.as_mut() }.value = allowed;
    }
    lines.for_each(discard);
    request.forget_variable();
}

/// Makes a header line one that goes to no backend and stands in no variable of its old name: an
/// empty Keep-Alive, which the proxy module never passes on. (A hash of 0, which hides a line from
/// the variables, would also hide it from the proxy module's list of what to leave out:
/// `ngx_http_proxy_create_request`.)
fn discard(mut line: NonNull<ngx_table_elt_t>) {
    const NAME: ngx_str_t = ngx_str(c"keep-alive");
    // SAFETY: the line belongs to a live request; a name is never written to.
    unsafe {
        let line = line.as_mut();
        line.key = NAME;
        line.lowcase_key = NAME.data;
        line.hash = ngx_hash_key_lc(NAME.data, NAME.len);
        line.value = ngx_str_t::empty();
    }
}

/// Called with the header of a 426: if it is the gate's, what would be understood is added (RFC 6455 section 4.4,
/// RFC 9110 section 15.5.22). Not when the gate refuses: nothing of it belongs to a response that takes the place
/// of the 426.
pub fn explain(request: Request) -> Result<(), AllocationFailed> {
    let headers_out = &request.raw().headers_out;
    // A backend's has a reason phrase, unless it stands for an error; then it may be a 101 that nginx makes a tunnel.
    let is_of_backend = !headers_out.status_line.is_empty()
        // SAFETY: the upstream belongs to the live request.
        || request.upstream().is_some_and(|upstream| unsafe { upstream.as_ref() }.upgrade() != 0);
    if is_of_backend || !request.attempt().is_some_and(|attempt| attempt.needs_version.get()) {
        return Ok(());
    }
    for (name, value) in [(c"Sec-WebSocket-Version", c"13"), (c"Upgrade", c"websocket")] {
        // SAFETY: the request is live; the new line is filled in at once.
        unsafe {
            let line = ngx_list_push(&mut (*request.as_ptr()).headers_out.headers);
            let line = NonNull::new(line.cast::<ngx_table_elt_t>()).ok_or(AllocationFailed)?;
            line.write_bytes(0, 1);
            let line = line.as_ptr();
            (*line).hash = 1;
            (*line).key = ngx_str(name);
            (*line).value = ngx_str(value);
        }
    }
    Ok(())
}
