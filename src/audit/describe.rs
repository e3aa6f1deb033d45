//! Describes nginx's merged configuration in the plain values that the rules read.
//!
//! What a location does, nginx's own structures say. Where that was written, and what other modules
//! keep to themselves, the text says; where a block is not found in it, it stays unknown.

use core::ffi::{c_void, CStr};
use core::ptr;
use std::borrow::Cow;
use std::collections::HashMap;

use ngx::ffi::{
    nginx_version, ngx_array_t, ngx_conf_t, ngx_core_conf_t, ngx_core_module, ngx_event_conf_t,
    ngx_event_core_module, ngx_events_module, ngx_hash_find, ngx_hash_key_lc, ngx_http_conf_addr_t,
    ngx_http_conf_port_t, ngx_http_core_loc_conf_t, ngx_http_core_srv_conf_t, ngx_http_regex_t,
    ngx_http_upstream_conf_t, ngx_http_upstream_server_t, ngx_http_upstream_srv_conf_t,
    ngx_keyval_t, ngx_regex_exec, ngx_str_t, NGX_HTTP_UPSTREAM_BACKUP, NGX_HTTP_UPSTREAM_CREATE,
};
use ngx::http::{HttpModule, HttpModuleMainConf, NgxHttpCoreModule, NgxHttpUpstreamModule};
use typed_arena::Arena;
use websocket_guard_protocol::audit::model::{
    Affinity, Answer, Cache, Content, Fallback, Header, Headers, Hidden, Listener, Location,
    LocationKind, Marked, Mode, Origin, Pattern, Place, Proxied, ProxyModule, Server, Setting,
    Site, Subrequest, Target, Upstream, Value,
};
use websocket_guard_protocol::source::{Directive, Kind, Node, Tree, Variables};

use crate::conf::{self, Level, LocationConf, MainConf, MergedLevel, Opening};
use crate::nginx::{c_bytes, elements, ngx_str};
use crate::proxies;
use crate::request::{bytes, http_version as as_version};

/// Describes the configuration to `look`.
///
/// # Safety
/// Must be called from `postconfiguration`, with all levels below `http {}`.
pub unsafe fn describe<T>(
    cf: &ngx_conf_t,
    main: &MainConf,
    levels: &[MergedLevel],
    tree: &Tree,
    look: impl FnOnce(&Site) -> T,
) -> T {
    let arenas = Arenas::default();
    // SAFETY: guaranteed by the caller.
    unsafe {
        let upstreams = Upstreams::describe(cf, tree, &arenas);
        let mut describer = Describer {
            main,
            variables: Variables::new(tree),
            nodes: nodes(levels, main.created, tree),
            arenas: &arenas,
            upstreams: &upstreams,
            lists: HashMap::new(),
        };
        let servers = describer.servers(cf, levels);
        let mut site = Site {
            nginx_version,
            place: tree.http().map(Node::place).unwrap_or_default(),
            upstreams: upstreams.list,
            servers: &servers,
            ..Site::default()
        };
        describe_processes(cf, tree, &mut site);
        look(&site)
    }
}

/// What the description refers to and nginx does not hold.
#[derive(Default)]
struct Arenas<'a> {
    headers: Arena<Header<'a>>,
    values: Arena<Value<'a>>,
    upstreams: Arena<Upstream<'a>>,
    listeners: Arena<Listener<'a>>,
    subrequests: Arena<Subrequest<'a>>,
    locations: Arena<Location<'a>>,
    regexes: Arena<Regex>,
    bytes: Arena<u8>,
}

/// Finds the block of each level in the text, by the number of its configuration.
///
/// # Safety
/// The levels must be live.
unsafe fn nodes<'a>(levels: &[MergedLevel], created: u32, tree: &'a Tree) -> Vec<Option<Node<'a>>> {
    let mut nodes = vec![None; created as usize + 1];
    // SAFETY: guaranteed by the caller.
    let mut confs: Vec<&LocationConf> =
        levels.iter().map(|level| unsafe { level.conf.as_ref() }).collect();
    // nginx creates them in the order of the text, but merges locations by server.
    confs.sort_unstable_by_key(|conf| conf.number);
    let mut blocks = tree.blocks();
    for conf in confs {
        if let Some(node) = nodes.get_mut(conf.number as usize) {
            let mut next = || blocks.next(conf.opened.file.as_bytes(), conf.opened.line);
            // An upstream block in the same line is not among the levels.
            *node = next();
            while node.is_some_and(|node| node.kind() == Kind::Upstream) {
                *node = next();
            }
        }
    }
    nodes
}

/// # Safety
/// As for [`describe`].
unsafe fn describe_processes(cf: &ngx_conf_t, tree: &Tree, site: &mut Site) {
    // SAFETY: the configurations of core modules stand in the cycle by their index; that of the event
    // module is null without an events block before http.
    let (core, events) = unsafe {
        let contexts = (*cf.cycle).conf_ctx;
        let core = *contexts.add((*ptr::addr_of!(ngx_core_module)).index);
        let events = *contexts.add((*ptr::addr_of!(ngx_events_module)).index);
        let events = events.cast::<*mut *mut ngx_event_conf_t>().as_ref().and_then(|list| {
            (*list.add((*ptr::addr_of!(ngx_event_core_module)).ctx_index)).as_ref()
        });
        (core.cast::<ngx_core_conf_t>().as_ref(), events)
    };
    if let Some(core) = core {
        site.workers = u64::try_from(core.worker_processes).unwrap_or(1).max(1);
        site.open_files = u64::try_from(core.rlimit_nofile).ok().or_else(file_limit);
        site.worker_shutdown_timeout = core.shutdown_timeout != usize::MAX
            || tree.root().own(b"worker_shutdown_timeout").next().is_some();
    }
    if let Some(events) = events {
        const DEFAULT_CONNECTIONS: u64 = 512;
        site.worker_connections = match events.connections {
            usize::MAX => DEFAULT_CONNECTIONS,
            connections => connections as u64,
        };
    }
}

/// How many files a process may open.
fn file_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is live for the call.
    (unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0).then_some(limit.rlim_cur)
}

/// The upstreams, and where nginx has them.
struct Upstreams<'a> {
    list: &'a [Upstream<'a>],
    index: HashMap<*const ngx_http_upstream_srv_conf_t, usize>,
}

impl<'a> Upstreams<'a> {
    /// # Safety
    /// As for [`describe`].
    unsafe fn describe(cf: &ngx_conf_t, tree: &'a Tree, arenas: &'a Arenas<'a>) -> Self {
        let blocks: HashMap<(&[u8], u32), Node> = tree
            .http()
            .into_iter()
            .flat_map(Node::blocks)
            .filter(|node| node.kind() == Kind::Upstream)
            .map(|node| ((node.place().file, node.place().line), node))
            .collect();
        let mut index = HashMap::new();
        // SAFETY: the array holds pointers to live upstreams.
        let all = unsafe {
            NgxHttpUpstreamModule::main_conf(cf)
                .map(|main| elements::<*mut ngx_http_upstream_srv_conf_t>(&main.upstreams))
                .unwrap_or_default()
        };
        let list =
            arenas.upstreams.alloc_extend(all.iter().enumerate().filter_map(|(n, upstream)| {
                // SAFETY: as above.
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

    fn get(&self, upstream: *const ngx_http_upstream_srv_conf_t) -> Option<&'a Upstream<'a>> {
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

struct Describer<'a> {
    main: &'a MainConf,
    variables: Variables<'a>,
    nodes: Vec<Option<Node<'a>>>,
    arenas: &'a Arenas<'a>,
    upstreams: &'a Upstreams<'a>,
    /// The header lists that were described, by nginx's array.
    lists: HashMap<*const ngx_array_t, &'a [Header<'a>]>,
}

impl<'a> Describer<'a> {
    /// # Safety
    /// As for [`describe`].
    unsafe fn servers(&mut self, cf: &ngx_conf_t, levels: &[MergedLevel]) -> Vec<Server<'a>> {
        let mut listeners = listeners(cf);
        levels
            .chunk_by(|a, b| ptr::eq(a.server, b.server))
            .filter_map(|levels| {
                let (own, rest) = levels.split_first()?;
                // SAFETY: guaranteed by the caller.
                let (server, conf) = unsafe { (own.server.as_ref()?, own.conf.as_ref()) };
                let listeners = listeners.remove(&own.server).unwrap_or_default();
                // SAFETY: as above.
                let locations = unsafe { self.locations(own, rest) };
                Some(Server {
                    name: bytes(server.server_name),
                    place: place(conf.opened),
                    mode: mode(conf),
                    listeners: self.arenas.listeners.alloc_extend(listeners),
                    locations: self.arenas.locations.alloc_extend(locations),
                })
            })
            .collect()
    }

    /// # Safety
    /// As for [`describe`].
    unsafe fn locations(
        &mut self,
        server: &MergedLevel,
        levels: &[MergedLevel],
    ) -> Vec<Location<'a>> {
        let mut indexes: HashMap<*const LocationConf, usize> = HashMap::new();
        let mut locations = Vec::new();
        for level in levels {
            // SAFETY: guaranteed by the caller.
            let (conf, core) = unsafe { (level.conf.as_ref(), core(level)) };
            let node = self.node(conf);
            if level.level == Level::Block && !node.is_some_and(is_proxying_if) {
                if let Some(&around) = indexes.get(&level.parent) {
                    indexes.insert(ptr::from_ref(conf), around);
                }
                continue;
            }
            indexes.insert(ptr::from_ref(conf), locations.len());
            // SAFETY: as above.
            let content = unsafe { self.content(level, conf, core, node) };
            locations.push(Location {
                name: bytes(core.name),
                kind: self.kind(core),
                parent: indexes.get(&level.parent).copied(),
                place: place(conf.opened),
                mode: mode(conf),
                marked: match conf.mode {
                    None => Marked::Nowhere,
                    Some(_) if conf.marked => Marked::Here,
                    Some(_) => Marked::Above,
                },
                ignore: conf.ignore.unwrap_or_default(),
                protocols: conf.protocols(),
                content,
                ..Location::default()
            });
            if let (Some(location), Some(node)) = (locations.last_mut(), node) {
                self.describe_text(location, core, node);
            }
        }
        let _ = server;
        locations
    }

    fn node(&self, conf: &LocationConf) -> Option<Node<'a>> {
        self.nodes.get(conf.number as usize).copied().flatten()
    }

    fn kind(&self, core: &'static ngx_http_core_loc_conf_t) -> LocationKind<'a> {
        if core.noname() != 0 {
            return LocationKind::If;
        }
        if core.named() != 0 {
            return LocationKind::Named;
        }
        if core.exact_match() != 0 {
            return LocationKind::Exact;
        }
        #[cfg(ngx_feature = "pcre")]
        if !core.regex.is_null() {
            return LocationKind::Regex(self.arenas.regexes.alloc(Regex(core.regex)));
        }
        if core.noregex() != 0 {
            return LocationKind::PrefixNoRegex;
        }
        LocationKind::Prefix
    }

    /// What of a location only its text tells.
    fn describe_text(
        &self,
        location: &mut Location<'a>,
        core: &'static ngx_http_core_loc_conf_t,
        node: Node<'a>,
    ) {
        let first = |name| node.own(name).next();
        location.error_page = !core.error_pages.is_null();
        location.send_timeout = Some(Setting {
            value: core.send_timeout as u64,
            origin: origin(node, b"send_timeout"),
        });
        // SAFETY: null, or a resolver with an array of connections.
        location.resolver = unsafe { core.resolver.as_ref() }.map(|it| it.connections.nelts > 0);
        location.answer = first(b"return").and_then(|directive| answer(node, directive));
        location.rewrite_last = rewrites(node)
            .find(|directive| directive.args().next_back() == Some(b"last"))
            .map(|directive| Origin::Here(Some(directive.place())));
        location.fallback = first(b"try_files").and_then(|directive| {
            let name = directive.args().next_back().filter(|name| name.starts_with(b"@"))?;
            Some(Fallback { name, place: Some(directive.place()) })
        });
        location.subrequests = self.arenas.subrequests.alloc_extend(subrequests(node));
        location.limit_conn = node
            .inherited(b"limit_conn")
            .filter(|_| !is_on(node, b"limit_conn_dry_run"))
            .map(|directives| directives.origin());
    }

    /// # Safety
    /// As for [`describe`].
    unsafe fn content(
        &mut self,
        level: &MergedLevel,
        conf: &LocationConf,
        core: &'static ngx_http_core_loc_conf_t,
        node: Option<Node<'a>>,
    ) -> Content<'a> {
        const MODULES: [ProxyModule; proxies::MODULES] =
            [ProxyModule::Proxy, ProxyModule::Uwsgi, ProxyModule::Scgi];

        for (n, module) in self.main.proxies.iter().enumerate() {
            let (Some(found), Some(module)) = (MODULES.get(n), module) else { continue };
            // SAFETY: guaranteed by the caller.
            unsafe {
                let module_conf = module.location_conf(level.loc_conf);
                let upstream = &*module.upstream_conf(module_conf);
                if module.handles(level.loc_conf) || !upstream.upstream.is_null() {
                    let tunnel = conf.recipe.tunnel_timeouts.get(n).copied().unwrap_or_default();
                    let proxied = ProxiedLocation { conf, module, module_conf, upstream, node };
                    return Content::Proxied(self.proxied(*found, &proxied, tunnel.read as u64));
                }
            }
        }
        let passes: [(&[u8], &str); 3] = [
            (b"fastcgi_pass", "fastcgi_pass"),
            (b"grpc_pass", "grpc_pass"),
            (b"memcached_pass", "memcached_pass"),
        ];
        let other = passes
            .iter()
            .find(|(name, _)| node.is_some_and(|node| node.own(name).next().is_some()));
        match (other, core.handler) {
            (Some((_, name)), _) => Content::CannotUpgrade(name),
            (None, None) => Content::Files,
            (None, Some(_)) => Content::Unknown,
        }
    }
}

/// A location that one of the proxy modules serves.
struct ProxiedLocation<'l, 'a> {
    conf: &'l LocationConf,
    module: &'l proxies::ProxyModule,
    module_conf: *mut c_void,
    upstream: &'static ngx_http_upstream_conf_t,
    node: Option<Node<'a>>,
}

impl<'a> Describer<'a> {
    /// # Safety
    /// As for [`describe`].
    unsafe fn proxied(
        &mut self,
        module: ProxyModule,
        location: &ProxiedLocation<'_, 'a>,
        tunnel_read: u64,
    ) -> Proxied<'a> {
        let ProxiedLocation { conf, upstream, node, .. } = *location;
        let guarded = conf.mode().applies();
        let prefix = module.prefix();
        let origin = |name: &str| match node {
            Some(node) => origin(node, format!("{prefix}_{name}").as_bytes()),
            None => Origin::Default,
        };
        // A value that the guard filled in has no directive in the location itself.
        let filled_in = |name: &str| match origin(name) {
            Origin::Here(place) => Origin::Here(place),
            _ if guarded => Origin::Guard,
            other => other,
        };
        // SAFETY: the fields are of the same module as the configuration.
        let (http_version, list) = unsafe {
            (
                location.module.http_version.map(|field| field.read(location.module_conf)),
                location.module.headers_source.map(|field| field.read(location.module_conf)),
            )
        };
        Proxied {
            module,
            target: self.target(module, location),
            headers: list.map(|list| self.headers(list, node)).unwrap_or_default(),
            http_version: http_version.map(|version| Setting {
                value: as_version(version),
                origin: filled_in("http_version"),
            }),
            read_timeout: Some(if guarded {
                Setting { value: tunnel_read, origin: filled_in("read_timeout") }
            } else {
                Setting { value: upstream.read_timeout as u64, origin: origin("read_timeout") }
            }),
            buffering: Some(Setting {
                value: upstream.buffering != 0,
                origin: if conf.mode() == conf::Mode::On {
                    filled_in("buffering")
                } else {
                    origin("buffering")
                },
            }),
            cache: self.cache(module, location),
            method: node
                .and_then(|node| node.inherited(format!("{prefix}_method").as_bytes()))
                .and_then(|found| Some((found.last().arg(0)?, found.origin())))
                .filter(|(method, _)| !method.contains(&b'$'))
                .map(|(value, origin)| Setting { value, origin }),
            pass_request_headers: Some(Setting {
                value: upstream.pass_request_headers != 0,
                origin: origin("pass_request_headers"),
            }),
            hidden: Hidden {
                upgrade: hides(upstream, c"upgrade"),
                accept: hides(upstream, c"sec-websocket-accept"),
                origin: self.hide_origin(prefix, node),
            },
            intercept_errors: Some(Setting {
                value: upstream.intercept_errors != 0,
                origin: origin("intercept_errors"),
            }),
            ssl_server_name: ssl_server_name(upstream)
                .map(|value| Setting { value, origin: origin("ssl_server_name") }),
        }
    }

    /// Where the directive stands that hides a header of the handshake.
    fn hide_origin(&self, prefix: &str, node: Option<Node<'a>>) -> Origin<'a> {
        let Some(found) =
            node.and_then(|node| node.inherited(format!("{prefix}_hide_header").as_bytes()))
        else {
            return Origin::Default;
        };
        let hides = |directive: &Directive| {
            directive.arg(0).is_some_and(|name| {
                name.eq_ignore_ascii_case(b"Upgrade")
                    || name.eq_ignore_ascii_case(b"Sec-WebSocket-Accept")
            })
        };
        match found.all().find(hides).map(Directive::place) {
            Some(place) if found.is_here() => Origin::Here(Some(place)),
            Some(place) => Origin::Above(Some(place)),
            None => found.origin(),
        }
    }

    fn target(&self, module: ProxyModule, location: &ProxiedLocation<'_, 'a>) -> Target<'a> {
        let pass = format!("{}_pass", module.prefix());
        // An `if` block without one of its own is not described, so the directive is here.
        let directive = location.node.and_then(|node| node.own(pass.as_bytes()).next_back());
        let text = directive.and_then(|directive| directive.arg(0));
        let variable = location.upstream.upstream.is_null();
        let value = text
            .zip(location.node)
            .filter(|_| variable)
            .and_then(|(text, node)| self.evaluate(text, node));
        let tls = text
            .is_some_and(|text| starts_with(text, b"https://") || starts_with(text, b"suwsgi://"));
        Target {
            text,
            variable,
            value,
            tls,
            uri: text.map(uri_part),
            upstream: self.upstreams.get(location.upstream.upstream),
            place: directive.map(Directive::place),
        }
    }

    fn cache(&self, module: ProxyModule, location: &ProxiedLocation<'_, 'a>) -> Option<Cache<'a>> {
        if !cache_is_on(location.upstream) {
            return None;
        }
        let node = location.node?;
        let prefix = module.prefix();
        let zone = node.inherited(format!("{prefix}_cache").as_bytes())?.last().arg(0)?;
        if zone.contains(&b'$') {
            // The zone of an upgrade; "off" and nothing are none (ngx_http_upstream_cache_get).
            let zone = self.evaluate(zone, node)?;
            if zone.is_empty() || zone == b"off" {
                return None;
            }
        }
        let conditions = node
            .inherited(format!("{prefix}_cache_bypass").as_bytes())
            .into_iter()
            .flat_map(|found| found.all())
            .flat_map(Directive::args)
            .map(|text| self.condition(text, node));
        let own = location.conf.mode().applies().then_some(Value::Guard);
        Some(Cache {
            origin: origin(node, format!("{prefix}_cache").as_bytes()),
            bypass: self.arenas.values.alloc_extend(conditions.chain(own)),
        })
    }

    fn headers(&mut self, list: *const ngx_array_t, node: Option<Node<'a>>) -> Headers<'a> {
        let Some(node) = node else { return Headers::default() };
        let found = node.inherited(SET_HEADER);
        let own = found.as_ref().is_some_and(|found| found.is_here());
        let entries = match self.lists.get(&list) {
            Some(known) => *known,
            None => {
                // SAFETY: the list in force, filled by nginx or by the guard.
                let entries: &'static [ngx_keyval_t] = unsafe { elements(list) };
                let directives: Vec<Directive> =
                    found.into_iter().flat_map(|found| found.all()).collect();
                let described = entries.iter().map(|entry| {
                    let (name, value) = (bytes(entry.key), bytes(entry.value));
                    let directive = directives
                        .iter()
                        .find(|it| it.arg(0) == Some(name) && it.arg(1) == Some(value));
                    Header {
                        name,
                        value: self.value(value, node),
                        place: directive.map(|directive| directive.place()),
                    }
                });
                let described = &*self.arenas.headers.alloc_extend(described.collect::<Vec<_>>());
                self.lists.insert(list, described);
                described
            }
        };
        let above =
            match node.parent().filter(|_| own).and_then(|parent| parent.inherited(SET_HEADER)) {
                Some(found) => {
                    self.arenas.headers.alloc_extend(found.all().map(|directive| Header {
                        name: directive.arg(0).unwrap_or_default(),
                        value: self.value(directive.arg(1).unwrap_or_default(), node),
                        place: Some(directive.place()),
                    }))
                }
                None => &mut [],
            };
        Headers { known: true, entries, own, above }
    }

    /// A condition of the cache: whether an upgrade meets it counts, not the value.
    fn condition(&self, text: &'a [u8], node: Node<'a>) -> Value<'a> {
        let is_set = self.variables.is_set_for_upgrade(text, node);
        let upgrade = is_set.map(|is_set| -> &[u8] {
            if is_set {
                b"1"
            } else {
                b""
            }
        });
        Value::Variable { text, upgrade }
    }

    fn value(&self, text: &'a [u8], node: Node<'a>) -> Value<'a> {
        if text.starts_with(b"$websocket_guard_") {
            Value::Guard
        } else if text.contains(&b'$') {
            Value::Variable { text, upgrade: self.evaluate(text, node) }
        } else {
            Value::Constant(text)
        }
    }

    fn evaluate(&self, text: &'a [u8], node: Node<'a>) -> Option<&'a [u8]> {
        Some(match self.variables.evaluate(text, node)? {
            Cow::Borrowed(value) => value,
            Cow::Owned(value) => self.arenas.bytes.alloc_extend(value),
        })
    }
}

const SET_HEADER: &[u8] = b"proxy_set_header";

/// The regular expression of a location.
struct Regex(*mut ngx_http_regex_t);

impl Pattern for Regex {
    fn matches(&self, uri: &[u8]) -> bool {
        let mut uri = ngx_str_t { len: uri.len(), data: uri.as_ptr().cast_mut() };
        // SAFETY: the expression lives as long as its location; without captures nothing is kept.
        unsafe { ngx_regex_exec((*self.0).regex, &mut uri, ptr::null_mut(), 0) >= 0 }
    }
}

fn mode(conf: &LocationConf) -> Mode {
    match conf.mode() {
        conf::Mode::Off => Mode::Off,
        conf::Mode::Check => Mode::Check,
        conf::Mode::Auto => Mode::Auto,
        conf::Mode::On => Mode::On,
    }
}

fn place(opened: Opening) -> Place<'static> {
    Place { file: bytes(opened.file), line: opened.line }
}

/// # Safety
/// The level must be live.
unsafe fn core(level: &MergedLevel) -> &'static ngx_http_core_loc_conf_t {
    // SAFETY: guaranteed by the caller; the array has the core module's configuration.
    unsafe { &*(*level.loc_conf.add(NgxHttpCoreModule::module().ctx_index)).cast() }
}

/// Where the directive stands that is in force in a block.
fn origin<'a>(node: Node<'a>, name: &[u8]) -> Origin<'a> {
    node.inherited(name).map(|found| found.origin()).unwrap_or_default()
}

fn is_on(node: Node, name: &[u8]) -> bool {
    node.inherited(name).is_some_and(|found| found.last().arg(0) == Some(b"on"))
}

/// An `if` block with a pass directive of its own.
fn is_proxying_if(node: Node) -> bool {
    let passes: [&[u8]; 3] = [b"proxy_pass", b"uwsgi_pass", b"scgi_pass"];
    node.kind() == Kind::If && passes.iter().any(|name| node.own(name).next().is_some())
}

/// The `rewrite`s of a location and of the `if` blocks in it.
fn rewrites<'a>(node: Node<'a>) -> impl Iterator<Item = Directive<'a>> {
    let blocks = node.blocks().filter(|block| block.kind() == Kind::If);
    core::iter::once(node).chain(blocks).flat_map(|node| node.own(b"rewrite"))
}

/// The `return` of a location.
fn answer<'a>(node: Node<'a>, directive: Directive<'a>) -> Option<Answer<'a>> {
    let first = directive.arg(0)?;
    let status: Option<u16> = core::str::from_utf8(first).ok().and_then(|code| code.parse().ok());
    // An error page stands for a status without a text, and for a redirect (ngx_http_send_response).
    let status = status.unwrap_or(302);
    let replaceable = directive.arg(1).is_none() || matches!(status, 301 | 302 | 303 | 307 | 308);
    let handled = replaceable
        && node.inherited(b"error_page").is_some_and(|pages| {
            let code = status.to_string();
            pages.all().any(|page| page.args().any(|arg| arg == code.as_bytes()))
        });
    Some(Answer { status, handled, place: Some(directive.place()) })
}

/// The requests that `auth_request` and `mirror` make in a location.
fn subrequests<'a>(node: Node<'a>) -> Vec<Subrequest<'a>> {
    ["auth_request", "mirror"]
        .into_iter()
        .filter_map(|directive| Some((directive, node.inherited(directive.as_bytes())?)))
        .flat_map(|(directive, found)| {
            let origin = found.origin();
            found
                .all()
                .filter_map(move |it| Some(Subrequest { directive, uri: it.arg(0)?, origin }))
        })
        .filter(|subrequest| subrequest.uri != b"off")
        .collect()
}

/// The sockets that each server answers on (`ngx_http_add_server`).
fn listeners(cf: &ngx_conf_t) -> HashMap<*const ngx_http_core_srv_conf_t, Vec<Listener<'static>>> {
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

#[cfg(ngx_feature = "http_cache")]
fn cache_is_on(upstream: &ngx_http_upstream_conf_t) -> bool {
    upstream.cache() == 1
}

#[cfg(not(ngx_feature = "http_cache"))]
fn cache_is_on(_: &ngx_http_upstream_conf_t) -> bool {
    false
}

#[cfg(ngx_feature = "http_ssl")]
fn ssl_server_name(upstream: &ngx_http_upstream_conf_t) -> Option<bool> {
    Some(upstream.ssl_server_name == 1)
}

#[cfg(not(ngx_feature = "http_ssl"))]
fn ssl_server_name(_: &ngx_http_upstream_conf_t) -> Option<bool> {
    None
}

/// Whether `proxy_hide_header` keeps a header, in lower case, from the client.
fn hides(upstream: &ngx_http_upstream_conf_t, name: &'static CStr) -> bool {
    let name = ngx_str(name);
    let mut hash = upstream.hide_headers_hash;
    // SAFETY: a hash that was built for the configuration; it has no buckets if it was not.
    unsafe {
        !hash.buckets.is_null()
            && !ngx_hash_find(&mut hash, ngx_hash_key_lc(name.data, name.len), name.data, name.len)
                .is_null()
    }
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// What follows the host in the argument of `proxy_pass`, such as `/app/`.
fn uri_part(text: &[u8]) -> &[u8] {
    let authority = match text.windows(3).position(|window| window == b"://") {
        Some(scheme) => text.get(scheme + 3..).unwrap_or_default(),
        None => text,
    };
    let start = match authority.strip_prefix(b"unix:") {
        // unix:/path:/uri
        Some(path) => {
            path.iter().position(|&byte| byte == b':').map(|colon| colon + b"unix:".len() + 1)
        }
        None => authority.iter().position(|&byte| byte == b'/'),
    };
    start.and_then(|start| authority.get(start..)).unwrap_or_default()
}
