//! The backend's 101 (RFC 6455 section 4.1): verified before a byte is tunnelled.

use std::borrow::Cow;

use ngx::ffi::{ngx_http_clean_header, ngx_http_upstream_t, ngx_int_t, NGX_HTTP_BAD_GATEWAY};
use websocket_guard_protocol::diagnosis::SwitchFault;
use websocket_guard_protocol::response::{Sent, Switch};
use websocket_guard_protocol::token::Lines;

use crate::conf::LocationConf;
use crate::journal;
use crate::request::{header_values, Request};
use crate::sent::SentRequest;
use crate::tunnel;

/// Called with the header of a 101, before it is sent to the client. `Err` holds the status that the
/// client gets instead.
///
/// In a location that is not guarded the fault is only noted.
pub fn verify(request: Request) -> Result<(), ngx_int_t> {
    let (Some(upstream), Some(conf)) = (request.upstream(), request.location()) else {
        return Ok(());
    };
    // SAFETY: the upstream belongs to the live request; nothing changes it meanwhile.
    let upstream: &'static ngx_http_upstream_t = unsafe { &*upstream.as_ptr() };
    let fault = fault(&request, conf, upstream);
    let guarded = conf.mode().applies();
    if let (Some(fault), Some(attempt)) = (fault, request.start_attempt()) {
        attempt.note_fault(&request, fault);
    }

    let fatal = match fault {
        None => false,
        Some(SwitchFault::Unsolicited) => true,
        Some(SwitchFault::Wrong(fault)) => fault.is_fatal(),
    };
    if fatal && guarded {
        // SAFETY: nothing of the response was sent yet.
        unsafe { ngx_http_clean_header(request.as_ptr()) };
        return Err(NGX_HTTP_BAD_GATEWAY as ngx_int_t);
    }
    if upstream.upgrade() != 0 {
        tunnel::begin(request, conf);
        if fault.is_some() {
            // The tunnel may live long; the reason why the client closes it is told now.
            journal::report(&request);
        }
    }
    Ok(())
}

fn fault(
    request: &Request,
    conf: &LocationConf,
    upstream: &'static ngx_http_upstream_t,
) -> Option<SwitchFault<'static>> {
    if upstream.upgrade() == 0 {
        return Some(SwitchFault::Unsolicited);
    }
    // SAFETY: the upstream is the request's.
    match unsafe { SentRequest::of(upstream) } {
        Some(sent) => compare(conf, upstream, |name| sent.values(name)),
        // uwsgi and scgi pass the client's header on as it is.
        None => compare(conf, upstream, |name| request.values(name)),
    }
}

fn compare<L: Lines<'static>>(
    conf: &LocationConf,
    upstream: &'static ngx_http_upstream_t,
    sent: impl Fn(&'static [u8]) -> L,
) -> Option<SwitchFault<'static>> {
    let answered = |name| header_values(&upstream.headers_in.headers, name);
    let switch = Switch {
        upgrade: answered(b"upgrade"),
        connection: answered(b"connection"),
        accept: answered(b"sec-websocket-accept"),
        subprotocol: answered(b"sec-websocket-protocol"),
        extensions: answered(b"sec-websocket-extensions"),
    };
    // A location's own proxy_set_header may have sent more than is allowed.
    let allowed = match conf.protocols().filter(|_| conf.mode().applies()) {
        Some(protocols) => Cow::Owned(protocols.select(sent(b"upgrade")).to_string().into_bytes()),
        None => Cow::Borrowed(sent(b"upgrade").next().unwrap_or_default()),
    };
    if allowed.is_empty() {
        return Some(SwitchFault::Unsolicited);
    }
    let sent = Sent {
        upgrade: &allowed,
        key: for_now(sent(b"sec-websocket-key")),
        subprotocols: for_now(sent(b"sec-websocket-protocol")),
        extensions: for_now(sent(b"sec-websocket-extensions")),
    };
    switch.verify(&sent).err().map(SwitchFault::Wrong)
}

/// The lines, for no longer than a borrowed value beside them.
fn for_now<'a>(lines: impl Lines<'static> + 'a) -> impl Lines<'a> {
    lines.map(|line| -> &'a [u8] { line })
}
