//! Which servers share a socket, and where a WebSocket would go in each: for a request that came to the wrong one.

use core::ptr;
use std::collections::HashMap;

use ngx::ffi::{
    ngx_conf_t, ngx_http_conf_addr_t, ngx_http_conf_port_t, ngx_http_core_loc_conf_t,
    ngx_http_core_srv_conf_t,
};
use ngx::http::{HttpModule, HttpModuleMainConf, NgxHttpCoreModule};
use websocket_guard_core::config::Node;

use crate::configuration::conf::{Location, LocationConf, MergedLevel, Socket};
use crate::nginx::elements;

/// Describes the sockets.
///
/// # Safety
/// Must be called from `postconfiguration`, with all levels below `http {}`.
pub unsafe fn collect(
    cf: &ngx_conf_t,
    levels: &[MergedLevel],
    nodes: &[Option<Node>],
) -> Vec<Socket> {
    let mut by_server: HashMap<*const ngx_http_core_srv_conf_t, Vec<Location>> = HashMap::new();
    for level in levels {
        // SAFETY: the level is merged, so that its configurations are complete; they live as long as the cycle, and so
        // as long as its requests, and its array has one of each HTTP module.
        let (conf, core): (&'static LocationConf, &'static ngx_http_core_loc_conf_t) = unsafe {
            let core = *level.loc_conf.add(NgxHttpCoreModule::module().ctx_index);
            (&*level.conf.as_ptr(), &*core.cast())
        };
        let node = nodes.get(conf.number as usize).copied().flatten();
        let names = core.named() == 0 && core.noname() == 0 && !core.name.is_empty();
        if names && node.is_some_and(|node| forwards(node, conf)) {
            by_server.entry(level.server).or_default().push(Location { conf, core });
        }
    }
    let mut sockets = Vec::new();
    let Some(core) = NgxHttpCoreModule::main_conf(cf) else { return sockets };
    // SAFETY: null without a server, else an array of ports, which lives as long as the configuration.
    let ports: &[ngx_http_conf_port_t] = unsafe { elements(core.ports) };
    for port in ports {
        // SAFETY: a port has an array of addresses, which lives as long.
        let addresses: &[ngx_http_conf_addr_t] = unsafe { elements(&port.addrs) };
        for address in addresses {
            let default = address.default_server.cast_const();
            // SAFETY: an address has an array of servers, which live as long; none of its pointers is null.
            let servers: &[&'static ngx_http_core_srv_conf_t] =
                unsafe { elements(&address.servers) };
            let others = servers.iter().filter(|server| !ptr::eq(**server, default));
            let locations: Vec<_> = others
                .filter_map(|server| Some((*server, by_server.get(&ptr::from_ref(*server))?)))
                .flat_map(|(server, locations)| locations.iter().map(move |it| (server, *it)))
                .collect();
            if !locations.is_empty() {
                let unix = port.family == libc::AF_UNIX as isize;
                let port = if unix { 0 } else { port.port };
                sockets.push(Socket { port, default, locations });
            }
        }
    }
    sockets
}

/// Whether a location passes an upgrade on.
fn forwards(node: Node, conf: &LocationConf) -> bool {
    let passes: [&[u8]; 3] = [b"proxy_pass", b"uwsgi_pass", b"scgi_pass"];
    let by_hand = || {
        node.inherited(b"proxy_set_header").is_some_and(|found| {
            found.all().any(|it| {
                it.arg(0).is_some_and(|name| name.eq_ignore_ascii_case(b"Upgrade"))
                    && it.arg(1).is_some_and(|value| !value.is_empty())
            })
        })
    };
    passes.iter().any(|pass| node.own(pass).next().is_some())
        && (conf.mode().is_guarded() || by_hand())
}
