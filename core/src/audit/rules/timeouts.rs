//! How long a tunnel may be silent.

use crate::audit::model::Proxied;
use crate::audit::problem::Problem;
use crate::text::duration::Duration;
use crate::words::SetAt;

use crate::audit::context::Context;

/// A tunnel that is silent for this long is usual: pings are sent every 20 to 60 seconds.
const SHORT_READ: u64 = 60_000;

/// A client may stop reading for this long, on a phone or in a busy page.
const LOW_SEND: u64 = 10_000;

pub fn short_read_timeout<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    // A websocket_guard_timeout is meant for tunnels: a short one is no mistake.
    let timeout = proxied
        .read_timeout
        .filter(|timeout| timeout.value <= SHORT_READ && timeout.origin != SetAt::Guard)?;
    let prefix = proxied.module.prefix();
    let default = match timeout.origin {
        SetAt::Default => ", by default",
        _ => "",
    };
    let problem = Problem::new(format!(
        "cuts a tunnel that is silent for {} ({prefix}_read_timeout{default})",
        Duration(timeout.value)
    ))
    .at(timeout.origin);
    Some(problem.fix(match (context.is_guarded(), timeout.origin) {
        (true, _) => format!(
            "remove the {prefix}_read_timeout or add \"websocket_guard_timeout 1h;\", or have the \
             application send pings more often"
        ),
        // "websocket_guard on" beside it has no effect: what the location sets itself wins.
        (false, SetAt::Here(_)) if context.has_own_mark() => {
            format!("set \"{prefix}_read_timeout 1h;\", or remove it and {}", context.guarding())
        }
        (false, SetAt::Here(_)) => format!(
            "set \"{prefix}_read_timeout 1h;\", or put \"websocket_guard on;\" in its place"
        ),
        (false, _) => {
            format!("add \"websocket_guard on;\" to the location, or \"{prefix}_read_timeout 1h;\"")
        }
    }))
}

pub fn ping_too_late<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let (ping, limit) = (proxied.ping?, proxied.read_timeout?);
    (ping.value >= limit.value).then(|| {
        Problem::new(format!(
            "sends a Ping after {} of silence, and cuts a tunnel that is silent for {}",
            Duration(ping.value),
            Duration(limit.value)
        ))
        .at(ping.origin)
    })
}

pub fn drain_cut_short<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    let (drain, limit) = (proxied.drain?, context.view.site.shutdown_limit?);
    (drain.value > limit).then(|| {
        Problem::new(format!(
            "takes up to {} to close the tunnels of a worker that leaves (websocket_guard_drain and its \
             wait), which are cut after {} (worker_shutdown_timeout)",
            Duration(drain.value),
            Duration(limit)
        ))
        .at(drain.origin)
    })
}

pub fn low_send_timeout<'a>(context: &Context<'_, 'a>, _: &Proxied<'a>) -> Option<Problem<'a>> {
    let timeout = context.location.send_timeout.filter(|timeout| timeout.value < LOW_SEND)?;
    Some(
        Problem::new(format!(
            "cuts a client that does not read for {} (send_timeout)",
            Duration(timeout.value)
        ))
        .at(timeout.origin),
    )
}

#[cfg(test)]
mod tests {
    use crate::audit::model::Site;
    use crate::audit::testing::*;

    #[test]
    fn short_reads() {
        let by_default = edit(by_hand("/chat"), |p| p.read_timeout = default(60_000));
        assert_eq!(
            lines(by_default),
            ["websocket_guard: location \"/chat\" cuts a tunnel that is silent for 60s \
              (proxy_read_timeout, by default); add \"websocket_guard on;\" to the location, or \
              \"proxy_read_timeout 1h;\" [short-read-timeout] in nginx.conf:10"]
        );
        let explicit = edit(on("/chat"), |p| p.read_timeout = here(1500, 33));
        assert_eq!(
            lines(explicit),
            ["websocket_guard: location \"/chat\" cuts a tunnel that is silent for 1500ms \
              (proxy_read_timeout); remove the proxy_read_timeout or add \
              \"websocket_guard_timeout 1h;\", or have the application send pings more often \
              [short-read-timeout] in nginx.conf:33"]
        );
        let checked = edit(checked("/chat"), |p| p.read_timeout = here(30_000, 33));
        assert!(lines(checked)[0]
            .contains("or remove it and set \"websocket_guard on;\" in the location [short"));
        let by_hand_too = edit(by_hand("/chat"), |p| p.read_timeout = here(30_000, 33));
        assert!(lines(by_hand_too)[0].contains("or put \"websocket_guard on;\" in its place"));
        // One directive, one report.
        let inherited = edit(by_hand("/a"), |p| p.read_timeout = above(30_000, 3));
        let more = edit(by_hand("/b"), |p| p.read_timeout = above(30_000, 3));
        let lines = lines_in(&site(&[server(&[inherited, more, inherited])]));
        assert_eq!(lines.len(), 1);
        assert!(lines[0]
            .starts_with("websocket_guard: location \"/a\" (and in 2 other locations) cuts a"));

        // Near.
        assert!(names(&[edit(by_hand("/"), |p| p.read_timeout = here(61_000, 3))]).is_empty());
        assert!(names(&[edit(on("/"), |p| p.read_timeout = by_guard(2000))]).is_empty());
        assert!(names(&[edit(on("/"), |p| p.read_timeout = None)]).is_empty());
    }

    #[test]
    fn low_sends() {
        let mut location = on("/chat");
        location.send_timeout = above(2000, 4);
        assert_eq!(
            lines(location),
            ["websocket_guard: location \"/chat\" cuts a client that does not read for 2s \
              (send_timeout); raise send_timeout to at least 10s, better 60s [low-send-timeout] in \
              nginx.conf:4"]
        );
        location.send_timeout = above(10_000, 4);
        assert!(names(&[location]).is_empty());
        location.send_timeout = None;
        assert!(names(&[location]).is_empty());
        let mut unmarked = crate::audit::testing::location("/");
        unmarked.send_timeout = above(2000, 4);
        assert!(names(&[unmarked]).is_empty());
    }

    #[test]
    fn a_ping_comes_before_the_idle_limit() {
        let pings = |interval| {
            edit(on("/chat"), |p| {
                p.read_timeout = by_guard(30_000);
                p.ping = here(interval, 12);
            })
        };
        assert_eq!(
            lines(pings(30_000)),
            ["websocket_guard: location \"/chat\" sends a Ping after 30s of silence, and cuts a tunnel \
              that is silent for 30s; make the interval of websocket_guard_ping shorter than the idle \
              limit [ping-too-late] in nginx.conf:12"]
        );
        assert!(names(&[pings(29_999)]).is_empty());
    }

    #[test]
    fn a_drain_has_its_time() {
        let drains = [edit(on("/chat"), |p| p.drain = here(60_000, 12))];
        let servers = [server(&drains)];
        let cut = |limit| Site { shutdown_limit: limit, ..site(&servers) };
        assert_eq!(
            lines_in(&cut(Some(59_000))),
            ["websocket_guard: location \"/chat\" takes up to 60s to close the tunnels of a worker that leaves \
              (websocket_guard_drain and its wait), which are cut after 59s (worker_shutdown_timeout); make worker_shutdown_timeout longer than \
              websocket_guard_drain and its wait together [drain-cut-short] in nginx.conf:12"]
        );
        assert!(names_in(&cut(Some(60_000))).is_empty());
        assert!(names_in(&cut(None)).is_empty());
    }
}
