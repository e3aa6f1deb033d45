//! The sockets that servers answer on.

use std::collections::HashMap;

use ngx::ffi::{ngx_conf_t, ngx_http_conf_addr_t, ngx_http_conf_port_t, ngx_http_core_srv_conf_t};
use ngx::http::{HttpModuleMainConf, NgxHttpCoreModule};
use websocket_guard_core::audit::model::Listener;
use websocket_guard_core::config::Node;
use websocket_guard_core::words::Place;

use crate::nginx::bytes;
use crate::nginx::elements;

/// The sockets that each server answers on (`ngx_http_add_server`).
pub fn by_server(
    cf: &ngx_conf_t,
) -> HashMap<*const ngx_http_core_srv_conf_t, Vec<Listener<'static>>> {
    let mut listeners: HashMap<_, Vec<_>> = HashMap::new();
    let Some(core) = NgxHttpCoreModule::main_conf(cf) else { return listeners };
    // SAFETY: `ports` is null without a server, else an array of ports with arrays of addresses,
    // which have arrays of servers.
    unsafe {
        for port in elements::<ngx_http_conf_port_t>(core.ports) {
            for address in elements::<ngx_http_conf_addr_t>(&port.addrs) {
                let listener = Listener {
                    address: bytes(address.opt.addr_text),
                    port: (port.family != libc::AF_UNIX as isize).then_some(port.port),
                    ssl: address.opt.ssl() != 0,
                    http2: has_http2(address),
                    place: None,
                };
                for server in elements::<*mut ngx_http_core_srv_conf_t>(&address.servers) {
                    listeners.entry(server.cast_const()).or_default().push(listener);
                }
            }
        }
    }
    listeners
}

/// The `listen ... http2` of a server for one of its sockets; `None` if that is not the only one that
/// can be meant, or stands in another server.
pub fn http2_place<'a>(server: Node<'a>, listener: &Listener) -> Option<Place<'a>> {
    let mut found = server.own(b"listen").filter(|directive| {
        directive.args().any(|arg| arg == b"http2")
            && directive.arg(0).is_some_and(|address| is_address_of(address, listener))
    });
    let place = found.next()?.place();
    found.next().is_none().then_some(place)
}

/// Whether an argument of `listen` can mean this socket, as far as its port tells.
fn is_address_of(address: &[u8], listener: &Listener) -> bool {
    let Some(port) = listener.port else { return address == listener.address };
    let last = address.rsplit(|&byte| byte == b':').next().unwrap_or_default();
    let written = core::str::from_utf8(last).ok().and_then(|port| port.parse::<u16>().ok());
    // nginx's default, but for a master without privileges.
    !address.starts_with(b"unix:") && written.unwrap_or(80) == port
}

#[cfg(ngx_feature = "http_v2")]
fn has_http2(address: &ngx_http_conf_addr_t) -> bool {
    address.opt.http2() != 0
}

#[cfg(not(ngx_feature = "http_v2"))]
fn has_http2(_: &ngx_http_conf_addr_t) -> bool {
    false
}
