//! Whether requests come to the marked location, and stay in it.

use crate::audit::model::{Content, Fallback, Location, LocationKind, Proxied, Rewrite};
use crate::audit::problem::Problem;
use crate::audit::recipe::{forwards_upgrade, has_recipe};
use crate::config::plain_regex;
use crate::http::status::is_redirect;
use crate::text::quoted::Quoted;
use crate::words::{Marked, SetAt};

use crate::audit::context::Context;

pub fn no_proxy<'a>(context: &Context<'_, 'a>) -> Option<Problem<'a>> {
    let location = context.location;
    let outline = context.outline;
    let goes_elsewhere = location.fallback.is_some()
        || !location.rewrites.is_empty()
        || location.answer.is_some_and(|answer| answer.handled)
        // Missing files, or a `return 418` in an `if`, lead to an error_page, and that to a proxy.
        || (location.answer.is_none()
            && location
                .error_targets
                .iter()
                .any(|name| outline.target(name).is_some_and(|target| outline.carries(target))));
    if goes_elsewhere || outline.carries(context.index) {
        return None;
    }
    if location.marked != Marked::Here {
        // By an include it may have headers that are not meant for it.
        return location.bare.then(|| {
            Problem::new("sets Upgrade for a backend and has no proxy_pass, nor has anything in it")
                .fix("add a proxy_pass to the location: it does not inherit one")
        });
    }
    if let Some(answer) = location.answer {
        let what = format!(
            "answers every request itself (return {}), nothing in it could carry a WebSocket",
            answer.status
        );
        return Some(Problem::new(what).at(SetAt::Here(answer.place)));
    }
    let around = context.around().map(|around| around.location.content);
    Some(Problem::new(match (location.content, around) {
        (Content::CannotUpgrade(directive), _) => {
            format!("passes requests on by {directive}, which cannot upgrade a connection")
        }
        (_, Some(Content::Proxied(proxied))) => format!(
            "does not inherit the {}_pass of the location around it, so nothing in it could carry \
             a WebSocket",
            proxied.module.prefix()
        ),
        _ => String::from("has nothing in it that could carry a WebSocket"),
    }))
}

pub fn redirect_in_location<'a>(context: &Context<'_, 'a>) -> Option<Problem<'a>> {
    let answer =
        context.location.answer.filter(|answer| is_redirect(answer.status) && !answer.handled)?;
    if !context.location.rewrites.is_empty() || context.outline.nested_carry(context.index) {
        return None;
    }
    let what = format!(
        "answers with a redirect (return {}), which WebSocket clients do not follow",
        answer.status
    );
    Some(Problem::new(what).at(SetAt::Here(answer.place)))
}

pub fn tryfiles_fallback<'a>(context: &Context<'_, 'a>) -> Option<Problem<'a>> {
    let Fallback { name, place } = context.location.fallback?;
    let fallback = context.outline.get(context.outline.named(name)?)?;
    if !proxies_without_recipe(fallback) {
        return None;
    }
    let name = Quoted(name);
    Some(
        Problem::new(format!(
            "falls back to \"{name}\" (try_files), which proxies without the WebSocket headers"
        ))
        .fix(match fallback.marked {
            Marked::Here => format!("set \"websocket_guard on;\" in location \"{name}\""),
            _ => format!("add \"websocket_guard on;\" to location \"{name}\""),
        })
        .at(SetAt::Here(place)),
    )
}

pub fn rewrite_leaves_location<'a>(context: &Context<'_, 'a>) -> Option<Problem<'a>> {
    if context.outline.all_marked {
        return None;
    }
    let rewrites = context.location.rewrites.iter();
    let rewrite = rewrites.into_iter().find(|rewrite| {
        takes_handshakes(context.location, rewrite) && !leads_to_upgrade(context, rewrite)
    })?;
    Some(
        Problem::new("sends requests to another location by \"rewrite ... last\"")
            .at(SetAt::Here(rewrite.place)),
    )
}

/// Whether a rewrite is for the URIs of the location as a whole, and not for some in it, such as
/// `\.html$`.
fn takes_handshakes(location: &Location, rewrite: &Rewrite) -> bool {
    let Some(pattern) = plain_regex(rewrite.pattern) else { return false };
    let matches = |name: &[u8]| pattern.is_match(name);
    let name = location.name;
    match location.kind {
        LocationKind::Exact => matches(name),
        LocationKind::Prefix | LocationKind::PrefixNoRegex => {
            [&b""[..], b"x", b"/x"].iter().any(|rest| matches(&[name, rest].concat()))
        }
        LocationKind::Regex(_) | LocationKind::Named | LocationKind::If => {
            let rest = rewrite.pattern.strip_prefix(name);
            rest.is_some_and(|rest| plain_regex(rest).is_some_and(|rest| rest.is_match(b"")))
                || [&b"/"[..], b"/x", b"/x/y.z"].iter().all(|uri| matches(uri))
        }
    }
}

/// Whether what a rewrite makes of a URI may come to a location that can upgrade.
fn leads_to_upgrade(context: &Context, rewrite: &Rewrite) -> bool {
    let outline = context.outline;
    let uri = rewrite.replacement.split(|byte| *byte == b'?').next().unwrap_or_default();
    let constant = uri.split(|byte| *byte == b'$').next().unwrap_or_default();
    let serving = outline.target(constant).and_then(|target| outline.get(target));
    serving.is_some_and(can_upgrade)
        || (constant.len() < uri.len()
            && outline.upgrades_below(constant, context.index, can_upgrade))
}

pub fn regex_shadowed<'a>(context: &Context<'_, 'a>, _: &Proxied<'a>) -> Option<Problem<'a>> {
    let regex = context.outline.shadow(context.index)?;
    let regex = context.outline.get(regex)?;
    if can_upgrade(regex) {
        return None;
    }
    let name = Quoted(context.location.name);
    Some(
        Problem::new(format!(
            "does not get requests for \"{name}\", they go to the regex location \"{}\"",
            Quoted(regex.name)
        ))
        .fix(format!("write \"location ^~ {name}\" instead")),
    )
}

pub fn subrequest_upgrade<'a>(context: &Context<'_, 'a>, _: &Proxied<'a>) -> Option<Problem<'a>> {
    let outline = context.outline;
    let (subrequest, target) = context.location.subrequests.iter().find_map(|subrequest| {
        let target = outline.get(outline.subrequest_target(subrequest.uri)?)?;
        match &target.content {
            Content::Proxied(proxied) if forwards_upgrade(proxied) => Some((subrequest, target)),
            _ => None,
        }
    })?;
    Some(
        Problem::new(format!(
            "makes a subrequest ({} {}) to location \"{}\", which passes the upgrade on",
            subrequest.directive,
            Quoted(subrequest.uri),
            Quoted(target.name)
        ))
        .at(subrequest.origin),
    )
}

fn proxies_without_recipe(location: &Location) -> bool {
    let guarded = location.mode.is_guarded();
    match &location.content {
        Content::Proxied(proxied) => !guarded && !has_recipe(proxied),
        _ => false,
    }
}

fn can_upgrade(location: &Location) -> bool {
    match &location.content {
        Content::Proxied(_) => !proxies_without_recipe(location),
        Content::Unknown => true,
        Content::Files | Content::CannotUpgrade(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::model::*;
    use crate::audit::testing::*;

    fn nested(location: Location<'static>, parent: usize) -> Location<'static> {
        Location { parent: Some(parent), ..location }
    }

    fn inheriting(location: Location<'static>) -> Location<'static> {
        Location { marked: Marked::Above, ..location }
    }

    fn regex(pattern: &'static EndsWith, location: Location<'static>) -> Location<'static> {
        Location { kind: LocationKind::Regex(pattern), name: pattern.0.as_bytes(), ..location }
    }

    const fn answer(status: u16) -> Option<Answer<'static>> {
        Some(Answer { status, handled: false, place: Some(at(70)) })
    }

    #[test]
    fn nothing_that_could_upgrade() {
        assert_eq!(
            lines(marked(files("/chat"))),
            ["websocket_guard: location \"/chat\" has nothing in it that could carry a WebSocket; \
              add a proxy_pass to the location, or move websocket_guard to the location that has \
              one [no-proxy] in nginx.conf:10"]
        );
        let fastcgi = Location { content: Content::CannotUpgrade("fastcgi_pass"), ..on("/") };
        assert!(lines(fastcgi)[0].contains("by fastcgi_pass, which cannot upgrade"));
        let returning = Location { answer: answer(404), ..on("/") };
        assert!(lines(returning)[0].contains("(return 404)"));
        let inner = [on("/"), nested(marked(files("/a")), 0)];
        assert!(lines_in(&site(&[server(&inner)]))[0].contains("does not inherit the proxy_pass"));

        // Near.
        assert!(names(&[inheriting(marked(files("/")))]).is_empty());
        assert!(names(&[files("/")]).is_empty());
        assert!(names(&[Location { content: Content::Unknown, ..on("/") }]).is_empty());
        let handled = Some(Answer { status: 418, handled: true, place: None });
        assert!(names(&[Location { answer: handled, ..marked(files("/")) }]).is_empty());
        assert!(names(&[Location { answer: handled, ..on("/") }]).is_empty());
        let fallback = Some(Fallback { name: b"@app", place: None });
        assert!(names(&[Location { fallback, ..marked(files("/")) }]).is_empty());
    }

    #[test]
    fn recipes_without_a_proxy_pass() {
        let headers = Location { marked: Marked::Nowhere, sets_upgrade: true, ..location("/io") };
        let bare = Location { content: Content::Files, bare: true, ..headers };
        assert_eq!(
            lines(bare),
            ["websocket_guard: location \"/io\" sets Upgrade for a backend and has no proxy_pass, nor \
              has anything in it; add a proxy_pass to the location: it does not inherit one \
              [no-proxy] in nginx.conf:10"]
        );
        // Near: it answers in another way, or what is nested in it proxies.
        assert!(names(&[Location { bare: false, ..bare }]).is_empty());
        assert!(names(&[Location { sets_upgrade: false, ..bare }]).is_empty());
        assert!(!names(&[bare, nested(by_hand("/io/a"), 0)]).contains(&"no-proxy"));
    }

    #[test]
    fn nested_locations_and_blocks_may_carry_it() {
        let outer = marked(files("/"));
        let all = [outer, nested(inheriting(on("/a")), 0), nested(inheriting(on("/b")), 0)];
        assert!(names(&all).is_empty());
        let some = [outer, nested(inheriting(on("/a")), 0), nested(files("/b"), 0)];
        assert!(names(&some).is_empty());
        assert_eq!(names(&[outer, nested(files("/a"), 0), nested(files("/b"), 0)]), ["no-proxy"]);
        let deep = [outer, nested(files("/a"), 0), nested(inheriting(on("/a/b")), 1)];
        assert!(names(&deep).is_empty());
        let block = Location { kind: LocationKind::If, ..inheriting(on("/")) };
        assert!(names(&[outer, nested(block, 0)]).is_empty());
    }

    #[test]
    fn an_error_page_may_carry_it() {
        const WITH: [&[&[u8]]; 2] = [&[b"@ws"], &[b"/50x.html", b"/ws"]];
        const WITHOUT: [&[&[u8]]; 4] = [&[b"/50x.html"], &[b"https://example.com/"], &[b""], &[]];
        let outer = |targets| Location { error_targets: targets, ..marked(files("/")) };
        let named = Location { kind: LocationKind::Named, ..on("@ws") };
        let other = Location { kind: LocationKind::Exact, ..on("/ws") };
        for targets in WITH {
            assert!(names(&[outer(targets), named, other]).is_empty());
        }
        for targets in WITHOUT {
            assert_eq!(names(&[outer(targets), named, other]), ["no-proxy"]);
        }
        let answering = Location { answer: answer(404), ..outer(WITH[0]) };
        assert_eq!(names(&[answering, named]), ["no-proxy"]);
    }

    #[test]
    fn an_if_block_is_asked_what_it_decides_itself() {
        const POOL: Upstream = Upstream {
            name: b"pool",
            block: true,
            place: None,
            live_servers: 2,
            affinity: Affinity::None,
            max_conns: None,
            named_server: None,
        };
        let block = edit(location("/"), |p| p.target.upstream = Some(&POOL));
        let block = Location { kind: LocationKind::If, mode: Mode::Check, ..inheriting(block) };
        let proxying = [checked("/"), nested(block, 0)];
        let lines = lines_in(&site(&[server(&proxying)]));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("websocket_guard: \"if\" in location \"/\" balances over 2"));
        // No upgrade sees the target of a location whose block takes all of them.
        let pooled = edit(checked("/"), |p| p.target.upstream = Some(&POOL));
        assert_eq!(names(&[pooled]), ["lb-no-affinity"]);
        assert!(names(&[Location { diverts: true, ..pooled }]).is_empty());
        // Nobody else was asked about the headers.
        let around = Location { mode: Mode::Check, ..marked(files("/")) };
        assert!(names(&[around, nested(block, 0)]).contains(&"missing-upgrade"));
    }

    #[test]
    fn redirects() {
        let redirecting = Location { answer: answer(301), ..marked(files("/chat")) };
        assert_eq!(
            lines(redirecting),
            ["websocket_guard: location \"/chat\" answers with a redirect (return 301), which \
              WebSocket clients do not follow; proxy in this location too, or have the clients use \
              the final wss:// URL and remove the mark here [redirect-in-location] in \
              nginx.conf:70"]
        );
        for status in [302, 303, 307, 308] {
            let location = Location { answer: answer(status), ..on("/") };
            assert_eq!(names(&[location]), ["redirect-in-location"]);
        }
        assert!(names(&[inheriting(redirecting)]).is_empty());
        assert_eq!(names(&[Location { answer: answer(200), ..redirecting }]), ["no-proxy"]);
        let with_nested = [redirecting, nested(inheriting(on("/chat/ws")), 0)];
        assert!(names(&with_nested).is_empty());
        assert!(names(&[Location { answer: None, ..on("/") }]).is_empty());
    }

    #[test]
    fn fallbacks() {
        let fallback = Some(Fallback { name: b"@app", place: Some(at(71)) });
        let outer = Location { fallback, ..marked(files("/")) };
        let named = |location| Location { kind: LocationKind::Named, ..location };
        let lines = lines_in(&site(&[server(&[outer, named(location("@app"))])]));
        assert_eq!(
            lines,
            ["websocket_guard: location \"/\" falls back to \"@app\" (try_files), which proxies \
              without the WebSocket headers; add \"websocket_guard on;\" to location \"@app\" \
              [tryfiles-fallback] in nginx.conf:71"]
        );
        for right in [by_hand("@app"), inheriting(on("@app")), files("@app")] {
            assert!(names(&[outer, named(right)]).is_empty());
        }
        assert!(names(&[inheriting(outer), named(location("@app"))]).is_empty());
        assert!(names(&[outer, named(location("@other"))]).is_empty());
    }

    #[test]
    fn rewrites() {
        let last = |pattern: &'static str, replacement: &'static str| {
            &*Box::leak(Box::new([Rewrite {
                pattern: pattern.as_bytes(),
                replacement: replacement.as_bytes(),
                place: Some(at(72)),
            }]))
        };
        let rewriting = Location { rewrites: last("^/ws/(.*)$", "/$1"), ..on("/ws/") };
        assert_eq!(
            lines(rewriting),
            ["websocket_guard: location \"/ws/\" sends requests to another location by \
              \"rewrite ... last\"; use \"break\" in place of \"last\", or mark the location that \
              the new URI falls into [rewrite-leaves-location] in nginx.conf:72"]
        );
        let without_proxy = Location { content: Content::Files, ..rewriting };
        assert_eq!(names(&[without_proxy]), ["rewrite-leaves-location"]);
        // Near: the other locations are marked as well, or this one only inherits its mode.
        let locations = [rewriting, inheriting(on("/"))];
        let own = OwnLevel { mode: Mode::On, ..OwnLevel::default() };
        let all_on = Server { own, ..server(&locations) };
        assert!(names_in(&site(&[all_on])).is_empty());
        assert!(names(&[inheriting(rewriting)]).is_empty());
        assert!(names(&[on("/")]).is_empty());
    }

    #[test]
    fn rewrites_of_some_uris_or_to_the_right_place() {
        let leaves = |location: Location<'static>, pattern: &str, replacement: &str| {
            let rewrites = [Rewrite {
                pattern: pattern.as_bytes(),
                replacement: replacement.as_bytes(),
                place: None,
            }];
            let locations = [
                Location { rewrites: &rewrites, ..location },
                on("/chat/"),
                on("/app/chat/"),
                files("/app/"),
                location_of_files(),
            ];
            names(&locations) == ["rewrite-leaves-location"]
        };
        fn location_of_files() -> Location<'static> {
            files("/")
        }
        let ws = on("/ws/");
        let exact = Location { kind: LocationKind::Exact, ..on("/ws") };
        let named = Location { kind: LocationKind::Named, ..on("@ws") };
        let matching = regex(&EndsWith("^/ws"), on(""));
        for (location, pattern, replacement) in [
            (ws, "^/ws/(.*)", "/elsewhere/$1"),
            (ws, "^", "/index.html"),
            (on("/ws"), "^/ws/(.*)$", "/x?path=$1"),
            (exact, "^/ws$", "/x"),
            (named, "^(.*)$", "/x"),
            (matching, "^/ws(.*)$", "/x"),
            (ws, "^", "relative"),
        ] {
            assert!(leaves(location, pattern, replacement), "{pattern} {replacement}");
        }
        for (location, pattern, replacement) in [
            // Only some of its URIs, or not known which.
            (ws, r"\.html$", "/x"),
            (ws, "^/ws/old$", "/x"),
            (exact, "^/ws/", "/x"),
            (named, "^/ws/", "/x"),
            (matching, "^/ws/old$", "/x"),
            (ws, "^(?<rest>.*)$", "/x"),
            // To where it can go on.
            (ws, "^/ws/(.*)", "/chat/$1"),
            (ws, "^/ws/(.*)", "/chat/"),
            (ws, "^/ws/(.*)", "/app/$1"),
            (ws, "^/ws/(.*)", "/ws/new/$1"),
            (ws, "^/ws(/.*)$", "$1"),
        ] {
            assert!(!leaves(location, pattern, replacement), "{pattern} {replacement}");
        }
    }

    #[test]
    fn shadows() {
        let php = regex(&EndsWith(".php"), files(""));
        assert_eq!(
            lines_in(&site(&[server(&[on("/ws.php"), php])])),
            ["websocket_guard: location \"/ws.php\" does not get requests for \"/ws.php\", they go \
              to the regex location \".php\"; write \"location ^~ /ws.php\" instead \
              [regex-shadowed] in nginx.conf:10"]
        );
        assert_eq!(names(&[by_hand("/ws.php"), php]), ["regex-shadowed"]);
        // What is below a slash counts too: this takes one page, that takes all.
        struct Within(&'static str, usize);
        impl LocationRegex for Within {
            fn matches(&self, uri: &[u8]) -> bool {
                uri.starts_with(self.0.as_bytes()) && uri.len() <= self.1
            }
        }
        let takes =
            |pattern: &'static Within| Location { kind: LocationKind::Regex(pattern), ..files("") };
        assert!(names(&[on("/"), takes(&Within("/", 1))]).is_empty());
        assert!(names(&[on("/ws/"), takes(&Within("/ws/", 5))]).is_empty());
        assert_eq!(names(&[on("/ws/"), takes(&Within("/ws/", 99))]), ["regex-shadowed"]);
        assert_eq!(names(&[on("/ws"), takes(&Within("/ws", 3))]), ["regex-shadowed"]);
        let nested_prefix = [on("/a"), nested(on("/a/ws.php"), 0), php];
        assert_eq!(names(&nested_prefix), ["regex-shadowed"]);

        // Near.
        for kind in [LocationKind::PrefixNoRegex, LocationKind::Exact] {
            assert!(names(&[Location { kind, ..on("/ws.php") }, php]).is_empty());
        }
        assert!(names(&[on("/ws"), php]).is_empty());
        assert!(names(&[on("/ws.php"), regex(&EndsWith(".php"), by_hand(""))]).is_empty());
        let outer = Location { kind: LocationKind::PrefixNoRegex, ..on("/a") };
        assert!(names(&[outer, nested(on("/a/ws.php"), 0), php]).is_empty());
        assert!(names(&[on("/ws.php"), on("/b"), nested(php, 1)]).is_empty());
    }

    #[test]
    fn subrequests() {
        const AUTH: &[Subrequest] = &[Subrequest {
            directive: "auth_request",
            uri: b"/auth",
            origin: SetAt::Here(Some(at(73))),
        }];
        let asking = Location { subrequests: AUTH, ..on("/chat") };
        let auth = |location| Location { kind: LocationKind::Exact, ..location };
        assert_eq!(
            lines_in(&site(&[server(&[asking, auth(by_hand("/auth"))])])),
            ["websocket_guard: location \"/chat\" makes a subrequest (auth_request /auth) to \
              location \"/auth\", which passes the upgrade on; set Upgrade and Connection to \"\" \
              in the location that serves the subrequest, or use websocket_guard there \
              [subrequest-upgrade] in nginx.conf:73"]
        );
        let prefix = [asking, by_hand("/")];
        assert_eq!(names(&prefix), ["subrequest-upgrade"]);

        // Near: the guard passes nothing on in a subrequest, neither does a plain proxy.
        assert!(names(&[asking, auth(location("/auth"))]).is_empty());
        assert!(names(&[asking, auth(inheriting(on("/auth")))]).is_empty());
        assert!(names(&[asking, auth(files("/auth"))]).is_empty());
        assert!(names(&[asking, auth(by_hand("/auth2"))]).is_empty());
        let emptied = edit(by_hand("/auth"), |p| p.headers = own(&[("Upgrade", "")]));
        assert!(names(&[asking, auth(emptied)]).is_empty());
    }

    #[test]
    fn what_serves_subrequests_is_not_told_to_upgrade() {
        const MIRROR: &[Subrequest] =
            &[Subrequest { directive: "mirror", uri: b"/mirror", origin: SetAt::Here(None) }];
        let checked_above =
            |location| Location { mode: Mode::Check, marked: Marked::Above, ..location };
        let main = Location { subrequests: MIRROR, ..checked("/") };
        assert!(names(&[main, checked_above(location("/mirror"))]).is_empty());
        assert!(!names(&[checked("/"), checked_above(location("/mirror"))]).is_empty());
    }
}
