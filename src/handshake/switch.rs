//! The backend's 101 (RFC 6455 section 4.1): verified before a byte is tunnelled.

use ngx::ffi::{
    ngx_http_clean_header, ngx_http_upstream_t, ngx_int_t, NGX_HTTP_BAD_GATEWAY,
    NGX_HTTP_SWITCHING_PROTOCOLS,
};
use websocket_guard_core::diagnosis::SwitchFault;
use websocket_guard_core::handshake::switch::{Offer, Switch};
use websocket_guard_core::handshake::upgrade::WEBSOCKET;
use websocket_guard_core::http::field::{self, Fields, Values};
use websocket_guard_core::http::token::contains_token;

use crate::configuration::conf::LocationConf;
use crate::nginx::fields;
use crate::report::{end, outcome};
use crate::request::exchange::Exchange;
use crate::request::view::Request;
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
    let guarded = conf.mode().is_guarded();
    let known = request.attempt().is_some();
    if let (Some(fault), Some(attempt)) = (fault, request.start_attempt()) {
        if !known {
            attempt.note_response(&request);
        }
        if let Some(exchange) = attempt.exchange(&request) {
            exchange.note_switch_fault(&request, fault);
        }
    }

    let fatal = match fault {
        None => false,
        Some(SwitchFault::Unsolicited) => true,
        Some(SwitchFault::Wrong(fault)) => fault.is_fatal(),
        Some(SwitchFault::Delivered(_)) => false,
    };
    if fatal && guarded {
        return Err(refuse(request));
    }
    if upstream.upgrade() != 0 {
        tunnel::begin(request, conf, end::report);
        if fault.is_some() {
            // The tunnel may live long; the reason why the client closes it is told now.
            outcome::report(&request);
        }
    }
    Ok(())
}

/// Called when the header of a 101 has come through all filters: what they made of it is what the client sees. It is
/// on its way by then.
pub fn verify_delivered(request: &Request) {
    let (Some(upstream), Some(attempt)) = (request.upstream(), request.attempt()) else { return };
    let Some(exchange) = attempt.exchange(request).filter(|it| it.switch_fault().is_none()) else {
        return;
    };
    // SAFETY: the upstream belongs to the live request; nothing changes it meanwhile.
    let upstream: &'static ngx_http_upstream_t = unsafe { &*upstream.as_ptr() };
    let backends = switch(fields(&upstream.headers_in.headers));
    if !attempt.is_tunnel() || !contains_token(backends.upgrade.clone(), WEBSOCKET.as_bytes()) {
        return;
    }
    let delivered = switch(request.response_fields());
    let [upgrade, key, subprotocols, extensions] = field::find(request.fields(), OF_OFFER);
    let asked = Offer { upgrade, allowed: None, key, subprotocols, extensions };
    // uwsgi and scgi pass the client's key on as it is.
    let fault = match exchange.head() {
        Some(sent) => {
            let [answered] = field::find(sent.fields(), ["Sec-WebSocket-Key"]);
            delivered.verify_delivered(&backends, &asked, answered)
        }
        None => delivered.verify_delivered(&backends, &asked, asked.key.clone()),
    };
    if let Err(fault) = fault {
        exchange.note_switch_fault(request, SwitchFault::Delivered(fault));
        // The tunnel may live long; the reason why the client closes it is told now.
        outcome::report(request);
    }
}

/// What a 101 says.
fn switch<F: Fields<'static>>(lines: F) -> Switch<Values<'static, F>> {
    let [upgrade, connection, accept, subprotocol, extensions] = field::find(
        lines,
        [
            "Upgrade",
            "Connection",
            "Sec-WebSocket-Accept",
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-Extensions",
        ],
    );
    Switch { upgrade, connection, accept, subprotocol, extensions }
}

/// The headers of a handshake that they answer.
const OF_OFFER: [&str; 4] =
    ["Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"];

/// Called with a header that has the status of an error: it may hide that of a backend that was not asked to switch
/// protocols, since a guarded location forwards no upgrade for such a page.
pub fn verify_hidden(request: Request) -> Result<(), ngx_int_t> {
    let (Some(upstream), Some(conf)) = (request.upstream(), request.location()) else {
        return Ok(());
    };
    // SAFETY: the upstream belongs to the live request.
    let upstream = unsafe { upstream.as_ref() };
    let is_101 = upstream.headers_in.status_n == NGX_HTTP_SWITCHING_PROTOCOLS as usize;
    if is_101 && conf.mode().is_guarded() {
        return Err(refuse(request));
    }
    Ok(())
}

fn refuse(request: Request) -> ngx_int_t {
    // SAFETY: nothing of the response was sent yet.
    unsafe { ngx_http_clean_header(request.as_ptr()) };
    NGX_HTTP_BAD_GATEWAY as ngx_int_t
}

fn fault(
    request: &Request,
    conf: &LocationConf,
    upstream: &'static ngx_http_upstream_t,
) -> Option<SwitchFault<'static>> {
    if upstream.upgrade() == 0 {
        return Some(SwitchFault::Unsolicited);
    }
    let exchange = request.attempt().and_then(|attempt| attempt.exchange(request));
    match exchange.and_then(Exchange::head) {
        Some(sent) => compare(conf, upstream, sent.fields(), request.fields()),
        // uwsgi and scgi pass the client's header on as it is.
        None => compare(conf, upstream, request.fields(), request.fields()),
    }
}

fn compare(
    conf: &LocationConf,
    upstream: &'static ngx_http_upstream_t,
    sent: impl Fields<'static>,
    asked: impl Fields<'static>,
) -> Option<SwitchFault<'static>> {
    let switch = switch(fields(&upstream.headers_in.headers));
    let [upgrade, key, subprotocols, extensions] = field::find(sent, OF_OFFER);
    // A location's own proxy_set_header may have sent more than is allowed.
    let allowed = conf.mode().is_guarded().then(|| conf.protocols());
    let sent = Offer { upgrade, allowed, key, subprotocols, extensions };
    let [subprotocols, extensions] =
        field::find(asked, ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"]);
    match switch.verify(&sent) {
        // proxy_set_header may have offered more than the client.
        Ok(()) => switch.verify_choice(subprotocols, extensions).err().map(SwitchFault::Wrong),
        Err(_) if sent.offers_nothing() => Some(SwitchFault::Unsolicited),
        Err(fault) => Some(SwitchFault::Wrong(fault)),
    }
}
