//! The sockets that servers answer on.

use std::collections::HashMap;

use ngx::ffi::{ngx_conf_t, ngx_http_conf_addr_t, ngx_http_conf_port_t, ngx_http_core_srv_conf_t};
use ngx::http::{HttpModuleMainConf, NgxHttpCoreModule};
use websocket_guard_protocol::audit::model::Listener;

use crate::nginx::elements;
use crate::request::bytes;

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

#[cfg(ngx_feature = "http_v2")]
fn has_http2(address: &ngx_http_conf_addr_t) -> bool {
    address.opt.http2() != 0
}

#[cfg(not(ngx_feature = "http_v2"))]
fn has_http2(_: &ngx_http_conf_addr_t) -> bool {
    false
}
