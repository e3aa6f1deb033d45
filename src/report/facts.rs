//! Gathers what nginx knows about a request, for the diagnosis.

use ngx::ffi::{
    ngx_http_upstream_conf_t, ngx_http_upstream_t, ngx_keyval_t, ngx_msec_t, ngx_uint_t,
};
use ngx::http::{HttpModuleServerConf, NgxHttpCoreModule};
use websocket_guard_core::config::{Answer, Answering, Refusal};
use websocket_guard_core::diagnosis::{
    tells_tls, Alteration, Asks, BackendFacts, Early, EarlySigns, Facts, Failure, Gate, Handler,
    HostFrom, Limit, NamedPlace, Preface, Reached, Sent, TLS_IN_FRONT,
};
use websocket_guard_core::http::field;
use websocket_guard_core::http::head::Head;
use websocket_guard_core::http::host::names_no_site;
use websocket_guard_core::http::target::nearest;
use websocket_guard_core::http::version::HttpVersion;
use websocket_guard_core::words::{is_polled, Marked, Mode, Place};

use crate::configuration::conf::LocationConf;
use crate::configuration::recipe::headers::{sets_host, sets_proto};
use crate::nginx::bytes;
use crate::nginx::elements;
use crate::nginx::http_version;
use crate::nginx::speaks_tls;
use crate::request::attempt::{Attempt, Checked};
use crate::request::connect;
use crate::request::exchange::Exchange;
use crate::request::judge;
use crate::request::keepalive;
use crate::request::other_server::other_server;
use crate::request::view::{Location, Request};

/// `NGX_HTTP_LIMIT_REQ_REJECTED` (ngx_http_limit_req_module.c)
const LIMIT_REQ_REJECTED: ngx_uint_t = 3;

/// `NGX_HTTP_LIMIT_CONN_REJECTED` (ngx_http_limit_conn_module.c)
const LIMIT_CONN_REJECTED: ngx_uint_t = 2;

/// The facts about a main request that has got its answer.
pub fn gather(request: &Request, attempt: Option<&Attempt>) -> Option<Facts<'static>> {
    let r = request.raw();
    let refused_early = is_refused_early(request, attempt);
    let reached = match attempt {
        Some(attempt) => attempt.reached_location(),
        None => request.reached_phases(),
    };
    let (location, exchange) = attempt.map_or((None, None), |attempt| attempt.subject(request));
    let denied = attempt.and_then(Attempt::denied);
    let location =
        denied.and_then(|(_, location)| location).or(location).or_else(|| Location::of(request))?;
    let upstream = match exchange {
        Some(exchange) => Some(exchange.upstream()),
        None if attempt.is_some_and(Attempt::reached_location) => None,
        None => request.upstream(),
    };
    // It has to do with nothing but an error page.
    let upstream = upstream.filter(|_| !refused_early);
    let upstream = upstream.map(|upstream| {
        // SAFETY: the upstream lives in the request's pool (see `exchange`); nothing changes it meanwhile.
        let upstream: &'static ngx_http_upstream_t = unsafe { &*upstream.as_ptr() };
        describe_upstream(request, upstream, exchange)
    });
    let Checked { asks, upgrade, dropped, method, gate } = checked(request, attempt, location);
    // SAFETY: header lines live as long as the request.
    let redirect = unsafe { r.headers_out.location.as_ref() };
    let status = match attempt {
        Some(attempt) => attempt.status(request),
        None => status(request),
    };

    let handler = match upstream.as_ref() {
        Some((_, handler)) => *handler,
        None if location.core.handler.is_some() => Handler::Other,
        // What has no content handler either answers in the rewrite phase, or serves files.
        None if attempt.is_some_and(|attempt| attempt.entered(location)) => Handler::Static,
        None => Handler::Return,
    };
    let refusal = Refusal {
        status: denied.map_or(status, |(status, _)| status),
        rewriting: denied.is_none() && !attempt.is_some_and(|attempt| attempt.entered(location)),
        by_subrequest: denied.is_some(),
        serves_files: handler == Handler::Static,
    };
    let answered_by = (!refused_early && (upstream.is_none() || denied.is_some()))
        .then(|| answered_by(request, attempt, location, refusal))
        .flatten();
    // Only a page for the error that was answered somewhere else.
    let is_error_page = refused_early || attempt.is_some_and(Attempt::only_reached_error_page);

    Some(Facts {
        mode: location.conf.mode(),
        has_own_mark: location.conf.location_marked == Marked::Here,
        location: (!is_error_page && (reached || !location.core.name.is_empty()))
            .then(|| location.place()),
        own: request
            .main_conf()
            .and_then(|main| main.answers.get(&location.conf.number))
            .map(|level| level.own)
            .unwrap_or_default(),
        realtime: is_realtime(location),
        server: server(request, location),
        other_server: other_server(request),
        preface: preface(request),
        marked_location: marked_location(request, location),
        handler: match answered_by.map(|answer| answer.directive) {
            Some(Answering::Return | Answering::Rewrite) => Handler::Return,
            _ => handler,
        },
        http_version: received_version(request),
        method,
        uri: bytes(r.unparsed_uri),
        host: bytes(request.host()),
        tls_in_front: tls_in_front(request),
        scheme: request.scheme(),
        address_header: ["X-Forwarded-For", "X-Real-IP"]
            .into_iter()
            .find(|name| request.values(name).next().is_some()),
        asks,
        upgrade,
        dropped,
        key: request.has_key(),
        origin: request.values("Origin").next(),
        subprotocols: request.values("Sec-WebSocket-Protocol").next(),
        via: request.values("Via").next(),
        peer: match attempt {
            Some(attempt) => attempt.peer.get(),
            // realip tells the address that it has replaced.
            None => request
                .variable(c"realip_remote_addr")
                .unwrap_or_else(|| bytes(request.connection().addr_text)),
        },
        gate,
        refused_early,
        early: Early::infer(status, early_signs(request, refused_early)),
        status,
        redirect: redirect
            .map(|line| bytes(line.value))
            .or(upstream.and_then(|(upstream, _)| upstream.redirect)),
        limit: limit(request),
        auth_status: attempt.and_then(Attempt::auth_status),
        subrequest_101: attempt.and_then(|attempt| attempt.subrequest_101.get()),
        restricted: restricted(request, location),
        answered_by,
        upstream: upstream.map(|(upstream, _)| upstream),
    })
}

/// Whether a location proxies and is meant for realtime.
fn is_realtime(location: Location) -> bool {
    let Location { conf, core } = location;
    let meant = (conf.marked == Marked::Here && conf.mode() == Mode::On)
        || (conf.mode() != Mode::Off && is_polled(core.name.as_bytes()));
    meant && core.handler.is_some()
}

/// The server that a request came to.
fn server(request: &Request, location: Location) -> NamedPlace<'static> {
    let opened = request.server_level().unwrap_or(location.conf).opened;
    let name = NgxHttpCoreModule::server_conf(request.raw()).map(|server| server.server_name);
    NamedPlace {
        name: name.map(bytes).unwrap_or_default(),
        place: Place { file: bytes(opened.file), line: opened.line },
    }
}

/// The location of this server that the URL may have been meant for.
fn marked_location(request: &Request, location: Location) -> Option<&'static [u8]> {
    let names = request.server_conf()?.guarded_locations().map(bytes);
    // No URL leads to a named one.
    let others =
        names.filter(|name| *name != location.core.name.as_bytes() && !name.starts_with(b"@"));
    nearest(others, bytes(request.raw().unparsed_uri))
}

/// What a load balancer put in front of the request line. Any client may send that, so it counts only with a
/// handshake behind it, or where one is expected.
fn preface(request: &Request) -> Option<Preface> {
    const KEY: &[u8] = b"sec-websocket-key:";

    if !request.is_header_incomplete() {
        return None;
    }
    let received = request.received()?;
    let preface = Preface::of(received)?;
    let expected = request.server_conf().is_some_and(|server| server.guarded_location.is_some());
    let with_key = || received.windows(KEY.len()).any(|part| part.eq_ignore_ascii_case(KEY));
    (expected || with_key()).then_some(preface)
}

/// The header by which a proxy in front says that the client uses TLS.
fn tls_in_front(request: &Request) -> Option<(&'static [u8], &'static [u8])> {
    if speaks_tls(request.connection()) {
        return None;
    }
    TLS_IN_FRONT.into_iter().find_map(|name| {
        let value = request.values(name).next().filter(|value| tells_tls(name, value))?;
        Some((name.as_bytes(), value))
    })
}

/// The directive that answered without a backend.
fn answered_by(
    request: &Request,
    attempt: Option<&Attempt>,
    location: Location,
    refusal: Refusal,
) -> Option<Answer<'static>> {
    let answers = &request.main_conf()?.answers;
    if attempt.is_some_and(Attempt::only_reached_error_page) {
        // Where that was is not known any more, but there may be only one such place in the server.
        let refusal = Refusal { rewriting: true, ..refusal };
        let server = request.server_level()?.number;
        let mut found: Option<Answer> = None;
        for level in answers.values().filter(|level| level.server == server) {
            let Some(answer) = level.answers.responsible(refusal) else { continue };
            if found.is_some_and(|found| found.place != answer.place) {
                return None;
            }
            found = Some(answer);
        }
        return found;
    }
    answers.get(&location.conf.number)?.answers.responsible(refusal)
}

/// Whether there are access rules in a location; `None` if that was not looked for.
fn restricted(request: &Request, location: Location) -> Option<bool> {
    let main = request.main_conf().filter(|main| main.audited)?;
    let answers = main.answers.get(&location.conf.number);
    Some(answers.is_some_and(|level| level.answers.restricts()))
}

/// What serves the requests of an upstream, by the name that each module gives it.
pub fn handler(upstream: &ngx_http_upstream_t) -> Handler {
    // SAFETY: an upstream's configuration lives as long as its request.
    let module = unsafe { upstream.conf.as_ref() }.map(|conf| bytes(conf.module));
    match module.unwrap_or_default() {
        b"proxy" => Handler::Proxy,
        b"uwsgi" => Handler::Uwsgi,
        b"scgi" => Handler::Scgi,
        b"fastcgi" => Handler::Fastcgi,
        b"grpc" => Handler::Grpc,
        // memcached has only a scheme (ngx_http_memcached_handler).
        _ if upstream.schema.as_bytes() == b"memcached://" => Handler::Memcached,
        _ => Handler::Other,
    }
}

/// What the client asked for, as it was noted before anything changed, or as it still is.
fn checked(request: &Request, attempt: Option<&Attempt>, location: Location) -> Checked {
    let noted = attempt.and_then(|attempt| attempt.checked.get());
    let mut checked = noted.unwrap_or_else(|| match request.has_upgrade() {
        true => judge::check(request, location.conf, &request.handshake()),
        false => Checked {
            asks: Asks::Nothing,
            upgrade: b"",
            dropped: None,
            method: bytes(request.raw().method_name),
            gate: Gate::Passed,
        },
    });
    if is_refused_early(request, attempt) {
        // Maybe only half of the header was read.
        checked.gate = Gate::Passed;
    }
    checked
}

/// Whether nginx refused the request before it ran its phases, and brought it to a location for an error page at most.
fn is_refused_early(request: &Request, attempt: Option<&Attempt>) -> bool {
    match attempt {
        Some(attempt) => attempt.is_refused_early(),
        None => request.is_header_incomplete() || !request.reached_phases(),
    }
}

/// The status of a request without an attempt.
fn status(request: &Request) -> u16 {
    let r = request.raw();
    let status = if r.err_status != 0 { r.err_status } else { r.headers_out.status };
    u16::try_from(status).unwrap_or(0)
}

/// The version that the client spoke. `r->http_version` does not tell it any more once a backend has
/// answered without a status line (`ngx_http_proxy_process_status_line`).
fn received_version(request: &Request) -> HttpVersion {
    let r = request.raw();
    match r.http_protocol.as_bytes() {
        b"HTTP/1.0" => HttpVersion::Http10,
        b"HTTP/1.1" => HttpVersion::Http11,
        b"HTTP/2.0" => HttpVersion::Http2,
        b"HTTP/3.0" => HttpVersion::Http3,
        _ => http_version(r.http_version),
    }
}

fn limit(request: &Request) -> Limit {
    match request.main().limits() {
        (LIMIT_REQ_REJECTED, _) => Limit::Requests,
        (_, LIMIT_CONN_REJECTED) => Limit::Connections,
        _ => Limit::Passed,
    }
}

fn early_signs(request: &Request, no_phases: bool) -> EarlySigns {
    let r = request.raw();
    // SAFETY: a request has a client connection until it is freed.
    let tls_listener =
        unsafe { r.http_connection.as_ref() }.is_some_and(|connection| connection.ssl() != 0);
    let (certificate_missing, certificate_rejected) = client_certificate(request);
    EarlySigns {
        no_phases,
        lingering_close: request.closes_lingering(),
        tls_listener,
        tls_connection: speaks_tls(request.connection()),
        certificate_missing,
        certificate_rejected,
    }
}

/// Whether a client certificate was wanted and is missing, and whether it was not accepted
/// (`ngx_http_process_request`).
#[cfg(ngx_feature = "http_ssl")]
fn client_certificate(request: &Request) -> (bool, bool) {
    use ngx::ffi::ngx_http_ssl_srv_conf_t;

    const VERIFY_ON: ngx_uint_t = 1;

    // Not by its symbol: an nginx that lacks it would not get as far as to say that it is another one
    // than the module was built for.
    let Some(index) = request.main_conf().and_then(|main| main.ssl) else {
        return (false, false);
    };
    // SAFETY: the array has the module's configuration of the server.
    let server =
        unsafe { (*request.raw().srv_conf.add(index)).cast::<ngx_http_ssl_srv_conf_t>().as_ref() };
    let verify = server.map_or(0, |server| server.verify);
    if verify == 0 || !speaks_tls(request.connection()) {
        return (false, false);
    }
    let result = request.variable(c"ssl_client_verify").unwrap_or_default();
    (result == b"NONE" && verify == VERIFY_ON, result.starts_with(b"FAILED"))
}

#[cfg(not(ngx_feature = "http_ssl"))]
fn client_certificate(_: &Request) -> (bool, bool) {
    (false, false)
}

fn describe_upstream(
    request: &Request,
    upstream: &'static ngx_http_upstream_t,
    exchange: Option<&'static Exchange>,
) -> (BackendFacts<'static>, Handler) {
    // SAFETY: these live in the pool of the request or that of its configuration (see `exchange`).
    let (conf, state, resolved, redirect, accel_redirect) = unsafe {
        (
            upstream.conf.as_ref(),
            upstream.state.as_ref(),
            upstream.resolved.as_ref(),
            upstream.headers_in.location.as_ref(),
            upstream.headers_in.x_accel_redirect.as_ref(),
        )
    };
    let sent = exchange.and_then(Exchange::head);
    let handler = handler(upstream);
    // SAFETY: an upstream of the configuration outlives the request.
    let server = conf.and_then(|conf| unsafe { conf.upstream.as_ref() });
    let reached =
        state.map_or(Reached::Nothing, |state| reached(state.connect_time, state.header_time));
    let described = BackendFacts {
        peer: exchange.map(Exchange::peer).unwrap_or_default(),
        name: match (resolved, server) {
            (Some(resolved), _) => bytes(resolved.host),
            (None, Some(server)) => bytes(server.host),
            (None, None) => b"",
        },
        http_version: sent.map(Head::http_version),
        upgrade: as_sent(sent, "Upgrade"),
        connection: as_sent(sent, "Connection"),
        altered: conf.and_then(|conf| alteration(request, conf, sent)),
        host: sent.and_then(|sent| sent.value("Host")),
        host_from: exchange
            .and_then(|exchange| exchange.location)
            .map_or(HostFrom::Unknown, |location| {
                host_from(request, location.conf, upstream, sent)
            }),
        origin: as_sent(sent, "Origin"),
        key_replaced: sent.is_some_and(|sent| {
            sent.value("Sec-WebSocket-Key") != request.values("Sec-WebSocket-Key").next()
        }),
        subprotocols: as_sent(sent, "Sec-WebSocket-Protocol"),
        tls: upstream.schema.as_bytes() == b"https://",
        proto: as_sent(sent, "X-Forwarded-Proto"),
        proto_by_guard: exchange
            .and_then(|exchange| exchange.location)
            .is_some_and(|location| says_proto(request, location.conf)),
        uri: sent.map(Head::uri).unwrap_or_default(),
        cached: is_cached(upstream),
        reached,
        status: state.map_or(0, |state| u16::try_from(state.status).unwrap_or(0)),
        failure: exchange.and_then(|exchange| failure(request, upstream, exchange)),
        body: exchange.map(Exchange::body).unwrap_or_default(),
        redirect: redirect.map(|line| bytes(line.value)),
        accel_redirect: accel_redirect.map(|line| bytes(line.value)),
        switch_fault: exchange.and_then(Exchange::switch_fault),
        for_error_page: exchange.is_some_and(|exchange| exchange.for_error_page),
    };
    (described, handler)
}

/// Whether the guard sets X-Forwarded-Proto in a location.
fn says_proto(request: &Request, conf: &LocationConf) -> bool {
    headers(request, conf).is_some_and(sets_proto)
}

/// What a location says of the headers for its backend, and what the guard has added.
fn headers(request: &Request, conf: &LocationConf) -> Option<&'static [ngx_keyval_t]> {
    let proxy = request.main_conf().and_then(|main| main.proxies.first()?.as_ref())?;
    let (loc_conf, list) = (conf.recipe.loc_conf?, proxy.headers_source?);
    // SAFETY: the array has the module's configuration of the location, whose list does not change any more.
    Some(unsafe { elements(list.read(proxy.location_conf(loc_conf.as_ptr()))) })
}

/// What the Host for a backend came from.
fn host_from(
    request: &Request,
    conf: &LocationConf,
    upstream: &ngx_http_upstream_t,
    sent: Option<Head<'static>>,
) -> HostFrom {
    let Some((headers, host)) = headers(request, conf).zip(sent.and_then(|it| it.value("Host")))
    else {
        return HostFrom::Unknown;
    };
    if sets_host(headers) {
        return HostFrom::Directive;
    }
    match names_no_site(host, || keepalive::is_block(request, upstream)) {
        true => HostFrom::NoSite,
        false => HostFrom::Domain,
    }
}

fn reached(connect_time: ngx_msec_t, header_time: ngx_msec_t) -> Reached {
    const UNSET: ngx_msec_t = ngx_msec_t::MAX;
    match (connect_time, header_time) {
        (_, time) if time != UNSET => Reached::Header,
        (time, _) if time != UNSET => Reached::Connection,
        _ => Reached::Nothing,
    }
}

fn as_sent(sent: Option<Head<'static>>, name: &str) -> Sent<'static> {
    match sent.map(|sent| sent.value(name)) {
        None => Sent::Unknown,
        Some(None) => Sent::Nothing,
        Some(Some(value)) => Sent::Value(value),
    }
}

/// The headers of which a handshake has one.
const SINGLE: [&str; 6] = [
    "Upgrade",
    "Connection",
    "Host",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
];

/// What of the handshake did not reach the backend as it came.
fn alteration(
    request: &Request,
    conf: &ngx_http_upstream_conf_t,
    sent: Option<Head<'static>>,
) -> Option<Alteration<'static>> {
    if conf.pass_request_headers == 0 {
        return Some(Alteration::HeadersOff);
    }
    let sent = sent?;
    let lost = ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol"]
        .into_iter()
        .find(|name| request.values(name).next().is_some() && sent.value(name).is_none());
    if let Some(name) = lost {
        return Some(Alteration::Emptied(name.as_bytes()));
    }
    if request.raw().method_name.as_bytes() == b"GET" && sent.method() != b"GET" {
        return Some(Alteration::Method(sent.method()));
    }
    let doubled = SINGLE.into_iter().find(|name| {
        let of_client = request.values(name).count();
        let [lines] = field::find(sent.fields(), [*name]);
        lines.count() > of_client.max(1)
    });
    doubled.map(|name| Alteration::Doubled(name.as_bytes()))
}

#[cfg(ngx_feature = "http_cache")]
fn is_cached(upstream: &ngx_http_upstream_t) -> bool {
    use ngx::ffi::{
        NGX_HTTP_CACHE_HIT, NGX_HTTP_CACHE_REVALIDATED, NGX_HTTP_CACHE_STALE,
        NGX_HTTP_CACHE_UPDATING,
    };
    [NGX_HTTP_CACHE_HIT, NGX_HTTP_CACHE_REVALIDATED, NGX_HTTP_CACHE_STALE, NGX_HTTP_CACHE_UPDATING]
        .contains(&upstream.cache_status())
}

#[cfg(not(ngx_feature = "http_cache"))]
fn is_cached(_: &ngx_http_upstream_t) -> bool {
    false
}

fn failure(
    request: &Request,
    upstream: &'static ngx_http_upstream_t,
    exchange: &'static Exchange,
) -> Option<Failure<'static>> {
    // SAFETY: what nginx resolved lives in the request's pool.
    let unresolved = unsafe { upstream.resolved.as_ref() }
        .filter(|it| exchange.peer().is_empty() && it.sockaddr.is_null() && it.naddrs == 0);
    match unresolved {
        Some(resolved) => Some(Failure::NotResolved(bytes(resolved.host))),
        None => exchange.failure().map(|failure| connect::with_text(request, failure)),
    }
}
