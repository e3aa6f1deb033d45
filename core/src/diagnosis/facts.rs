//! What nginx can know about a request that has got its answer.

use std::fmt;

use crate::config::Answer;
use crate::handshake::origin::Denied;
use crate::handshake::switch::Fault;
use crate::handshake::upgrade::Protocols;
use crate::handshake::Violation;
use crate::http::target::differs_beyond_prefix;
use crate::http::version::HttpVersion;
use crate::text::escape::Escaped;
use crate::words::{Mode, Place};

use super::connect::Unconnected;

/// One main request, at the log phase, or when the gate or the header filter refuses it.
///
/// Start from `Facts::default()`, a plain HTTP/1.1 request of which nothing is known, and fill in
/// what is there. `r` is nginx's request, `u` its `r->upstream`.
///
/// `ngx_http_internal_redirect` (error_page, intercepted errors) zeroes module contexts and changes
/// the location: what is remembered for these facts must survive that, for example in a cleanup
/// of the request's pool.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What the location sets itself, so that the guard leaves it alone.
    pub own: OwnSettings,
    /// What websocket_guard says in [`location`](Self::location).
    pub mode: Mode,
    /// Whether it says that itself, so that a second line would be refused.
    pub has_own_mark: bool,
    /// The location that proxied, if one did (remembered when the gate ran or `u` was created),
    /// else `r->loc_conf` at the log phase. `None` if nginx answered before it looked for a
    /// location (`clcf->name` is empty: `clcf` is the server's).
    pub location: Option<NamedPlace<'a>>,
    /// Whether it proxies and is meant for realtime: `on` stands in it, or it is marked and its name is one of
    /// a [library that polls](crate::words::is_polled).
    pub realtime: bool,
    /// The server that took the request: its first name, and its opening line.
    pub server: NamedPlace<'a>,
    /// Set if no server_name fits the Host and so the default server took the request: a location that
    /// forwards an upgrade for this URI, in another server of this socket.
    pub other_server: Option<OtherServer<'a>>,
    /// What stood in front of the request line.
    pub preface: Option<Preface>,
    /// The name of a location of the same server with mode `on` or `auto`, other than `location`: the
    /// [`nearest`](crate::http::target::nearest).
    pub marked_location: Option<&'a [u8]>,
    /// What serves the location: its `clcf->handler`, or the pass directive behind it.
    pub handler: Handler,

    /// The client's, from `r->http_protocol`; a backend that answers without a status line
    /// overwrites `r->http_version`.
    pub http_version: HttpVersion,
    /// `r->method_name`.
    pub method: &'a [u8],
    /// `r->unparsed_uri`.
    pub uri: &'a [u8],
    /// The Host that the client asked for, with its port.
    pub host: &'a [u8],
    /// The request header, and its value, by which a proxy in front says that the client uses TLS, where nginx
    /// itself got the request without.
    pub tls_in_front: Option<(&'a [u8], &'a [u8])>,
    /// The scheme that the client used, as far as nginx believes it: `Request::scheme`.
    pub scheme: &'a [u8],
    /// The header by which a proxy in front tells the client's address, if there is one.
    pub address_header: Option<&'static str>,
    /// What the Upgrade lines ask for.
    pub asks: Asks,
    /// The first Upgrade line; empty without one.
    pub upgrade: &'a [u8],
    /// For [`Asks::Other`]: what the request could have been upgraded to.
    pub dropped: Option<Dropped<'a>>,
    /// Whether there is a Sec-WebSocket-Key line.
    pub key: bool,
    /// The Origin line.
    pub origin: Option<&'a [u8]>,
    /// The Sec-WebSocket-Protocol line.
    pub subprotocols: Option<&'a [u8]>,
    /// The Via line.
    pub via: Option<&'a [u8]>,
    /// The address of the connection's other end: `r->connection->addr_text`, or
    /// `$realip_remote_addr` where realip has replaced it.
    pub peer: &'a [u8],
    /// What the gate found, or would have found: in `off` and `check` computed at the log phase.
    pub gate: Gate<'a>,
    /// Whether nginx refused the request before its phases ran, maybe with half of the header unread: then nothing can be
    /// told from what is missing there, and no location has to do with it.
    pub refused_early: bool,
    /// Why it did so, if that is known.
    pub early: Option<Early>,

    /// What the client got: `r->err_status`, or `r->headers_out.status` if that is 0. 499 if the
    /// client left. 101 only for a tunnel, or a relayed 101; 0 if a 101 was not sent and nothing was
    /// in its place.
    pub status: u16,
    /// `r->headers_out.location`.
    pub redirect: Option<&'a [u8]>,
    /// `r->main->limit_req_status` and `limit_conn_status`.
    pub limit: Limit,
    /// The status of auth_request's subrequest, seen when its header passed the filter.
    pub auth_status: Option<u16>,
    /// The URI of a subrequest of this request that was answered with 101.
    pub subrequest_101: Option<&'a [u8]>,
    /// Whether access to the location is restricted by `allow`, `deny`, `auth_basic` or `auth_request`; `None` if
    /// that is not known.
    pub restricted: Option<bool>,
    /// The directive that gave this answer without a backend, if the configuration's text tells it.
    pub answered_by: Option<Answer<'a>>,
    /// Set if `u` was created.
    pub upstream: Option<BackendFacts<'a>>,
}

/// What happened between nginx and the backend; of several attempts the last.
#[derive(Clone, Copy, Debug)]
pub struct BackendFacts<'a> {
    /// `u->peer.name`, or `u->state->peer`; empty if no peer was chosen.
    pub peer: &'a [u8],
    /// The name in proxy_pass: `u->resolved->host`, or `uscf->host`.
    pub name: &'a [u8],
    /// HTTP version to the backend (proxy_http_version); `None` for uwsgi and scgi.
    pub http_version: Option<HttpVersion>,
    /// The Upgrade header that was sent: from `u->request_bufs`, or the location's headers.
    pub upgrade: Sent<'a>,
    /// The Connection header that was sent.
    pub connection: Sent<'a>,
    /// A directive of the location that changes the handshake.
    pub altered: Option<Alteration<'a>>,
    /// The Host that was sent.
    pub host: Option<&'a [u8]>,
    /// What decides on it.
    pub host_from: HostFrom,
    /// The Origin that was sent.
    pub origin: Sent<'a>,
    /// Whether another Sec-WebSocket-Key than the client's was sent.
    pub key_replaced: bool,
    /// The Sec-WebSocket-Protocol that was sent.
    pub subprotocols: Sent<'a>,
    /// Whether nginx speaks TLS to it.
    pub tls: bool,
    /// The X-Forwarded-Proto that was sent.
    pub proto: Sent<'a>,
    /// Whether that is the guard's.
    pub proto_by_guard: bool,
    /// The URI that was sent (`u->uri`); empty if that is unknown, as for uwsgi and scgi.
    pub uri: &'a [u8],
    /// Whether `u->cache_status` is HIT, STALE, UPDATING or REVALIDATED.
    pub cached: bool,
    /// How far it came.
    pub reached: Reached,
    /// `u->state->status`: the backend's, or the one that nginx chose for the failure; 0 for none.
    pub status: u16,
    /// Why there is no answer, as far as that is known.
    pub failure: Option<Failure<'a>>,
    /// The first bytes of the body of a refusal; empty where they came later than the header.
    pub body: &'a [u8],
    /// `u->headers_in.location`.
    pub redirect: Option<&'a [u8]>,
    /// `u->headers_in.x_accel_redirect`.
    pub accel_redirect: Option<&'a [u8]>,
    /// What is wrong with its 101.
    pub switch_fault: Option<SwitchFault<'a>>,
    /// Whether it was asked for the page of an error, whose status the answer keeps (`error_page` without `=`).
    pub for_error_page: bool,
}

/// A location and where it was opened.
#[derive(Clone, Copy, Debug)]
pub struct NamedPlace<'a> {
    /// `clcf->name`; empty for the server itself.
    pub name: &'a [u8],
    /// Its opening line.
    pub place: Place<'a>,
}

/// What stands in a location itself, and not above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnSettings {
    /// proxy_set_header Upgrade
    pub upgrade: bool,
    /// proxy_set_header Connection with another value than `""` or `close`, which count for plain requests only.
    pub connection: bool,
    /// proxy_http_version
    pub http_version: bool,
}

/// A location of another server.
#[derive(Clone, Copy, Debug)]
pub struct OtherServer<'a> {
    /// The first name of the server.
    pub server: &'a [u8],
    /// The location.
    pub location: NamedPlace<'a>,
}

/// Bytes in front of a request line, which make nginx refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// A header of the PROXY protocol, version 1.
    Proxy1,
    /// The same, version 2.
    Proxy2,
}

impl Preface {
    /// What the bytes of a connection begin with.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
        if bytes.starts_with(SIGNATURE) {
            return Some(Self::Proxy2);
        }
        let family = bytes.strip_prefix(b"PROXY ")?;
        let known: [&[u8]; 3] = [b"TCP4 ", b"TCP6 ", b"UNKNOWN"];
        known.iter().any(|name| family.starts_with(name)).then_some(Self::Proxy1)
    }
}

/// What answers in a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// proxy_pass
    Proxy,
    /// uwsgi_pass
    Uwsgi,
    /// scgi_pass
    Scgi,
    /// fastcgi_pass
    Fastcgi,
    /// grpc_pass
    Grpc,
    /// memcached_pass
    Memcached,
    /// Files: no handler of its own.
    Static,
    /// return
    Return,
    /// Another module, or unknown.
    Other,
}

/// What the Upgrade header of a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// There is no Upgrade header.
    Nothing,
    /// It has the token `websocket`.
    WebSocket,
    /// It has no token `websocket`, but another one of websocket_guard_upgrade.
    Listed,
    /// It names nothing of websocket_guard_upgrade.
    Other,
}

/// A protocol that a request asks for rightly, but that `websocket_guard_upgrade` does not list.
#[derive(Clone, Copy, Debug)]
pub struct Dropped<'a> {
    /// As the client wrote it.
    pub name: &'a [u8],
    /// What is listed.
    pub listed: &'a Protocols,
}

/// The result of the checks before proxying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate<'a> {
    /// The handshake is well-formed, or was not looked at.
    Passed,
    /// It breaks this rule, whether it was refused for that or not.
    Violated(Violation<'a>),
    /// websocket_guard_origin does not list its origin.
    OriginDenied {
        /// Why not.
        denied: Denied<'a>,
        /// What is allowed: `OriginPolicy::words`.
        allowed: &'a str,
    },
    /// The request to the backend had an Upgrade line that did not come from the checks.
    Injected {
        /// Its value.
        upgrade: &'a [u8],
    },
}

/// A refusal before the phases ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// 497
    PlainOnTls,
    /// 495
    CertificateRejected,
    /// 496
    CertificateMissing,
    /// 494
    HeaderTooLarge,
    /// 414
    UriTooLong,
}

/// What is left of an early refusal at the log phase.
#[derive(Clone, Copy, Debug, Default)]
pub struct EarlySigns {
    /// `ngx_http_handler` was not reached but for an error_page.
    pub no_phases: bool,
    /// `r->lingering_close`: where the phases did not run, only a header that is too large sets it.
    pub lingering_close: bool,
    /// `r->http_connection->ssl`: the listener expects TLS.
    pub tls_listener: bool,
    /// `c->ssl` is not NULL: the client spoke TLS.
    pub tls_connection: bool,
    /// ssl_verify_client is `on`, and the client sent no certificate.
    pub certificate_missing: bool,
    /// ssl_verify_client is not `off`, and the client's certificate was not accepted.
    pub certificate_rejected: bool,
}

impl Early {
    /// Finds out what nginx has forgotten: before the log phase 494 to 497 have become 400, or what
    /// an error_page says.
    ///
    /// `status` is as in [`Facts`].
    pub fn infer(status: u16, signs: EarlySigns) -> Option<Self> {
        if signs.tls_listener && !signs.tls_connection {
            return Some(Self::PlainOnTls);
        }
        if !signs.no_phases {
            return None;
        }
        // An error_page may have made any status of it.
        match status {
            414 => return Some(Self::UriTooLong),
            _ if signs.lingering_close => return Some(Self::HeaderTooLarge),
            _ => {}
        }
        if signs.certificate_missing {
            return Some(Self::CertificateMissing);
        }
        signs.certificate_rejected.then_some(Self::CertificateRejected)
    }
}

/// Which limit refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// None.
    Passed,
    /// limit_req
    Requests,
    /// limit_conn
    Connections,
}

/// A header as it was sent to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    /// It cannot be known; nothing is concluded from it.
    Unknown,
    /// It was not sent.
    Nothing,
    /// Its value.
    Value(&'a [u8]),
}

/// What the Host for a backend comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFrom {
    /// That is not known.
    Unknown,
    /// A proxy_set_header, which the guard leaves alone.
    Directive,
    /// It is what proxy_pass names, and no site can be called so: `websocket_guard_forwarded host` would send the client's.
    NoSite,
    /// It is the domain that proxy_pass names.
    Domain,
}

/// What a location does to the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alteration<'a> {
    /// proxy_pass_request_headers off
    HeadersOff,
    /// proxy_set_header NAME ""
    Emptied(&'a [u8]),
    /// proxy_method METHOD
    Method(&'a [u8]),
    /// Two lines of the same header.
    Doubled(&'a [u8]),
}

/// How far a request to the backend came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// No connection: `u->peer.connection` never became writable without an error.
    Nothing,
    /// `u->state->connect_time` is set.
    Connection,
    /// `u->state->header_time` is set.
    Header,
}

/// Why the backend did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<'a> {
    /// `u->peer.get` returned `NGX_BUSY`: no live upstreams.
    NoLivePeer,
    /// The name in proxy_pass did not resolve, or there is no resolver.
    NotResolved(&'a [u8]),
    /// The connection was refused or could not be made.
    NotConnected(Unconnected<'a>),
    /// 504, the limit in milliseconds, 0 if unknown, and whether it is that of `websocket_guard_timeout`.
    TimedOut(Waiting, u64, bool),
    /// The TLS handshake failed; the name that was sent as SNI.
    TlsHandshake {
        /// `None` without proxy_ssl_server_name.
        sni: Option<&'a [u8]>,
    },
    /// It speaks TLS, and proxy_pass says http: the answer was no HTTP and began with the bytes
    /// 15 03 (a TLS alert).
    SpeaksTls,
    /// The answer was no HTTP: nginx set `r->http_version` to 9.
    NotHttp,
    /// Its header has a line that is none.
    BadHeader,
    /// It closed the connection.
    Closed,
    /// It reset the connection.
    Reset,
    /// Its header does not fit into the buffer.
    HeaderTooBig,
}

/// What nginx waited for when a timeout ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// proxy_connect_timeout
    Connect,
    /// proxy_send_timeout
    Send,
    /// proxy_read_timeout
    Read,
}

/// What is wrong with a 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchFault<'a> {
    /// No upgrade was asked for, or it was not passed on.
    Unsolicited,
    /// It does not fit the handshake.
    Wrong(Fault<'a>),
    /// It did, but what nginx made of it on its way does not fit what the client asked for.
    Delivered(Fault<'a>),
}

impl Default for Facts<'_> {
    fn default() -> Self {
        Self {
            own: OwnSettings::default(),
            mode: Mode::Off,
            has_own_mark: false,
            location: None,
            realtime: false,
            server: NamedPlace { name: b"", place: Place { file: b"", line: 0 } },
            other_server: None,
            preface: None,
            marked_location: None,
            handler: Handler::Other,
            http_version: HttpVersion::Http11,
            method: b"GET",
            uri: b"",
            host: b"",
            tls_in_front: None,
            scheme: b"http",
            address_header: None,
            asks: Asks::Nothing,
            upgrade: b"",
            dropped: None,
            key: false,
            origin: None,
            subprotocols: None,
            via: None,
            peer: b"",
            gate: Gate::Passed,
            refused_early: false,
            early: None,
            status: 0,
            redirect: None,
            limit: Limit::Passed,
            auth_status: None,
            subrequest_101: None,
            restricted: None,
            answered_by: None,
            upstream: None,
        }
    }
}

impl Default for BackendFacts<'_> {
    fn default() -> Self {
        Self {
            peer: b"",
            name: b"",
            http_version: None,
            upgrade: Sent::Unknown,
            connection: Sent::Unknown,
            altered: None,
            host: None,
            host_from: HostFrom::Unknown,
            origin: Sent::Unknown,
            key_replaced: false,
            subprotocols: Sent::Unknown,
            tls: false,
            proto: Sent::Unknown,
            proto_by_guard: false,
            uri: b"",
            cached: false,
            reached: Reached::Nothing,
            status: 0,
            failure: None,
            body: b"",
            redirect: None,
            accel_redirect: None,
            switch_fault: None,
            for_error_page: false,
        }
    }
}

impl Facts<'_> {
    /// Whether the backend was asked for another URI than the client's, in more than the beginning of its path.
    /// What uwsgi and scgi are asked for is not known.
    pub(super) fn uri_changed(&self) -> bool {
        let sent = self.upstream.unwrap_or_default().uri;
        !sent.is_empty() && differs_beyond_prefix(self.uri, sent)
    }
}

impl Handler {
    /// Whether nginx can make a tunnel there; an unknown handler gets the benefit of the doubt.
    pub fn can_upgrade(self) -> bool {
        !matches!(self, Self::Fastcgi | Self::Grpc | Self::Memcached)
    }

    /// The name of its module's directives.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uwsgi => "uwsgi",
            Self::Scgi => "scgi",
            Self::Fastcgi => "fastcgi",
            Self::Grpc => "grpc",
            Self::Memcached => "memcached",
            Self::Proxy | Self::Static | Self::Return | Self::Other => "proxy",
        }
    }
}

impl<'a> NamedPlace<'a> {
    /// The place of a server, as a part of a sentence.
    pub(super) fn as_server(self) -> impl fmt::Display + use<'a> {
        struct Server<'a>(NamedPlace<'a>);
        impl fmt::Display for Server<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let NamedPlace { name, place: Place { file, line } } = self.0;
                f.write_str("the server")?;
                if !name.is_empty() {
                    write!(f, " \"{}\"", Escaped(name))?;
                }
                write!(f, " ({}:{line})", Escaped(file))
            }
        }
        Server(self)
    }
}

impl fmt::Display for NamedPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NamedPlace { name, place: Place { file, line } } = self;
        if name.is_empty() {
            f.write_str("the server")?;
        } else {
            write!(f, "location \"{}\"", Escaped(name))?;
        }
        write!(f, " ({}:{line})", Escaped(file))
    }
}
