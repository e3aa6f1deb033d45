//! The module's configuration: what is in force at each level, and how it is inherited.

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use std::collections::HashMap;
use std::iter::successors;

use ngx::ffi::{
    ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_srv_conf_t,
    ngx_http_header_handler_pt, ngx_http_upstream_init_pt, ngx_module_t, ngx_str_t,
};
use ngx::http::{
    HttpModule, HttpModuleLocationConf, HttpModuleMainConf, HttpModuleServerConf, NgxHttpCoreModule,
};
use websocket_guard_core::config::Answers;
use websocket_guard_core::diagnosis::{NamedPlace, OwnSettings};
use websocket_guard_core::findings::FindingSet;
use websocket_guard_core::frame::Role;
use websocket_guard_core::handshake::origin::OriginPolicy;
use websocket_guard_core::handshake::upgrade::Protocols;
use websocket_guard_core::handshake::Strictness;
use websocket_guard_core::words::{Marked, Mode, Place};

use crate::configuration::foreign::proxies::Proxies;
use crate::configuration::recipe::cache::ConditionList;
use crate::configuration::recipe::headers::HeaderList;
use crate::configuration::recipe::settings::Recipe;
use crate::configuration::tunnels::{Drain, Lifetime, MaxMessage, MessageRate, PingConf};
use crate::configuration::words::{Forwarded, LogLevel, TunnelLoop};
use crate::configuration::written::{Opening, Written};
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
        // SAFETY: the static of lib.rs, which nginx only reads once it has set its indexes.
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

// SAFETY: `create_loc_conf` allocates a `LevelConf`.
unsafe impl HttpModuleLocationConf for Guard {
    type LocationConf = LevelConf;
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
    /// The last location that is guarded.
    pub guarded_location: Option<NonNull<GuardedLocation>>,
}

impl ServerConf {
    /// The names of the locations that are guarded, the last one first.
    pub fn guarded_locations(&self) -> impl Iterator<Item = ngx_str_t> {
        // SAFETY: each was placed in the pool of the configuration, where `self` is too, and is not written again.
        let placed = |location: NonNull<GuardedLocation>| unsafe { location.as_ref() };
        successors(self.guarded_location.map(placed), move |location| location.before.map(placed))
            .map(|location| location.name)
    }
}

/// A guarded location of a server.
pub struct GuardedLocation {
    pub name: ngx_str_t,
    /// The one before it.
    pub before: Option<NonNull<GuardedLocation>>,
}

/// This module's configuration of a level, which nginx creates, has the directives fill in, and merges.
pub enum LevelConf {
    /// Until it is merged.
    Written(Written),
    /// From then on.
    Merged(LocationConf),
}

impl LevelConf {
    /// The line that opens the level.
    pub fn opened(&self) -> Opening {
        match self {
            LevelConf::Written(written) => written.opened,
            LevelConf::Merged(conf) => conf.opened,
        }
    }

    /// The settings that are in force; `None` while the configuration is read, and in a level that nginx never
    /// merges, as that of an `upstream {}`.
    pub fn merged(&self) -> Option<&LocationConf> {
        match self {
            LevelConf::Merged(conf) => Some(conf),
            LevelConf::Written(_) => None,
        }
    }

    /// Merges the level with the one above. `None` if it is merged already.
    pub fn merge(&mut self, above: &LocationConf) -> Option<(Written, &mut LocationConf)> {
        let LevelConf::Written(written) = *self else { return None };
        *self = LevelConf::Merged(LocationConf::merge(&written, above));
        let LevelConf::Merged(conf) = self else { return None };
        Some((written, conf))
    }
}

/// The settings that are in force in a location, an `if` or a `limit_except` block, a server's own level, or in
/// `http {}`. Nothing is unset here: `None` means that there is no such thing.
pub struct LocationConf {
    /// The line that opens the level.
    pub opened: Opening,
    /// The one that opens the location, which for a block is the location around it.
    pub location_opened: Opening,
    /// Its number among the configurations of locations, in the order of the text.
    pub number: u32,
    /// Where `websocket_guard` stands.
    pub marked: Marked,
    /// The same of the location, which for a block is the location around it.
    pub location_marked: Marked,
    /// Whether `websocket_guard_timeout` stands in the level itself.
    pub sets_timeout: bool,
    mode: Mode,
    tunnel: TunnelLoop,
    closes: bool,
    strict_frames: Option<bool>,
    ping: Option<PingConf>,
    max_message: Option<MaxMessage>,
    message_rate: Option<MessageRate>,
    lifetime: Option<Lifetime>,
    drain: Option<Drain>,
    protocols: NonNull<Protocols>,
    forwarded: Forwarded,
    strictness: Strictness,
    origin: Option<NonNull<OriginPolicy>>,
    log: LogLevel,
    ignored: FindingSet,
    by_mode: ByMode,
    /// What the guard made of the location's settings.
    pub recipe: Recipe,
}

/// What is written here or above of that which else follows from the mode: a level below may have another mode.
#[derive(Clone, Copy, Default)]
struct ByMode {
    close: Option<bool>,
    forwarded: Option<Forwarded>,
}

impl LocationConf {
    /// What is in force where nothing is written. `protocols` are the default of `websocket_guard_upgrade`, and live
    /// as long as the configuration.
    pub fn new(protocols: NonNull<Protocols>) -> Self {
        Self {
            opened: Opening::default(),
            location_opened: Opening::default(),
            number: 0,
            marked: Marked::Nowhere,
            location_marked: Marked::Nowhere,
            sets_timeout: false,
            mode: Mode::default(),
            tunnel: TunnelLoop::default(),
            closes: false,
            strict_frames: None,
            ping: None,
            max_message: None,
            message_rate: None,
            lifetime: None,
            drain: None,
            protocols,
            forwarded: Forwarded::Off,
            strictness: Strictness::default(),
            origin: None,
            log: LogLevel::default(),
            ignored: FindingSet::default(),
            by_mode: ByMode::default(),
            recipe: Recipe::default(),
        }
    }

    /// What is in force in a level: what it does not say itself, it has from the one above.
    ///
    /// Not so the recipe, which is worked out later, and with it `websocket_guard_timeout`: where that stands
    /// decides about what it beats.
    fn merge(written: &Written, above: &LocationConf) -> Self {
        let Written {
            opened,
            number,
            mode: own_mode,
            timeout,
            tunnel,
            close,
            strict_frames,
            ping,
            max_message,
            message_rate,
            lifetime,
            drain,
            protocols,
            forwarded,
            strictness,
            origin,
            log,
            ignore,
        } = *written;
        let mode = own_mode.unwrap_or(above.mode);
        let marked = match (own_mode, above.marked) {
            (Some(_), _) => Marked::Here,
            (None, Marked::Nowhere) => Marked::Nowhere,
            (None, Marked::Above | Marked::Here) => Marked::Above,
        };
        let by_mode = ByMode {
            close: close.or(above.by_mode.close),
            forwarded: forwarded.or(above.by_mode.forwarded),
        };
        Self {
            opened,
            location_opened: opened,
            number,
            marked,
            location_marked: marked,
            sets_timeout: timeout.is_some(),
            mode,
            tunnel: tunnel.unwrap_or(above.tunnel),
            closes: by_mode.close.unwrap_or(mode == Mode::On),
            strict_frames: strict_frames.or(above.strict_frames),
            ping: ping.unwrap_or(above.ping),
            max_message: max_message.unwrap_or(above.max_message),
            message_rate: message_rate.unwrap_or(above.message_rate),
            lifetime: lifetime.unwrap_or(above.lifetime),
            drain: drain.unwrap_or(above.drain),
            protocols: protocols.unwrap_or(above.protocols),
            forwarded: by_mode.forwarded.unwrap_or(match mode {
                Mode::On => Forwarded::Host,
                Mode::Auto | Mode::Check | Mode::Off => Forwarded::Off,
            }),
            strictness: strictness.unwrap_or(above.strictness),
            origin: origin.unwrap_or(above.origin),
            log: log.unwrap_or(above.log),
            ignored: ignore.unwrap_or(above.ignored),
            by_mode,
            recipe: Recipe::default(),
        }
    }

    /// `websocket_guard`
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether the guard moves the bytes of the location's tunnels.
    pub fn pumps(&self) -> bool {
        self.mode.is_guarded() && self.tunnel == TunnelLoop::Pump
    }

    /// Whether a side of a tunnel whose other side is gone gets a Close.
    pub fn closes(&self) -> bool {
        self.closes
    }

    /// Which sides of a tunnel are asked whether they are there, if any.
    pub fn ping(&self) -> Option<PingConf> {
        self.ping
    }

    /// How large a message may be, if there is a limit.
    pub fn max_message(&self) -> Option<MaxMessage> {
        self.max_message
    }

    /// How often the client may send a message, if there is a limit.
    pub fn message_rate(&self) -> Option<MessageRate> {
        self.message_rate
    }

    /// How long a tunnel may live, if there is a limit.
    pub fn lifetime(&self) -> Option<Lifetime> {
        self.lifetime
    }

    /// How tunnels are closed when their worker leaves, if they are.
    pub fn drain(&self) -> Option<Drain> {
        self.drain
    }

    /// Whether a frame of that side that breaks RFC 6455 ends a tunnel. Where nothing is written, it does if the
    /// side's messages are limited: nobody looks at its frames any more after such a one, and so whoever a limit
    /// is for could be rid of it.
    pub fn refuses_frames(&self, sender: Role) -> bool {
        self.strict_frames.unwrap_or_else(|| self.limits_messages(sender))
    }

    /// Whether `websocket_guard_frames check` is written here or above, and thus the first frame that breaks a rule
    /// ends the limits of its side, and not the tunnel.
    pub fn lets_limits_go(&self) -> bool {
        let is_limited = [Role::Client, Role::Server].map(|side| self.limits_messages(side));
        self.strict_frames == Some(false) && is_limited.contains(&true)
    }

    fn limits_messages(&self, sender: Role) -> bool {
        match sender {
            Role::Client => {
                self.message_rate.is_some() || self.max_message.is_some_and(|it| it.client)
            }
            Role::Server => self.max_message.is_some_and(|it| it.backend),
        }
    }

    /// The upgrade protocols that are forwarded.
    pub fn protocols(&self) -> &Protocols {
        // SAFETY: protocols stand in the configuration's pool, as this value does, and are not changed.
        unsafe { self.protocols.as_ref() }
    }

    /// `websocket_guard_handshake`
    pub fn strictness(&self) -> Strictness {
        self.strictness
    }

    /// The origins that may open a WebSocket, if not all may.
    pub fn origin(&self) -> Option<&OriginPolicy> {
        // SAFETY: a policy stands in the configuration's pool, as this value does, and is not changed.
        self.origin.map(|origin| unsafe { origin.as_ref() })
    }

    /// The level of the run-time diagnoses that have none of their own.
    pub fn log(&self) -> LogLevel {
        self.log
    }

    /// The findings that are not reported.
    pub fn ignored(&self) -> FindingSet {
        self.ignored
    }

    /// What the backend is told where the location says nothing else.
    pub fn forwarded(&self) -> Forwarded {
        self.forwarded
    }
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
