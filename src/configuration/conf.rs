//! The module's configuration: what the directives set, and how it is inherited.

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use std::collections::HashMap;

use ngx::ffi::{
    ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_srv_conf_t,
    ngx_http_header_handler_pt, ngx_http_upstream_init_pt, ngx_module_t, ngx_msec_t, ngx_str_t,
};
use ngx::http::{
    HttpModule, HttpModuleLocationConf, HttpModuleMainConf, HttpModuleServerConf, NgxHttpCoreModule,
};
use websocket_guard_core::config::Answers;
use websocket_guard_core::diagnosis::{NamedPlace, OwnSettings};
use websocket_guard_core::findings::{Finding, FindingSet};
use websocket_guard_core::handshake::origin::OriginPolicy;
use websocket_guard_core::handshake::upgrade::Protocols;
use websocket_guard_core::handshake::Strictness;
use websocket_guard_core::words::{Mode, Place};

use crate::configuration::foreign::proxies::Proxies;
use crate::configuration::recipe::cache::ConditionList;
use crate::configuration::recipe::headers::HeaderList;
use crate::configuration::recipe::settings::Recipe;
use crate::configuration::tunnels::{Drain, Lifetime, PingConf};
use crate::configuration::words::{Forwarded, LogLevel, TunnelLoop};
use crate::nginx::bytes;
use crate::nginx::delivery::Delivered;

/// The module, as the `ngx` crate's configuration traits know it.
pub struct Guard;

impl HttpModule for Guard {
    fn module() -> &'static ngx_module_t {
        extern "C" {
            static ngx_http_websocket_guard_module: ngx_module_t;
        }
        // SAFETY: the static of lib.rs; nginx sets its indexes before it calls any of the library's
        // functions and only reads them afterwards.
        unsafe { &*ptr::addr_of!(ngx_http_websocket_guard_module) }
    }
}

/// The filter module, which has no configuration; its contexts are those of tunnels.
pub struct GuardFilter;

impl HttpModule for GuardFilter {
    fn module() -> &'static ngx_module_t {
        extern "C" {
            static ngx_http_websocket_guard_filter_module: ngx_module_t;
        }
        // SAFETY: as above.
        unsafe { &*ptr::addr_of!(ngx_http_websocket_guard_filter_module) }
    }
}

// SAFETY: `create_main_conf` allocates a `MainConf`.
unsafe impl HttpModuleMainConf for Guard {
    type MainConf = MainConf;
}

// SAFETY: `create_srv_conf` allocates a `ServerConf`.
unsafe impl HttpModuleServerConf for Guard {
    type ServerConf = ServerConf;
}

// SAFETY: `create_loc_conf` allocates a `LocationConf`.
unsafe impl HttpModuleLocationConf for Guard {
    type LocationConf = LocationConf;
}

/// The configuration of `http {}`.
pub struct MainConf {
    /// `websocket_guard_buffer_size`
    pub buffer_size: Option<usize>,
    /// The modules whose settings the recipe changes.
    pub proxies: Proxies,
    /// The function that `keepalive` puts into its upstream.
    pub keepalive: ngx_http_upstream_init_pt,
    /// nginx's own handler of Upgrade lines.
    pub process_upgrade: ngx_http_header_handler_pt,
    /// The place of the TLS module among the configurations of a server.
    pub ssl: Option<usize>,
    /// The index of `$http_upgrade`, if the configuration uses it.
    pub http_upgrade: Option<usize>,
    /// The index of `$proxy_host`, where there is a proxy module.
    pub proxy_host: Option<usize>,
    /// The header list of a location for which there is none, up to `http {}`.
    pub no_headers: HeaderList,
    /// The same for the conditions of the cache.
    pub no_conditions: ConditionList,
    /// The number of configurations of locations that were created.
    pub created: u32,
    /// Whether a location is guarded.
    pub guards: bool,
    /// All levels below `http {}`, one above those in it; empty once the configuration is complete.
    pub levels: Vec<MergedLevel>,
    /// Whether there is anything to audit.
    pub audited: bool,
    /// What answers without a backend, by the number of the level; empty where nothing is audited.
    pub answers: HashMap<u32, LevelAnswers>,
    /// The sockets that several servers share.
    pub sockets: Vec<Socket>,
    /// What the audit found, until it is in the configured error log.
    pub reports: Delivered,
}

/// What of the text of a level is told with a diagnosis.
pub struct LevelAnswers {
    /// The number of its server's own level.
    pub server: u32,
    pub answers: Answers<'static>,
    pub own: OwnSettings,
}

/// A level that was merged.
#[derive(Clone, Copy)]
pub struct MergedLevel {
    pub level: Level,
    pub conf: NonNull<LocationConf>,
    /// The configuration of the level above.
    pub parent: *const LocationConf,
    /// The level's array of configurations, one for each HTTP module.
    pub loc_conf: *mut *mut c_void,
    /// The server that it is, or stands in.
    pub server: *const ngx_http_core_srv_conf_t,
}

impl Default for MainConf {
    fn default() -> Self {
        Self {
            buffer_size: None,
            proxies: Proxies::default(),
            keepalive: None,
            process_upgrade: None,
            ssl: None,
            http_upgrade: None,
            proxy_host: None,
            no_headers: HeaderList::new(ptr::null_mut()),
            no_conditions: ConditionList::new(ptr::null_mut()),
            created: 0,
            guards: false,
            levels: Vec::new(),
            audited: false,
            answers: HashMap::new(),
            sockets: Vec::new(),
            reports: Delivered::default(),
        }
    }
}

impl MainConf {
    /// How much a pump reads at once.
    pub fn buffer_size(&self) -> usize {
        self.buffer_size.unwrap_or(64 * 1024)
    }
}

/// The configuration of `server {}`.
#[derive(Default)]
pub struct ServerConf {
    /// The name of the first location that is guarded.
    pub guarded_location: Option<ngx_str_t>,
}

/// The configuration of a location; `http {}` and `server {}` have one each, to inherit from.
#[derive(Default)]
pub struct LocationConf {
    /// `websocket_guard`
    pub mode: Option<Mode>,
    /// `websocket_guard_timeout`, in milliseconds
    pub timeout: Option<ngx_msec_t>,
    /// `websocket_guard_tunnel`
    pub tunnel: Option<TunnelLoop>,
    /// `websocket_guard_close`
    pub close: Option<bool>,
    /// `websocket_guard_frames`: whether they must keep to the rules
    pub strict_frames: Option<bool>,
    /// `websocket_guard_ping`
    pub ping: Option<Option<PingConf>>,
    /// `websocket_guard_lifetime`
    pub lifetime: Option<Lifetime>,
    /// `websocket_guard_drain`
    pub drain: Option<Option<Drain>>,
    /// `websocket_guard_upgrade`
    pub protocols: Option<NonNull<Protocols>>,
    /// `websocket_guard_forwarded`
    pub forwarded: Option<Forwarded>,
    /// `websocket_guard_handshake`
    pub strictness: Option<Strictness>,
    /// `websocket_guard_origin`
    pub origin: Option<NonNull<OriginPolicy>>,
    /// `websocket_guard_log`
    pub log: Option<LogLevel>,
    /// `websocket_guard_ignore`
    pub ignore: Option<FindingSet>,
    /// The line that opens the level.
    pub opened: Opening,
    /// The one that opens the location, which for a block is the location around it.
    pub location_opened: Opening,
    /// Its number among the configurations of locations, in the order of the text.
    pub number: u32,
    /// Whether `websocket_guard` stands in the location itself.
    pub marked: bool,
    /// What the guard made of the location's settings.
    pub recipe: Recipe,
}

impl LocationConf {
    /// Whatever the location does not say itself, it has from the level above.
    ///
    /// `websocket_guard_timeout` is not among it: where it was set decides about what it beats,
    /// so the recipe settles it.
    pub fn inherit(&mut self, parent: &LocationConf) {
        self.marked = self.mode.is_some();
        self.mode = self.mode.or(parent.mode);
        self.tunnel = self.tunnel.or(parent.tunnel);
        self.close = self.close.or(parent.close);
        self.strict_frames = self.strict_frames.or(parent.strict_frames);
        self.ping = self.ping.or(parent.ping);
        self.lifetime = self.lifetime.or(parent.lifetime);
        self.drain = self.drain.or(parent.drain);
        self.protocols = self.protocols.or(parent.protocols);
        self.forwarded = self.forwarded.or(parent.forwarded);
        self.strictness = self.strictness.or(parent.strictness);
        self.origin = self.origin.or(parent.origin);
        self.log = self.log.or(parent.log);
        self.ignore = self.ignore.or(parent.ignore);
    }

    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or_default()
    }

    /// Whether the guard moves the bytes of the location's tunnels.
    pub fn pumps(&self) -> bool {
        self.mode().is_guarded() && self.tunnel.unwrap_or_default() == TunnelLoop::Pump
    }

    /// What the level itself asks for and cannot have, since it leaves its tunnels to nginx's loop.
    pub fn contradiction(&self) -> Option<&'static str> {
        if self.tunnel != Some(TunnelLoop::Native) {
            return None;
        }
        let asked = [
            ("websocket_guard_close", self.close == Some(true)),
            ("websocket_guard_frames", self.strict_frames == Some(true)),
            ("websocket_guard_ping", self.ping().is_some()),
            ("websocket_guard_lifetime", self.lifetime.is_some_and(|it| !it.is_off())),
            ("websocket_guard_drain", self.drain().is_some()),
        ];
        asked.into_iter().find_map(|(name, is_asked)| is_asked.then_some(name))
    }

    /// Whether a side of a tunnel whose other side is gone gets a Close.
    pub fn closes(&self) -> bool {
        self.close.unwrap_or(self.mode() == Mode::On)
    }

    /// Which sides of a tunnel are asked whether they are there, if any.
    pub fn ping(&self) -> Option<PingConf> {
        self.ping.flatten()
    }

    /// How tunnels are closed when their worker leaves, if they are.
    pub fn drain(&self) -> Option<Drain> {
        self.drain.flatten()
    }

    /// Whether a frame that breaks RFC 6455 ends a tunnel.
    pub fn refuses_frames(&self) -> bool {
        self.strict_frames.unwrap_or(false)
    }

    /// The upgrade protocols that are forwarded; set in all locations once they are merged.
    pub fn protocols(&self) -> Option<&Protocols> {
        // SAFETY: set to a value that lives as long as the configuration.
        self.protocols.map(|protocols| unsafe { protocols.as_ref() })
    }

    pub fn strictness(&self) -> Strictness {
        self.strictness.unwrap_or_default()
    }

    /// The origins that may open a WebSocket, if not all may.
    pub fn origin(&self) -> Option<&OriginPolicy> {
        // SAFETY: as above.
        self.origin.map(|origin| unsafe { origin.as_ref() }).filter(|origin| !origin.is_any())
    }

    pub fn log(&self) -> LogLevel {
        self.log.unwrap_or_default()
    }

    pub fn ignores(&self, finding: Finding) -> bool {
        self.ignore.is_some_and(|ignored| ignored.contains(finding))
    }

    pub fn forwarded(&self) -> Forwarded {
        self.forwarded.unwrap_or(match self.mode() {
            Mode::On => Forwarded::Host,
            Mode::Auto | Mode::Check | Mode::Off => Forwarded::Off,
        })
    }
}

/// A line that ends with a `{`.
#[derive(Clone, Copy, Default)]
pub struct Opening {
    pub file: ngx_str_t,
    pub line: u32,
}

/// What kind of level is being merged (`ngx_http_merge_servers`, `ngx_http_merge_locations`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Server,
    Location,
    /// An `if` or `limit_except` block: a location without a name, which continues the one around
    /// it.
    Block,
}

impl Level {
    pub fn of(cf: &ngx_conf_t) -> Level {
        if NgxHttpCoreModule::location_conf(cf).is_some_and(|core| core.noname() != 0) {
            return Level::Block;
        }
        // SAFETY: while HTTP configurations are merged, `ctx` is the context of this level, and the
        // server's is its own.
        let (here, server) = unsafe {
            let server = NgxHttpCoreModule::server_conf(cf).and_then(|core| core.ctx.as_ref());
            (cf.ctx.cast::<ngx_http_conf_ctx_t>().as_ref(), server)
        };
        match (here, server) {
            (Some(here), Some(server)) if here.loc_conf == server.loc_conf => Level::Server,
            _ => Level::Location,
        }
    }
}

/// The configuration of one location.
#[derive(Clone, Copy)]
pub struct Location {
    pub conf: &'static LocationConf,
    pub core: &'static ngx_http_core_loc_conf_t,
}

impl Location {
    /// Its name, and where it was opened.
    pub fn place(self) -> NamedPlace<'static> {
        let opened = self.conf.location_opened;
        NamedPlace {
            name: bytes(self.core.name),
            place: Place { file: bytes(opened.file), line: opened.line },
        }
    }
}

/// The servers of one socket, if it has several.
pub struct Socket {
    /// 0 for one of a Unix socket.
    pub port: u16,
    pub default: *const ngx_http_core_srv_conf_t,
    /// The locations that forward an upgrade, in the other servers.
    pub locations: Vec<(&'static ngx_http_core_srv_conf_t, Location)>,
}
