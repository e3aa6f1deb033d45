//! Which servers share a socket, and where a WebSocket would go in each: for a request that came to the wrong one.

use core::ptr;
use std::collections::HashMap;

use ngx::ffi::{
    ngx_conf_t, ngx_hash_find_combined, ngx_hash_key, ngx_http_conf_addr_t, ngx_http_conf_port_t,
    ngx_http_core_loc_conf_t, ngx_http_core_srv_conf_t, ngx_http_virtual_names_t,
    ngx_inet_get_port, ngx_str_t,
};
#[cfg(ngx_feature = "pcre")]
use ngx::ffi::{ngx_http_regex_t, ngx_regex_exec};
use ngx::http::{HttpModule, HttpModuleMainConf, HttpModuleServerConf, NgxHttpCoreModule};
use websocket_guard_core::config::Node;
use websocket_guard_core::diagnosis::OtherServer;

use crate::conf::{LocationConf, MergedLevel};
use crate::facts::place;
use crate::nginx::elements;
use crate::request::{bytes, Location, Request};

/// The servers of one socket, if it has several.
pub struct Socket {
    /// 0 for one of a Unix socket.
    port: u16,
    default: *const ngx_http_core_srv_conf_t,
    /// The locations that forward an upgrade, in the other servers.
    locations: Vec<(&'static ngx_http_core_srv_conf_t, Location)>,
}

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

/// The location that a request was meant for, if the default server took it because no name fits its Host.
pub fn other_server(request: &Request) -> Option<OtherServer<'static>> {
    let sockets = &request.main_conf()?.sockets;
    let server = NgxHttpCoreModule::server_conf(request.raw())?;
    // SAFETY: a request has a connection with an address, and that has its names; the local address is
    // there from the time when the connection was accepted.
    let (address, port) = unsafe {
        let address = request.raw().http_connection.as_ref()?.addr_conf.as_ref()?;
        let local = request.connection().local_sockaddr;
        let unix = i32::from((*local).sa_family) == libc::AF_UNIX;
        (address, if unix { 0 } else { ngx_inet_get_port(local) })
    };
    let default = address.default_server.cast_const();
    let host = request.raw().headers_in.server;
    if !ptr::eq(server, default) || host.is_empty() || fits(address.virtual_names, host) {
        return None;
    }
    let uri = request.raw().uri;
    let of_socket = sockets.iter().filter(|it| it.port == port && ptr::eq(it.default, default));
    let (server, location) = of_socket
        .flat_map(|socket| &socket.locations)
        .filter(|(_, location)| serves(location.core, uri))
        .max_by_key(|(_, location)| location.core.name.len)?;
    Some(OtherServer { server: bytes(server.server_name), location: place(*location) })
}

/// Whether a server of the socket has that name (`ngx_http_find_virtual_server`).
fn fits(names: *mut ngx_http_virtual_names_t, host: ngx_str_t) -> bool {
    // SAFETY: null, or the names of an address of the configuration.
    unsafe {
        let Some(names) = names.as_mut() else { return false };
        let key = ngx_hash_key(host.data, host.len);
        if !ngx_hash_find_combined(&mut names.names, key, host.data, host.len).is_null() {
            return true;
        }
        #[cfg(ngx_feature = "pcre")]
        if (0..names.nregex).any(|n| matches(&*(*names.regex.add(n)).regex, host)) {
            return true;
        }
        false
    }
}

/// Whether a location is for that URI, as far as its own name tells.
fn serves(core: &ngx_http_core_loc_conf_t, uri: ngx_str_t) -> bool {
    let (name, path) = (core.name.as_bytes(), uri.as_bytes());
    #[cfg(ngx_feature = "pcre")]
    if !core.regex.is_null() {
        // SAFETY: the expression lives as long as its location.
        return matches(unsafe { &*core.regex }, uri);
    }
    if core.exact_match() != 0 {
        return path == name;
    }
    path.starts_with(name)
}

#[cfg(ngx_feature = "pcre")]
fn matches(regex: &ngx_http_regex_t, mut text: ngx_str_t) -> bool {
    // SAFETY: a regular expression of the configuration; without captures nothing is kept.
    unsafe { ngx_regex_exec(regex.regex, &mut text, ptr::null_mut(), 0) >= 0 }
}
