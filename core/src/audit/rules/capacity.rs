//! What the configuration as a whole can hold.

use crate::audit::model::{Content, Site};
use crate::audit::problem::Problem;
use crate::text::count::Count;
use crate::words::SetAt;

/// A tunnel has one connection to the client and one to the backend.
const CONNECTIONS_PER_TUNNEL: u64 = 2;

pub fn shutdown_unbounded<'a>(site: &Site<'a>) -> Option<Problem<'a>> {
    if site.worker_shutdown_timeout || !keeps_workers(site) {
        return None;
    }
    Some(Problem::new("after a reload, old workers live until their last WebSocket ends"))
}

/// Whether there is a guarded location whose tunnels no `websocket_guard_drain` closes.
fn keeps_workers(site: &Site) -> bool {
    let locations = site.servers.iter().flat_map(|server| server.locations);
    locations.filter(|location| location.mode.is_guarded()).any(|location| {
        match &location.content {
            Content::Proxied(proxied) => proxied.drain.is_none(),
            Content::Unknown => true,
            Content::Files | Content::CannotUpgrade(_) => false,
        }
    })
}

pub fn capacity<'a>(site: &Site<'a>) -> Option<Problem<'a>> {
    let Site { workers, worker_connections, .. } = *site;
    if workers == 0 || worker_connections == 0 {
        return None;
    }
    let files = site.open_files.filter(|files| *files < worker_connections);
    let connections = files.unwrap_or(worker_connections);
    let tunnels = workers.saturating_mul(connections) / CONNECTIONS_PER_TUNNEL;
    let limit = match files {
        Some(files) => format!("; a worker may open only {}", Count(files, "file")),
        None => String::new(),
    };
    let place = match files {
        Some(_) => site.open_files_place,
        None => site.worker_connections_place,
    };
    let problem = Problem::new(format!(
        "this configuration can hold {} ({} with {worker_connections} worker_connections, two for \
         each{limit})",
        Count(tunnels, "WebSocket"),
        Count(workers, "worker")
    ));
    Some(problem.at(SetAt::Above(place)))
}

#[cfg(test)]
mod tests {
    use crate::audit::audit;
    use crate::audit::model::{Content, Location, Site};
    use crate::audit::testing::*;
    use crate::findings::Finding;
    use crate::words::Mode;

    fn lines(site: &Site) -> Vec<String> {
        audit(site, |_| true).iter().map(|report| report.line().to_string()).collect()
    }

    #[test]
    fn once_for_the_configuration() {
        let locations = [on("/a"), on("/b")];
        let servers = [server(&locations), server(&locations)];
        let site = Site { worker_shutdown_timeout: false, ..site(&servers) };
        assert_eq!(
            lines(&site),
            [
                "websocket_guard: after a reload, old workers live until their last WebSocket \
                 ends; set worker_shutdown_timeout, such as \"worker_shutdown_timeout 1h;\", at \
                 the top of nginx.conf [shutdown-unbounded] in nginx.conf:1",
                "websocket_guard: this configuration can hold 1024 WebSockets (2 workers with \
                 1024 worker_connections, two for each); raise worker_connections, and \
                 worker_rlimit_nofile to at least as much [capacity] in nginx.conf:1",
            ]
        );
        let few_files = Site { open_files: Some(1000), worker_shutdown_timeout: true, ..site };
        assert!(lines(&few_files)[0].contains("hold 1000 WebSockets"));
        assert!(lines(&few_files)[0].contains("; a worker may open only 1000 files)"));
        let placed = Site {
            worker_connections_place: Some(at(7)),
            open_files_place: Some(at(8)),
            ..few_files
        };
        assert!(lines(&placed)[0].ends_with("[capacity] in nginx.conf:8"));
        let placed = Site { open_files: None, ..placed };
        assert!(lines(&placed)[0].ends_with("[capacity] in nginx.conf:7"));
        let one = Site { workers: 1, worker_connections: 2, worker_shutdown_timeout: true, ..site };
        assert!(lines(&one)[0].contains("hold 1 WebSocket (1 worker with 2 worker_connections"));
        let unknown = Site { workers: 0, worker_shutdown_timeout: true, ..site };
        assert!(lines(&unknown).is_empty());
    }

    #[test]
    fn a_drain_is_a_bound() {
        let drained = |name| edit(on(name), |p| p.drain = here(60_000, 12));
        let unbounded = |locations: &[Location<'static>]| {
            let servers = [server(locations)];
            let site = Site { worker_shutdown_timeout: false, ..site(&servers) };
            lines(&site).iter().any(|line| line.contains("[shutdown-unbounded]"))
        };
        assert!(!unbounded(&[drained("/a"), drained("/b"), by_hand("/c")]));
        assert!(unbounded(&[drained("/a"), on("/b")]));
        let files = Location { content: Content::Files, ..on("/files") };
        assert!(!unbounded(&[drained("/a"), files]));
        let unknown = Location { content: Content::Unknown, ..on("/unknown") };
        assert!(unbounded(&[drained("/a"), unknown]));
    }

    #[test]
    fn only_if_something_is_guarded() {
        let unguarded = [by_hand("/a"), checked("/b"), location("/c")];
        let servers = [server(&unguarded)];
        let site = Site { worker_shutdown_timeout: false, ..site(&servers) };
        assert!(lines(&site).is_empty());

        let mut ignoring = on("/a");
        ignoring.ignore.insert(Finding::Capacity);
        ignoring.ignore.insert(Finding::ShutdownUnbounded);
        let ignoring = [ignoring];
        let servers = [server(&ignoring)];
        assert!(lines(&Site { servers: &servers, ..site }).is_empty());

        let mut auto = on("/a");
        auto.mode = Mode::Auto;
        let both = [ignoring[0], auto];
        let servers = [server(&both)];
        assert_eq!(lines(&Site { servers: &servers, ..site }).len(), 2);
    }
}
