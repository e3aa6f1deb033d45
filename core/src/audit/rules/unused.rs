//! What is asked of the guard where it guards nothing.

use crate::audit::context::{is_marked, Context};
use crate::audit::model::{Asked, Server, Site};
use crate::audit::problem::Problem;
use crate::audit::unused::Unused;
use crate::findings::Level;
use crate::text::quoted::Listed;
use crate::words::{Marked, Mode, SetAt};

fn problem<'a>(unused: &Unused<'a>, asked: &[Asked<'a>], state: &str, fix: &str) -> Problem<'a> {
    let unused = || asked.iter().filter(|asked| unused.contains(asked));
    let names: Vec<&str> = unused().map(|asked| asked.directive).collect();
    let (have, them) = match names[..] {
        [_] => ("has", "it"),
        _ => ("have", "them"),
    };
    let what = format!("has {}, which {have} no effect where {state}", Listed(&names));
    Problem::new(what)
        .fix(format!("{fix}, or remove {them}"))
        .at(SetAt::Here(unused().next().map(|asked| asked.place)))
}

pub fn in_location<'a>(context: &Context<'_, 'a>) -> Option<Problem<'a>> {
    let (location, unused) = (context.location, &context.view.unused);
    if !unused.is_among(location.asked) {
        return None;
    }
    let state = match location.mode {
        Mode::Check => "websocket_guard is \"check\"",
        _ => "websocket_guard is off",
    };
    let carries = context.outline.carries(context.index)
        && !context.outline.serves_subrequests(context.index);
    let fix = match carries {
        true => context.guarding(),
        false => "move what WebSocket needs to the location that proxies it",
    };
    let problem = problem(unused, location.asked, state, fix);
    // Whoever writes "off" or "check" knows, and may have the rest there for later.
    Some(notice_where(is_meant(location.mode, location.marked), problem))
}

/// What stands in a server, outside of its locations.
pub fn in_server<'a>(unused: &Unused<'a>, server: &Server<'a>) -> Option<Problem<'a>> {
    let own = &server.own;
    if !unused.is_among(own.asked) {
        return None;
    }
    let is_dry_run = is_meant(own.mode, own.marked) || server.locations.iter().any(is_marked);
    Some(notice_where(is_dry_run, problem(unused, own.asked, NOTHING_GUARDED, GUARD_ONE)))
}

/// The same of `http {}`: it may be there for servers that are to come.
pub fn in_http<'a>(unused: &Unused<'a>, site: &Site<'a>) -> Option<Problem<'a>> {
    let asked = site.http.asked;
    let found = unused.is_among(asked);
    found.then(|| problem(unused, asked, NOTHING_GUARDED, GUARD_ONE).level(Level::Notice))
}

const NOTHING_GUARDED: &str = "no location is guarded";
const GUARD_ONE: &str = "set \"websocket_guard on;\" in the location that is for WebSocket";

fn is_meant(mode: Mode, marked: Marked) -> bool {
    mode == Mode::Check || marked == Marked::Here
}

fn notice_where(is_so: bool, problem: Problem<'_>) -> Problem<'_> {
    if is_so {
        problem.level(Level::Notice)
    } else {
        problem
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::audit;
    use crate::audit::model::*;
    use crate::audit::testing::*;
    use crate::findings::Finding;

    const PING: Asked = Asked { directive: "websocket_guard_ping", place: at(30) };
    const ORIGIN: Asked = Asked { directive: "websocket_guard_origin", place: at(31) };

    fn asking(location: Location<'static>) -> Location<'static> {
        Location { asked: &[PING], ..location }
    }

    /// The lines about it, with their levels.
    fn unused(site: &Site) -> Vec<String> {
        audit(site, |_| true)
            .into_iter()
            .filter(|report| report.finding.slug() == "unused-directive")
            .map(|report| format!("{:?} {}", report.level, report.line()))
            .collect()
    }

    fn unused_in(locations: &[Location]) -> Vec<String> {
        unused(&site(&[server(locations)]))
    }

    #[test]
    fn in_a_location() {
        assert_eq!(
            unused_in(&[asking(location("/chat"))]),
            ["Warn websocket_guard: location \"/chat\" has websocket_guard_ping, which has no effect where \
              websocket_guard is off; add \"websocket_guard on;\" to the location, or remove it \
              [unused-directive] in nginx.conf:30"]
        );
        assert_eq!(
            unused_in(&[Location { asked: &[PING, ORIGIN], ..checked("/chat") }]),
            ["Notice websocket_guard: location \"/chat\" has websocket_guard_ping and \
              websocket_guard_origin, which have no effect where websocket_guard is \"check\"; set \
              \"websocket_guard on;\" in the location, or remove them [unused-directive] in nginx.conf:30"]
        );
        let off = Location { marked: Marked::Here, ..asking(location("/chat")) };
        let line = unused_in(&[off]).concat();
        assert!(
            line.starts_with("Notice ") && line.contains("; set \"websocket_guard on;\" in"),
            "{line}"
        );
        let inherited =
            Location { mode: Mode::Check, marked: Marked::Above, ..asking(by_hand("/chat")) };
        let line = unused_in(&[inherited]).concat();
        assert!(
            line.starts_with("Notice ") && line.contains("; add \"websocket_guard on;\" to"),
            "{line}"
        );
        // Off from above, where the location itself asks for more.
        let off_above = Location { marked: Marked::Above, ..asking(location("/chat")) };
        assert!(unused_in(&[off_above]).concat().starts_with("Warn "));
        // A mark would bring "no-proxy".
        assert!(unused_in(&[asking(files("/"))])[0].contains(
            "; move what WebSocket needs to the location that proxies it, or remove it ["
        ));
    }

    #[test]
    fn near_misses_in_a_location() {
        assert!(unused_in(&[asking(on("/"))]).is_empty());
        assert!(unused_in(&[Location { mode: Mode::Auto, ..asking(on("/")) }]).is_empty());
        // Nested, to any depth.
        let nested = |location, parent| Location { parent: Some(parent), ..location };
        let around = [asking(files("/")), nested(files("/a"), 0), nested(on("/a/b"), 1)];
        assert!(unused_in(&around).is_empty());
        let beside = [asking(files("/")), nested(files("/a"), 0), on("/b")];
        assert_eq!(unused_in(&beside).len(), 1);
        // An include that another location has use for.
        assert!(unused_in(&[asking(location("/")), asking(on("/chat"))]).is_empty());
        let mut ignoring = asking(location("/"));
        ignoring.ignore.insert(Finding::UnusedDirective);
        assert!(unused_in(&[ignoring]).is_empty());
    }

    #[test]
    fn above_locations() {
        let own = OwnLevel { asked: &[PING], ..OwnLevel::default() };
        let plain = [location("/")];
        let with = Server { own, ..server(&plain) };
        assert_eq!(
            unused(&site(&[with])),
            ["Warn websocket_guard: server \"example.com\" has websocket_guard_ping, which has no effect \
              where no location is guarded; set \"websocket_guard on;\" in the location that is for \
              WebSocket, or remove it [unused-directive] in nginx.conf:30"]
        );
        let in_http = Site { http: own, ..site(&[]) };
        assert!(unused(&in_http)[0]
            .starts_with("Notice websocket_guard: http has websocket_guard_ping, which"));
        // The same line in two servers.
        let two = unused(&site(&[with, Server { name: b"other", ..with }]));
        assert_eq!(two.len(), 2);
        assert!(two[0].contains("server \"example.com\" (and in another server) has "), "{two:?}");

        // A dry run.
        let dry = [location("/"), checked("/chat")];
        assert!(unused(&site(&[Server { locations: &dry, ..with }]))[0].starts_with("Notice "));

        let used = [location("/"), on("/chat")];
        let guarded = Server { locations: &used, ..with };
        assert!(unused(&site(&[guarded])).is_empty());
        // By an include it stands in a server without WebSocket, too.
        assert!(unused(&site(&[guarded, with])).is_empty());
        let servers = [server(&used)];
        assert!(unused(&Site { servers: &servers, ..in_http }).is_empty());
        let mut ignoring = own;
        ignoring.ignore.insert(Finding::UnusedDirective);
        assert!(unused(&site(&[Server { own: ignoring, ..with }])).is_empty());
        assert!(unused(&Site { http: ignoring, ..in_http }).is_empty());
    }
}
