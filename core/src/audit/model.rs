//! What the rules know of a configuration: nginx's final, merged one, in plain borrowed values.
//!
//! Whoever fills it in (in `postconfiguration`, when nothing changes any more) describes what nginx
//! *will do*, the guard's own changes included. That is why no rule asks which settings the guard
//! repairs: a repaired one has a good value, and its origin is [`SetAt::Guard`]. What cannot be
//! known is left at its default, about which every rule is silent.
//!
//! Nothing here needs memory of its own for a location. Slices are meant to be shared: all locations
//! that inherit a `proxy_set_header` list should borrow the same one.
//!
//! Start from `Default::default()` and set what is there:
//!
//! ```
//! use websocket_guard_core::audit::model::*;
//! use websocket_guard_core::words::{Marked, Mode, Place};
//!
//! let location = Location {
//!     name: b"/chat",
//!     place: Place { file: b"nginx.conf", line: 12 },
//!     mode: Mode::On,
//!     marked: Marked::Here,
//!     content: Content::Proxied(Proxied::default()),
//!     ..Location::default()
//! };
//! # let _ = location;
//! ```
//!
//! Names in the comments: *clcf* is `ngx_http_core_loc_conf_t`, *uc* the location's
//! `ngx_http_upstream_conf_t` in the module that proxies, *uscf* `ngx_http_upstream_srv_conf_t`.

use std::fmt;

use crate::findings::FindingSet;
use crate::handshake::upgrade::Protocols;
use crate::http::host::names_no_site;
use crate::http::version::HttpVersion;
use crate::words::{Marked, Mode, Place, SetAt};

/// A value, and where it was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting<'a, T> {
    /// The value that is in force in the location.
    pub value: T,
    /// Where it comes from.
    pub origin: SetAt<'a>,
}

/// A whole configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Site<'a> {
    /// `nginx_version`, such as 1022001.
    pub nginx_version: u32,
    /// The opening line of `http {}` (where `create_main_conf` ran). Findings about the
    /// configuration as a whole stand here.
    pub place: Place<'a>,
    /// `ngx_core_conf_t.worker_processes`; final once `auto` is resolved (at the latest
    /// `ngx_core_module_init_conf`: 0 or `NGX_CONF_UNSET` before that means 1). 0: not known.
    pub workers: u64,
    /// `ngx_event_conf_t.connections`, or 512 (`DEFAULT_CONNECTIONS`) if unset. 0: not known.
    pub worker_connections: u64,
    /// Where `worker_connections` stands, or the `events` block without it.
    pub worker_connections_place: Option<Place<'a>>,
    /// Where `worker_rlimit_nofile` stands.
    pub open_files_place: Option<Place<'a>>,
    /// How many files a worker may open: `ngx_core_conf_t.rlimit_nofile`, or if that is unset, the
    /// soft `RLIMIT_NOFILE` of this process.
    pub open_files: Option<u64>,
    /// Whether `worker_shutdown_timeout` is set (`ngx_core_conf_t.shutdown_timeout`).
    pub worker_shutdown_timeout: bool,
    /// Its value in milliseconds, if that is known.
    pub shutdown_limit: Option<u64>,
    /// What stands in `http {}` itself.
    pub http: OwnLevel<'a>,
    /// All upstreams of `ngx_http_upstream_main_conf_t.upstreams`, the implicit ones too.
    pub upstreams: &'a [Upstream<'a>],
    /// `ngx_http_core_main_conf_t.servers`
    pub servers: &'a [Server<'a>],
}

/// A directive that does something only where the guard moves requests or tunnels, and asks for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Its name.
    pub directive: &'static str,
    /// Where it stands.
    pub place: Place<'a>,
}

/// The guard's directives of `http {}`, or of a server outside of its locations.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnLevel<'a> {
    /// `websocket_guard`, merged.
    pub mode: Mode,
    /// Where that stands.
    pub marked: Marked,
    /// `websocket_guard_ignore`, merged.
    pub ignore: FindingSet,
    /// What it asks of the guard.
    pub asked: &'a [Asked<'a>],
}

/// A `server {}`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Server<'a> {
    /// Its first name, `ngx_http_core_srv_conf_t.server_name`; empty if it has none.
    pub name: &'a [u8],
    /// Its opening line (`file_name` and `line` of the same).
    pub place: Place<'a>,
    /// What stands in the server itself.
    pub own: OwnLevel<'a>,
    /// The sockets that it answers on: those addresses of `ngx_http_core_main_conf_t.ports` whose
    /// `servers` have it.
    pub listeners: &'a [Listener<'a>],
    /// All its locations, marked or not, and the `if` blocks that proxy: a location before the
    /// ones nested in it, regex locations of a level in the order of the configuration. Leave out
    /// `limit_except` blocks: a handshake is a GET, which they never apply to unless they exclude it.
    pub locations: &'a [Location<'a>],
}

/// A `listen`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listener<'a> {
    /// As it was written, or `opt.addr_text`.
    pub address: &'a [u8],
    /// `None` for a UNIX socket.
    pub port: Option<u16>,
    /// `opt.ssl`
    pub ssl: bool,
    /// `opt.http2`, that is the parameter of `listen`, not the directive of 1.25.1.
    pub http2: bool,
    /// The directive, if it is known.
    pub place: Option<Place<'a>>,
}

/// An upstream, from an `upstream {}` block or implied by a name or address in `proxy_pass`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upstream<'a> {
    /// `uscf->host`
    pub name: &'a [u8],
    /// Whether it is a block (`uscf->flags & NGX_HTTP_UPSTREAM_CREATE`; implicit ones have
    /// `uscf->servers == NULL` before `init_upstream`).
    pub block: bool,
    /// The opening line of the block, or where the name was first used (`uscf->file_name`, `line`).
    pub place: Option<Place<'a>>,
    /// How many servers take requests: `uscf->servers` without `backup` and `down`. One that is
    /// given by a name counts once for each address (`naddrs`) of the family that it has more of:
    /// `localhost` with `127.0.0.1` and `::1` is one server. Needs no peers to be set up.
    pub live_servers: u32,
    /// Whether clients stay with a server.
    pub affinity: Affinity,
    /// The lowest `max_conns` that is not 0 among its servers.
    pub max_conns: Option<u64>,
    /// A server of it that is given by a host name (`ngx_http_upstream_server_t.name` of a `server`
    /// that is no literal address), as an example.
    pub named_server: Option<&'a [u8]>,
}

impl Upstream<'_> {
    /// Whether no site can be meant by its name, see [`names_no_site`].
    pub fn names_no_site(&self) -> bool {
        // nginx takes the path of a Unix socket for its host.
        self.name.contains(&b'/') || names_no_site(self.name, || self.block)
    }
}

/// Whether an upstream sends a client to the same server again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Affinity {
    /// It does: `ip_hash`, `hash`, `sticky`.
    Kept,
    /// It does not: round robin, `least_conn`, `least_time`, `random`.
    None,
    /// A balancer that the audit does not know.
    #[default]
    Unknown,
}

/// A location, or an `if` block in one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Location<'a> {
    /// `clcf->name`; that of the location around it for an `if` block.
    pub name: &'a [u8],
    /// Which URIs it is for.
    pub kind: LocationKind<'a>,
    /// The location that it stands in, as an index into [`Server::locations`].
    pub parent: Option<usize>,
    /// Its opening line.
    pub place: Place<'a>,
    /// `websocket_guard`, merged.
    pub mode: Mode,
    /// Where that stands.
    pub marked: Marked,
    /// `websocket_guard_ignore`, merged.
    pub ignore: FindingSet,
    /// What it asks of the guard itself.
    pub asked: &'a [Asked<'a>],
    /// `websocket_guard_upgrade`, merged; `None` for its default.
    pub protocols: Option<&'a Protocols>,
    /// What answers its requests: `clcf->handler`, or the pass directive behind it.
    pub content: Content<'a>,
    /// An unconditional `return` in it (none in an `if`): a `ngx_http_script_return_code` that is
    /// always reached.
    pub answer: Option<Answer<'a>>,
    /// The `rewrite ... last`s in it, and in those of its `if` blocks that an upgrade may come into.
    /// The rewrite module's codes are not inherited, so they are always its own.
    pub rewrites: &'a [Rewrite<'a>],
    /// The last argument of `try_files` if that names a location (`@app`).
    pub fallback: Option<Fallback<'a>>,
    /// Where the `error_page`s in force lead: names and URIs. Only needed where nothing proxies.
    pub error_targets: &'a [&'a [u8]],
    /// Whether an `if` in it that proxies takes every upgrade away from its own target.
    pub diverts: bool,
    /// Whether its own `proxy_set_header` list has an Upgrade entry that is not empty, whatever answers in it.
    pub sets_upgrade: bool,
    /// Whether nothing stands in it that could answer: no pass directive, no `return`, no files.
    pub bare: bool,
    /// The merged `auth_request` and `mirror`s.
    pub subrequests: &'a [Subrequest<'a>],
    /// `clcf->send_timeout`, in milliseconds, merged.
    pub send_timeout: Option<Setting<'a, u64>>,
    /// The merged `limit_conn` with a number below 10, if there is one and `limit_conn_dry_run` is off. Larger
    /// limits are meant.
    pub limit_conn: Option<SetAt<'a>>,
    /// Whether `error_page` is in force (`clcf->error_pages`, merged).
    pub error_page: bool,
    /// Whether names can be resolved: `clcf->resolver`, merged, has connections (without a
    /// `resolver` nginx puts an empty one there). `None`: not known.
    pub resolver: Option<bool>,
}

/// Which URIs a location is for.
#[derive(Clone, Copy, Default)]
pub enum LocationKind<'a> {
    /// `location /x`
    #[default]
    Prefix,
    /// `location ^~ /x` (`clcf->noregex`)
    PrefixNoRegex,
    /// `location = /x` (`clcf->exact_match`)
    Exact,
    /// `location ~ x` (`clcf->regex`)
    Regex(&'a dyn LocationRegex),
    /// `location @x` (`clcf->named`)
    Named,
    /// An `if` block (`clcf->noname`). Listed only if it has a pass directive of its own.
    If,
}

impl fmt::Debug for LocationKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefix => "Prefix",
            Self::PrefixNoRegex => "PrefixNoRegex",
            Self::Exact => "Exact",
            Self::Regex(_) => "Regex",
            Self::Named => "Named",
            Self::If => "If",
        })
    }
}

/// The regular expression of a location (`ngx_regex_exec` on `clcf->regex->regex`).
///
/// It is asked only about the names of locations that are to be reported on, and about the URIs of
/// subrequests.
pub trait LocationRegex {
    /// Whether it matches the URI. `false` if that cannot be said.
    fn matches(&self, uri: &[u8]) -> bool;
}

/// What answers a location's requests.
#[derive(Clone, Copy, Debug, Default)]
// An array of these is what is wanted: one for each location, most of them proxied.
#[allow(clippy::large_enum_variant)]
pub enum Content<'a> {
    /// A content handler that the audit does not know (`clcf->handler` of another module).
    #[default]
    Unknown,
    /// No content handler: files (`clcf->handler` is NULL, or that of a module like
    /// `ngx_http_stub_status_module` which only answers).
    Files,
    /// A handler of this name that proxies but cannot upgrade: `fastcgi_pass`, `grpc_pass`,
    /// `memcached_pass`.
    CannotUpgrade(&'static str),
    /// `proxy_pass`, `uwsgi_pass` or `scgi_pass`.
    Proxied(Proxied<'a>),
}

/// A module that can pass an upgrade on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyModule {
    /// `proxy_pass`
    #[default]
    Proxy,
    /// `uwsgi_pass`
    Uwsgi,
    /// `scgi_pass`
    Scgi,
}

impl ProxyModule {
    /// What its directives begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Uwsgi => "uwsgi",
            Self::Scgi => "scgi",
        }
    }
}

/// The settings of a location that proxies, merged, as the guard leaves them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Proxied<'a> {
    /// By which module.
    pub module: ProxyModule,
    /// Where to.
    pub target: Target<'a>,
    /// `proxy_set_header`; of no meaning to uwsgi and scgi.
    pub headers: Headers<'a>,
    /// Whether the Host of `websocket_guard_forwarded host` is the domain that the target names, and not the
    /// client's.
    pub host_is_domain: bool,
    /// `proxy_http_version`: 1000, 1001 and 2000 in the proxy module's configuration. `None` for
    /// uwsgi and scgi, and if it is not known.
    pub http_version: Option<Setting<'a, HttpVersion>>,
    /// The idle limit of a tunnel, in milliseconds: that of the guard's recipe in a guarded
    /// location ([`SetAt::Here`] if the location's own `proxy_read_timeout` decides it), else
    /// `uc->read_timeout`.
    pub read_timeout: Option<Setting<'a, u64>>,
    /// The interval of `websocket_guard_ping`, in milliseconds, where it has an effect.
    pub ping: Option<Setting<'a, u64>>,
    /// How long `websocket_guard_drain` may take, in milliseconds, its `wait` included, where it has an effect.
    pub drain: Option<Setting<'a, u64>>,
    /// Where `websocket_guard_frames check` stands, if the messages of a tunnel have a limit which that lets go.
    pub limits_let_go: Option<SetAt<'a>>,
    /// `proxy_buffering` (`uc->buffering`).
    pub buffering: Option<Setting<'a, bool>>,
    /// `proxy_cache`, if it is on (`uc->cache` is 1).
    pub cache: Option<Cache<'a>>,
    /// Where `proxy_store` stands, if it is on (`uc->store`).
    pub store: Option<SetAt<'a>>,
    /// Where `proxy_limit_rate` stands, if it sets a limit.
    pub limit_rate: Option<SetAt<'a>>,
    /// `proxy_method`, if it is a constant.
    pub method: Option<Setting<'a, &'a [u8]>>,
    /// `proxy_pass_request_headers` (`uc->pass_request_headers`).
    pub pass_request_headers: Option<Setting<'a, bool>>,
    /// Which headers of the handshake are kept from the client: those of them that
    /// `uc->hide_headers_hash` has.
    pub hidden: Hidden<'a>,
    /// A header of the handshake that is added to every answer (`add_header ... always`), and where.
    pub added: Option<(&'a [u8], SetAt<'a>)>,
    /// `proxy_intercept_errors` (`uc->intercept_errors`).
    pub intercept_errors: Option<Setting<'a, bool>>,
    /// `proxy_ssl_server_name` (`uc->ssl_server_name`).
    pub ssl_server_name: Option<Setting<'a, bool>>,
}

/// Where a location proxies to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target<'a> {
    /// The argument of the pass directive as it was written, `http://$backend/x`, if that is known.
    /// Only needed if there are variables in it.
    pub text: Option<&'a [u8]>,
    /// Whether there are variables in it (`uc->upstream` is NULL).
    pub variable: bool,
    /// For a target with variables: what it becomes for an upgrade request, if that can be known.
    pub value: Option<&'a [u8]>,
    /// Where it cannot: some of what it may become, as the values of a map, with variables in what is
    /// not known. Need not be all.
    pub choices: &'a [&'a [u8]],
    /// For one without: whether it is `https://` or `suwsgi://` (`uc->ssl`).
    pub tls: bool,
    /// For one without: the URI part, empty if there is none. `None` if it is not known.
    pub uri: Option<&'a [u8]>,
    /// For one without: `uc->upstream`.
    pub upstream: Option<&'a Upstream<'a>>,
    /// The directive, if it is known.
    pub place: Option<Place<'a>>,
}

/// The list of headers that a location sends to its backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// Whether the lists below are known.
    pub known: bool,
    /// The list in force, raw (`headers_source`), with the guard's entries if it is guarded.
    pub entries: &'a [Header<'a>],
    /// Whether the location has a list of its own.
    pub own: bool,
    /// The list that a location with its own would have inherited without it: the nearest one
    /// above, without anything of the guard.
    pub above: &'a [Header<'a>],
}

/// A `proxy_set_header`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header<'a> {
    /// Its first argument.
    pub name: &'a [u8],
    /// Its second argument.
    pub value: Value<'a>,
    /// The directive, if it is known.
    pub place: Option<Place<'a>>,
}

/// A value that may contain variables (`ngx_http_complex_value_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// No variables in it.
    Constant(&'a [u8]),
    /// Variables in it.
    Variable {
        /// As it was written.
        text: &'a [u8],
        /// What it becomes for a request with `Upgrade: websocket` and `Connection: Upgrade`, if it
        /// depends on nothing else, or on nothing that could make it something else: `None` where
        /// that cannot be known.
        upgrade: Option<&'a [u8]>,
    },
    /// The guard's, which is right for each request.
    Guard,
}

impl Default for Value<'_> {
    fn default() -> Self {
        Self::Constant(b"")
    }
}

impl<'a> Value<'a> {
    /// As it was written; `None` for the guard's.
    pub fn text(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Constant(text) | Self::Variable { text, .. } => Some(text),
            Self::Guard => None,
        }
    }

    /// What it is for an upgrade request, if that is known.
    pub fn for_upgrade(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Constant(text) => Some(text),
            Self::Variable { upgrade, .. } => upgrade,
            Self::Guard => None,
        }
    }
}

/// A cache that is on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cache<'a> {
    /// Where `proxy_cache` stands.
    pub origin: SetAt<'a>,
    /// Whether an upgrade may have a key of its own (`proxy_cache_key`).
    pub keyed: bool,
    /// `proxy_cache_bypass` (`uc->cache_bypass`, an array of `ngx_http_complex_value_t`). The value
    /// of a cookie or an argument is known to be empty for an upgrade request: it does not
    /// depend on the upgrade.
    pub bypass: &'a [Value<'a>],
}

/// The headers of a 101 that `proxy_hide_header` hides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hidden<'a> {
    /// Upgrade
    pub upgrade: bool,
    /// Sec-WebSocket-Accept
    pub accept: bool,
    /// Where that stands.
    pub origin: SetAt<'a>,
}

/// An unconditional `return`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// `ngx_http_script_return_code_t.status` (302 for a bare URL).
    pub status: u16,
    /// Whether an `error_page` in force takes this status elsewhere: the idiom
    /// `error_page 418 = @websocket; return 418;`. Never for a `return` with a text or URL.
    pub handled: bool,
    /// The directive, if it is known.
    pub place: Option<Place<'a>>,
}

/// A `rewrite ... last`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rewrite<'a> {
    /// The regular expression, as it was written.
    pub pattern: &'a [u8],
    /// The new URI, as it was written.
    pub replacement: &'a [u8],
    /// The directive, if it is known.
    pub place: Option<Place<'a>>,
}

/// The last argument of a `try_files`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fallback<'a> {
    /// The name, with its `@`.
    pub name: &'a [u8],
    /// The directive, if it is known.
    pub place: Option<Place<'a>>,
}

/// A subrequest that each request of a location makes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subrequest<'a> {
    /// `auth_request` or `mirror`.
    pub directive: &'static str,
    /// Its argument.
    pub uri: &'a [u8],
    /// Where it stands.
    pub origin: SetAt<'a>,
}
