//! Describes nginx's merged configuration in the plain values that the rules read.
//!
//! What a location does, nginx's own structures say. Where that was written, and what other modules
//! keep to themselves, the text says; where a block is not found in it, it stays unknown.

mod describer;
mod listeners;
mod processes;
mod proxied;
mod upstreams;

use core::{iter, ptr};
use std::collections::HashMap;

use ngx::ffi::{nginx_version, ngx_conf_t, ngx_http_core_loc_conf_t};
use ngx::http::{HttpModule, HttpModuleLocationConf, NgxHttpCoreModule};
use websocket_guard_core::audit::asked;
use websocket_guard_core::audit::model::{
    Answer, Asked, Content, Fallback, Listener, Location, LocationKind, OwnLevel, ProxyModule,
    Rewrite, Server, Setting, Site, Subrequest,
};
use websocket_guard_core::config::{BlockKind, Directive, Node, Tree, Variables};
use websocket_guard_core::http::status::is_redirect;
use websocket_guard_core::words::{Place, SetAt};

#[cfg(ngx_feature = "pcre")]
use self::describer::Regex;
use self::describer::{origin, Arenas, Describer};
use self::proxied::ProxiedLocation;
use self::upstreams::Upstreams;
use crate::configuration::conf::{Guard, Level, LevelConf, LocationConf, MainConf, MergedLevel};
use crate::configuration::foreign::proxies;
use crate::configuration::written::Opening;
use crate::nginx::bytes;

/// Describes the configuration to `look`.
///
/// # Safety
/// Must be called from `postconfiguration`, with all levels below `http {}`.
pub unsafe fn describe<T>(
    cf: &ngx_conf_t,
    main: &MainConf,
    levels: &[MergedLevel],
    tree: &Tree,
    nodes: Vec<Option<Node>>,
    look: impl FnOnce(&Site) -> T,
) -> T {
    let arenas = Arenas::default();
    // SAFETY: all levels are merged and live.
    unsafe {
        let upstreams = Upstreams::describe(cf, tree, &arenas.upstreams);
        let mut describer = Describer {
            main,
            variables: Variables::new(tree),
            nodes,
            arenas: &arenas,
            upstreams: &upstreams,
            lists: HashMap::new(),
        };
        let servers = describer.servers(cf, levels);
        let http = Guard::location_conf(cf).and_then(LevelConf::merged);
        let http = http.map(|http| describer.own_level(http, tree.http())).unwrap_or_default();
        let mut site = Site {
            nginx_version,
            place: tree.http().map(Node::place).unwrap_or_default(),
            upstreams: upstreams.list,
            servers: &servers,
            http,
            ..Site::default()
        };
        processes::describe(cf, tree, &mut site);
        look(&site)
    }
}

/// Finds the block of each level in the text, by the number of its configuration.
///
/// # Safety
/// The levels must be live.
pub unsafe fn nodes<'a>(
    levels: &[MergedLevel],
    created: u32,
    tree: &'a Tree,
) -> Vec<Option<Node<'a>>> {
    let mut nodes = vec![None; created as usize + 1];
    // SAFETY: the levels are live.
    let mut confs: Vec<&LocationConf> =
        levels.iter().map(|level| unsafe { level.conf.as_ref() }).collect();
    // nginx creates them in the order of the text, but merges locations by server.
    confs.sort_unstable_by_key(|conf| conf.number);
    let mut blocks = tree.blocks();
    for conf in confs {
        if let Some(node) = nodes.get_mut(conf.number as usize) {
            let mut next = || blocks.next(conf.opened.file.as_bytes(), conf.opened.line);
            // http and upstream blocks in the same line are not among the levels.
            *node = next();
            while node.is_some_and(|it| matches!(it.kind(), BlockKind::Http | BlockKind::Upstream))
            {
                *node = next();
            }
        }
    }
    nodes
}

impl<'a> Describer<'a> {
    /// # Safety
    /// All levels must be merged and live.
    unsafe fn servers(&mut self, cf: &ngx_conf_t, levels: &[MergedLevel]) -> Vec<Server<'a>> {
        let mut listeners = listeners::by_server(cf);
        levels
            .chunk_by(|a, b| ptr::eq(a.server, b.server))
            .filter_map(|levels| {
                let (own, rest) = levels.split_first()?;
                // SAFETY: the levels are live.
                let (server, conf) = unsafe { (own.server.as_ref()?, own.conf.as_ref()) };
                let mut listeners: Vec<Listener> =
                    listeners.remove(&own.server).unwrap_or_default();
                if let Some(node) = self.node(conf) {
                    for listener in listeners.iter_mut().filter(|listener| listener.http2) {
                        listener.place = listeners::http2_place(node, listener);
                    }
                }
                // SAFETY: the levels are merged and live.
                let locations = unsafe { self.locations(rest) };
                Some(Server {
                    name: bytes(server.server_name),
                    place: place(conf.opened),
                    own: self.own_level(conf, self.node(conf)),
                    listeners: self.arenas.listeners.alloc_extend(listeners),
                    locations: self.arenas.locations.alloc_extend(locations),
                })
            })
            .collect()
    }

    /// # Safety
    /// All levels must be merged and live.
    unsafe fn locations(&mut self, levels: &[MergedLevel]) -> Vec<Location<'a>> {
        let mut indexes: HashMap<*const LocationConf, usize> = HashMap::new();
        let mut locations = Vec::new();
        for level in levels {
            // SAFETY: the levels are live.
            let (conf, core) = unsafe { (level.conf.as_ref(), core(level)) };
            let node = self.node(conf);
            if level.level == Level::Block && !node.is_some_and(|node| self.is_proxying_if(node)) {
                if let Some(&around) = indexes.get(&level.parent) {
                    indexes.insert(ptr::from_ref(conf), around);
                }
                continue;
            }
            indexes.insert(ptr::from_ref(conf), locations.len());
            // SAFETY: the level is merged and live.
            let content = unsafe { self.content(level, conf, core, node) };
            locations.push(Location {
                name: bytes(core.name),
                kind: self.kind(core),
                parent: indexes.get(&level.parent).copied(),
                place: place(conf.opened),
                mode: conf.mode(),
                marked: conf.marked,
                ignore: conf.ignored(),
                asked: self.asked(node),
                protocols: Some(conf.protocols()),
                content,
                ..Location::default()
            });
            if let (Some(location), Some(node)) = (locations.last_mut(), node) {
                self.describe_text(location, core, node);
            }
        }
        locations
    }

    /// What of the guard's stands outside of locations.
    fn own_level(&self, conf: &LocationConf, node: Option<Node<'a>>) -> OwnLevel<'a> {
        OwnLevel {
            mode: conf.mode(),
            marked: conf.marked,
            ignore: conf.ignored(),
            asked: self.asked(node),
        }
    }

    fn asked(&self, node: Option<Node<'a>>) -> &'a [Asked<'a>] {
        self.arenas.asked.alloc_extend(node.into_iter().flat_map(asked))
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
        location.sets_upgrade = node.own(b"proxy_set_header").any(|it| {
            it.arg(0).is_some_and(|name| name.eq_ignore_ascii_case(b"Upgrade"))
                && it.arg(1).is_some_and(|value| !value.is_empty())
        });
        location.bare = node.is_complete()
            && ANSWERING.iter().all(|name| node.own(name).next().is_none())
            && node.blocks().all(|block| block.kind() != BlockKind::If);
        location.rewrites = self.arenas.rewrites.alloc_extend(self.rewrites(node));
        location.fallback = first(b"try_files").and_then(|directive| {
            let name = directive.args().next_back().filter(|name| name.starts_with(b"@"))?;
            Some(Fallback { name, place: Some(directive.place()) })
        });
        if !matches!(location.content, Content::Proxied(_)) {
            let pages = node.inherited(b"error_page");
            let targets = pages.into_iter().flat_map(|pages| pages.all());
            location.error_targets =
                self.arenas.texts.alloc_extend(targets.filter_map(|page| page.args().next_back()));
        }
        location.diverts = node
            .blocks()
            .any(|block| self.is_proxying_if(block) && self.variables.holds(block) == Some(true));
        location.subrequests = self.arenas.subrequests.alloc_extend(subrequests(node));
        location.limit_conn = node
            .inherited(b"limit_conn")
            .filter(|_| !is_on(node, b"limit_conn_dry_run"))
            .and_then(|found| {
                let number = |it: &Directive| core::str::from_utf8(it.arg(1)?).ok()?.parse().ok();
                let few =
                    found.all().find(|it| number(it).is_some_and(|number: u32| number < 10))?;
                let place = Some(few.place());
                Some(if found.is_here() { SetAt::Here(place) } else { SetAt::Above(place) })
            });
    }

    /// An `if` block with a pass directive of its own, unless no upgrade comes into it.
    fn is_proxying_if(&self, node: Node<'a>) -> bool {
        let passes: [&[u8]; 3] = [b"proxy_pass", b"uwsgi_pass", b"scgi_pass"];
        node.kind() == BlockKind::If
            && passes.iter().any(|name| node.own(name).next().is_some())
            && self.variables.holds(node) != Some(false)
    }

    /// The `rewrite ... last`s of a location, and of the `if` blocks in it that an upgrade may come into.
    fn rewrites<'s>(&'s self, node: Node<'a>) -> impl Iterator<Item = Rewrite<'a>> + 's {
        let blocks = node.blocks().filter(|block| {
            block.kind() == BlockKind::If && self.variables.holds(*block) != Some(false)
        });
        let directives = iter::once(node).chain(blocks).flat_map(|node| node.own(b"rewrite"));
        directives.filter(|it| it.args().next_back() == Some(b"last")).filter_map(|directive| {
            Some(Rewrite {
                pattern: directive.arg(0)?,
                replacement: directive.arg(1)?,
                place: Some(directive.place()),
            })
        })
    }

    /// # Safety
    /// All levels must be merged and live.
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
            // SAFETY: the level is live, and its arrays are complete.
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

/// What a location has that is there for something else than to hand a request on.
const ANSWERING: [&[u8]; 8] =
    [b"root", b"alias", b"index", b"try_files", b"return", b"rewrite", b"error_page", b"internal"];

fn place(opened: Opening) -> Place<'static> {
    Place { file: bytes(opened.file), line: opened.line }
}

/// # Safety
/// The level must be live.
unsafe fn core(level: &MergedLevel) -> &'static ngx_http_core_loc_conf_t {
    // SAFETY: the level's array has a configuration of each HTTP module; the array has the core module's configuration.
    unsafe { &*(*level.loc_conf.add(NgxHttpCoreModule::module().ctx_index)).cast() }
}

/// Where the directive stands that is in force in a block.
fn is_on(node: Node, name: &[u8]) -> bool {
    node.inherited(name).is_some_and(|found| found.last().arg(0) == Some(b"on"))
}

/// The `return` of a location.
fn answer<'a>(node: Node<'a>, directive: Directive<'a>) -> Option<Answer<'a>> {
    let first = directive.arg(0)?;
    let status: Option<u16> = core::str::from_utf8(first).ok().and_then(|code| code.parse().ok());
    // An error page stands for a status without a text, and for a redirect (ngx_http_send_response).
    let status = status.unwrap_or(302);
    let replaceable = directive.arg(1).is_none() || is_redirect(status);
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
