//! The table itself.
//!
//! It has a part for each kind of finding, and so has the code: what is reported at load time, what at run
//! time, and how tunnels end are three types, so that whoever words one must word every one.

use super::entry::{Entry, Level};
use Level::{Error, Info, Notice, Warn};

/// The level that `websocket_guard_log` sets.
const CONFIGURED: Option<Level> = None;

/// A part begins with `[type: type of its level; findings of other parts that are reported there too]`.
macro_rules! catalogue {
    ($(
        $(#[$doc:meta])+
        [$kind:ident: $kind_level:ty; $($shared:ident $shared_level:expr)?]
        $(
            $finding:ident $slug:literal, $level:expr;
            title: $title:literal,
            cause: $cause:literal,
            fix: $fix:literal,
            symptom: $symptom:literal,
            example: $example:literal;
        )+
    )+) => {
        /// A finding of any kind, by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Finding {
            $($( #[doc = concat!("`", $slug, "`: ", $title)] $finding, )+)+
        }

        impl Finding {
            /// Every finding, in the order of the documentation.
            pub const ALL: [Self; [$($($slug),+),+].len()] = [$($(Self::$finding),+),+];

            /// Its row of the table.
            pub const fn entry(self) -> &'static Entry {
                match self {
                    $($( Self::$finding => &Entry {
                        slug: $slug,
                        title: $title,
                        cause: $cause,
                        fix: $fix,
                        symptom: $symptom,
                        example: $example,
                    }, )+)+
                }
            }
        }

        $(
            $(#[$doc])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub enum $kind {
                $( #[doc = concat!("[`Finding::", stringify!($shared), "`]")] $shared, )?
                $( #[doc = concat!("[`Finding::", stringify!($finding), "`]")] $finding, )+
            }

            impl $kind {
                /// Every one of them.
                pub const ALL: &'static [Self] = &[$(Self::$shared,)? $(Self::$finding),+];

                /// The level at which it is logged.
                pub const fn level(self) -> $kind_level {
                    match self {
                        $( Self::$shared => $shared_level, )?
                        $( Self::$finding => $level, )+
                    }
                }

                /// Its row of the table.
                pub fn entry(self) -> &'static Entry {
                    Finding::from(self).entry()
                }

                /// Its name.
                pub fn slug(self) -> &'static str {
                    self.entry().slug
                }
            }

            impl From<$kind> for Finding {
                fn from(finding: $kind) -> Self {
                    match finding {
                        $( $kind::$shared => Self::$shared, )?
                        $( $kind::$finding => Self::$finding, )+
                    }
                }
            }
        )+
    };
}

catalogue! {
    /// What the audit reports, at `nginx -t`, start and reload.
    [LoadFinding: Level;]

    MissingUpgrade "missing-upgrade", Error;
    title: "the location proxies without the Upgrade header",
    cause: "Upgrade is a hop-by-hop header, so nginx passes it on only where proxy_set_header says so; without it the backend sees a plain GET",
    fix: "add \"websocket_guard on;\" to the location, or \"proxy_set_header Upgrade $http_upgrade;\"",
    symptom: "the browser says \"WebSocket connection failed\" and closes with 1006, wscat prints \"Unexpected server response: 200\" (or 400, 404, 426), nginx's error log is empty",
    example: "\
# before
location /chat {
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    MissingConnection "missing-connection", Error;
    title: "the location proxies an upgrade without \"Connection: upgrade\"",
    cause: "Connection is hop-by-hop: nginx sends \"close\" in its place (nothing from 1.29.7 on), and a backend ignores an Upgrade that Connection does not name",
    fix: "add \"websocket_guard on;\" to the location, or set Connection from a map of $http_upgrade",
    symptom: "as with missing-upgrade; many backends answer 400 or 426",
    example: "\
# before
location /chat {
    proxy_set_header Upgrade $http_upgrade;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    Http10Upstream "http10-upstream", Warn;
    title: "the location speaks HTTP/1.0 to the backend",
    cause: "HTTP/1.0 has no upgrade, and only some backends (Node's ws, nginx) make one all the same; it is nginx's default for backends before 1.29.7",
    fix: "add \"websocket_guard on;\" to the location, or \"proxy_http_version 1.1;\"",
    symptom: "wscat prints \"Unexpected server response: 400\" (or 200, 426); the backend's access log shows HTTP/1.0",
    example: "\
# before
location /chat {
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_pass http://backend;
}

# after
location /chat {
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_pass http://backend;
}";

    H2Upstream "h2-upstream", Error;
    title: "the location speaks HTTP/2 to the backend",
    cause: "HTTP/2 has no Upgrade header, and nginx does not open a WebSocket over it in another way (RFC 8441). \"websocket_guard on;\" uses HTTP/1.1 in place of an inherited version; \"auto\" leaves the version as it is, since plain requests may need it",
    fix: "add \"websocket_guard on;\" to the location, or \"proxy_http_version 1.1;\"",
    symptom: "every upgrade fails, plain requests work",
    example: "\
# before
location /chat {
    proxy_http_version 2;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    HeadersDropped "headers-dropped", Error;
    title: "a proxy_set_header of the location drops the WebSocket headers set above it",
    cause: "proxy_set_header is inherited only by a level that has none of its own: a single one in the location discards all from above",
    fix: "add \"websocket_guard on;\" to the location, or repeat the lost proxy_set_header lines in it",
    symptom: "WebSocket worked until somebody added one proxy_set_header to the location",
    example: "\
# before
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
location /chat {
    proxy_set_header X-Real-IP $remote_addr;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_pass http://backend;
}";

    ConnectionWrong "connection-wrong", Error;
    title: "the Connection header sent to the backend lacks the token \"upgrade\"",
    cause: "an empty value, \"close\" or \"keep-alive\", or a map that yields one of them, tells the backend that no upgrade is asked for. In a guarded location an own or inherited \"\" or \"close\" is sent with plain requests only",
    fix: "remove the \"proxy_set_header Connection\" and use \"websocket_guard on;\", which sends what each request needs",
    symptom: "as with missing-upgrade; typical of a location copied from a keepalive recipe",
    example: "\
# before
location /chat {
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection \"\";
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard auto;
    proxy_set_header Connection \"\";
    proxy_pass http://backend;
}";

    ConnectionHardcoded "connection-hardcoded", Notice;
    title: "\"Connection: upgrade\" is sent on plain requests too",
    cause: "some backends answer 400 to a plain request that announces an upgrade, and connections to the backend are not kept alive",
    fix: "remove the \"proxy_set_header Connection\" and use \"websocket_guard on;\", which sends what each request needs",
    symptom: "WebSocket works, some plain requests to the same location get 400; many short connections to the backend",
    example: "\
# before
location / {
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection \"upgrade\";
    proxy_pass http://backend;
}

# after
location / {
    websocket_guard auto;
    proxy_pass http://backend;
}";

    UpgradeWrong "upgrade-wrong", Error;
    title: "the Upgrade header sent to the backend is empty or names another protocol",
    cause: "a backend opens a WebSocket only for an Upgrade that names websocket, and an empty value sends no header at all",
    fix: "remove the \"proxy_set_header Upgrade\" and use \"websocket_guard on;\", or set it to $http_upgrade",
    symptom: "as with missing-upgrade",
    example: "\
# before
location /chat {
    proxy_set_header Upgrade \"\";
    proxy_set_header Connection \"upgrade\";
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    UpgradeHardcoded "upgrade-hardcoded", Warn;
    title: "\"Upgrade: websocket\" is sent on every request",
    cause: "the backend answers 101 to a plain GET, and nginx relays that 101 without a tunnel because the client sent no Upgrade",
    fix: "remove the \"proxy_set_header Upgrade\" and use \"websocket_guard on;\", or set it to $http_upgrade",
    symptom: "WebSocket works, plain requests to the same path hang or get 400",
    example: "\
# before
location /chat {
    proxy_set_header Upgrade websocket;
    proxy_set_header Connection upgrade;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    DuplicateHeader "duplicate-header", Warn;
    title: "two proxy_set_header lines set the same header",
    cause: "nginx does not let the later line replace the earlier one, it sends both; backends take the first, the last, or refuse. Equal values are told of Upgrade, Connection, Host and Sec-WebSocket-*, which backends answer with 400 or 426; typical is an include and the same line again",
    fix: "keep one of the two lines",
    symptom: "the backend answers 400, or behaves as if the line that you changed had no effect",
    example: "\
# before
proxy_set_header Host $host;
proxy_set_header Host $http_host;

# after
proxy_set_header Host $http_host;";

    PassHeadersOff "pass-headers-off", Error;
    title: "proxy_pass_request_headers off keeps the handshake from the backend",
    cause: "Sec-WebSocket-Key, Sec-WebSocket-Version and Origin are headers of the client, and none of those is passed on",
    fix: "remove \"proxy_pass_request_headers off;\" from the location",
    symptom: "the backend answers 400 and says that Sec-WebSocket-Key is missing",
    example: "\
# before
location /chat {
    websocket_guard on;
    proxy_pass_request_headers off;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    SecHeaderCleared "sec-header-cleared", Error;
    title: "proxy_set_header empties a Sec-WebSocket header",
    cause: "without Sec-WebSocket-Key and Sec-WebSocket-Version there is no handshake; without Sec-WebSocket-Protocol the client does not get its subprotocol",
    fix: "remove that proxy_set_header",
    symptom: "the backend answers 400 or 426; with Sec-WebSocket-Protocol the client closes at once",
    example: "\
# before
location /chat {
    websocket_guard on;
    proxy_set_header Sec-WebSocket-Key \"\";
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    SecHeaderReplaced "sec-header-replaced", Warn;
    title: "the location sends a handshake header with a value of its own",
    cause: "the backend answers what it was sent, and the client gets an answer to something that it did not ask: it fails the connection",
    fix: "remove that proxy_set_header",
    symptom: "the connection is opened and closed at once; the browser speaks of a subprotocol, an extension or an Accept that is wrong",
    example: "\
# before
location /chat {
    websocket_guard on;
    proxy_set_header Sec-WebSocket-Protocol chat;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    ResponseHeaderAdded "response-header-added", Warn;
    title: "a header of the handshake is added to the answer",
    cause: "nginx adds it to the backend's 101, and a client that finds it twice, or with what it did not ask for, fails the connection",
    fix: "remove that directive, or leave the header out",
    symptom: "the connection is opened and closed at once; the browser speaks of a header of the handshake",
    example: "\
# before
location /chat {
    websocket_guard on;
    add_header Sec-WebSocket-Protocol chat always;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    ProxyMethod "proxy-method", Warn;
    title: "proxy_method is not GET",
    cause: "a WebSocket handshake is a GET (RFC 6455 section 4.1), and proxy_method replaces the client's method",
    fix: "remove proxy_method from the location",
    symptom: "the backend answers 400, 404 or 405",
    example: "\
# before
location /chat {
    websocket_guard on;
    proxy_method POST;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    HiddenResponseHeader "hidden-response-header", Error;
    title: "proxy_hide_header hides a header of the 101 that the client needs",
    cause: "a client fails the connection when Upgrade or Sec-WebSocket-Accept is missing in the 101; nginx writes its Connection header itself, whatever is hidden",
    fix: "remove that proxy_hide_header",
    symptom: "the browser reports a missing or wrong \"Sec-WebSocket-Accept\" header, the backend sees an open connection that ends at once",
    example: "\
# before
location /chat {
    websocket_guard on;
    proxy_hide_header Sec-WebSocket-Accept;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    NoProxy "no-proxy", Error;
    title: "the marked location has nothing that could carry a WebSocket",
    cause: "only proxy_pass, uwsgi_pass and scgi_pass can upgrade a connection; static files, return, fastcgi_pass, grpc_pass and memcached_pass cannot, and a nested location does not inherit proxy_pass",
    fix: "add a proxy_pass to the location, or move websocket_guard to the location that has one",
    symptom: "wscat prints \"Unexpected server response: 404\" (or 200, 405)",
    example: "\
# before
location /chat {
    websocket_guard on;
    root /var/www;
}

# after
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}";

    TryfilesFallback "tryfiles-fallback", Error;
    title: "the marked location hands over to a named location that is not marked",
    cause: "a request that falls back to a named location is proxied with the settings of that location, which have no WebSocket recipe",
    fix: "add \"websocket_guard on;\" to the named location",
    symptom: "as with missing-upgrade",
    example: "\
# before
location / {
    websocket_guard on;
    try_files $uri @app;
}
location @app {
    proxy_pass http://backend;
}

# after
location / {
    try_files $uri @app;
}
location @app {
    websocket_guard on;
    proxy_pass http://backend;
}";

    RewriteLeavesLocation "rewrite-leaves-location", Warn;
    title: "a rewrite takes requests out of the marked location",
    cause: "\"rewrite ... last\" searches for a location again, and the one that it finds may not be marked. A rewrite for single pages or for plain requests only is not meant, nor one into a location that passes an upgrade on",
    fix: "use \"break\" in place of \"last\", or mark the location that the new URI falls into",
    symptom: "as with missing-upgrade, for the rewritten URIs only",
    example: "\
# before
location /ws/ {
    websocket_guard on;
    rewrite ^/ws/(.*)$ /$1 last;
    proxy_pass http://backend;
}

# after
location /ws/ {
    websocket_guard on;
    rewrite ^/ws/(.*)$ /$1 break;
    proxy_pass http://backend;
}";

    RedirectInLocation "redirect-in-location", Error;
    title: "the marked location answers with a redirect",
    cause: "a WebSocket client that gets a redirect does not follow it, it fails the connection",
    fix: "proxy in this location too, or have the clients use the final wss:// URL and remove the mark here",
    symptom: "wscat prints \"Unexpected server response: 301\" (or 302, 307, 308)",
    example: "\
# before
server {
    listen 80;
    location /chat {
        websocket_guard on;
        return 301 https://$host$request_uri;
    }
}

# after: clients use wss://, the mark stands in the server that proxies
server {
    listen 443 ssl;
    location /chat {
        websocket_guard on;
        proxy_pass http://backend;
    }
}";

    RegexShadowed "regex-shadowed", Warn;
    title: "a regex location takes the requests of the marked prefix location",
    cause: "nginx tries regex locations after it has found the longest prefix, and a match wins, unless the prefix is marked with ^~ or is exact. Of a prefix that ends with a slash, all that is below it is meant",
    fix: "write \"location ^~\" for the marked location",
    symptom: "the requests are answered as if the marked location did not exist, often with 404",
    example: "\
# before
location /ws.php {
    websocket_guard on;
    proxy_pass http://backend;
}
location ~ \\.php$ {
    fastcgi_pass 127.0.0.1:9000;
}

# after
location ^~ /ws.php {
    websocket_guard on;
    proxy_pass http://backend;
}";

    SubrequestUpgrade "subrequest-upgrade", Warn;
    title: "the upgrade is passed on in a subrequest (auth_request or mirror)",
    cause: "a subrequest carries the headers of its main request: an auth backend answers 400 or 426 (the client gets 500) or 101 (the client gets nothing), and a mirrored 101 kills the live tunnel",
    fix: "set Upgrade and Connection to \"\" in the location that serves the subrequest, or use websocket_guard there",
    symptom: "wscat prints \"Unexpected server response: 500\", or hangs, or the tunnel breaks right after it was opened",
    example: "\
# before
location /chat {
    websocket_guard on;
    auth_request /auth;
    proxy_pass http://backend;
}
location = /auth {
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection \"upgrade\";
    proxy_pass http://auth;
}

# after
location = /auth {
    proxy_pass http://auth;
}

# in the log
websocket_guard: upgrade failed: a subrequest to \"/auth\" got a 101, which belongs to the main request only; set Upgrade and Connection to \"\" in the location that serves the subrequest, or use websocket_guard there [subrequest-upgrade]";

    CacheOn "cache-on", Warn;
    title: "the cache may answer a handshake",
    cause: "the cache key does not know of the upgrade, so a stored 200 of the same URI is sent to a WebSocket client",
    fix: "add \"websocket_guard auto;\" to the location, or \"proxy_cache_bypass $http_upgrade;\" and \"proxy_no_cache $http_upgrade;\"",
    symptom: "WebSocket fails with \"Unexpected server response: 200\" after somebody opened the same URL as a page",
    example: "\
# before
location / {
    proxy_cache pages;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_pass http://backend;
}

# after
location / {
    websocket_guard auto;
    proxy_cache pages;
    proxy_pass http://backend;
}";

    CacheDisabled "cache-disabled", Warn;
    title: "websocket_guard on switches off the cache of the location",
    cause: "\"on\" switches off buffering for all requests of the location, and nginx stores only responses that it buffers",
    fix: "use \"websocket_guard auto;\" there, which leaves plain requests as they are",
    symptom: "$upstream_cache_status is MISS for every request",
    example: "\
# before
location / {
    websocket_guard on;
    proxy_cache pages;
    proxy_pass http://backend;
}

# after
location / {
    websocket_guard auto;
    proxy_cache pages;
    proxy_pass http://backend;
}";

    BufferingNeeded "buffering-needed", Warn;
    title: "websocket_guard on switches off what needs buffering",
    cause: "\"on\" switches off buffering for all requests of the location; without it proxy_store stores nothing and proxy_limit_rate limits nothing",
    fix: "use \"websocket_guard auto;\" there, which leaves plain requests as they are",
    symptom: "no file is stored, or answers come faster than they should",
    example: "\
# before
location / {
    websocket_guard on;
    proxy_limit_rate 100k;
    proxy_pass http://backend;
}

# after
location / {
    websocket_guard auto;
    proxy_limit_rate 100k;
    proxy_pass http://backend;
}";

    InterceptErrors "intercept-errors", Notice;
    title: "proxy_intercept_errors hides why the backend refused an upgrade",
    cause: "error_page replaces the backend's answer, and with it the status and the text that say what is wrong",
    fix: "switch proxy_intercept_errors off in the location",
    symptom: "the client gets the status of the error page, such as 200, in place of the backend's 401 or 403",
    example: "\
# before
location /chat {
    websocket_guard on;
    proxy_intercept_errors on;
    error_page 403 =200 /sorry.html;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    proxy_intercept_errors off;
    proxy_pass http://backend;
}";

    PingTooLate "ping-too-late", Warn;
    title: "the guard's Pings come after the idle limit",
    cause: "websocket_guard_ping asks a side that was silent for its interval, and the tunnel is cut when both were silent for the idle limit, which is no longer",
    fix: "make the interval of websocket_guard_ping shorter than the idle limit",
    symptom: "silent tunnels are cut as if there were no Pings",
    example: "\
# before
location /chat {
    websocket_guard on;
    websocket_guard_timeout 30s;
    websocket_guard_ping 30s;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    websocket_guard_timeout 30s;
    websocket_guard_ping 10s;
    proxy_pass http://backend;
}";

    DrainCutShort "drain-cut-short", Warn;
    title: "a worker that leaves is cut before it has closed its tunnels",
    cause: "websocket_guard_drain spreads the closing of the tunnels over a time, and the last of them has its wait (5s by default) from then on, which together is longer than worker_shutdown_timeout",
    fix: "make worker_shutdown_timeout longer than websocket_guard_drain and its wait together",
    symptom: "after a reload some clients close one by one, and the others all at once",
    example: "\
# before
worker_shutdown_timeout 30s;
http {
    websocket_guard_drain 1m;
}

# after
worker_shutdown_timeout 2m;
http {
    websocket_guard_drain 1m;
}";

    LimitsLetGo "limits-let-go", Notice;
    title: "a client can be rid of the limits to its messages",
    cause: "with \"websocket_guard_frames check\" the first frame that breaks RFC 6455 is reported, and the frames of its side are not looked at any more; so websocket_guard_max_message and websocket_guard_message_rate end there, and the tunnel goes on",
    fix: "remove \"websocket_guard_frames check;\", or write \"websocket_guard_frames strict;\"",
    symptom: "after a line tunnel-frame-error, larger or more messages than allowed come through",
    example: "\
# before
location /chat {
    websocket_guard on;
    websocket_guard_frames check;
    websocket_guard_max_message 64k;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    websocket_guard_max_message 64k;
    proxy_pass http://backend;
}";

    ShortReadTimeout "short-read-timeout", Warn;
    title: "a silent tunnel is cut after a minute or less",
    cause: "the read timeout is the idle limit of a tunnel: when neither side sends a byte for that long, nginx closes it",
    fix: "remove the proxy_read_timeout and use \"websocket_guard_timeout 1h;\", or have the application send pings more often",
    symptom: "the connection closes with 1006 after exactly 60 seconds of silence; nginx says so only at level info",
    example: "\
# before
location /chat {
    websocket_guard on;
    proxy_read_timeout 60s;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    websocket_guard_timeout 1h;
    proxy_pass http://backend;
}";

    LowSendTimeout "low-send-timeout", Warn;
    title: "a client that pauses reading is cut soon",
    cause: "send_timeout limits the time between two writes to the client, in a tunnel too: a phone that sleeps or a busy page is cut",
    fix: "raise send_timeout to at least 10s, better 60s",
    symptom: "1006 on slow or sleeping clients while much is being sent to them",
    example: "\
# before
send_timeout 2s;

# after
send_timeout 60s;";

    HostNotForwarded "host-not-forwarded", Notice;
    title: "the backend sees the upstream's name in Host",
    cause: "nginx sends the name given in proxy_pass as Host by default; a backend that compares Origin with Host refuses the handshake",
    fix: "add \"proxy_set_header Host $http_host;\" to the location",
    symptom: "the backend answers 403 to browsers, while wscat, which sends no Origin, gets through",
    example: "\
# before
location /chat {
    websocket_guard auto;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard auto;
    websocket_guard_forwarded host;
    proxy_pass http://backend;
}";

    HostWithoutPort "host-without-port", Notice;
    title: "the Host sent to the backend lacks the port",
    cause: "$host has no port; on another port than 80 and 443 the browser's Origin has one, and an origin check compares it",
    fix: "use \"proxy_set_header Host $http_host;\"",
    symptom: "the backend answers 403 to browsers on port 8080 and the like",
    example: "\
# before
listen 8080;
location /chat {
    websocket_guard on;
    proxy_set_header Host $host;
    proxy_pass http://backend;
}

# after
listen 8080;
location /chat {
    websocket_guard on;
    proxy_set_header Host $http_host;
    proxy_pass http://backend;
}";

    UnusedDirective "unused-directive", Warn;
    title: "a directive of the guard stands where nothing is guarded",
    cause: "all but websocket_guard_upgrade, websocket_guard_log and websocket_guard_ignore do something only in locations with \"websocket_guard on;\" or \"auto\", so that no origin is checked and no tunnel is limited, pinged or drained there; a notice in http, and where \"off\" or \"check\" is written in so many words",
    fix: "set \"websocket_guard on;\" in the location, or remove the directive",
    symptom: "everything works as if the line were not there: pages of other sites may open a WebSocket, idle tunnels are cut",
    example: "\
# before
location /chat {
    websocket_guard_origin same;
    proxy_pass http://backend;
}

# after
location /chat {
    websocket_guard on;
    websocket_guard_origin same;
    proxy_pass http://backend;
}";

    UriRewrite "uri-rewrite", Notice;
    title: "the URI in proxy_pass makes a double slash",
    cause: "the part that matched the location's name is replaced by the URI in proxy_pass: of \"/ws/chat\", \"/ws\" becomes \"/\", which makes \"//chat\"",
    fix: "end both with a slash, or neither",
    symptom: "the backend answers 404 and its access log shows a path with //",
    example: "\
# before
location /ws {
    websocket_guard on;
    proxy_pass http://backend/;
}

# after
location /ws/ {
    websocket_guard on;
    proxy_pass http://backend/;
}";

    VariableUri "variable-uri", Notice;
    title: "a proxy_pass with variables and a URI loses the query",
    cause: "with variables in proxy_pass nginx sends the URI as it is written there: without the query, and with captures and $uri decoded",
    fix: "add \"$is_args$args\" to it, or pass the whole URI on with $request_uri",
    symptom: "the backend answers 400 or 404, or does not see the arguments that the client sent",
    example: "\
# before
location ~ ^/app/(.*)$ {
    websocket_guard on;
    proxy_pass http://127.0.0.1:8080/$1;
}

# after
location ~ ^/app/(.*)$ {
    websocket_guard on;
    proxy_pass http://127.0.0.1:8080/$1$is_args$args;
}";

    ResolverMissing "resolver-missing", Warn;
    title: "proxy_pass has a variable host and there is no resolver",
    cause: "a name that comes from a variable is resolved for each request, which needs the resolver directive, unless it names an upstream block. Where nothing says that the variable holds a name, the audit is silent",
    fix: "add a resolver, such as \"resolver 127.0.0.1;\"",
    symptom: "502, and \"no resolver defined to resolve\" in the error log",
    example: "\
# before
location /chat {
    websocket_guard on;
    proxy_pass http://$backend;
}

# after
location /chat {
    websocket_guard on;
    resolver 127.0.0.1;
    proxy_pass http://$backend;
}";

    TlsSniMissing "tls-sni-missing", Warn;
    title: "the TLS backend is not told which name is wanted",
    cause: "nginx sends no SNI to a backend by default; a backend with several names answers with the wrong certificate or site, or ends the TLS handshake",
    fix: "add \"proxy_ssl_server_name on;\", and proxy_ssl_name where the name differs from the one in proxy_pass",
    symptom: "502 and \"SSL_do_handshake() failed\" in the error log, or a 404, 421 or redirect from the wrong site",
    example: "\
# before
location /chat {
    websocket_guard on;
    proxy_pass https://app.example.com;
}

# after
location /chat {
    websocket_guard on;
    proxy_ssl_server_name on;
    proxy_pass https://app.example.com;
}";

    LbNoAffinity "lb-no-affinity", Warn;
    title: "the upstream balances without session affinity",
    cause: "an open WebSocket stays with its server, but the polling requests before it (socket.io, SockJS, SignalR), reconnections and state kept in one server do not find it again. It is a warning where the name of the location is one of a library that polls, else a notice: any server may do",
    fix: "add \"ip_hash;\" or \"hash $remote_addr consistent;\" to the upstream, or ignore this finding if any server will do",
    symptom: "socket.io: 400 \"Session ID unknown\"; works with one server, fails now and then with several",
    example: "\
# before
upstream backend {
    server 10.0.0.1:3000;
    server 10.0.0.2:3000;
}

# after
upstream backend {
    ip_hash;
    server 10.0.0.1:3000;
    server 10.0.0.2:3000;
}";

    MaxConns "max-conns", Warn;
    title: "max_conns limits the number of open WebSockets",
    cause: "each tunnel holds one of the server's max_conns for its whole life, not only for a request; how many are enough nginx cannot know, so ignore the finding once the limit is right",
    fix: "raise max_conns to the number of WebSockets that the server shall hold",
    symptom: "502 and \"no live upstreams\" when enough clients are connected",
    example: "\
# before
upstream backend {
    server 10.0.0.1:3000 max_conns=100;
}

# after
upstream backend {
    server 10.0.0.1:3000 max_conns=20000;
}
location /chat {
    websocket_guard on;
    websocket_guard_ignore max-conns;
    proxy_pass http://backend;
}";

    LimitConn "limit-conn", Warn;
    title: "limit_conn limits the number of open WebSockets",
    cause: "each tunnel counts for its whole life, so a few tabs, or one office behind one address, use up the limit; how many are enough nginx cannot know, so ignore the finding once the limit is right",
    fix: "raise the limit for the location to the number of WebSockets that one key may hold",
    symptom: "503 (or limit_conn_status) when one user has several tabs open",
    example: "\
# before
limit_conn per_ip 10;
location /chat {
    websocket_guard on;
    proxy_pass http://backend;
}

# after
limit_conn per_ip 10;
location /chat {
    websocket_guard on;
    websocket_guard_ignore limit-conn;
    limit_conn per_ip 500;
    proxy_pass http://backend;
}";

    CleartextH2Listener "cleartext-h2-listener", Error;
    title: "the listener speaks HTTP/2 without TLS and nothing else",
    cause: "before nginx 1.25.1 a \"listen ... http2\" without ssl understands only HTTP/2 with prior knowledge, and WebSocket clients speak HTTP/1.1. A server that listens for HTTP/1.1 on another address is not meant",
    fix: "remove http2 from that listen",
    symptom: "every HTTP/1.1 client, WebSocket or not, is disconnected or gets garbage",
    example: "\
# before
listen 80 http2;

# after
listen 80;";

    ShutdownUnbounded "shutdown-unbounded", Info;
    title: "old workers live until their last tunnel ends",
    cause: "after a reload the old workers finish their connections, and a WebSocket may stay open for days; worker_shutdown_timeout limits that, and so does websocket_guard_drain where all guarded locations have it",
    fix: "set worker_shutdown_timeout, such as \"worker_shutdown_timeout 1h;\", at the top of nginx.conf",
    symptom: "\"worker process is shutting down\" in ps for hours, and memory use that grows with each reload",
    example: "\
# before
worker_processes auto;

# after
worker_processes auto;
worker_shutdown_timeout 1h;";

    Capacity "capacity", Info;
    title: "how many WebSockets this configuration can hold",
    cause: "each tunnel takes two connections, one to the client and one to the backend, and as many file descriptors",
    fix: "raise worker_connections, and worker_rlimit_nofile to at least as much",
    symptom: "\"worker_connections are not enough\" or \"Too many open files\" in the error log",
    example: "\
# before
events {
    worker_connections 512;
}

# after
worker_rlimit_nofile 65536;
events {
    worker_connections 32768;
}";

    /// Why an upgrade attempt did not end in a tunnel. Most have the level that `websocket_guard_log` sets.
    [RunFinding: Option<Level>; SubrequestUpgrade CONFIGURED]

    // Run time: the client's request.

    NotWebsocket "not-websocket", Some(Info);
    title: "the request asks for another protocol than WebSocket",
    cause: "the Upgrade header names only protocols that are not in websocket_guard_upgrade, such as h2c, so the request is served as plain HTTP",
    fix: "list it in websocket_guard_upgrade if the backend shall speak it",
    symptom: "usually none: curl --http2 and Java clients offer h2c and go on without it",
    example: "websocket_guard: Upgrade \"foo/2\" does not name websocket, served as plain HTTP; list it in websocket_guard_upgrade if the backend shall speak it [not-websocket]";

    ProtocolDropped "protocol-dropped", CONFIGURED;
    title: "the guard took an Upgrade away that the backend wanted",
    cause: "the request asks for a protocol that websocket_guard_upgrade does not list, so it was proxied as plain HTTP, and the backend answered with an error. Container and VPN control protocols upgrade, often with POST, to protocols of their own",
    fix: "add the protocol to websocket_guard_upgrade",
    symptom: "what worked without the guard fails: docker exec, kubectl exec, tailscale and the like get 400, 404 or 426",
    example: "websocket_guard: upgrade failed: Upgrade \"SPDY/3.1\" was not passed on, and backend 127.0.0.1:8080 answered 400 to what was left; add \"websocket_guard_upgrade websocket SPDY/3.1;\" to the location [protocol-dropped]";

    StrippedUpgrade "stripped-upgrade", CONFIGURED;
    title: "something in front of this nginx removed the Upgrade header",
    cause: "the request has a Sec-WebSocket-Key, which only WebSocket clients send, but no Upgrade: a CDN, a load balancer or an outer nginx did not pass it on",
    fix: "let the CDN, load balancer or nginx in front pass WebSocket on (an outer nginx: \"websocket_guard on;\")",
    symptom: "works when connected to this nginx directly, fails through the public address with 200, 400, 404 or 426",
    example: "websocket_guard: upgrade failed: the request has Sec-WebSocket-Key but no Upgrade header, which was removed in front of this nginx (peer 10.0.0.9, Via \"1.1 edge\"); let the CDN, load balancer or nginx in front pass WebSocket on (an outer nginx: \"websocket_guard on;\") [stripped-upgrade]";

    HandshakeMethod "handshake-method", CONFIGURED;
    title: "the handshake is not a GET",
    cause: "a WebSocket handshake is a GET (RFC 6455 section 4.2.1)",
    fix: "correct the client",
    symptom: "400 in a location with \"websocket_guard on;\"",
    example: "websocket_guard: upgrade failed: the method is \"POST\" where a WebSocket handshake is a GET; correct the client [handshake-method]";

    HandshakeHttpVersion "handshake-http-version", CONFIGURED;
    title: "the handshake is HTTP/1.0",
    cause: "HTTP/1.0 has no upgrade; usually an outer proxy speaks it, an nginx before 1.29.7 by default",
    fix: "let the proxy in front speak HTTP/1.1 (an outer nginx: \"websocket_guard on;\")",
    symptom: "400 in a location with \"websocket_guard on;\"",
    example: "websocket_guard: upgrade failed: the request is HTTP/1.0 where a WebSocket handshake needs HTTP/1.1; let the proxy in front speak HTTP/1.1 (an outer nginx: \"websocket_guard on;\") [handshake-http-version]";

    HandshakeConnection "handshake-connection", CONFIGURED;
    title: "the Connection header of the request lacks the token \"upgrade\"",
    cause: "a client always sends it together with Upgrade, so an intermediary that passes Upgrade on replaced Connection",
    fix: "let the proxy in front send \"Connection: upgrade\" (an outer nginx: \"websocket_guard on;\")",
    symptom: "400 in a location with \"websocket_guard on;\"; works when connected to this nginx directly",
    example: "websocket_guard: upgrade failed: Connection \"close\" of the request lacks the token \"upgrade\"; let the proxy in front send \"Connection: upgrade\" (an outer nginx: \"websocket_guard on;\") [handshake-connection]";

    HandshakeKey "handshake-key", CONFIGURED;
    title: "Sec-WebSocket-Key is missing or malformed",
    cause: "the key is 16 bytes in base64, which makes 24 characters (RFC 6455 section 4.1), given once",
    fix: "correct the client; with curl add \"-H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='\"",
    symptom: "400 in a location with \"websocket_guard on;\"; typical of tests by hand with curl",
    example: "websocket_guard: upgrade failed: Sec-WebSocket-Key \"test\" is not 16 bytes in base64; correct the client; with curl add \"-H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='\" [handshake-key]";

    HandshakeVersion "handshake-version", CONFIGURED;
    title: "Sec-WebSocket-Version is not 13",
    cause: "13 is the only version of the protocol that was standardised (RFC 6455 section 4.1)",
    fix: "correct or renew the client; with curl add \"-H 'Sec-WebSocket-Version: 13'\"",
    symptom: "426 with \"Sec-WebSocket-Version: 13\" in a location with \"websocket_guard on;\"",
    example: "websocket_guard: upgrade failed: Sec-WebSocket-Version \"8\" is not 13; correct or renew the client; with curl add \"-H 'Sec-WebSocket-Version: 13'\" [handshake-version]";

    HandshakeBody "handshake-body", CONFIGURED;
    title: "the handshake has a body",
    cause: "the bytes after the header of a handshake are frames; a body in front of them is a way to smuggle requests past a proxy",
    fix: "correct the client",
    symptom: "400 in a location with \"websocket_guard on;\"",
    example: "websocket_guard: upgrade failed: the handshake has a body; correct the client [handshake-body]";

    OriginDenied "origin-denied", CONFIGURED;
    title: "the Origin is not allowed here",
    cause: "browsers let any page open a WebSocket to any host and send the user's cookies with it; websocket_guard_origin allows only the listed pages, and clients without Origin, which are no browsers, only if \"none\" is listed",
    fix: "add it to websocket_guard_origin if the page is yours",
    symptom: "wscat prints \"Unexpected server response: 403\"",
    example: "websocket_guard: upgrade failed: origin \"https://evil.example\" is not allowed, allowed: \"https://app.example.com\"; add it to websocket_guard_origin if the page is yours [origin-denied]";

    UpgradeInjected "upgrade-injected", CONFIGURED;
    title: "a variable wrote an Upgrade line into the request to the backend",
    cause: "variables such as $uri and captured groups can hold ends of lines, so that a client writes header lines of its own where proxy_set_header or proxy_pass uses them; an Upgrade line is the classic way past a proxy's rules",
    fix: "use $request_uri in proxy_set_header and proxy_pass there, or a regular expression without line ends, such as \"[^\\r\\n]*\"",
    symptom: "500 in guarded locations, and nothing is sent to the backend",
    example: "websocket_guard: upgrade failed: the request to the backend had a line \"Upgrade: h2c\", which location \"/chat\" (conf/nginx.conf:31) does not allow; use $request_uri in proxy_set_header and proxy_pass there, or a regular expression without line ends, such as \"[^\\r\\n]*\" [upgrade-injected]";

    Http2Upgrade "http2-upgrade", CONFIGURED;
    title: "an HTTP/2 or HTTP/3 request carries an Upgrade header",
    cause: "HTTP/2 and HTTP/3 forbid the Upgrade header, and curl leaves it out there by itself; browsers know that and open a separate HTTP/1.1 connection for a WebSocket",
    fix: "test with HTTP/1.1, such as \"curl --http1.1\"; browsers are not affected",
    symptom: "400 to a test with curl over https, while browsers get through",
    example: "websocket_guard: upgrade failed: an HTTP/2 request has an Upgrade header, which only HTTP/1.1 knows; test with HTTP/1.1, such as \"curl --http1.1\"; browsers are not affected [http2-upgrade]";

    ProxyProtocol "proxy-protocol", CONFIGURED;
    title: "the PROXY protocol is spoken to a listener that does not expect it",
    cause: "a load balancer in front puts a header of the PROXY protocol before the request, and nginx reads it as a request line, which it refuses with 400",
    fix: "add \"proxy_protocol\" to the listen directive of that server, or turn it off in the load balancer",
    symptom: "wscat prints \"Unexpected server response: 400\" through the load balancer, everything works when connected to nginx directly; a marked location, or a handshake behind the header, brings the line",
    example: "websocket_guard: upgrade failed: the connection from 10.0.0.9 begins with a header of the PROXY protocol (version 1), which the server \"example.com\" (conf/nginx.conf:9) does not expect; add \"proxy_protocol\" to the listen directive of that server, or turn it off in the load balancer [proxy-protocol]";

    TlsMismatch "tls-mismatch", CONFIGURED;
    title: "ws:// was used on a TLS port",
    cause: "the port expects TLS and got a plain HTTP request",
    fix: "use wss:// in the client, or the plain port",
    symptom: "wscat prints \"Unexpected server response: 400\", nginx's page says \"The plain HTTP request was sent to HTTPS port\"",
    example: "websocket_guard: upgrade failed: a plain HTTP request was sent to a TLS port; use wss:// in the client, or the plain port [tls-mismatch]";

    ClientCertificate "client-certificate", CONFIGURED;
    title: "the client's certificate is missing or was not accepted",
    cause: "ssl_verify_client asks for a certificate that ssl_client_certificate trusts, before any location is looked at",
    fix: "install a trusted certificate in the client, or use \"ssl_verify_client optional;\" and check $ssl_client_verify where it matters",
    symptom: "wscat prints \"Unexpected server response: 400\", nginx's page says \"No required SSL certificate was sent\" or \"The SSL certificate error\"",
    example: "websocket_guard: upgrade failed: the client sent no certificate and ssl_verify_client requires one; install a trusted certificate in the client, or use \"ssl_verify_client optional;\" and check $ssl_client_verify where it matters [client-certificate]";

    HeaderTooLarge "header-too-large", CONFIGURED;
    title: "the request header is too large",
    cause: "the request line or a header, often Cookie or a token in the query, does not fit into one of large_client_header_buffers",
    fix: "raise large_client_header_buffers in the default server of that address, or send less in cookies and query",
    symptom: "wscat prints \"Unexpected server response: 400\" (or 414), nginx's page says \"Request Header Or Cookie Too Large\"",
    example: "websocket_guard: upgrade failed: the request header is larger than large_client_header_buffers; raise large_client_header_buffers in the default server of that address, or send less in cookies and query [header-too-large]";

    // Run time: nginx's own answer.

    WrongServer "wrong-server", CONFIGURED;
    title: "no server_name fits the Host, and the default server took the request",
    cause: "nginx gives a request whose Host no server_name has to the default server of the socket, and another server there has the location for it",
    fix: "add that name to its server_name, or correct the URL in the client",
    symptom: "404, a redirect or an empty answer, often for the name with or without \"www.\"",
    example: "websocket_guard: upgrade failed: no server_name fits Host \"www.example.com\", so the server (conf/nginx.conf:9) took the request as the default server of its socket, and not server \"example.com\" with its location \"/chat\" (conf/nginx.conf:31); add that name to its server_name, or correct the URL in the client [wrong-server]";

    WrongLocation "wrong-location", CONFIGURED;
    title: "the request fell into another location than the marked one",
    cause: "the URI does not match the location that websocket_guard marks, and the one that it matches does not forward an upgrade",
    fix: "correct the URL in the client, or mark that location too",
    symptom: "wscat prints \"Unexpected server response: 200\" or 404; often a slash or a prefix is missing in the URL",
    example: "websocket_guard: upgrade failed: \"/chat\" falls into location \"/\" (conf/nginx.conf:12), not into the marked location \"/ws/\"; correct the URL in the client, or mark that location too [wrong-location]";

    NotProxied "not-proxied", CONFIGURED;
    title: "nginx answered the request itself",
    cause: "the location serves files, falls back to index.html or returns a text, or a return in an if of the location or the server takes the request, and nothing is sent to a backend; a return is named with its line",
    fix: "add a proxy_pass to the location, or correct the URL in the client",
    symptom: "wscat prints \"Unexpected server response: 200\" (the index.html of a single-page application) or 404",
    example: "websocket_guard: upgrade failed: location \"/chat\" (conf/nginx.conf:31) serves files and answered 404, no backend was asked; add a proxy_pass to the location, or correct the URL in the client [not-proxied]";

    Redirected "redirected", CONFIGURED;
    title: "nginx answered with a redirect",
    cause: "WebSocket clients do not follow redirects, be it one from http to https or one to a sign-in page (auth_request with an error_page); behind a proxy that ends TLS $scheme is http for clients that use https",
    fix: "use wss:// or the final URL in the client",
    symptom: "wscat prints \"Unexpected server response: 301\" (or 302, 307, 308)",
    example: "websocket_guard: upgrade failed: location \"/chat\" (conf/nginx.conf:31) answered 301 to \"https://example.com/chat\", and WebSocket clients do not follow redirects; use wss:// or the final URL in the client [redirected]";

    SlashRedirect "slash-redirect", CONFIGURED;
    title: "nginx redirected to the same URL with a slash at its end",
    cause: "a proxying prefix location that ends in a slash answers 301 to the URL without it, and WebSocket clients do not follow redirects",
    fix: "use the URL with the slash in the client, or add an exact location for the one without",
    symptom: "wscat prints \"Unexpected server response: 301\"",
    example: "websocket_guard: upgrade failed: location \"/chat/\" (conf/nginx.conf:31) redirected \"/chat\" to \"http://example.com/chat/\", and WebSocket clients do not follow redirects; use the URL with the slash in the client, or add an exact location for the one without [slash-redirect]";

    AccessDenied "access-denied", CONFIGURED;
    title: "nginx refused access",
    cause: "auth_basic, auth_request, allow/deny or a return refused the request, and is named with its line; a script cannot add an Authorization header to a WebSocket",
    fix: "see auth_basic, auth_request, allow and deny for the location; a page can authenticate by cookie or query argument",
    symptom: "wscat prints \"Unexpected server response: 401\" or 403, or the connection is closed without an answer (444)",
    example: "websocket_guard: upgrade failed: location \"/chat\" (conf/nginx.conf:31) refused access with 401; see auth_basic, auth_request, allow and deny for the location; a page can authenticate by cookie or query argument [access-denied]";

    RateLimited "rate-limited", CONFIGURED;
    title: "nginx refused because of a limit",
    cause: "limit_req or limit_conn refused the request; in limit_conn an open WebSocket counts for its whole life",
    fix: "raise the limit for this location",
    symptom: "wscat prints \"Unexpected server response: 503\" or 429; some connections of a user work, further ones do not",
    example: "websocket_guard: upgrade failed: limit_conn refused the request with 503 in location \"/chat\" (conf/nginx.conf:31); raise the limit for this location [rate-limited]";

    AccessCheckFailed "access-check-failed", CONFIGURED;
    title: "auth_request got an answer that it does not understand",
    cause: "nginx understands 2xx, 401 and 403 from the location that auth_request names and answers 500 to everything else; a 400 or 426 says that the upgrade was passed on to it",
    fix: "set Upgrade and Connection to \"\" in the location that auth_request names, and see the auth backend's log",
    symptom: "wscat prints \"Unexpected server response: 500\", nginx logs \"auth request unexpected status\"",
    example: "websocket_guard: upgrade failed: auth_request in location \"/chat\" (conf/nginx.conf:31) was answered with 426, which nginx turns into 500; set Upgrade and Connection to \"\" in the location that auth_request names, and see the auth backend's log [access-check-failed]";

    BodyTooLarge "body-too-large", CONFIGURED;
    title: "a message of the polling fallback is too large",
    cause: "client_max_body_size limits the body of a plain request, which is how a client sends when it has no WebSocket; messages in a WebSocket have no such limit; told of a POST to a location that proxies and has \"websocket_guard on\", or is marked and named after a library that polls",
    fix: "raise client_max_body_size for the location",
    symptom: "413 on a POST of socket.io, SockJS or SignalR",
    example: "websocket_guard: a plain request to location \"/chat\" (conf/nginx.conf:31) was refused with 413, a WebSocket message would have no such limit; raise client_max_body_size for the location [body-too-large]";

    ClientGone "client-gone", Some(Info);
    title: "the client left before the answer",
    cause: "the client closed the connection, or a timeout of its own ran out, before the backend had answered",
    fix: "nothing, if it happens now and then; else see why the backend takes so long",
    symptom: "499 in the access log; in the browser \"WebSocket is closed before the connection is established\"",
    example: "websocket_guard: upgrade failed: the client left before the handshake was answered (499); nothing, if it happens now and then; else see why the backend takes so long [client-gone]";

    CachedResponse "cached-response", CONFIGURED;
    title: "the cache answered the handshake",
    cause: "the cache key does not know of the upgrade, and a response to the same URI was stored",
    fix: "add \"websocket_guard auto;\" to the location, or \"proxy_cache_bypass $http_upgrade;\"",
    symptom: "wscat prints \"Unexpected server response: 200\" after somebody opened the same URL as a page",
    example: "websocket_guard: upgrade failed: the cache of location \"/chat\" (conf/nginx.conf:31) answered the handshake with a stored 200; add \"websocket_guard auto;\" to the location, or \"proxy_cache_bypass $http_upgrade;\" [cached-response]";

    // Run time: what was sent to the backend.

    UpgradeNotForwarded "upgrade-not-forwarded", CONFIGURED;
    title: "the location does not forward the upgrade",
    cause: "nginx passes Upgrade and Connection on only if told to, only over HTTP/1.1, and only with proxy_pass, uwsgi_pass or scgi_pass",
    fix: "add \"websocket_guard on;\" to it",
    symptom: "the browser closes with 1006, wscat prints \"Unexpected server response: 200\" (or 400, 404, 426), nginx's own log is empty",
    example: "websocket_guard: upgrade failed: location \"/chat\" (conf/nginx.conf:31) passes the request on without its Upgrade header; add \"websocket_guard on;\" to it [upgrade-not-forwarded]";

    HandshakeAltered "handshake-altered", CONFIGURED;
    title: "the location changes the handshake on its way to the backend",
    cause: "a directive of the location takes away, replaces or doubles a part of the handshake",
    fix: "remove that directive from the location",
    symptom: "the backend answers 400, 405 or 426 and says that a header is missing",
    example: "websocket_guard: upgrade failed: location \"/chat\" (conf/nginx.conf:31) changes the handshake by \"proxy_pass_request_headers off\"; remove that directive from the location [handshake-altered]";

    // Run time: reaching the backend.

    BackendUnreachable "backend-unreachable", CONFIGURED;
    title: "no connection to the backend",
    cause: "the backend is not running, listens on another address or port, does not take its connections from its queue, or a firewall is in between; the number and text are the system's",
    fix: "start the backend, or correct the address in proxy_pass",
    symptom: "wscat prints \"Unexpected server response: 502\"",
    example: "websocket_guard: upgrade failed: no connection to backend 127.0.0.1:8080 (111: Connection refused); start the backend, or correct the address in proxy_pass [backend-unreachable]";

    BackendForbidden "backend-forbidden", CONFIGURED;
    title: "nginx may not connect to the backend",
    cause: "the backend may well be there, but the user that nginx's workers run as lacks the right: the mode of a Unix socket or of a folder above it, SELinux, a rule of the local firewall, a route that prohibits it",
    fix: "allow it where that is configured: SELinux (\"setsebool -P httpd_can_network_connect 1\"), the firewall or the routes of this host",
    symptom: "wscat prints \"Unexpected server response: 502\", nginx logs \"(13: Permission denied)\"",
    example: "websocket_guard: upgrade failed: nginx may not connect to backend 10.0.0.5:8080 (13: Permission denied); allow it where that is configured: SELinux (\"setsebool -P httpd_can_network_connect 1\"), the firewall or the routes of this host [backend-forbidden]";

    ConnectionsExhausted "connections-exhausted", CONFIGURED;
    title: "nginx has run out of connections",
    cause: "a WebSocket takes two connections of nginx for as long as it lives, each with a file descriptor, and a local port of the host; one of them has run out before the backend was asked",
    fix: "raise worker_connections, and worker_rlimit_nofile where that is lower",
    symptom: "wscat prints \"Unexpected server response: 500\" (or 502) while other WebSockets go on; nginx logs \"worker_connections are not enough\" or \"Too many open files\"",
    example: "websocket_guard: upgrade failed: nginx did not ask backend 127.0.0.1:8080: all 512 worker_connections of this worker are taken, and each WebSocket takes two; raise worker_connections, and worker_rlimit_nofile where that is lower [connections-exhausted]";

    BackendNoLive "backend-no-live", CONFIGURED;
    title: "the upstream has no server left",
    cause: "every server of the upstream is down, was marked as failed (max_fails), or holds its max_conns, which open WebSockets use up",
    fix: "see why its servers failed, or raise max_conns",
    symptom: "wscat prints \"Unexpected server response: 502\", nginx logs \"no live upstreams\"",
    example: "websocket_guard: upgrade failed: no server of upstream \"pool\" is free or alive; see why its servers failed, or raise max_conns [backend-no-live]";

    BackendDns "backend-dns", CONFIGURED;
    title: "the backend's name did not resolve",
    cause: "proxy_pass contains a variable, so the name is looked up for each request, and the resolver is missing or does not know it",
    fix: "correct the name in proxy_pass, or the resolver directive",
    symptom: "wscat prints \"Unexpected server response: 502\"",
    example: "websocket_guard: upgrade failed: the backend's name \"app.internal\" did not resolve; correct the name in proxy_pass, or the resolver directive [backend-dns]";

    BackendTls "backend-tls", CONFIGURED;
    title: "nginx and the backend do not agree on TLS",
    cause: "the TLS handshake with the backend failed (certificate, SNI, version, or it speaks plain HTTP), or it answered plain HTTP with a TLS alert, or with a 400 that says so",
    fix: "check http:// or https:// in proxy_pass, proxy_ssl_server_name and proxy_ssl_name",
    symptom: "wscat prints \"Unexpected server response: 502\" or 400, nginx logs \"SSL_do_handshake() failed\"",
    example: "websocket_guard: upgrade failed: the TLS handshake with backend 10.0.0.5:443 failed (SNI not sent); check http:// or https:// in proxy_pass, proxy_ssl_server_name and proxy_ssl_name [backend-tls]";

    BackendTimeout "backend-timeout", CONFIGURED;
    title: "the backend did not answer in time",
    cause: "the backend did not accept the connection, the request, or did not answer it within the time that nginx allows",
    fix: "see what the backend is doing, or raise that timeout",
    symptom: "wscat prints \"Unexpected server response: 504\"",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 did not answer the handshake within 60s (proxy_read_timeout); see what the backend is doing, or raise that timeout [backend-timeout]";

    BackendClosed "backend-closed", CONFIGURED;
    title: "the backend closed the connection before it answered",
    cause: "the backend crashed, refuses this client or protocol without an answer, or expects TLS",
    fix: "see the backend's log",
    symptom: "wscat prints \"Unexpected server response: 502\", nginx logs \"prematurely closed connection\" or \"Connection reset by peer\"",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 closed the connection before it answered; see the backend's log; if it expects TLS, use https:// in proxy_pass [backend-closed]";

    BackendHeaderTooBig "backend-header-too-big", CONFIGURED;
    title: "the header of the backend's answer is too large",
    cause: "the header of the answer, often its Set-Cookie lines, does not fit into proxy_buffer_size",
    fix: "raise that buffer size, or set fewer cookies in the backend",
    symptom: "wscat prints \"Unexpected server response: 502\", nginx logs \"upstream sent too big header\"",
    example: "websocket_guard: upgrade failed: the header of the answer of backend 127.0.0.1:8080 is larger than proxy_buffer_size; raise that buffer size, or set fewer cookies in the backend [backend-header-too-big]";

    // Run time: the backend's answer.

    BackendOrigin "backend-origin", CONFIGURED;
    title: "the backend's origin check failed",
    cause: "the backend compares Origin with the Host and the scheme that it got, and they differ, usually because nginx sent the upstream's name as Host, or because X-Forwarded-Proto does not say https; such checks answer 400, 401, 403 or 404",
    fix: "set \"websocket_guard_forwarded host;\" or \"proxy_set_header Host $http_host;\", or allow the origin in the backend",
    symptom: "browsers get 403 (or 400, 401, 404), while wscat, which sends no Origin, gets through",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 answered 403: it was sent Host \"backend\" with Origin \"https://app.example.com\", which looks like another site; set \"websocket_guard_forwarded host;\" in the location, or allow the origin in the backend [backend-origin]";

    BackendAuth "backend-auth", CONFIGURED;
    title: "the backend refused access",
    cause: "the backend did not get, or did not accept, the credentials: a cookie of another domain or path, an expired token; or its own list of origins lacks this one",
    fix: "see the backend's log, and that cookies or tokens reach it",
    symptom: "wscat prints \"Unexpected server response: 401\" or 403",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 refused access with 401; see the backend's log, and that cookies or tokens reach it [backend-auth]";

    BackendRedirect "backend-redirect", CONFIGURED;
    title: "the backend answered with a redirect",
    cause: "WebSocket clients do not follow redirects; often the backend does not know that the client came by TLS, or sends it to a sign-in page",
    fix: "use the final URL in the client, or sign in first if that is a sign-in",
    symptom: "wscat prints \"Unexpected server response: 301\" (or 302, 307, 308)",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 answered 302 to \"/login\", and WebSocket clients do not follow redirects; use the final URL in the client, or sign in first if that is a sign-in [backend-redirect]";

    BackendNotFound "backend-not-found", CONFIGURED;
    title: "the backend does not know the path",
    cause: "the path in the client is wrong, or proxy_pass with a URI, or a rewrite, changed it on its way",
    fix: "correct the path in the client, or the URI in proxy_pass",
    symptom: "wscat prints \"Unexpected server response: 404\"",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 answered 404 to \"//chat\", the client asked for \"/ws/chat\"; correct the path in the client, or the URI in proxy_pass [backend-not-found]";

    BackendBadHandshake "backend-bad-handshake", CONFIGURED;
    title: "the backend refused a correct handshake",
    cause: "the backend does not like this request for a reason of its own: a session of another server, a proxy that it does not trust, a subprotocol or version that it wants, a Host that is no name of a host; the line tells what is peculiar about what it was sent",
    fix: "see the backend's log; with several servers check session affinity, else the list of trusted proxies",
    symptom: "wscat prints \"Unexpected server response: 400\" or 426; socket.io: \"Session ID unknown\"",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 answered 400 to a correct handshake and said \"Session ID unknown\"; see the backend's log; with several servers check session affinity, else the list of trusted proxies [backend-bad-handshake]";

    BackendNotWebsocket "backend-not-websocket", CONFIGURED;
    title: "the backend has no WebSocket at this path",
    cause: "the backend got a correct handshake and answered it as a plain request",
    fix: "correct the path in the client, or enable WebSocket in the backend",
    symptom: "wscat prints \"Unexpected server response: 200\"",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 answered 200 to \"/chat\", it has no WebSocket there; correct the path in the client, or enable WebSocket in the backend [backend-not-websocket]";

    BackendError "backend-error", CONFIGURED;
    title: "the backend answered with an error of its own",
    cause: "the application failed, or a proxy between nginx and the application could not reach it",
    fix: "see the backend's log",
    symptom: "wscat prints \"Unexpected server response: 500\" (or 502, 503, 504)",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 answered 500; see the backend's log [backend-error]";

    BadAccept "bad-accept", CONFIGURED;
    title: "the 101 has a wrong or no Sec-WebSocket-Accept",
    cause: "the backend must prove that it has read Sec-WebSocket-Key (RFC 6455 section 4.2.2); what answers without that proof is no WebSocket server, or answers to another request; nginx itself may hide, repeat or replace the header on its way to the client, or the key",
    fix: "correct the backend, or what stands between it and nginx",
    symptom: "502 in guarded locations; else the browser reports \"Incorrect 'Sec-WebSocket-Accept' header value\"",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 answered 101 with Sec-WebSocket-Accept \"x\" where \"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\" belongs to the key that it was sent; correct the backend, or what stands between it and nginx [bad-accept]";

    BadSwitch "bad-switch", CONFIGURED;
    title: "the 101 does not switch to the protocol that was asked for",
    cause: "a 101 must carry \"Connection: Upgrade\" and name in Upgrade the protocol that was asked for (RFC 6455 section 4.2.2); nginx itself may hide or repeat the header on its way to the client",
    fix: "correct the backend, or what stands between it and nginx",
    symptom: "502 in guarded locations; else the browser reports a missing or wrong \"Upgrade\" or \"Connection\" header",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 answered 101 with Upgrade \"h2c\" where \"websocket\" was asked for; correct the backend, or what stands between it and nginx [bad-switch]";

    SubprotocolMismatch "subprotocol-mismatch", CONFIGURED;
    title: "the backend chose a subprotocol that was not offered",
    cause: "Sec-WebSocket-Protocol of the answer must be one of those in the request; the client closes the connection (RFC 6455 section 4.1); nginx itself may add or hide the header",
    fix: "offer that subprotocol in the client, or correct the backend",
    symptom: "the browser reports \"'Sec-WebSocket-Protocol' header must not be present\" or a mismatch and closes with 1006",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 chose subprotocol \"mqtt\", offered: \"graphql-ws\"; offer that subprotocol in the client, or correct the backend [subprotocol-mismatch]";

    ExtensionMismatch "extension-mismatch", CONFIGURED;
    title: "the backend chose an extension that was not offered",
    cause: "Sec-WebSocket-Extensions of the answer may only hold what the request offered; the client closes the connection (RFC 6455 section 4.1); nginx itself may add or hide the header",
    fix: "correct the backend, or stop emptying Sec-WebSocket-Extensions in one direction only",
    symptom: "the browser reports an error in \"Sec-WebSocket-Extensions\" and closes with 1006",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 chose extension \"permessage-deflate\", which was not offered; correct the backend, or stop emptying Sec-WebSocket-Extensions in one direction only [extension-mismatch]";

    Unsolicited101 "unsolicited-101", CONFIGURED;
    title: "the backend answered 101 to a request that asked for no upgrade",
    cause: "a 101 is allowed only as the answer to an Upgrade header; a fake one is a way to get a raw connection through a proxy",
    fix: "correct the backend, and see that no proxy_set_header sets Upgrade to a constant",
    symptom: "502 in guarded locations; elsewhere nginx relays the 101 and the client hangs",
    example: "websocket_guard: backend 127.0.0.1:8080 answered 101 to a request that asked for no upgrade; correct the backend, and see that no proxy_set_header sets Upgrade to a constant [unsolicited-101]";

    SwitchReplaced "switch-replaced", CONFIGURED;
    title: "the backend's 101 did not reach the client",
    cause: "another module of nginx answered in place of the 101 when it saw its header (header_filter_by_lua, ModSecurity in phase 3, image_filter), or the backend sent X-Accel-Redirect with it",
    fix: "have that module leave the answers of this location alone",
    symptom: "wscat prints \"Unexpected server response: 403\" (or another status), while the backend has an open WebSocket for a moment",
    example: "websocket_guard: upgrade failed: backend 127.0.0.1:8080 answered 101, and another module of this nginx put 403 in its place in location \"/chat\" (conf/nginx.conf:31); have that module leave the answers of this location alone [switch-replaced]";

    /// How a tunnel was cut.
    [EndFinding: Level;]

    TunnelIdle "tunnel-idle", Error;
    title: "a silent tunnel was cut",
    cause: "neither side sent a byte for as long as the idle limit, which is websocket_guard_timeout, or proxy_read_timeout where websocket_guard is off or check; traffic in either direction starts it anew",
    fix: "have the application send pings more often than that, or raise websocket_guard_timeout",
    symptom: "the connection closes with 1006 after a fixed time of silence",
    example: "websocket_guard: tunnel cut after 1h 2m: no byte in either direction for 1h (limit 1h; client silent for 1h 1m, backend silent for 1h); have the application send pings more often than that, or raise websocket_guard_timeout [tunnel-idle]";

    TunnelClientStalled "tunnel-client-stalled", Error;
    title: "a tunnel was cut because the client stopped reading",
    cause: "nothing could be written to the client for send_timeout: it sleeps, lost its network, or cannot keep up",
    fix: "send less to slow clients, or raise send_timeout",
    symptom: "the connection closes with 1006 on slow or sleeping clients",
    example: "websocket_guard: tunnel cut after 5m: the client took no data for 60s (send_timeout; client silent for 4m, backend silent for 350ms); send less to slow clients, or raise send_timeout [tunnel-client-stalled]";

    TunnelBackendStalled "tunnel-backend-stalled", Error;
    title: "a tunnel was cut because the backend stopped reading",
    cause: "nothing could be written to the backend for proxy_send_timeout: it hangs or cannot keep up",
    fix: "see what the backend is doing, or raise the send timeout",
    symptom: "the connection closes with 1006 while the client is sending much",
    example: "websocket_guard: tunnel cut after 5m: backend 127.0.0.1:8080 took no data for 60s (proxy_send_timeout; client silent for 350ms, backend silent for 4m); see what the backend is doing, or raise the send timeout [tunnel-backend-stalled]";

    TunnelClientReset "tunnel-client-reset", Info;
    title: "the client reset the connection",
    cause: "the client's system dropped the connection without a close: the process died, or a network in between did it",
    fix: "nothing, if it happens now and then; else look at the network in front of this nginx",
    symptom: "the backend sees the connection end without a close frame (1006)",
    example: "websocket_guard: tunnel ended after 5m: the client reset the connection (client silent for 4m, backend silent for 350ms); nothing, if it happens now and then; else look at the network in front of this nginx [tunnel-client-reset]";

    TunnelBackendReset "tunnel-backend-reset", Error;
    title: "the backend reset the connection",
    cause: "the backend crashed, was killed or restarted, or a firewall or load balancer in between dropped the connection",
    fix: "see the backend's log, and idle limits of what stands between it and nginx",
    symptom: "many clients close with 1006 at the same moment",
    example: "websocket_guard: tunnel ended after 5m: backend 127.0.0.1:8080 reset the connection (client silent for 350ms, backend silent for 4m); see the backend's log, and idle limits of what stands between it and nginx [tunnel-backend-reset]";

    TunnelClientGone "tunnel-client-gone", Info;
    title: "the client's connection ended without a Close frame",
    cause: "the client's program ended, or closed its connection without closing the WebSocket (RFC 6455 section 7.1.1); with TLS a reset looks the same",
    fix: "nothing, if it happens now and then; else see what the client does, or what stands between it and nginx",
    symptom: "the backend sees the connection end with 1006, or with 1001 where websocket_guard_close is on",
    example: "websocket_guard: tunnel ended after 5m: the client's connection ended without a Close frame (client silent for 4m, backend silent for 350ms); nothing, if it happens now and then; else see what the client does, or what stands between it and nginx [tunnel-client-gone]";

    TunnelBackendGone "tunnel-backend-gone", Error;
    title: "the backend's connection ended without a Close frame",
    cause: "the backend crashed, was killed or restarted, or closes its connections without closing the WebSockets (RFC 6455 section 7.1.1)",
    fix: "see the backend's log, and have it send a Close when it stops",
    symptom: "browsers close with 1006, or with 1014 where websocket_guard_close is on, many at the same moment",
    example: "websocket_guard: tunnel ended after 5m: the connection of backend 127.0.0.1:8080 ended without a Close frame (client silent for 350ms, backend silent for 4m); see the backend's log, and have it send a Close when it stops [tunnel-backend-gone]";

    TunnelFrameError "tunnel-frame-error", Error;
    title: "a frame broke RFC 6455",
    cause: "one side sent what is no WebSocket frame, or one that is not allowed there; with \"websocket_guard_frames strict\" that ends the tunnel, and so it does, unless \"check\" is written, where websocket_guard_max_message or websocket_guard_message_rate limits that side; else it goes on",
    fix: "correct that program",
    symptom: "the connection closes with 1002, at the other side or, where it ends the tunnel, at whoever sent the frame, and with 1001 at the other side",
    example: "websocket_guard: tunnel cut after 5m: the client broke RFC 6455 section 5.1: a frame of a client is not masked (client silent for 350ms, backend silent for 4m); correct that program [tunnel-frame-error]";

    TunnelClientDead "tunnel-client-dead", Error;
    title: "the client did not answer a Ping",
    cause: "nothing came from the client for the timeout of websocket_guard_ping: it sleeps, hangs, or lost its network without a word",
    fix: "nothing, if clients come and go; else raise the timeout of websocket_guard_ping",
    symptom: "the backend sees 1001, and the client, once it is back, a connection that is closed",
    example: "websocket_guard: tunnel cut after 5m: no answer of the client to a Ping for 60s (client silent for 4m, backend silent for 350ms); nothing, if clients come and go; else raise the timeout of websocket_guard_ping [tunnel-client-dead]";

    TunnelBackendDead "tunnel-backend-dead", Error;
    title: "the backend did not answer a Ping",
    cause: "nothing came from the backend for the timeout of websocket_guard_ping: it hangs, or its host is gone; or it does not answer Pings, as RFC 6455 section 5.5.2 wants it to",
    fix: "see what the backend is doing, or raise the timeout of websocket_guard_ping",
    symptom: "browsers close with 1014, or with 1006 where websocket_guard_close is off",
    example: "websocket_guard: tunnel cut after 5m: no answer of backend 127.0.0.1:8080 to a Ping for 60s (client silent for 350ms, backend silent for 4m); see what the backend is doing, or raise the timeout of websocket_guard_ping [tunnel-backend-dead]";

    TunnelMessageTooLarge "tunnel-message-too-large", Error;
    title: "a message was larger than websocket_guard_max_message",
    cause: "one side began a frame with which its message has more payload than websocket_guard_max_message allows; a compressed message counts as it is sent; nothing of that frame was passed on",
    fix: "have it send smaller messages, or raise websocket_guard_max_message",
    symptom: "whoever sent the message sees the connection close with 1009, the other side with 1001",
    example: "websocket_guard: tunnel closed after 5m: a message of the client has 1048577 bytes or more, and the limit is 1048576 (websocket_guard_max_message; client silent for 350ms, backend silent for 4m); have it send smaller messages, or raise websocket_guard_max_message [tunnel-message-too-large]";

    TunnelMessageRate "tunnel-message-rate", Error;
    title: "a client sent messages faster than websocket_guard_message_rate",
    cause: "the client began a message before the rate and the burst of websocket_guard_message_rate had room for it, which there is set to \"close\"; nothing of that message was passed on",
    fix: "have the client send less often, raise the rate or the burst of websocket_guard_message_rate, or have it \"delay\"",
    symptom: "the client sees the connection close with 1008, the backend with 1001",
    example: "websocket_guard: tunnel closed after 5m: the client sent more than 30 messages, which is faster than 10r/s burst=20 (websocket_guard_message_rate; client silent for 350ms, backend silent for 4m); have the client send less often, raise the rate or the burst of websocket_guard_message_rate, or have it \"delay\" [tunnel-message-rate]";

    TunnelLifetime "tunnel-lifetime", Info;
    title: "the lifetime of a tunnel was over",
    cause: "websocket_guard_lifetime limits how long a tunnel may live; the client connects again and is authorized anew",
    fix: "nothing; else raise websocket_guard_lifetime",
    symptom: "the connection closes with 1008 after a fixed time",
    example: "websocket_guard: tunnel closed after 5m: its lifetime was over (client silent for 350ms, backend silent for 4m); nothing; else raise websocket_guard_lifetime [tunnel-lifetime]";

    TunnelLifetimeUnknown "tunnel-lifetime-unknown", Error;
    title: "the lifetime of a tunnel is not a number",
    cause: "the variable of websocket_guard_lifetime has a value that is neither empty nor a whole number; the tunnel goes on without a limit",
    fix: "let the variable be a number of seconds, a Unix time, or empty",
    symptom: "tunnels outlive their token",
    example: "websocket_guard: a tunnel has no limit, for \"30m\" in websocket_guard_lifetime is no number of seconds; let the variable be a number of seconds, a Unix time, or empty [tunnel-lifetime-unknown]";

    TunnelDrained "tunnel-drained", Info;
    title: "a tunnel was closed because its worker leaves",
    cause: "after a reload, a quit or a binary upgrade the old worker closes its tunnels one by one (websocket_guard_drain)",
    fix: "nothing; have clients connect again when they see the code",
    symptom: "clients close with 1012, or the code that websocket_guard_drain names, some time after a reload",
    example: "websocket_guard: tunnel closed after 5m: its worker is leaving (client silent for 350ms, backend silent for 4m); nothing; have clients connect again when they see the code [tunnel-drained]";

    TunnelShutdown "tunnel-shutdown", Error;
    title: "a tunnel was cut by the shutdown of an old worker",
    cause: "after a reload, worker_shutdown_timeout ends what the old workers still hold; a fast stop of nginx (SIGTERM) ends all at once",
    fix: "raise worker_shutdown_timeout, and have clients reconnect",
    symptom: "clients close with 1006, or with 1012 where websocket_guard_close is on, some time after a reload or when nginx is stopped",
    example: "websocket_guard: tunnel cut after 5m: the old worker was shut down by worker_shutdown_timeout after a reload (client silent for 350ms, backend silent for 4m); raise worker_shutdown_timeout, and have clients reconnect [tunnel-shutdown]";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_complete() {
        for finding in Finding::ALL {
            let entry = finding.entry();
            for text in [entry.title, entry.cause, entry.fix, entry.symptom] {
                assert!(text.len() > 10, "{}: {text}", entry.slug);
                assert!(!text.ends_with('.'), "{}: {text}", entry.slug);
                assert!(!text.contains('\n'), "{}: {text}", entry.slug);
            }
            assert!(!entry.example.is_empty(), "{}", entry.slug);
            assert!(entry.title.len() <= 100, "{}", entry.title);
            // it ends a log line of at most 2048 bytes that also carries values
            assert!(entry.fix.len() <= 200, "{}", entry.fix);
        }
    }

    #[test]
    fn every_finding_is_of_a_kind() {
        let load = LoadFinding::ALL.iter().map(|finding| Finding::from(*finding));
        let run = RunFinding::ALL.iter().map(|finding| Finding::from(*finding));
        let end = EndFinding::ALL.iter().map(|finding| Finding::from(*finding));
        let of_a_kind: Vec<Finding> = load.chain(run).chain(end).collect();
        for finding in Finding::ALL {
            let kinds = of_a_kind.iter().filter(|other| **other == finding).count();
            let expected = if finding == Finding::SubrequestUpgrade { 2 } else { 1 };
            assert_eq!(kinds, expected, "{finding:?}");
        }
    }
}
