//! Configurations for the rules' tests, as nginx's side would describe them.

use crate::http::version::HttpVersion;

use super::audit;
use super::model::*;

pub use crate::words::{Marked, Mode, Place, SetAt};

pub const HTTP_PLACE: Place = at(1);
pub const SERVER_PLACE: Place = at(2);

/// A position in the one file of all tests.
pub const fn at(line: u32) -> Place<'static> {
    Place { file: b"nginx.conf", line }
}

pub fn here<T>(value: T, line: u32) -> Option<Setting<'static, T>> {
    Some(Setting { value, origin: SetAt::Here(Some(at(line))) })
}

pub fn above<T>(value: T, line: u32) -> Option<Setting<'static, T>> {
    Some(Setting { value, origin: SetAt::Above(Some(at(line))) })
}

pub fn default<T>(value: T) -> Option<Setting<'static, T>> {
    Some(Setting { value, origin: SetAt::Default })
}

pub fn by_guard<T>(value: T) -> Option<Setting<'static, T>> {
    Some(Setting { value, origin: SetAt::Guard })
}

/// A value as it is written. Of variables only a few are known.
pub fn value(text: &'static str) -> Value<'static> {
    let upgrade = match text {
        "guard" => return Value::Guard,
        _ if !text.contains('$') => return Value::Constant(text.as_bytes()),
        "$http_upgrade" => Some(&b"websocket"[..]),
        "$http_connection" | "$connection_upgrade" => Some(&b"upgrade"[..]),
        "$cookie_a" | "$wrong_map" => Some(&b""[..]),
        _ => None,
    };
    Value::Variable { text: text.as_bytes(), upgrade }
}

pub fn values(texts: &[&'static str]) -> &'static [Value<'static>] {
    texts.iter().copied().map(value).collect::<Vec<_>>().leak()
}

/// `proxy_set_header` lines, from line 100 on.
pub fn list(headers: &[(&'static str, &'static str)]) -> &'static [Header<'static>] {
    let numbered = headers.iter().zip(100..);
    let entries = numbered.map(|((name, text), line)| Header {
        name: name.as_bytes(),
        value: value(text),
        place: (*text != "guard").then_some(at(line)),
    });
    entries.collect::<Vec<_>>().leak()
}

pub fn inherited(headers: &[(&'static str, &'static str)]) -> Headers<'static> {
    let entries = list(headers);
    Headers { known: true, entries, own: false, above: entries }
}

pub fn own(headers: &[(&'static str, &'static str)]) -> Headers<'static> {
    Headers { known: true, entries: list(headers), own: true, above: &[] }
}

const GUARDED: &[(&str, &str)] = &[("Upgrade", "guard"), ("Connection", "guard"), HOST];
const HOST: (&str, &str) = ("Host", "$http_host");
pub const RECIPE: &[(&str, &str)] =
    &[("Upgrade", "$http_upgrade"), ("Connection", "$connection_upgrade"), HOST];

const BACKEND: Upstream = Upstream {
    name: b"127.0.0.1",
    block: false,
    place: Some(at(11)),
    live_servers: 1,
    affinity: Affinity::None,
    max_conns: None,
    named_server: None,
};

/// A location with nothing but `proxy_pass http://127.0.0.1:3000;`.
pub fn location(name: &'static str) -> Location<'static> {
    Location {
        name: name.as_bytes(),
        place: at(10),
        content: Content::Proxied(Proxied {
            headers: inherited(&[]),
            http_version: default(HttpVersion::Http10),
            read_timeout: default(60_000),
            buffering: default(true),
            pass_request_headers: default(true),
            intercept_errors: default(false),
            ssl_server_name: default(false),
            target: Target { uri: Some(b""), upstream: Some(&BACKEND), ..Target::default() },
            ..Proxied::default()
        }),
        send_timeout: default(60_000),
        resolver: Some(false),
        ..Location::default()
    }
}

/// The same with `websocket_guard on;`, which sends Host too, as in most configurations.
pub fn on(name: &'static str) -> Location<'static> {
    let mut location = location(name);
    location.mode = Mode::On;
    location.marked = Marked::Here;
    edit(location, |proxied| {
        proxied.headers = inherited(GUARDED);
        proxied.http_version = by_guard(HttpVersion::Http11);
        proxied.read_timeout = by_guard(3_600_000);
        proxied.buffering = by_guard(false);
    })
}

/// The same with the recipe as it is written by hand.
pub fn by_hand(name: &'static str) -> Location<'static> {
    edit(location(name), |proxied| {
        proxied.headers = own(RECIPE);
        proxied.http_version = here(HttpVersion::Http11, 20);
        proxied.read_timeout = here(3_600_000, 21);
    })
}

/// The same with that recipe and `websocket_guard check;`.
pub fn checked(name: &'static str) -> Location<'static> {
    Location { mode: Mode::Check, marked: Marked::Here, ..by_hand(name) }
}

/// `websocket_guard on;` in a location that is as it was otherwise.
pub fn marked(location: Location<'static>) -> Location<'static> {
    Location { mode: Mode::On, marked: Marked::Here, ..location }
}

/// A location that serves files.
pub fn files(name: &'static str) -> Location<'static> {
    Location { content: Content::Files, ..location(name) }
}

pub fn edit(
    mut location: Location<'static>,
    change: impl FnOnce(&mut Proxied<'static>),
) -> Location<'static> {
    match &mut location.content {
        Content::Proxied(proxied) => change(proxied),
        _ => panic!("the location does not proxy"),
    }
    location
}

/// A regular expression, as far as the tests need them.
pub struct EndsWith(pub &'static str);

impl LocationRegex for EndsWith {
    fn matches(&self, uri: &[u8]) -> bool {
        uri.ends_with(self.0.as_bytes())
    }
}

pub fn server<'a>(locations: &'a [Location<'a>]) -> Server<'a> {
    Server {
        name: b"example.com",
        place: SERVER_PLACE,
        listeners: &[Listener {
            address: b"80",
            port: Some(80),
            ssl: false,
            http2: false,
            place: None,
        }],
        locations,
        ..Server::default()
    }
}

pub fn site<'a>(servers: &'a [Server<'a>]) -> Site<'a> {
    Site {
        worker_connections_place: None,
        open_files_place: None,
        nginx_version: 1_022_001,
        place: HTTP_PLACE,
        workers: 2,
        worker_connections: 1024,
        open_files: Some(65536),
        worker_shutdown_timeout: true,
        shutdown_limit: None,
        http: OwnLevel::default(),
        upstreams: &[],
        servers,
    }
}

/// The names of the findings.
pub fn names(locations: &[Location]) -> Vec<&'static str> {
    names_in(&site(&[server(locations)]))
}

pub fn names_in(site: &Site) -> Vec<&'static str> {
    let reports = audit(site, |_| true).into_iter().map(|report| report.finding.slug());
    reports.filter(|name| *name != "capacity").collect()
}

/// The lines of a single location.
pub fn lines(location: Location) -> Vec<String> {
    lines_in(&site(&[server(&[location])]))
}

pub fn lines_in(site: &Site) -> Vec<String> {
    let reports = audit(site, |_| true).into_iter();
    reports
        .filter(|report| report.finding.slug() != "capacity")
        .map(|report| report.line().to_string())
        .collect()
}
