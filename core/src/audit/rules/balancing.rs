//! How long-lived connections share servers and limits.

use crate::audit::model::{Affinity, Proxied};
use crate::audit::problem::Problem;
use crate::findings::Level;
use crate::text::quoted::Quoted;
use crate::words::{is_polled, SetAt};

use crate::audit::context::Context;

pub fn lb_no_affinity<'a>(context: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let upstream = context
        .upstreams(proxied)
        .find(|upstream| upstream.live_servers > 1 && upstream.affinity == Affinity::None)?;
    let (servers, name) = (upstream.live_servers, Quoted(upstream.name));
    // A WebSocket stays where it is, and any server may do; a client that polls needs the same one again.
    let level = if is_polled(context.location.name) { Level::Warn } else { Level::Notice };
    if upstream.block {
        let what = format!(
            "balances over {servers} servers of upstream \"{name}\" without session affinity"
        );
        return Some(
            Problem::new(what)
                .fix("add \"ip_hash;\" or \"hash $remote_addr consistent;\" to the upstream, unless any server will do")
                .level(level)
                .at(SetAt::Above(upstream.place)),
        );
    }
    let what = format!("balances over {servers} addresses of \"{name}\" without session affinity");
    Some(
        Problem::new(what)
            .fix("name it in an upstream with \"ip_hash;\" or \"hash $remote_addr consistent;\", unless any server will do")
            .level(level)
            .at(SetAt::Here(proxied.target.place)),
    )
}

pub fn max_conns<'a>(context: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let (upstream, limit) =
        context.upstreams(proxied).find_map(|upstream| Some((upstream, upstream.max_conns?)))?;
    Some(
        Problem::new(format!(
            "can open only {limit} WebSockets to a server of upstream \"{}\" (max_conns)",
            Quoted(upstream.name)
        ))
        .at(SetAt::Above(upstream.place)),
    )
}

pub fn limit_conn<'a>(context: &Context<'_, 'a>, _: &Proxied<'a>) -> Option<Problem<'a>> {
    let origin = context.location.limit_conn?;
    Some(
        Problem::new(
            "counts each open WebSocket as a connection for its whole life (limit_conn below 10)",
        )
        .at(origin),
    )
}

#[cfg(test)]
mod tests {
    use crate::audit::model::{Affinity, Location, Site, Target, Upstream};
    use crate::audit::testing::*;
    use crate::findings::Level;
    use crate::words::SetAt;

    const POOL: Upstream = Upstream {
        name: b"pool",
        block: true,
        place: Some(at(3)),
        live_servers: 3,
        affinity: Affinity::None,
        max_conns: None,
        named_server: None,
    };

    fn to(name: &'static str, upstream: Upstream<'static>) -> Location<'static> {
        let upstream = Box::leak(Box::new(upstream));
        edit(on(name), |p| p.target.upstream = Some(upstream))
    }

    #[test]
    fn balancing_without_affinity() {
        assert_eq!(
            lines(to("/chat", POOL)),
            ["websocket_guard: location \"/chat\" balances over 3 servers of upstream \"pool\" \
              without session affinity; add \"ip_hash;\" or \"hash $remote_addr consistent;\" to \
              the upstream, unless any server will do [lb-no-affinity] in nginx.conf:3"]
        );
        // Near.
        for affinity in [Affinity::Kept, Affinity::Unknown] {
            assert!(names(&[to("/", Upstream { affinity, ..POOL })]).is_empty());
        }
        assert!(names(&[to("/", Upstream { live_servers: 1, ..POOL })]).is_empty());

        let implicit = Upstream { block: false, name: b"app.internal", ..POOL };
        assert!(lines(to("/", implicit))[0].contains("balances over 3 addresses of"));
    }

    #[test]
    fn clients_that_poll_need_it() {
        let levels = |locations: &[Location]| -> Vec<Level> {
            let servers = [server(locations)];
            let reports = crate::audit::audit(&site(&servers), |_| true);
            let of = reports.iter().filter(|it| it.finding.slug() == "lb-no-affinity");
            of.map(|it| it.level).collect()
        };
        assert_eq!(levels(&[to("/ws", POOL)]), [Level::Notice]);
        assert_eq!(levels(&[to("/socket.io/", POOL)]), [Level::Warn]);
        assert_eq!(levels(&[to("/ws", POOL), to("/sockjs", POOL)]), [Level::Notice, Level::Warn]);
    }

    #[test]
    fn one_upstream_is_one_report() {
        let mut ignoring = to("/a", POOL);
        ignoring.ignore.insert(crate::findings::Finding::LbNoAffinity);
        let locations = [ignoring, to("/b", POOL), to("/c", POOL)];
        let lines = lines_in(&site(&[server(&locations)]));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("location \"/b\" (and in another location) balances"));
    }

    #[test]
    fn an_upstream_that_a_map_chooses() {
        let location = edit(on("/"), |p| {
            p.target = Target {
                text: Some(b"http://$pool"),
                variable: true,
                value: Some(b"http://Pool"),
                ..Target::default()
            };
        });
        let variable = edit(location, |p| p.target.value = None);
        let locations = [location];
        let servers = [server(&locations)];
        let upstreams = [POOL];
        let site = Site { upstreams: &upstreams, ..site(&servers) };
        assert_eq!(names_in(&site), ["lb-no-affinity"]);

        const CHOICES: [(&[&[u8]], &[&str]); 2] = [
            (&[b"http://127.0.0.1", b"http://pool:80/"], &["lb-no-affinity"]),
            (&[b"http://127.0.0.1", b"http://$pool"], &[]),
        ];
        for (choices, expected) in CHOICES {
            let locations = [edit(variable, |p| p.target.choices = choices)];
            let servers = [server(&locations)];
            assert_eq!(names_in(&Site { servers: &servers, ..site }), expected);
        }
    }

    #[test]
    fn limits() {
        let limited = to("/", Upstream { max_conns: Some(100), live_servers: 1, ..POOL });
        assert_eq!(
            lines(limited),
            ["websocket_guard: location \"/\" can open only 100 WebSockets to a server of upstream \
              \"pool\" (max_conns); raise max_conns to the number of WebSockets that the server \
              shall hold [max-conns] in nginx.conf:3"]
        );
        let mut limited = on("/");
        limited.limit_conn = Some(SetAt::Above(Some(at(4))));
        assert_eq!(names(&[limited, limited]), ["limit-conn"]);
        limited.limit_conn = Some(SetAt::Here(None));
        assert_eq!(names(&[limited, limited]), ["limit-conn", "limit-conn"]);
        assert!(names(&[on("/"), on("/a")]).is_empty());
    }
}
