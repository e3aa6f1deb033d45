//! The upstreams.

use core::ptr;
use std::collections::HashMap;

use ngx::ffi::{
    ngx_conf_t, ngx_http_upstream_server_t, ngx_http_upstream_srv_conf_t, NGX_HTTP_UPSTREAM_BACKUP,
    NGX_HTTP_UPSTREAM_CREATE,
};
use ngx::http::{HttpModuleMainConf, NgxHttpUpstreamModule};
use typed_arena::Arena;
use websocket_guard_core::audit::model::{Affinity, Upstream};
use websocket_guard_core::config::{BlockKind, Directive, Node, Tree};
use websocket_guard_core::words::Place;

use crate::nginx::bytes;
use crate::nginx::{c_bytes, elements};

/// The upstreams, and where nginx has them.
pub struct Upstreams<'a> {
    pub list: &'a [Upstream<'a>],
    index: HashMap<*const ngx_http_upstream_srv_conf_t, usize>,
}

impl<'a> Upstreams<'a> {
    /// # Safety
    /// Must be called from `postconfiguration`.
    pub unsafe fn describe(
        cf: &ngx_conf_t,
        tree: &'a Tree,
        arena: &'a Arena<Upstream<'a>>,
    ) -> Self {
        let blocks: HashMap<(&[u8], u32), Node> = tree
            .http()
            .into_iter()
            .flat_map(Node::blocks)
            .filter(|node| node.kind() == BlockKind::Upstream)
            .map(|node| ((node.place().file, node.place().line), node))
            .collect();
        let mut index = HashMap::new();
        // SAFETY: the array holds pointers to live upstreams.
        let all = unsafe {
            NgxHttpUpstreamModule::main_conf(cf)
                .map(|main| elements::<*mut ngx_http_upstream_srv_conf_t>(&main.upstreams))
                .unwrap_or_default()
        };
        let list = arena.alloc_extend(all.iter().enumerate().filter_map(|(n, upstream)| {
            // SAFETY: the upstream is live, and the name of its file NUL-terminated.
            let (upstream, file) =
                unsafe { (upstream.as_ref()?, c_bytes(upstream.as_ref()?.file_name.cast())) };
            index.insert(ptr::from_ref(upstream), n);
            let line = u32::try_from(upstream.line).unwrap_or(0);
            Some(describe_upstream(
                upstream,
                Place { file, line },
                blocks.get(&(file, line)).copied(),
            ))
        }));
        Self { list, index }
    }

    pub fn get(&self, upstream: *const ngx_http_upstream_srv_conf_t) -> Option<&'a Upstream<'a>> {
        self.list.get(*self.index.get(&upstream)?)
    }
}

fn describe_upstream<'a>(
    upstream: &'static ngx_http_upstream_srv_conf_t,
    place: Place<'a>,
    node: Option<Node<'a>>,
) -> Upstream<'a> {
    // SAFETY: `servers` is null for an implicit upstream, or an array of servers.
    let servers: &'static [ngx_http_upstream_server_t] = unsafe { elements(upstream.servers) };
    let live = || servers.iter().filter(|server| server.backup() == 0 && server.down == 0);
    Upstream {
        name: bytes(upstream.host),
        block: upstream.flags & NGX_HTTP_UPSTREAM_CREATE as usize != 0,
        place: Some(place),
        live_servers: live().map(addresses).sum(),
        affinity: affinity(upstream, node),
        max_conns: servers
            .iter()
            .map(|server| server.max_conns as u64)
            .filter(|max| *max != 0)
            .min(),
        named_server: servers
            .iter()
            .map(|server| bytes(server.name))
            .find(|name| is_host_name(name)),
    }
}

/// The addresses of a server, in the family that it has more of: a name with an IPv4 and an IPv6
/// address is one server.
fn addresses(server: &ngx_http_upstream_server_t) -> u32 {
    // SAFETY: `addrs` holds `naddrs` addresses.
    let ipv6 = (0..server.naddrs)
        .filter(
            |&n| unsafe { (*(*server.addrs.add(n)).sockaddr).sa_family } as i32 == libc::AF_INET6,
        )
        .count();
    u32::try_from(ipv6.max(server.naddrs - ipv6)).unwrap_or(u32::MAX)
}

/// Whether a `server` is given by a host name, and not by an address or a socket.
fn is_host_name(name: &[u8]) -> bool {
    let host = name.split(|&byte| byte == b':').next().unwrap_or_default();
    !name.starts_with(b"unix:")
        && !name.starts_with(b"[")
        && !host.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// Told by the directives of the block, since balancers are private to their modules.
fn affinity(upstream: &ngx_http_upstream_srv_conf_t, node: Option<Node>) -> Affinity {
    const NEUTRAL: [&[u8]; 13] = [
        b"server",
        b"zone",
        b"keepalive",
        b"keepalive_requests",
        b"keepalive_time",
        b"keepalive_timeout",
        b"least_conn",
        b"least_time",
        b"random",
        b"state",
        b"queue",
        b"resolver",
        b"resolver_timeout",
    ];
    let Some(node) = node.filter(|node| node.is_complete()) else {
        // ip_hash, hash and random leave this flag out; an implicit upstream has all.
        let round_robin = upstream.flags & NGX_HTTP_UPSTREAM_BACKUP as usize != 0;
        return if round_robin { Affinity::None } else { Affinity::Unknown };
    };
    let names = || node.children().map(Directive::name);
    if names().any(|name| matches!(name, b"ip_hash" | b"hash" | b"sticky")) {
        Affinity::Kept
    } else if names().all(|name| NEUTRAL.contains(&name)) {
        Affinity::None
    } else {
        Affinity::Unknown
    }
}
