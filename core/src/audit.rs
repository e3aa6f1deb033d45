//! The load-time audit: every missing or contradictory piece for WebSocket in a configuration.
//!
//! - [`model`] describes a configuration in plain values. nginx's side fills it in once, when
//!   everything is merged, and [`audit`] returns the [`Report`]s. Nothing else is needed, so every
//!   rule is tested without nginx.
//! - `rules` has the table of rules, and says which of them a location is asked and which finding
//!   stands for which others. The rules themselves are in one file for each subject under it.
//! - `outline` knows how the locations of a server hang together: which location serves a URI, what
//!   is nested in what.
//!
//! To add a rule: add its finding to the [catalogue](crate::findings), write a function that
//! returns a `Problem` into the file under `rules/` that it belongs to, with its
//! tests, and name it in the table in `rules.rs`.
//!
//! A rule never guesses. What the model does not know is `None` there, and then the rule is silent: a
//! warning about a correct configuration is a bug.
//!
//! All of it takes time linear in the number of locations (times the regex locations of the same
//! server for `regex-shadowed`), and memory only for what is reported.

mod asked;
mod context;
pub mod model;
mod outline;
mod problem;
mod recipe;
mod rules;
mod summary;
#[cfg(test)]
mod testing;
mod unused;
mod url;

use std::collections::HashMap;
use std::fmt;

use crate::findings::{FindingSet, Level, LoadFinding};

pub use asked::asked;
pub use summary::{summaries, Summary};

use crate::text::quoted::Quoted;
use crate::words::Place;
use context::{has_recipe_by_hand, is_marked, Context, SiteView};
use model::{Content, Location, Server, Site};
use outline::Outline;
use problem::{At, Problem};

/// One thing that is wrong, or worth knowing.
///
/// Displays as the sentence alone; see [`line`](Self::line) for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Its name.
    pub finding: LoadFinding,
    /// The level at which it is logged. Mostly the finding's own.
    pub level: Level,
    /// The offending directive where that is known, else what it stands in.
    pub place: Place<'a>,
    subject: String,
    /// How many locations, or servers, it is true of: its cause stands outside of them, or they say the same.
    count: usize,
    /// What it stands for besides.
    role: Role,
    what: String,
}

impl<'a> Report<'a> {
    /// No line without its place is longer, in bytes.
    pub const LINE_MAX: usize = 1000;

    /// A finding has no more of them that differ: in a configuration that was generated there may be one
    /// for each location, and nobody reads thousands.
    pub const EACH_MAX: usize = 50;

    /// No more of the others are named.
    pub const FURTHER_MAX: usize = 200;

    /// The whole line for the log: `websocket_guard: SENTENCE [NAME] in FILE:LINE`.
    pub fn line(&self) -> Line<'_, 'a> {
        Line(self)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.role == Role::Further {
            return write!(f, "the same is true of {}", self.subject);
        }
        f.write_str(&self.subject)?;
        let level = match self.subject.starts_with("server ") || self.subject == "the server" {
            true => "server",
            false => "location",
        };
        match (self.role, self.count) {
            (_, 0 | 1) => {}
            (Role::FirstOfRest, 2) => f.write_str(" (and something like it in another)")?,
            (Role::FirstOfRest, count) => {
                write!(f, " (and something like it in {} others)", count - 1)?
            }
            (_, 2) => write!(f, " (and in another {level})")?,
            (_, count) => write!(f, " (and in {} other {level}s)", count - 1)?,
        }
        if !self.subject.is_empty() {
            f.write_str(" ")?;
        }
        f.write_str(&self.what)
    }
}

/// What the location of a [`Report`] is among those that it is told for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The first of those of which the same is true.
    First,
    /// The first of all that are too many of their kind, and which differ.
    FirstOfRest,
    /// Not the first; only told to those who want to know all.
    Further,
}

/// A [`Report`] as the log shows it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'r, 'a>(&'r Report<'a>);

impl fmt::Display for Line<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line(report) = self;
        write!(
            f,
            "websocket_guard: {report} [{}] in {}:{}",
            report.finding.slug(),
            String::from_utf8_lossy(report.place.file),
            report.place.line
        )
    }
}

/// Everything that is to be said about a configuration, in its order: server by server, location by
/// location, and last what is true of the configuration as a whole.
///
/// A finding whose cause stands outside of the locations that suffer from it, such as an inherited
/// directive or an upstream, is reported once, for the first of them. So is what would be told of several
/// locations in the same words; where infos are `wanted`, the others are named then. There are no more than
/// [`Report::EACH_MAX`] of a finding, and one that counts the rest.
///
/// Nothing is done for notices and infos, of which there may be one for each location, unless their level is
/// `wanted`.
pub fn audit<'a>(site: &Site<'a>, wanted: impl Fn(Level) -> bool) -> Vec<Report<'a>> {
    let mut silent = FindingSet::default();
    for finding in LoadFinding::ALL {
        let level = finding.level();
        if matches!(level, Level::Notice | Level::Info) && !wanted(level) {
            silent.insert(*finding);
        }
    }
    let view = SiteView::new(site, silent);
    let mut reports = Reports { names_all: wanted(Level::Info), ..Reports::default() };
    let mut asked = FindingSet::default();

    if let Some((finding, problem)) = rules::check_http(&view) {
        reports.add(finding, problem, String::from("http"), site.place);
    }
    for server in site.servers {
        audit_server(&view, server, &mut asked, &mut reports);
    }

    for (finding, check) in rules::OF_THE_SITE {
        if asked.contains(*finding) && !silent.contains(*finding) {
            if let Some(problem) = check(site) {
                reports.add(*finding, problem, String::new(), site.place);
            }
        }
    }
    reports.list
}

fn audit_server<'a>(
    view: &SiteView<'_, 'a>,
    server: &Server<'a>,
    asked: &mut FindingSet,
    reports: &mut Reports<'a>,
) {
    for location in server.locations {
        if location.mode.is_guarded() {
            ask(asked, location, rules::OF_THE_SITE);
        }
    }
    if let Some((finding, problem)) = rules::check_own(view, server) {
        reports.add(finding, problem, subject_of(server), server.place);
    }
    // Without the mark, a recipe or a wish anywhere, there is nothing to look at.
    let wanted = |location: &Location<'a>| {
        is_marked(location) || has_recipe_by_hand(location) || view.unused.is_among(location.asked)
    };
    if !server.locations.iter().any(wanted) {
        return;
    }

    let outline = Outline::new(server);
    let mut asked_here = FindingSet::default();
    for (index, location) in server.locations.iter().enumerate() {
        let context = Context { view, server, outline: &outline, location, index };
        if !context.is_audited() {
            for (finding, problem) in rules::check_in_passing(&context) {
                if !location.ignore.contains(finding) {
                    reports.add_of(&context, finding, problem);
                }
            }
            continue;
        }
        if matches!(location.content, Content::Proxied(_)) {
            ask(&mut asked_here, location, rules::OF_A_SERVER);
        }

        let found = rules::check(&context);
        for (finding, problem) in found {
            if !location.ignore.contains(finding) {
                reports.add_of(&context, finding, problem);
            }
        }
    }

    for (finding, check) in rules::OF_A_SERVER {
        if asked_here.contains(*finding) {
            if let Some(problem) = check(view.site, server) {
                reports.add(*finding, problem, subject_of(server), server.place);
            }
        }
    }
}

fn subject_of(server: &Server) -> String {
    match server.name {
        b"" => String::from("the server"),
        name => format!("server \"{}\"", Quoted(name)),
    }
}

/// Notes which of these findings, that are not about one location, a location does not ignore.
fn ask<C>(asked: &mut FindingSet, location: &Location, rules: &[(LoadFinding, C)]) {
    for (finding, _) in rules {
        if !location.ignore.contains(*finding) {
            asked.insert(*finding);
        }
    }
}

#[derive(Default)]
struct Reports<'a> {
    list: Vec<Report<'a>>,
    /// Those whose cause stands outside of their location.
    outside: HashMap<(LoadFinding, Place<'a>, Level), usize>,
    /// By what they say.
    equal: HashMap<(LoadFinding, Level, String), usize>,
    each: HashMap<(LoadFinding, Level), Each>,
    /// Whether all locations that have something to be mended are to be named.
    names_all: bool,
}

/// What there is of a finding.
#[derive(Default)]
struct Each {
    /// How many that differ.
    different: usize,
    /// Which one counts those that are too many.
    rest: Option<usize>,
    /// How many locations were named as having the same.
    further: usize,
}

impl<'a> Reports<'a> {
    fn add_of(
        &mut self,
        context: &Context<'_, 'a>,
        finding: LoadFinding,
        mut problem: Problem<'a>,
    ) {
        let fix = problem.fix.take().unwrap_or_else(|| finding.entry().fix.into());
        problem.fix = Some(context.apply(fix));
        self.add(finding, problem, context.subject(), context.location.place);
    }

    fn add(
        &mut self,
        finding: LoadFinding,
        problem: Problem<'a>,
        subject: String,
        place: Place<'a>,
    ) {
        let level = problem.level.unwrap_or(finding.level());
        let fix = problem.fix.unwrap_or_else(|| finding.entry().fix.into());
        let what = format!("{}; {fix}", problem.what);
        let has_line = problem.at != At::Subject;
        let (place, outside) = match problem.at {
            At::Subject => (place, None),
            At::Inside(inside) => (inside, None),
            At::Outside(outside) => (outside, Some((finding, outside, level))),
        };
        let of_cause = outside.and_then(|outside| self.outside.get(&outside).copied());
        let equal = (finding, level, what);
        let first = match of_cause.or_else(|| self.equal.get(&equal).copied()) {
            Some(first) => {
                let is_grave = matches!(level, Level::Error | Level::Warn);
                if of_cause.is_none() && (is_grave || (has_line && level == Level::Notice)) {
                    self.name(finding, level, place, subject);
                }
                first
            }
            None => self.begin(finding, level, place, subject, &equal.2),
        };
        if let Some(outside) = outside {
            self.outside.entry(outside).or_insert(first);
        }
        self.equal.entry(equal).or_insert(first);
        if let Some(report) = self.list.get_mut(first) {
            report.count += 1;
        }
    }

    /// The report for what nobody has said yet; or that of all the rest, if there are enough.
    fn begin(
        &mut self,
        finding: LoadFinding,
        level: Level,
        place: Place<'a>,
        subject: String,
        what: &str,
    ) -> usize {
        let each = self.each.entry((finding, level)).or_default();
        if let Some(rest) = each.rest {
            self.name(finding, level, place, subject);
            return rest;
        }
        let next = self.list.len();
        each.different += 1;
        let is_rest = each.different > Report::EACH_MAX;
        each.rest = is_rest.then_some(next);
        let role = if is_rest { Role::FirstOfRest } else { Role::First };
        let what = what.to_owned();
        self.list.push(Report { finding, level, place, subject, count: 0, role, what });
        next
    }

    /// Names another location of which it is true, and that is to be mended by itself.
    fn name(&mut self, finding: LoadFinding, level: Level, place: Place<'a>, subject: String) {
        if !self.names_all {
            return;
        }
        let each = self.each.entry((finding, level)).or_default();
        each.further += 1;
        if each.further <= Report::FURTHER_MAX {
            let (level, role, what) = (Level::Info, Role::Further, String::new());
            self.list.push(Report { finding, level, place, subject, count: 0, role, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::model::*;
    use super::testing::*;
    use super::*;
    use crate::findings::Finding;
    use crate::http::version::HttpVersion;

    #[test]
    fn the_plainest_use_is_silent() {
        // Nothing is known but what the guard set: `websocket_guard on;` and a proxy_pass.
        let plain = edit(on("/"), |proxied| {
            let headers = [("Upgrade", "guard"), ("Connection", "guard")];
            proxied.headers = inherited(&headers);
        });
        let auto = Location { mode: Mode::Auto, ..plain };
        for location in [plain, auto, on("/chat"), by_hand("/chat"), checked("/chat")] {
            let locations = [location];
            let servers = [server(&locations)];
            for nginx_version in [1_022_001, 1_025_001, 1_029_007, 1_031_005] {
                for report in audit(&Site { nginx_version, ..site(&servers) }, |_| true) {
                    assert!(matches!(report.level, Level::Notice | Level::Info), "{report}");
                }
            }
        }
    }

    /// A location that redirects: each in other words.
    fn redirecting(name: &'static str, status: u16) -> Location<'static> {
        let answer = Some(Answer { status, handled: false, place: None });
        Location { answer, ..marked(files(name)) }
    }

    #[test]
    fn the_server_is_named_where_it_matters() {
        let locations = [redirecting("/", 301), redirecting("/other", 302)];
        let first = server(&locations);
        let second_locations = [redirecting("/", 307)];
        let second = Server { name: b"two.example.com", ..server(&second_locations) };
        assert_eq!(
            lines_in(&site(&[first, second]))
                .iter()
                .map(|line| line.split(" answers").next().unwrap_or_default())
                .collect::<Vec<_>>(),
            [
                "websocket_guard: location \"/\" of server \"example.com\"",
                "websocket_guard: location \"/other\"",
                "websocket_guard: location \"/\" of server \"two.example.com\"",
            ]
        );
        // An include in the servers for HTTP and for HTTPS, of one name or of none.
        for name in [&b""[..], b"example.com"] {
            let alike = Server { name, place: at(40), ..second };
            let lines = lines_in(&site(&[Server { name, ..first }, alike]));
            let beginning = "websocket_guard: location \"/\" of the server in nginx.conf:";
            assert!(lines[0].starts_with(&format!("{beginning}2 answers")), "{lines:?}");
            assert!(lines[2].starts_with(&format!("{beginning}40 answers")), "{lines:?}");
        }
    }

    #[test]
    fn the_same_words_are_one_line() {
        let closing = |name, line| Location {
            place: at(line),
            ..edit(by_hand(name), |p| {
                p.headers = own(&[("Upgrade", "$http_upgrade"), ("Connection", "close")]);
                p.read_timeout = here(30_000, line + 1);
            })
        };
        let silent = |name, ms| edit(closing(name, 60), |p| p.read_timeout = here(ms, 61));
        let told: Vec<(Level, String)> = {
            let locations = [
                closing("/a", 10),
                on("/"),
                closing("/b", 20),
                closing("/c", 30),
                silent("/d", 40_000),
            ];
            let servers = [server(&locations)];
            let reports = audit(&site(&servers), |_| false).into_iter();
            reports
                .filter(|report| report.finding != LoadFinding::Capacity)
                .map(|report| (report.level, report.line().to_string()))
                .collect()
        };
        let [(Level::Error, connection), (Level::Warn, three), (Level::Warn, one)] = &told[..]
        else {
            panic!("{told:#?}")
        };
        assert!(
            connection.contains("location \"/a\" (and in 3 other locations) sends"),
            "{told:#?}"
        );
        // Each at its first place.
        assert!(three.contains("location \"/a\" (and in 2 other locations) cuts"), "{told:#?}");
        assert!(three.ends_with("[short-read-timeout] in nginx.conf:11"), "{told:#?}");
        assert!(one.contains("location \"/d\" cuts") && one.contains("40s"), "{told:#?}");
    }

    #[test]
    fn no_finding_has_thousands_of_lines() {
        let locations: Vec<Location> = (0..5_000)
            .map(|ms| edit(on("/"), |p| p.read_timeout = here(1_000 + ms, 7)))
            .chain([edit(on("/"), |p| p.http_version = here(HttpVersion::Http10, 9))])
            .collect();
        let servers = [server(&locations)];
        let reports = audit(&site(&servers), |level| level == Level::Warn);
        let lines: Vec<String> = reports.iter().map(|report| report.to_string()).collect();
        assert_eq!(lines.len(), Report::EACH_MAX + 2, "{lines:#?}");
        let rest = lines.iter().filter(|line| line.contains("something like it")).count();
        assert_eq!(rest, 1);
        let beginning = "location \"/\" (and something like it in 4949 others) cuts";
        assert!(lines[Report::EACH_MAX].starts_with(beginning), "{}", lines[Report::EACH_MAX]);
        assert!(lines[Report::EACH_MAX + 1].contains("HTTP/1.0"));
    }

    #[test]
    fn what_is_ignored_is_not_reported() {
        let broken = edit(checked("/"), |proxied| proxied.headers = inherited(&[]));
        for name in ["missing-upgrade", "missing-connection", "host-not-forwarded"] {
            let mut ignoring = broken;
            ignoring.ignore.insert(Finding::from_slug(name.as_bytes()).unwrap());
            assert!(names(&[broken]).contains(&name));
            assert!(!names(&[ignoring]).contains(&name));
        }
    }

    #[test]
    fn a_mark_is_set_and_not_added() {
        let bare = edit(checked("/chat"), |p| {
            *p = Proxied { cache: Some(Cache::default()), ..default_proxied() };
        });
        let inherited = Location { marked: Marked::Above, ..bare };
        let (own, above) = (lines(bare).join("\n"), lines(inherited).join("\n"));
        for mode in ["on", "auto"] {
            let set = format!("set \"websocket_guard {mode};\" in the location");
            let add = format!("add \"websocket_guard {mode};\" to the location");
            assert!(own.contains(&set) && !own.contains("add \"websocket_guard"), "{own}");
            assert!(above.contains(&add) && !above.contains("set \"websocket_guard"), "{above}");
        }
    }

    fn default_proxied() -> Proxied<'static> {
        match location("/").content {
            Content::Proxied(proxied) => proxied,
            _ => Proxied::default(),
        }
    }

    #[test]
    fn what_nobody_would_read_is_not_looked_for() {
        let locations = [edit(checked("/"), |proxied| proxied.headers = inherited(&[]))];
        let servers = [server(&locations)];
        let site = site(&servers);
        let all = audit(&site, |_| true);
        assert!(all.iter().any(|report| report.level == Level::Notice));
        let read = audit(&site, |level| level != Level::Notice && level != Level::Info);
        let (grave, rest): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|report| matches!(report.level, Level::Error | Level::Warn));
        assert_eq!(read, grave);
        assert!(!rest.is_empty());
    }

    #[test]
    fn one_cause_is_one_finding() {
        let mut broken = edit(on("/"), |proxied| {
            proxied.headers = own(&[("Connection", "close"), ("Sec-WebSocket-Key", "")]);
            proxied.http_version = here(HttpVersion::Http10, 30);
        });
        broken.send_timeout = here(1, 31);
        assert!(names(&[broken]).len() > 4);
        // The guard leaves a location alone that speaks HTTP/2.
        let http2 = edit(on("/"), |proxied| {
            proxied.headers = inherited(&[]);
            proxied.http_version = here(HttpVersion::Http2, 30);
        });
        assert_eq!(names(&[http2]), ["h2-upstream"]);
        let answering = |status| {
            let answer = Some(Answer { status, handled: false, place: None });
            names(&[Location { answer, ..broken }])
        };
        assert_eq!(answering(404), ["no-proxy"]);
        assert_eq!(answering(301), ["redirect-in-location"]);
        let fallback = Some(Fallback { name: b"@app", place: None });
        let app = Location { kind: LocationKind::Named, ..location("@app") };
        assert_eq!(names(&[Location { fallback, ..broken }, app]), ["tryfiles-fallback"]);
    }

    #[test]
    fn auto_above_a_location_that_speaks_http2() {
        let passing = |name| Location {
            mode: Mode::Auto,
            marked: Marked::Above,
            ..edit(location(name), |p| p.http_version = above(HttpVersion::Http2, 3))
        };
        let levels = |locations: &[Location<'static>]| -> Vec<(Level, String)> {
            let servers = [server(locations)];
            let reports = audit(&site(&servers), |_| true).into_iter();
            let of = |report: &Report| report.finding.slug() == "h2-upstream";
            reports.filter(of).map(|report| (report.level, report.line().to_string())).collect()
        };
        let told = levels(&[passing("/a"), passing("/b"), passing("/c")]);
        let [(Level::Notice, line)] = &told[..] else { panic!("{told:?}") };
        assert!(
            line.contains("location \"/a\" (and in 2 other locations) speaks HTTP/2"),
            "{line}"
        );
        // Where one is marked itself, that is an error of its own.
        let marked = Location { marked: Marked::Here, ..passing("/ws") };
        let told: Vec<Level> =
            levels(&[passing("/a"), marked]).into_iter().map(|it| it.0).collect();
        assert_eq!(told, [Level::Notice, Level::Error]);
        // Near: HTTP/1.1, or nothing above.
        let old = edit(passing("/a"), |p| p.http_version = by_guard(HttpVersion::Http11));
        let off = Location { mode: Mode::Off, marked: Marked::Nowhere, ..passing("/a") };
        assert!(levels(&[old, off, marked]).len() == 1);
    }

    #[test]
    fn every_load_time_finding_has_a_rule() {
        let with_rule = rules::findings();
        for finding in LoadFinding::ALL {
            let rules = with_rule.iter().filter(|with_rule| *with_rule == finding).count();
            assert_eq!(rules, 1, "{}", finding.slug());
        }
    }

    #[test]
    fn fifty_thousand_locations() {
        let names: Vec<String> = (0..50_000).map(|i| format!("/location/{i}")).collect();
        let locations: Vec<Location> =
            names.iter().map(|name| Location { name: name.as_bytes(), ..on("/") }).collect();
        let started = Instant::now();
        let servers = [server(&locations)];
        assert_eq!(audit(&site(&servers), |_| true).len(), 1);
        // An unoptimised build on a slow machine takes a fraction of this.
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    const BYTES: [&[u8]; 12] = [
        b"",
        b"/",
        b"/a",
        b"/a/b.php",
        b"@app",
        b"upgrade",
        b"$http_upgrade",
        b"http://$a:1/x",
        b"https://[::1",
        b"a\n\"\xff\xfe",
        b"unix:",
        &[b'x'; 500],
    ];

    const HEADERS: [&[u8]; 6] =
        [b"Upgrade", b"Connection", b"Host", b"Sec-WebSocket-Key", b"X", &[0xff; 500]];

    fn bytes() -> impl Strategy<Value = &'static [u8]> {
        prop::sample::select(&BYTES[..])
    }

    fn origin() -> impl Strategy<Value = SetAt<'static>> {
        prop_oneof![
            Just(SetAt::Default),
            Just(SetAt::Guard),
            (1..5u32).prop_map(|line| SetAt::Above(Some(at(line)))),
            prop::option::of(1..5u32).prop_map(|line| SetAt::Here(line.map(at))),
        ]
    }

    fn setting<T: std::fmt::Debug>(
        value: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Option<Setting<'static, T>>> {
        prop::option::of((value, origin()).prop_map(|(value, origin)| Setting { value, origin }))
    }

    fn any_value() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            Just(Value::Guard),
            bytes().prop_map(Value::Constant),
            (bytes(), prop::option::of(bytes()))
                .prop_map(|(text, upgrade)| Value::Variable { text, upgrade }),
        ]
    }

    fn headers() -> impl Strategy<Value = &'static [Header<'static>]> {
        let header = (prop::sample::select(&HEADERS[..]), any_value(), 1..9u32);
        let header = header.prop_map(|(name, value, line)| Header {
            name,
            value,
            place: (line < 8).then_some(at(line)),
        });
        prop::collection::vec(header, 0..6).prop_map(|headers| &*headers.leak())
    }

    fn target() -> impl Strategy<Value = Target<'static>> {
        let affinity = prop::sample::select(vec![Affinity::Kept, Affinity::None]);
        let upstream = (bytes(), any::<bool>(), 0..4u32, affinity, prop::option::of(bytes()));
        let upstream = upstream.prop_map(|(name, block, live_servers, affinity, named_server)| {
            let max_conns = named_server.map(|_| u64::MAX);
            let place = Some(at(live_servers));
            &*Box::leak(Box::new(Upstream {
                name,
                block,
                place,
                live_servers,
                affinity,
                max_conns,
                named_server,
            }))
        });
        (
            prop::option::of(bytes()),
            any::<[bool; 2]>(),
            prop::option::of(bytes()),
            prop::option::of(bytes()),
            prop::option::of(upstream),
        )
            .prop_map(|(text, [variable, tls], value, uri, upstream)| Target {
                text,
                variable,
                value,
                choices: BYTES.get(..uri.map_or(0, |_| BYTES.len())).unwrap_or_default(),
                tls,
                uri,
                upstream,
                place: None,
            })
    }

    fn proxied() -> impl Strategy<Value = Proxied<'static>> {
        let module = prop::sample::select(vec![ProxyModule::Proxy, ProxyModule::Scgi]);
        let version = prop::sample::select(vec![HttpVersion::Http10, HttpVersion::Http2]);
        let hidden = (any::<[bool; 2]>(), origin())
            .prop_map(|([upgrade, accept], origin)| Hidden { upgrade, accept, origin });
        let cache = prop::collection::vec(any_value(), 0..3);
        let cache = (cache, origin()).prop_map(|(bypass, origin)| Cache {
            origin,
            keyed: false,
            bypass: bypass.leak(),
        });
        (
            (module, target(), headers(), headers(), any::<[bool; 2]>()),
            (setting(version), setting(any::<u64>()), setting(any::<bool>()), setting(bytes())),
            (prop::option::of(cache), setting(any::<bool>()), hidden, setting(any::<bool>())),
        )
            .prop_map(
                |(
                    (module, target, entries, above, [known, own]),
                    (http_version, read_timeout, buffering, method),
                    (cache, pass_request_headers, hidden, intercept_errors),
                )| Proxied {
                    added: None,
                    module,
                    target,
                    headers: Headers { known, entries, own, above },
                    host_is_domain: known,
                    http_version,
                    read_timeout,
                    ping: read_timeout,
                    drain: read_timeout,
                    limits_let_go: read_timeout.map(|it| it.origin),
                    buffering,
                    cache,
                    store: read_timeout.map(|it| it.origin),
                    limit_rate: buffering.map(|it| it.origin),
                    method,
                    pass_request_headers,
                    hidden,
                    intercept_errors,
                    ssl_server_name: buffering,
                },
            )
    }

    fn any_location() -> impl Strategy<Value = Location<'static>> {
        let kind = prop_oneof![
            3 => Just(LocationKind::Prefix),
            1 => Just(LocationKind::PrefixNoRegex),
            1 => Just(LocationKind::Exact),
            1 => Just(LocationKind::Regex(&EndsWith("p"))),
            1 => Just(LocationKind::Named),
            1 => Just(LocationKind::If),
        ];
        let mode = prop::sample::select(vec![Mode::Off, Mode::Check, Mode::Auto, Mode::On]);
        let marked = prop::sample::select(vec![Marked::Nowhere, Marked::Above, Marked::Here]);
        let content = prop_oneof![
            1 => Just(Content::Unknown),
            1 => Just(Content::Files),
            1 => Just(Content::CannotUpgrade("grpc_pass")),
            6 => proxied().prop_map(Content::Proxied),
        ];
        let answer = (any::<u16>(), any::<bool>()).prop_map(|(status, handled)| Answer {
            status,
            handled,
            place: None,
        });
        let rewrites = prop::collection::vec((bytes(), bytes()), 0..3).prop_map(|rewrites| {
            let rewrites = rewrites.into_iter();
            let rewrites = rewrites.map(|(pattern, replacement)| Rewrite {
                pattern,
                replacement,
                place: None,
            });
            &*rewrites.collect::<Vec<_>>().leak()
        });
        let subrequest = (bytes(), origin()).prop_map(|(uri, origin)| {
            &*vec![Subrequest { directive: "mirror", uri, origin }].leak()
        });
        (
            (bytes(), kind, prop::option::of(0..6usize), mode, marked, content),
            (prop::option::of(answer), rewrites, prop::option::of(bytes())),
            (subrequest, setting(any::<u64>()), prop::option::of(origin()), any::<bool>()),
        )
            .prop_map(
                |(
                    (name, kind, parent, mode, marked, content),
                    (answer, rewrites, fallback),
                    (subrequests, send_timeout, limit_conn, flag),
                )| Location {
                    name,
                    kind,
                    parent,
                    place: at(7),
                    mode,
                    marked,
                    content,
                    answer,
                    rewrites,
                    fallback: fallback.map(|name| Fallback { name, place: None }),
                    subrequests,
                    send_timeout,
                    limit_conn,
                    error_page: flag,
                    error_targets: if flag { &BYTES } else { &[] },
                    diverts: flag,
                    resolver: Some(flag),
                    ..Location::default()
                },
            )
    }

    proptest! {
        #[test]
        fn any_configuration(
            locations in prop::collection::vec(any_location(), 0..6),
            server_name in bytes(),
            http2 in any::<bool>(),
            numbers in any::<[u64; 3]>(),
        ) {
            let listeners = [Listener { address: server_name, http2, ..Listener::default() }];
            let first = Server { name: server_name, listeners: &listeners, ..server(&locations) };
            let servers = [first, server(&locations)];
            let [workers, worker_connections, open_files] = numbers;
            let site = Site {
                nginx_version: 1_022_001,
                workers,
                worker_connections,
                open_files: Some(open_files),
                worker_shutdown_timeout: http2,
                shutdown_limit: Some(workers),
                servers: &servers,
                ..Site::default()
            };
            for report in audit(&site, |_| true) {
                let line = format!("websocket_guard: {report} [{}]", report.finding.slug());
                prop_assert!(line.len() <= Report::LINE_MAX, "{}: {line}", line.len());
                prop_assert!(!line.contains('\n'));
            }
        }
    }
}
