//! The variables that the module offers.

use core::ffi::CStr;
use core::fmt::Display;
use core::iter;

use ngx::core::Status;
use ngx::ffi::{
    nginx_version, ngx_conf_t, ngx_http_add_variable, ngx_http_get_variable_index,
    ngx_http_get_variable_pt, ngx_http_request_t, ngx_http_variable_s, ngx_http_variable_value_t,
    ngx_int_t, ngx_str_t, ngx_uint_t, NGX_HTTP_VAR_NOCACHEABLE,
};
use ngx::http::{HttpModuleMainConf, NgxHttpCoreModule};
use websocket_guard_core::frame::Role;
use websocket_guard_core::http::host::names_no_site;
use websocket_guard_core::http::token::contains_token;
use websocket_guard_core::text::escape::Escaped;

use crate::configuration::conf::LocationConf;
use crate::nginx::bits::set_variable;
use crate::nginx::bytes;
use crate::nginx::{elements, evaluate, ngx_str, speaks_tls, ConfigurationError};
use crate::report::outcome::with_diagnosis;
use crate::request::keepalive;
use crate::request::record::Record;
use crate::request::view::Request;
use websocket_guard_core::words::Mode;

/// The variables. None may be cached: a subrequest shares the values of its main request, but is
/// never an upgrade.
const VARIABLES: &[(&CStr, ngx_http_get_variable_pt)] = &[
    (c"websocket_guard", Some(get::<Outcome>)),
    (c"websocket_guard_reason", Some(get::<Reason>)),
    (c"websocket_guard_upgrade", Some(get::<Upgrade>)),
    (c"websocket_guard_connection", Some(get::<Connection>)),
    (c"websocket_guard_host", Some(get::<Host>)),
    (c"websocket_guard_end", Some(get::<TunnelEnd>)),
    (c"websocket_guard_close_code", Some(get::<CloseCode>)),
    (c"websocket_guard_close_reason", Some(get::<CloseReason>)),
    (c"websocket_guard_client_messages", Some(get::<Messages<true>>)),
    (c"websocket_guard_client_bytes", Some(get::<Bytes<true>>)),
    (c"websocket_guard_backend_messages", Some(get::<Messages<false>>)),
    (c"websocket_guard_backend_bytes", Some(get::<Bytes<false>>)),
    (c"websocket_guard_internal_host", Some(get::<HostUnlessDomain>)),
    (c"websocket_guard_internal_proto", Some(get::<Proto>)),
    (c"websocket_guard_client_rtt", Some(get::<RoundTrip<true>>)),
    (c"websocket_guard_backend_rtt", Some(get::<RoundTrip<false>>)),
    (c"websocket_guard_internal_proxy_upgrade", Some(get::<OwnUpgrade<0>>)),
    (c"websocket_guard_internal_uwsgi_upgrade", Some(get::<OwnUpgrade<1>>)),
    (c"websocket_guard_internal_scgi_upgrade", Some(get::<OwnUpgrade<2>>)),
];

/// Makes the variables known; called before `http {}` is read.
pub fn register(cf: &mut ngx_conf_t) -> Result<(), ConfigurationError> {
    for &(name, handler) in VARIABLES {
        let mut copied = ngx_str(name);
        // SAFETY: nginx copies the name.
        let variable = unsafe {
            ngx_http_add_variable(cf, &mut copied, NGX_HTTP_VAR_NOCACHEABLE as ngx_uint_t).as_mut()
        };
        variable.ok_or(ConfigurationError::Variable(name))?.get_handler = handler;
    }
    Ok(())
}

/// The index of a variable, if the configuration uses it (`ngx_http_get_variable_index`).
pub fn index(cf: &ngx_conf_t, name: &[u8]) -> Option<usize> {
    let core = NgxHttpCoreModule::main_conf(cf)?;
    // SAFETY: the array holds the variables that are used.
    let used: &[ngx_http_variable_s] = unsafe { elements(&core.variables) };
    used.iter().position(|variable| variable.name.as_bytes() == name)
}

/// The index of a variable that the module itself uses.
pub fn use_indexed(cf: &mut ngx_conf_t, name: &'static CStr) -> Result<usize, ConfigurationError> {
    let mut copied = ngx_str(name);
    // SAFETY: nginx copies the name.
    let index = unsafe { ngx_http_get_variable_index(cf, &mut copied) };
    usize::try_from(index).map_err(|_| ConfigurationError::Variable(name))
}

/// A variable's value.
trait Variable {
    /// `None` if memory runs out.
    fn value(request: &Request, conf: &LocationConf) -> Option<ngx_str_t>;
}

/// # Safety
/// `r` must be a live request, and `v` its place for the value.
unsafe extern "C" fn get<V: Variable>(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    _data: usize,
) -> ngx_int_t {
    // SAFETY: `r` is a live request, and nothing else refers to the place for the value.
    let (request, v) = unsafe { (Request::live(r), &mut *v) };
    let Some(conf) = request.location() else {
        return Status::NGX_ERROR.into();
    };
    let Some(value) = V::value(&request, conf) else {
        return Status::NGX_ERROR.into();
    };
    set_variable(v, value);
    Status::NGX_OK.into()
}

/// `$websocket_guard`: what became of the handshake.
struct Outcome;

impl Variable for Outcome {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        let outcome = with_diagnosis(request, |facts, diagnosis| match diagnosis {
            Some(diagnosis) => diagnosis.finding().slug(),
            None if facts.status == 101 => "upgraded",
            None => "",
        });
        Some(outcome.map_or(ngx_str_t::empty(), constant))
    }
}

/// A string of this library, which outlives all requests.
fn constant(text: &'static str) -> ngx_str_t {
    ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() }
}

/// `$websocket_guard_reason`: the same as a sentence.
struct Reason;

impl Variable for Reason {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        let reason = with_diagnosis(request, |_, diagnosis| match diagnosis {
            Some(diagnosis) => request.print(&diagnosis),
            None => Some(ngx_str_t::empty()),
        });
        reason.unwrap_or(Some(ngx_str_t::empty()))
    }
}

/// What is known of the tunnel that a request was.
fn record(request: &Request) -> Option<&'static Record> {
    request.main().attempt().and_then(|attempt| attempt.record.get())
}

/// A value that is empty where there is none.
fn print_if_known(request: &Request, value: Option<impl Display>) -> Option<ngx_str_t> {
    value.map_or(Some(ngx_str_t::empty()), |value| request.print(&value))
}

/// `$websocket_guard_end`: how the tunnel ended.
struct TunnelEnd;

impl Variable for TunnelEnd {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        let end = record(request).and_then(Record::end);
        Some(end.map_or(ngx_str_t::empty(), |end| constant(end.name())))
    }
}

/// `$websocket_guard_close_code`: the code of the first Close.
struct CloseCode;

impl Variable for CloseCode {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        let close = record(request).and_then(Record::first_close);
        print_if_known(request, close.map(|close| close.printed_code()))
    }
}

/// `$websocket_guard_close_reason`: its reason.
struct CloseReason;

impl Variable for CloseReason {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        let close = record(request).and_then(Record::first_close);
        print_if_known(request, close.map(|close| Escaped(close.reason())))
    }
}

/// `$websocket_guard_client_messages` and `$websocket_guard_backend_messages`.
struct Messages<const FROM_CLIENT: bool>;

impl<const FROM_CLIENT: bool> Variable for Messages<FROM_CLIENT> {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        let carried = record(request).and_then(|record| record.carried(sender(FROM_CLIENT)));
        print_if_known(request, carried.map(|carried| carried.messages))
    }
}

/// `$websocket_guard_client_bytes` and `$websocket_guard_backend_bytes`: payload of messages.
struct Bytes<const FROM_CLIENT: bool>;

impl<const FROM_CLIENT: bool> Variable for Bytes<FROM_CLIENT> {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        let carried = record(request).and_then(|record| record.carried(sender(FROM_CLIENT)));
        print_if_known(request, carried.map(|carried| carried.bytes))
    }
}

/// `$websocket_guard_client_rtt` and `$websocket_guard_backend_rtt`: how long the last Pong took.
struct RoundTrip<const OF_CLIENT: bool>;

impl<const OF_CLIENT: bool> Variable for RoundTrip<OF_CLIENT> {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        let time = record(request).and_then(|record| record.round_trip(sender(OF_CLIENT)));
        match time {
            Some(time) => request.print(&format_args!("{}.{:03}", time / 1000, time % 1000)),
            None => Some(ngx_str_t::empty()),
        }
    }
}

const fn sender(from_client: bool) -> Role {
    if from_client {
        Role::Client
    } else {
        Role::Server
    }
}

/// `$websocket_guard_upgrade`: the protocols that the request is to be upgraded to.
struct Upgrade;

impl Variable for Upgrade {
    fn value(request: &Request, conf: &LocationConf) -> Option<ngx_str_t> {
        request.upgrade(conf)
    }
}

/// What a location's own setting says of Upgrade, with variables, for one of the proxy modules: the allowed
/// protocols of it, and none in a request that the gate did not let pass as an upgrade. The variables may hold
/// what the client sent, from before the gate or in another place than the Upgrade header.
struct OwnUpgrade<const MODULE: usize>;

impl<const MODULE: usize> Variable for OwnUpgrade<MODULE> {
    fn value(request: &Request, conf: &LocationConf) -> Option<ngx_str_t> {
        let own = conf.recipe.upgrade.get(MODULE).copied().flatten();
        let (Some(own), false) = (own, request.upgrade(conf)?.is_empty()) else {
            return Some(ngx_str_t::empty());
        };
        // SAFETY: the value was compiled for this configuration, the request is live.
        let value = unsafe { evaluate(request.as_ptr(), own)? };
        let line = iter::once(bytes(value));
        if conf.protocols().allow(line.clone()) {
            return Some(value);
        }
        request.allowed(&conf.protocols().select(line))
    }
}

/// `$websocket_guard_connection`: the Connection header of the request to the backend.
struct Connection;

impl Variable for Connection {
    fn value(request: &Request, conf: &LocationConf) -> Option<ngx_str_t> {
        if !request.upgrade(conf)?.is_empty() {
            return Some(ngx_str(c"upgrade"));
        }
        if let Some(connection) = conf.recipe.connection {
            // SAFETY: the value was compiled for this configuration, the request is live.
            let value = unsafe { evaluate(request.as_ptr(), connection)? };
            if !contains_token([value.as_bytes()].into_iter(), b"upgrade") {
                return Some(value);
            }
        }
        // What nginx sends by itself; a realtime location leaves kept connections open as well.
        let kept = nginx_version >= 1_029_007
            || (conf.mode() == Mode::On && keepalive::keeps_connections(request));
        Some(if kept { ngx_str_t::empty() } else { ngx_str(c"close") })
    }
}

/// `$websocket_guard_host`: the host as the client asked for it, with its port.
struct Host;

impl Variable for Host {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        Some(request.host())
    }
}

/// The same, but what `proxy_pass` names if that is a domain, which a backend may be known by.
struct HostUnlessDomain;

impl Variable for HostUnlessDomain {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        let domain = request
            .proxy_host()
            .filter(|host| !names_no_site(host.as_bytes(), || goes_to_block(request)));
        Some(domain.unwrap_or_else(|| request.host()))
    }
}

fn goes_to_block(request: &Request) -> bool {
    request.upstream().is_some_and(|upstream| {
        // SAFETY: the upstream belongs to the live request.
        keepalive::is_block(request, unsafe { upstream.as_ref() })
    })
}

/// The scheme that the client used, for X-Forwarded-Proto.
struct Proto;

impl Variable for Proto {
    fn value(request: &Request, _conf: &LocationConf) -> Option<ngx_str_t> {
        Some(request.forwarded_proto().unwrap_or_else(|| match speaks_tls(request.connection()) {
            true => ngx_str(c"https"),
            false => ngx_str(c"http"),
        }))
    }
}
