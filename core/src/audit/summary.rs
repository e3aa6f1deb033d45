//! What the one directive became in each guarded location.

use std::fmt;

use super::model::{Content, Location, LocationKind, Proxied, Server, Setting, Site, Value};
use crate::text::duration::Duration;
use crate::text::quoted::Quoted;
use crate::words::{Mode, Place, SetAt};

/// A guarded location: what the guard set there, and what it left as the location says.
///
/// Displays as the sentence alone; see [`line`](Self::line) for the log.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'s, 'a> {
    location: &'s Location<'a>,
    proxied: &'s Proxied<'a>,
}

/// The guarded locations that proxy, in the order of the configuration.
pub fn summaries<'s, 'a>(site: &'s Site<'a>) -> impl Iterator<Item = Summary<'s, 'a>> {
    site.servers.iter().flat_map(|server| {
        let summaries = server.locations.iter().filter_map(Summary::of);
        summaries.filter(|summary| !summary.repeats_its_location(server))
    })
}

impl<'s, 'a> Summary<'s, 'a> {
    fn of(location: &'s Location<'a>) -> Option<Self> {
        match &location.content {
            Content::Proxied(proxied) if location.mode.is_guarded() => {
                Some(Self { location, proxied })
            }
            _ => None,
        }
    }

    /// Whether it is about an `if` block in which all is as in the location around it, and so is the line.
    fn repeats_its_location(&self, server: &'s Server<'a>) -> bool {
        let is_block = matches!(self.location.kind, LocationKind::If);
        let around = self.location.parent.and_then(|parent| server.locations.get(parent));
        let around = around.filter(|_| is_block).and_then(Self::of);
        around.is_some_and(|around| around.to_string() == self.to_string())
    }

    /// The whole line for the log.
    pub fn line(&self) -> Line<'s, 'a> {
        Line(*self)
    }

    /// What the guard set, or would have set, by name. The flag tells whether it did.
    fn settings(&self) -> impl Iterator<Item = (bool, String)> {
        let Proxied { headers, http_version, read_timeout, buffering, .. } = self.proxied;
        let realtime = self.location.mode == Mode::On;
        let header = |name: &'static str| {
            let entry = headers
                .entries
                .iter()
                .find(|entry| headers.known && entry.name.eq_ignore_ascii_case(name.as_bytes()))?;
            Some((entry.value == Value::Guard, name.to_owned()))
        };
        [
            header("Upgrade"),
            header("Connection"),
            header("Host").filter(|(by_guard, _)| *by_guard && !self.proxied.host_is_domain),
            http_version.map(|it| named(it, it.value.to_string())),
            read_timeout.map(|it| named(it, format!("idle limit {}", Duration::about(it.value)))),
            buffering
                .filter(|_| realtime)
                .map(|it| named(it, format!("buffering {}", if it.value { "on" } else { "off" }))),
        ]
        .into_iter()
        .flatten()
    }
}

impl fmt::Display for Summary<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.location.mode == Mode::On { "on" } else { "auto" };
        write!(f, "location \"{}\" is guarded ({mode})", Quoted(self.location.name))?;
        for (set, title) in [(true, "set by the guard"), (false, "left as it stands there")] {
            let mut separator = "; ";
            for (_, name) in self.settings().filter(|(by_guard, _)| *by_guard == set) {
                match separator {
                    "; " => write!(f, "; {title}: {name}")?,
                    _ => write!(f, ", {name}")?,
                }
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// A [`Summary`] as the log shows it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'s, 'a>(Summary<'s, 'a>);

impl fmt::Display for Line<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line(summary) = self;
        let Place { file, line } = summary.location.place;
        write!(f, "websocket_guard: {summary} in {}:{line}", String::from_utf8_lossy(file))
    }
}

fn named<T>(setting: Setting<T>, name: String) -> (bool, String) {
    (setting.origin == SetAt::Guard, name)
}

#[cfg(test)]
mod tests {
    use super::super::model::{Header, Headers, Server};
    use super::*;
    use crate::http::version::HttpVersion;

    fn line(mode: Mode, proxied: Proxied) -> Vec<String> {
        let location = Location {
            name: b"/chat",
            place: Place { file: b"nginx.conf", line: 7 },
            mode,
            content: Content::Proxied(proxied),
            ..Location::default()
        };
        let locations = [location];
        let servers = [Server { locations: &locations, ..Server::default() }];
        let site = Site { servers: &servers, ..Site::default() };
        summaries(&site).map(|summary| summary.line().to_string()).collect()
    }

    fn guarded() -> Proxied<'static> {
        const ENTRIES: &[Header] = &[
            Header { name: b"upgrade", value: Value::Guard, place: None },
            Header { name: b"Connection", value: Value::Constant(b"close"), place: None },
        ];
        Proxied {
            headers: Headers { known: true, entries: ENTRIES, ..Headers::default() },
            http_version: Some(Setting { value: HttpVersion::Http11, origin: SetAt::Guard }),
            read_timeout: Some(Setting { value: 3_600_000, origin: SetAt::Guard }),
            buffering: Some(Setting { value: true, origin: SetAt::Here(None) }),
            ..Proxied::default()
        }
    }

    #[test]
    fn what_is_set_and_what_is_left() {
        assert_eq!(
            line(Mode::On, guarded()),
            ["websocket_guard: location \"/chat\" is guarded (on); set by the guard: Upgrade, \
              HTTP/1.1, idle limit 1h; left as it stands there: Connection, buffering on in \
              nginx.conf:7"]
        );
    }

    #[test]
    fn host_where_the_guard_forwards_it() {
        const ENTRIES: &[Header] = &[Header { name: b"Host", value: Value::Guard, place: None }];
        let with = |host_is_domain| {
            let headers = Headers { known: true, entries: ENTRIES, ..Headers::default() };
            line(Mode::On, Proxied { headers, host_is_domain, ..guarded() }).concat()
        };
        assert!(with(false).contains("set by the guard: Host, HTTP/1.1"));
        assert!(!with(true).contains("Host"));
    }

    #[test]
    fn a_block_that_says_the_same_is_left_out() {
        let location = Location {
            name: b"/chat",
            mode: Mode::On,
            content: Content::Proxied(guarded()),
            ..Location::default()
        };
        let block = Location { kind: LocationKind::If, parent: Some(0), ..location };
        let count = |locations: &[Location]| {
            let servers = [Server { locations, ..Server::default() }];
            let site = Site { servers: &servers, ..Site::default() };
            summaries(&site).count()
        };
        assert_eq!(count(&[location, block]), 1);
        // Near: what it says is different, or it alone proxies.
        let other = Content::Proxied(Proxied { read_timeout: None, ..guarded() });
        assert_eq!(count(&[location, Location { content: other, ..block }]), 2);
        assert_eq!(count(&[Location { content: Content::Files, ..location }, block]), 1);
        assert_eq!(count(&[location, Location { kind: LocationKind::Prefix, ..block }]), 2);
    }

    #[test]
    fn buffering_is_no_matter_of_auto() {
        let auto = line(Mode::Auto, guarded()).concat();
        assert!(auto.contains("(auto)") && !auto.contains("buffering"), "{auto}");
    }

    #[test]
    fn only_guarded_locations() {
        assert!(line(Mode::Check, guarded()).is_empty());
        assert!(line(Mode::Off, guarded()).is_empty());
    }
}
