//! The server that a request should have come to.

use core::ptr;

use ngx::ffi::{
    ngx_hash_find_combined, ngx_hash_key, ngx_http_core_loc_conf_t, ngx_http_virtual_names_t,
    ngx_inet_get_port, ngx_str_t,
};
#[cfg(ngx_feature = "pcre")]
use ngx::ffi::{ngx_http_regex_t, ngx_regex_exec};
use ngx::http::{HttpModuleServerConf, NgxHttpCoreModule};
use websocket_guard_core::diagnosis::OtherServer;

use crate::nginx::bytes;
use crate::request::view::Request;

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
    Some(OtherServer { server: bytes(server.server_name), location: location.place() })
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
