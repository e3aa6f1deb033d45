//! What is sent to the backend: headers, method and HTTP version.

use crate::audit::model::{Header, Proxied, Setting, Upstream, Value};
use crate::audit::problem::Problem;
use crate::audit::recipe::{asks_for_upgrade, CONNECTION, HOST, UPGRADE};
use crate::findings::Level;
use crate::handshake::upgrade::WEBSOCKET;
use crate::http::token::contains_token;
use crate::http::version::HttpVersion;
use crate::text::quoted::{Listed, Quoted};
use crate::words::{Place, SetAt};

use crate::audit::context::Context;

/// What to do in a location that the guard only leaves alone because it says more itself.
const WITHOUT_UPGRADE: &str = "remove the \"proxy_set_header Upgrade\" from the location";
const WITHOUT_CONNECTION: &str = "remove the \"proxy_set_header Connection\" from the location";

pub fn headers_dropped<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    if !context.loses(UPGRADE) && !context.loses(CONNECTION) {
        return None;
    }
    let lost: Vec<&str> = ["Upgrade", "Connection", "Host"]
        .into_iter()
        .filter(|name| context.loses(name.as_bytes()))
        .collect();
    let place = proxied.headers.entries.iter().find_map(|header| header.place);
    let what =
        format!("has its own proxy_set_header and thereby loses {}, set above it", Listed(&lost));
    Some(Problem::new(what).at(SetAt::Here(place)))
}

pub fn missing_upgrade<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    if proxied.headers.named(UPGRADE).next().is_some() {
        return None;
    }
    Some(Problem::new("proxies without the Upgrade header"))
}

pub fn missing_connection<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    if proxied.headers.named(CONNECTION).next().is_some() {
        return None;
    }
    Some(Problem::new("proxies without \"Connection: upgrade\""))
}

pub fn upgrade_wrong<'a>(context: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let names_a_protocol = |value: &[u8]| names_allowed_protocol(context, value);
    wrong(proxied, UPGRADE, names_a_protocol).map(|(header, value)| {
        Problem::new(format!(
            "sends Upgrade {}, which does not name {WEBSOCKET}",
            Shown(header, value)
        ))
        .fix_where(context.is_guarded(), WITHOUT_UPGRADE)
        .at(proxied.headers.origin(header))
    })
}

pub fn upgrade_hardcoded<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    let header = proxied.headers.named(UPGRADE).find(|header| {
        matches!(header.value, Value::Constant(value) if names_allowed_protocol(context, value))
    })?;
    let value = Quoted(header.value.text().unwrap_or_default());
    Some(
        Problem::new(format!("sends \"Upgrade: {value}\" on every request"))
            .fix_where(context.is_guarded(), WITHOUT_UPGRADE)
            .at(proxied.headers.origin(header)),
    )
}

pub fn connection_wrong<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    wrong(proxied, CONNECTION, asks_for_upgrade).map(|(header, value)| {
        let problem = Problem::new(format!(
            "sends Connection {} for an upgrade, without the token \"upgrade\"",
            Shown(header, value)
        ));
        let mut headers = proxied.headers.named(CONNECTION);
        let problem = match headers.all(|header| is_of_keepalive(&header.value)) {
            // It has a purpose, and the guard keeps it for that.
            true => problem.fix(
                "add \"websocket_guard auto;\" to the location, which sends that with plain requests only",
            ),
            false => problem.fix_where(context.is_guarded(), WITHOUT_CONNECTION),
        };
        problem.at(proxied.headers.origin(header))
    })
}

fn is_of_keepalive(connection: &Value) -> bool {
    matches!(connection, Value::Constant(value) if value.is_empty() || value.eq_ignore_ascii_case(b"close"))
}

pub fn connection_hardcoded<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    let header = proxied
        .headers
        .named(CONNECTION)
        .find(|header| matches!(header.value, Value::Constant(value) if asks_for_upgrade(value)))?;
    let value = Quoted(header.value.text().unwrap_or_default());
    Some(
        Problem::new(format!("sends \"Connection: {value}\" on plain requests too"))
            .fix_where(context.is_guarded(), WITHOUT_CONNECTION)
            .at(proxied.headers.origin(header)),
    )
}

pub fn duplicate_header<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    // nginx sends no header for an empty value: where a map for upgrades and one for other requests set the
    // same header, only one of them counts.
    let sent = |header: &&Header<'a>| {
        header.value.text().is_some() && header.value.for_upgrade() != Some(b"")
    };
    let entries = proxied.headers.entries;
    let (first, second) = entries.iter().enumerate().find_map(|(i, second)| {
        let earlier = entries.get(..i)?.iter().filter(sent).find(|first| {
            first.name.eq_ignore_ascii_case(second.name)
                && (first.value.text() != second.value.text() || is_single(second.name))
        });
        earlier.filter(|_| sent(&second)).map(|first| (first, second))
    })?;
    if first.value.text() == second.value.text() {
        let (name, text) = (second.name, second.value.text().unwrap_or_default());
        let what = format!("sends {} twice, both times as \"{}\"", Quoted(name), Quoted(text));
        return Some(Problem::new(what).at(proxied.headers.origin(second)));
    }
    let what = format!(
        "sends {} twice, as \"{}\" and as \"{}\"",
        Quoted(second.name),
        Quoted(first.value.text().unwrap_or_default()),
        Quoted(second.value.text().unwrap_or_default()),
    );
    Some(Problem::new(what).at(proxied.headers.origin(second)))
}

pub fn sec_header_replaced<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    const ASKED: [&[u8]; 4] = [
        b"Sec-WebSocket-Key",
        b"Sec-WebSocket-Version",
        b"Sec-WebSocket-Protocol",
        b"Sec-WebSocket-Extensions",
    ];
    let (header, value) = proxied.headers.entries.iter().find_map(|header| {
        let name = ASKED.iter().find(|name| header.name.eq_ignore_ascii_case(name))?;
        let value = header.value.for_upgrade().filter(|value| !value.is_empty())?;
        // That is the one version that there is.
        let usual = *name == b"Sec-WebSocket-Version" && value == b"13";
        (!usual).then_some((header, value))
    })?;
    let (name, value) = (Quoted(header.name), Quoted(value));
    let what = format!("sends {name} \"{value}\" in place of the client's own");
    Some(Problem::new(what).at(proxied.headers.origin(header)))
}

/// Whether backends refuse a handshake with two lines of a header, equal ones too.
fn is_single(name: &[u8]) -> bool {
    [&b"Upgrade"[..], b"Connection", b"Host"].iter().any(|single| name.eq_ignore_ascii_case(single))
        || name.get(..14).is_some_and(|start| start.eq_ignore_ascii_case(b"Sec-WebSocket-"))
}

pub fn sec_header_cleared<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    // Sec-WebSocket-Extensions is missing here: without extensions a WebSocket works, less efficiently.
    const NEEDED: [(&str, Level); 3] = [
        ("Sec-WebSocket-Key", Level::Error),
        ("Sec-WebSocket-Version", Level::Error),
        ("Sec-WebSocket-Protocol", Level::Warn),
    ];
    let clearing = |name: &str| {
        let mut clearing = None;
        for header in proxied.headers.named(name.as_bytes()) {
            match header.value {
                Value::Constant(b"") => clearing = Some(header),
                _ => return None,
            }
        }
        clearing
    };
    let cleared: Vec<_> = NEEDED
        .into_iter()
        .filter_map(|(name, level)| Some((name, level, clearing(name)?)))
        .collect();
    let (_, level, header) = *cleared.first()?;
    let names: Vec<&str> = cleared.iter().map(|(name, ..)| *name).collect();
    Some(
        Problem::new(format!("empties {}", Listed(&names)))
            .level(level)
            .at(proxied.headers.origin(header)),
    )
}

pub fn host_not_forwarded<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    if proxied.headers.named(HOST).any(|host| host.value != Value::Guard || !proxied.host_is_domain)
    {
        return None;
    }
    let problem =
        Problem::new("does not pass the client's Host on, the backend sees the upstream's name");
    let host = proxied.target.upstream.filter(|_| context.is_guarded());
    if host.is_some_and(Upstream::names_no_site) {
        return Some(problem.fix("set \"websocket_guard_forwarded host;\" in the location"));
    }
    // Where there are inherited lines, one in the location itself would end that.
    let inherited = proxied.headers.entries.iter().find_map(|header| header.place);
    Some(match inherited.filter(|_| !proxied.headers.own) {
        Some(Place { file, line }) => problem.fix(format!(
            "add \"proxy_set_header Host $http_host;\" beside the lines that it inherits ({}:{line})",
            Quoted(file)
        )),
        None => problem,
    })
}

pub fn host_without_port<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    let header = proxied
        .headers
        .named(HOST)
        .find(|header| matches!(header.value.text(), Some(b"$host" | b"${host}")))?;
    let port = context
        .server
        .listeners
        .iter()
        .filter_map(|listener| listener.port)
        .find(|port| !matches!(port, 80 | 443))?;
    Some(
        Problem::new(format!("sends \"Host: $host\", which lacks the port {port} of the server"))
            .at(proxied.headers.origin(header)),
    )
}

pub fn http10_upstream<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let version = speaks(proxied, HttpVersion::Http10)?;
    let problem = Problem::new(match version.origin {
        SetAt::Default => "speaks HTTP/1.0 to the backend, nginx's default before 1.29.7",
        _ => "speaks HTTP/1.0 to the backend",
    });
    Some(http_version_problem(problem, version))
}

pub fn h2_upstream<'a>(context: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let version = speaks(proxied, HttpVersion::Http2)?;
    let problem = Problem::new("speaks HTTP/2 to the backend, which has no upgrade");
    if context.is_guarded() {
        // The guard leaves it alone, for the plain requests.
        let fix =
            "set \"proxy_http_version 1.1;\" in the location, or in one of its own for WebSocket";
        return Some(problem.at(version.origin).fix(fix));
    }
    Some(http_version_problem(problem, version))
}

pub fn pass_headers_off<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let setting = proxied.pass_request_headers.filter(|setting| !setting.value)?;
    // What the location sends itself is enough for a handshake.
    let sent = |name: &[u8]| {
        proxied.headers.named(name).any(|header| header.value.for_upgrade() != Some(b""))
    };
    if sent(b"Sec-WebSocket-Key") && sent(b"Sec-WebSocket-Version") {
        return None;
    }
    let directive = format!("{}_pass_request_headers", proxied.module.prefix());
    Some(
        Problem::new(format!(
            "passes no Sec-WebSocket-Key and no other header of the client on ({directive} off)"
        ))
        .fix(format!("remove \"{directive} off;\", or set it to on in the location"))
        .at(setting.origin),
    )
}

pub fn proxy_method<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let method = proxied.method.filter(|method| method.value != b"GET")?;
    Some(Problem::new(format!("sends the handshake as {}", Quoted(method.value))).at(method.origin))
}

/// A header no entry of which is right; with the value that is known not to be.
fn wrong<'p, 'a>(
    proxied: &'p Proxied<'a>,
    name: &'static [u8],
    right: impl Fn(&[u8]) -> bool,
) -> Option<(&'p Header<'a>, &'a [u8])> {
    let mut wrong = None;
    for header in proxied.headers.named(name) {
        // The guard's value is right, an unknown one may be.
        let value = header.value.for_upgrade()?;
        if right(value) {
            return None;
        }
        wrong = wrong.or(Some((header, value)));
    }
    wrong
}

/// A value, and for one with variables what comes of them.
struct Shown<'h, 'a>(&'h Header<'a>, &'a [u8]);

impl std::fmt::Display for Shown<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shown(header, value) = self;
        match header.value {
            Value::Variable { text, .. } => {
                write!(f, "\"{}\" (that is, \"{}\")", Quoted(text), Quoted(value))
            }
            _ => write!(f, "\"{}\"", Quoted(value)),
        }
    }
}

fn names_allowed_protocol(context: &Context, upgrade: &[u8]) -> bool {
    match context.location.protocols {
        Some(protocols) => protocols
            .iter()
            .any(|protocol| contains_token([upgrade].into_iter(), protocol.as_bytes())),
        None => contains_token([upgrade].into_iter(), WEBSOCKET.as_bytes()),
    }
}

fn speaks<'a>(proxied: &Proxied<'a>, version: HttpVersion) -> Option<Setting<'a, HttpVersion>> {
    proxied.http_version.filter(|setting| setting.value == version)
}

fn http_version_problem<'a>(
    problem: Problem<'a>,
    version: Setting<'a, HttpVersion>,
) -> Problem<'a> {
    let problem = problem.at(version.origin);
    match version.origin {
        SetAt::Here(_) => problem.fix("set \"proxy_http_version 1.1;\" in the location"),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::audit;
    use crate::audit::model::{Headers, Location, ProxyModule};
    use crate::audit::testing::*;
    use crate::handshake::upgrade::Protocols;
    use crate::words::Mode;

    fn with(headers: Headers<'static>) -> Location<'static> {
        edit(checked("/chat"), |proxied| proxied.headers = headers)
    }

    /// Its own list, in a location that is on.
    fn on_with(entries: &[(&'static str, &'static str)]) -> Location<'static> {
        edit(on("/chat"), |proxied| proxied.headers = own(entries))
    }

    #[test]
    fn a_proxy_pass_and_nothing_else() {
        let plain = Location { mode: Mode::Check, ..checked("/chat") };
        let plain = edit(plain, |proxied| {
            proxied.headers = inherited(&[]);
            proxied.http_version = default(HttpVersion::Http10);
        });
        assert_eq!(
            lines(plain),
            [
                "websocket_guard: location \"/chat\" proxies without the Upgrade header; set \
                 \"websocket_guard on;\" in the location, or \"proxy_set_header Upgrade \
                 $http_upgrade;\" [missing-upgrade] in nginx.conf:10",
                "websocket_guard: location \"/chat\" proxies without \"Connection: upgrade\"; set \
                 \"websocket_guard on;\" in the location, or set Connection from a map of \
                 $http_upgrade [missing-connection] in nginx.conf:10",
                "websocket_guard: location \"/chat\" does not pass the client's Host on, the \
                 backend sees the upstream's name; add \"proxy_set_header Host $http_host;\" to the \
                 location [host-not-forwarded] in nginx.conf:10",
                "websocket_guard: location \"/chat\" speaks HTTP/1.0 to the backend, nginx's \
                 default before 1.29.7; set \"websocket_guard on;\" in the location, or \
                 \"proxy_http_version 1.1;\" [http10-upstream] in nginx.conf:10",
            ]
        );
    }

    #[test]
    fn complete_recipes_are_silent() {
        assert!(names(&[checked("/chat")]).is_empty());
        assert!(names(&[with(inherited(RECIPE))]).is_empty());
        assert!(names(&[by_hand("/chat")]).is_empty());
        // What is not marked and has no recipe is not looked at.
        assert!(names(&[location("/api")]).is_empty());
        assert!(names(&[edit(location("/"), |p| p.headers = inherited(RECIPE))]).is_empty());
        assert!(names(&[edit(location("/"), |p| p.headers = own(&[("Upgrade", "")]))]).is_empty());
        // uwsgi passes all headers on, and lists that are not known may be right.
        let uwsgi = edit(with(inherited(&[])), |p| p.module = ProxyModule::Uwsgi);
        assert!(names(&[uwsgi]).is_empty());
        assert!(names(&[with(Headers::default())]).is_empty());
    }

    #[test]
    fn off_is_off() {
        let off = Location { mode: Mode::Off, ..with(own(&[("Upgrade", "$http_upgrade")])) };
        assert!(names(&[off]).is_empty());
    }

    #[test]
    fn half_a_recipe() {
        let half = edit(by_hand("/chat"), |p| {
            p.headers = own(&[("upgrade", "$http_upgrade"), ("Host", "$http_host")]);
        });
        assert_eq!(names(&[half]), ["missing-connection"]);
        let other = with(own(&[("Connection", "$connection_upgrade"), ("Host", "a")]));
        assert_eq!(names(&[other]), ["missing-upgrade"]);
    }

    #[test]
    fn a_single_header_drops_all_from_above() {
        let dropping = |own: &[(&'static str, &'static str)], above| {
            with(Headers { known: true, own: true, entries: list(own), above: list(above) })
        };
        let real_ip = ("X-Real-IP", "$remote_addr");
        assert_eq!(
            lines(dropping(&[real_ip], RECIPE)),
            ["websocket_guard: location \"/chat\" has its own proxy_set_header and thereby loses \
              Upgrade, Connection and Host, set above it; set \"websocket_guard on;\" in the \
              location, or repeat the lost proxy_set_header lines in it [headers-dropped] in \
              nginx.conf:100"]
        );
        assert_eq!(
            names(&[dropping(&[real_ip, ("Host", "a"), ("Connection", "upgrade")], RECIPE)]),
            ["headers-dropped", "connection-hardcoded"]
        );
        // Host was not among them.
        let above = &[("Upgrade", "$http_upgrade"), ("Connection", "$connection_upgrade")];
        assert_eq!(
            names(&[dropping(&[real_ip], above)]),
            ["headers-dropped", "host-not-forwarded"]
        );

        // Near: nothing of WebSocket is lost, or the guard puts it back.
        let keepalive = &[("Connection", ""), ("Upgrade", "")];
        assert_eq!(
            names(&[dropping(&[real_ip, ("Host", "a")], keepalive)]),
            ["missing-upgrade", "missing-connection"]
        );
        assert!(names(&[dropping(RECIPE, RECIPE)]).is_empty());
        let repaired = [real_ip, ("Host", "a"), ("Upgrade", "guard"), ("Connection", "guard")];
        assert!(names(&[dropping(&repaired, RECIPE)]).is_empty());
    }

    #[test]
    fn ignoring_the_cause_ignores_what_it_stands_for() {
        let mut dropping = with(Headers {
            known: true,
            own: true,
            entries: list(&[("X", "y")]),
            above: list(RECIPE),
        });
        dropping.ignore.insert(crate::findings::Finding::HeadersDropped);
        assert!(names(&[dropping]).is_empty());
    }

    #[test]
    fn connection_without_upgrade() {
        let connection =
            |text| with(own(&[("Upgrade", "$http_upgrade"), ("Host", "a"), ("Connection", text)]));
        assert_eq!(
            lines(connection("keep-alive")),
            ["websocket_guard: location \"/chat\" sends Connection \"keep-alive\" for an upgrade, \
              without the token \"upgrade\"; remove the \"proxy_set_header Connection\" and use \
              \"websocket_guard on;\", which sends what each request needs [connection-wrong] in \
              nginx.conf:102"]
        );
        for wrong in ["", "close", "$wrong_map", "upgraded"] {
            assert_eq!(names(&[connection(wrong)]), ["connection-wrong"], "{wrong}");
        }
        for unknown in ["$http_connection", "$connection_upgrade", "$somewhere", "x$y"] {
            assert!(names(&[connection(unknown)]).is_empty(), "{unknown}");
        }
        // The guard does not touch what the location says itself.
        let prevented = on_with(&[("Connection", ""), ("Upgrade", "guard"), ("Host", "a")]);
        assert_eq!(names(&[prevented]), ["connection-wrong"]);
    }

    #[test]
    fn hardcoded_headers() {
        let both = with(own(&[("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Host", "a")]));
        assert_eq!(
            lines(both)
                .iter()
                .map(|line| line.split(';').next().unwrap_or_default())
                .collect::<Vec<_>>(),
            [
                "websocket_guard: location \"/chat\" sends \"Upgrade: websocket\" on every request",
                "websocket_guard: location \"/chat\" sends \"Connection: Upgrade\" on plain \
                 requests too",
            ]
        );
        let connection = by_hand("/chat");
        let connection = edit(connection, |p| {
            p.headers = own(&[
                ("Upgrade", "$http_upgrade"),
                ("Connection", "keep-alive, upgrade"),
                ("Host", "$http_host"),
            ]);
        });
        assert_eq!(names(&[connection]), ["connection-hardcoded"]);
    }

    #[test]
    fn upgrade_to_something_else() {
        let upgrade = |text| {
            with(own(&[("Upgrade", text), ("Connection", "$http_connection"), ("Host", "a")]))
        };
        for wrong in ["", "h2c", "$wrong_map"] {
            assert_eq!(names(&[upgrade(wrong)]), ["upgrade-wrong"], "{wrong}");
        }
        for right in ["$http_upgrade", "$somewhere"] {
            assert!(names(&[upgrade(right)]).is_empty(), "{right}");
        }
        let protocols = Protocols::new([&b"tcp"[..]]).unwrap();
        let allowed = Location { protocols: Some(&protocols), ..upgrade("tcp") };
        assert_eq!(names(&[allowed]), ["upgrade-hardcoded"]);
    }

    #[test]
    fn duplicates() {
        let with_hosts = |first, second| {
            let recipe = [("Upgrade", "$http_upgrade"), ("Connection", "$http_connection")];
            with(inherited(&[recipe[0], recipe[1], ("Host", first), ("host", second)]))
        };
        assert_eq!(
            lines(with_hosts("$host", "$http_host")),
            ["websocket_guard: location \"/chat\" sends host twice, as \"$host\" and as \
              \"$http_host\"; keep one of the two lines [duplicate-header] in nginx.conf:103"]
        );
        // Equal values count where a backend refuses two lines.
        assert_eq!(names(&[with_hosts("$host", "$host")]), ["duplicate-header"]);
        let others = [
            ("Upgrade", "$http_upgrade"),
            ("Connection", "$http_connection"),
            ("Host", "$host"),
            ("X-A", "b"),
            ("X-A", "b"),
        ];
        assert!(names(&[with(inherited(&others))]).is_empty());
        assert!(names(&[with_hosts("", "$host")]).is_empty());
        assert!(names(&[with_hosts("$cookie_a", "$host")]).is_empty());
        // One list, one report.
        let twice = [with_hosts("a", "b"), with_hosts("a", "b")];
        assert_eq!(names(&twice), ["duplicate-header"]);
    }

    #[test]
    fn cleared_handshake_headers() {
        let cleared = |name| {
            on_with(&[("Upgrade", "guard"), ("Connection", "guard"), ("Host", "a"), (name, "")])
        };
        let levels = |location| -> Vec<Level> {
            let locations = [location];
            let servers = [server(&locations)];
            let reports = audit(&site(&servers), |_| true);
            let of = |report: &crate::audit::Report| report.finding.slug() == "sec-header-cleared";
            reports.iter().filter(|report| of(report)).map(|report| report.level).collect()
        };
        assert_eq!(levels(cleared("sec-websocket-key")), [Level::Error]);
        assert_eq!(levels(cleared("Sec-WebSocket-Version")), [Level::Error]);
        assert_eq!(levels(cleared("Sec-WebSocket-Protocol")), [Level::Warn]);
        assert!(levels(cleared("Sec-WebSocket-Extensions")).is_empty());
        let replaced = on_with(&[
            ("Upgrade", "guard"),
            ("Connection", "guard"),
            ("Host", "a"),
            ("Sec-WebSocket-Protocol", "chat"),
        ]);
        assert_eq!(names(&[replaced]), ["sec-header-replaced"]);
    }

    #[test]
    fn host() {
        let to = |text| on_with(&[("Host", text), ("Upgrade", "guard"), ("Connection", "guard")]);
        let none = on_with(&[("Upgrade", "guard"), ("Connection", "guard")]);
        assert_eq!(names(&[none]), ["host-not-forwarded"]);
        assert!(
            lines(none)[0].contains("; set \"websocket_guard_forwarded host;\" in the location")
        );
        assert!(names(&[to("guard")]).is_empty());
        let domain = |headers| {
            edit(none, |p| {
                p.headers = headers;
                p.host_is_domain = true;
                let upstream = Upstream { name: b"app.example.com", ..*p.target.upstream.unwrap() };
                p.target.upstream = Some(Box::leak(Box::new(upstream)));
            })
        };
        let guards = [("Upgrade", "guard"), ("Connection", "guard"), ("Host", "guard")];
        let by_itself = lines(domain(own(&guards)));
        assert!(
            by_itself[0].contains("; add \"proxy_set_header Host $http_host;\" to the location [")
        );
        let beside = lines(domain(inherited(&[&guards[..], &[("X-A", "b")]].concat())));
        assert!(beside[0].contains("; add \"proxy_set_header Host $http_host;\" beside the lines"));
        assert!(names(&[to("$proxy_host")]).is_empty());

        let on_port = |text, ports: &[u16]| {
            let listener = |port: &u16| crate::audit::model::Listener {
                port: Some(*port),
                ..Default::default()
            };
            let listeners: Vec<_> = ports.iter().map(listener).collect();
            let locations = [to(text)];
            let server =
                crate::audit::model::Server { listeners: &listeners, ..server(&locations) };
            names_in(&site(&[server]))
        };
        assert_eq!(on_port("$host", &[8080]), ["host-without-port"]);
        assert_eq!(on_port("$host", &[80, 8443]), ["host-without-port"]);
        assert!(on_port("$host", &[80, 443]).is_empty());
        assert!(on_port("$http_host", &[8080]).is_empty());
        assert!(on_port("$host:$server_port", &[8080]).is_empty());
        assert!(on_port("$host", &[]).is_empty());
    }

    #[test]
    fn versions() {
        let speaking = |version| edit(on("/chat"), |p| p.http_version = version);
        assert_eq!(
            lines(speaking(here(HttpVersion::Http10, 30))),
            ["websocket_guard: location \"/chat\" speaks HTTP/1.0 to the backend; set \
              \"proxy_http_version 1.1;\" in the location [http10-upstream] in nginx.conf:30"]
        );
        assert_eq!(names(&[speaking(here(HttpVersion::Http2, 30))]), ["h2-upstream"]);
        assert!(names(&[speaking(here(HttpVersion::Http11, 30))]).is_empty());
        assert!(names(&[speaking(None)]).is_empty());
        let check = edit(checked("/chat"), |p| p.http_version = above(HttpVersion::Http2, 3));
        assert_eq!(names(&[check]), ["h2-upstream"]);
    }

    #[test]
    fn client_headers_and_method() {
        let off = edit(on("/chat"), |p| p.pass_request_headers = above(false, 5));
        assert_eq!(names(&[off]), ["pass-headers-off"]);
        let uwsgi = edit(off, |p| p.module = ProxyModule::Uwsgi);
        assert!(lines(uwsgi)[0].contains("remove \"uwsgi_pass_request_headers off;\""));
        assert!(names(&[edit(off, |p| p.pass_request_headers = None)]).is_empty());
        assert!(names(&[edit(off, |p| p.pass_request_headers = here(true, 7))]).is_empty());
        let sending = |version| {
            let handshake = [
                ("Sec-WebSocket-Key", "$http_sec_websocket_key"),
                ("sec-websocket-version", version),
            ];
            let headers = own(&[RECIPE, &handshake].concat());
            edit(by_hand("/chat"), |p| {
                p.headers = headers;
                p.pass_request_headers = here(false, 7);
            })
        };
        assert!(names(&[sending("13")]).is_empty());
        assert!(names(&[sending("")]).contains(&"pass-headers-off"));

        let method =
            |text: &'static str| edit(on("/chat"), |p| p.method = here(text.as_bytes(), 31));
        assert_eq!(names(&[method("POST")]), ["proxy-method"]);
        assert_eq!(names(&[method("get")]), ["proxy-method"]);
        assert!(names(&[method("GET")]).is_empty());
    }
}
