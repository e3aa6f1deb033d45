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
        // SAFETY: guaranteed by the caller; a configuration lives as long as its requests.
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
    // SAFETY: `ports` is null without a server, else an array of ports with arrays of addresses, which
    // have arrays of servers; these live as long as the configuration.
    unsafe {
        for port in elements::<ngx_http_conf_port_t>(core.ports) {
            for address in elements::<ngx_http_conf_addr_t>(&port.addrs) {
                let default = address.default_server.cast_const();
                let servers = elements::<*mut ngx_http_core_srv_conf_t>(&address.servers);
                let others = servers.iter().filter(|server| !ptr::eq(**server, default));
                let locations: Vec<_> = others
                    .filter_map(|server| {
                        Some((server.as_ref()?, by_server.get(&server.cast_const())?))
                    })
                    .flat_map(|(server, locations)| locations.iter().map(move |it| (server, *it)))
                    .collect();
                if !locations.is_empty() {
                    let unix = port.family == libc::AF_UNIX as isize;
                    let port = if unix { 0 } else { port.port };
                    sockets.push(Socket { port, default, locations });
                }
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
