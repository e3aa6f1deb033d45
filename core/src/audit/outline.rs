//! How the locations of a server hang together.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use super::model::{Content, Location, LocationKind, Server};
use crate::words::Mode;

/// The structure of a server. Locations are named by their index.
pub struct Outline<'s, 'a> {
    locations: &'s [Location<'a>],
    /// Whether something that stands in a location could carry a WebSocket.
    nested_carry: Vec<bool>,
    /// Whether every location is marked, so that an internal redirect finds another marked one.
    pub all_marked: bool,
    /// The regex locations of each level, in their order.
    regexes: HashMap<Option<usize>, Vec<usize>>,
    index: OnceCell<Index<'a>>,
    upgrading: OnceCell<Upgrading<'a>>,
    /// The location that serves each URI of a subrequest.
    subrequests: HashMap<&'a [u8], Option<usize>>,
    subrequest_targets: HashSet<usize>,
}

impl<'s, 'a> Outline<'s, 'a> {
    pub fn new(server: &'s Server<'a>) -> Self {
        let locations = server.locations;
        let all_marked = server.own.mode != Mode::Off
            && locations.iter().all(|location| location.mode != Mode::Off);
        let mut outline = Self {
            locations,
            nested_carry: vec![false; locations.len()],
            all_marked,
            regexes: HashMap::new(),
            index: OnceCell::new(),
            upgrading: OnceCell::new(),
            subrequests: HashMap::new(),
            subrequest_targets: HashSet::new(),
        };
        for (i, location) in locations.iter().enumerate() {
            if let LocationKind::Regex(_) = location.kind {
                outline.regexes.entry(outline.parent(i)).or_default().push(i);
            }
        }
        for i in (0..locations.len()).rev() {
            let carries = outline.carries(i);
            if let Some(around) = outline.parent(i).and_then(|p| outline.nested_carry.get_mut(p)) {
                *around |= carries;
            }
        }
        let mut subrequests = HashMap::new();
        for subrequest in locations.iter().flat_map(|location| location.subrequests) {
            subrequests.entry(subrequest.uri).or_insert_with(|| outline.serving(subrequest.uri));
        }
        outline.subrequest_targets = subrequests.values().copied().flatten().collect();
        outline.subrequests = subrequests;
        outline
    }

    pub fn get(&self, index: usize) -> Option<&'s Location<'a>> {
        self.locations.get(index)
    }

    /// The location around one. A location stands behind the one around it, so that there are no
    /// circles.
    pub fn parent(&self, index: usize) -> Option<usize> {
        self.get(index)?.parent.filter(|parent| *parent < index)
    }

    /// Whether a request of a location, or of one nested in it, can come to something that could carry
    /// a WebSocket.
    pub fn carries(&self, index: usize) -> bool {
        let itself = self.get(index).is_some_and(|location| {
            location.answer.map_or(true, |answer| answer.handled)
                && matches!(location.content, Content::Proxied(_) | Content::Unknown)
        });
        itself || self.nested_carry(index)
    }

    /// The same of what is nested in it.
    pub fn nested_carry(&self, index: usize) -> bool {
        self.nested_carry.get(index).copied().unwrap_or_default()
    }

    /// The location that serves a subrequest of one of the locations.
    pub fn subrequest_target(&self, uri: &[u8]) -> Option<usize> {
        self.subrequests.get(uri).copied().flatten()
    }

    /// Whether a location serves the subrequests of another one.
    pub fn serves_subrequests(&self, index: usize) -> bool {
        self.subrequest_targets.contains(&index)
    }

    /// The location of that name, with its `@`.
    pub fn named(&self, name: &[u8]) -> Option<usize> {
        self.index().named.get(name).copied()
    }

    /// The location that a request comes to which is sent to a name or URI.
    pub fn target(&self, name: &[u8]) -> Option<usize> {
        match name.first() {
            Some(b'@') => self.named(name),
            Some(b'/') => self.serving(name),
            _ => None,
        }
    }

    /// Whether a location that can upgrade may serve a URI which begins like this, other than
    /// `except`.
    pub fn upgrades_below(&self, prefix: &[u8], except: usize, can_upgrade: IsTrue) -> bool {
        let index = self.upgrading.get_or_init(|| Upgrading::new(self.locations, can_upgrade));
        let from = index.by_name.partition_point(|(name, _)| *name < prefix);
        let below = index.by_name.get(from..).unwrap_or_default().iter();
        let mut below = below.take_while(|(name, _)| name.starts_with(prefix)).map(|(_, i)| i);
        index.regexes.iter().any(|i| *i != except) || below.any(|i| *i != except)
    }

    /// The location that serves a URI (`ngx_http_core_find_location`).
    fn serving(&self, uri: &[u8]) -> Option<usize> {
        self.find(None, uri).map(Found::index)
    }

    /// The regex location that takes the requests of this prefix location: those for its name, and if
    /// that ends with a slash, those for what is below it too. A `location ~ ^/$` takes but one page
    /// from `location /`.
    pub fn shadow(&self, index: usize) -> Option<usize> {
        let name = self.get(index)?.name;
        let mut uris = vec![name.to_vec()];
        if name.ends_with(b"/") {
            uris.extend([&b"x"[..], b"x/x"].map(|rest| [name, rest].concat()));
        }
        let mut inner = index;
        loop {
            let level = self.parent(inner);
            match self.get(inner)?.kind {
                LocationKind::Prefix => {
                    if let Some(regex) = self.matching_regex(level, &uris) {
                        return Some(regex);
                    }
                }
                LocationKind::PrefixNoRegex | LocationKind::Exact | LocationKind::If => {}
                // Nothing is looked for behind a regex location or a jump.
                LocationKind::Regex(_) | LocationKind::Named => return None,
            }
            inner = level?;
        }
    }

    fn find(&self, level: Option<usize>, uri: &[u8]) -> Option<Found> {
        let index = self.index();
        if let Some(exact) = index.exact.get(&(level, uri)) {
            return Some(Found::Final(*exact));
        }
        let prefix = (0..=uri.len())
            .rev()
            .find_map(|end| index.prefix.get(&(level, uri.get(..end)?)))
            .copied();
        let nested = prefix.and_then(|prefix| self.find(Some(prefix), uri));
        if let Some(Found::Final(_)) = nested {
            return nested;
        }
        let regexes = match prefix.and_then(|prefix| self.get(prefix)) {
            Some(Location { kind: LocationKind::PrefixNoRegex, .. }) => None,
            _ => self.matching_regex(level, &[uri]),
        };
        if let Some(regex) = regexes {
            let innermost = self.find(Some(regex), uri).map_or(regex, Found::index);
            return Some(Found::Final(innermost));
        }
        nested.or(prefix.map(Found::Longest))
    }

    /// The first regex location of a level that matches all of these.
    fn matching_regex(&self, level: Option<usize>, uris: &[impl AsRef<[u8]>]) -> Option<usize> {
        let regexes = self.regexes.get(&level)?;
        regexes.iter().copied().find(|&i| match self.get(i) {
            Some(Location { kind: LocationKind::Regex(pattern), .. }) => {
                uris.iter().all(|uri| pattern.matches(uri.as_ref()))
            }
            _ => false,
        })
    }

    fn index(&self) -> &Index<'a> {
        self.index.get_or_init(|| {
            let mut index = Index::default();
            for (i, location) in self.locations.iter().enumerate() {
                let level = self.parent(i);
                match location.kind {
                    LocationKind::Exact => {
                        index.exact.entry((level, location.name)).or_insert(i);
                    }
                    LocationKind::Prefix | LocationKind::PrefixNoRegex => {
                        index.prefix.entry((level, location.name)).or_insert(i);
                    }
                    LocationKind::Named => {
                        index.named.entry(location.name).or_insert(i);
                    }
                    LocationKind::Regex(_) | LocationKind::If => {}
                }
            }
            index
        })
    }
}

/// Locations by level (the location around them) and name. Made only for the servers in which
/// something must be looked up.
#[derive(Default)]
struct Index<'a> {
    exact: HashMap<(Option<usize>, &'a [u8]), usize>,
    prefix: HashMap<(Option<usize>, &'a [u8]), usize>,
    named: HashMap<&'a [u8], usize>,
}

type IsTrue = fn(&Location) -> bool;

/// The locations that can upgrade and that a URI may lead to.
struct Upgrading<'a> {
    by_name: Vec<(&'a [u8], usize)>,
    regexes: Vec<usize>,
}

impl<'a> Upgrading<'a> {
    fn new(locations: &[Location<'a>], can_upgrade: IsTrue) -> Self {
        let mut upgrading = Self { by_name: Vec::new(), regexes: Vec::new() };
        for (i, location) in locations.iter().enumerate() {
            match location.kind {
                _ if !can_upgrade(location) => {}
                LocationKind::Prefix | LocationKind::PrefixNoRegex | LocationKind::Exact => {
                    upgrading.by_name.push((location.name, i));
                }
                LocationKind::Regex(_) => upgrading.regexes.push(i),
                LocationKind::Named | LocationKind::If => {}
            }
        }
        upgrading.by_name.sort_unstable();
        upgrading
    }
}

enum Found {
    /// The longest prefix so far; a regex location of a level above goes before it.
    Longest(usize),
    /// Nothing goes before it.
    Final(usize),
}

impl Found {
    fn index(self) -> usize {
        match self {
            Self::Longest(index) | Self::Final(index) => index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn locations_are_found_as_by_nginx() {
        let at = |name, kind, parent| Location { kind, parent, ..files(name) };
        let php = EndsWith(".php");
        let bin = EndsWith(".bin");
        let locations = [
            at("/", LocationKind::Prefix, None),              // 0
            at("/a", LocationKind::Prefix, None),             // 1
            at("/a/b", LocationKind::Prefix, Some(1)),        // 2
            at("bin", LocationKind::Regex(&bin), Some(1)),    // 3
            at("/a", LocationKind::Exact, None),              // 4
            at("/static", LocationKind::PrefixNoRegex, None), // 5
            at("php", LocationKind::Regex(&php), None),       // 6
            at("/p/x.php", LocationKind::Prefix, Some(6)),    // 7
            at("@app", LocationKind::Named, None),            // 8
        ];
        let server = server(&locations);
        let outline = Outline::new(&server);
        for (uri, expected) in [
            ("/", 0),
            ("/x", 0),
            ("/a", 4),
            ("/ab", 1),
            ("/a/bc", 2),
            ("/a/b.bin", 3),
            ("/x.bin", 0),
            ("/a/b.php", 6),
            ("/p/x.php", 7),
            ("/static/x.php", 5),
        ] {
            assert_eq!(outline.serving(uri.as_bytes()), Some(expected), "{uri}");
        }
        assert_eq!(outline.serving(b"x"), None);
        assert_eq!(outline.named(b"@app"), Some(8));
        assert_eq!(outline.named(b"/a"), None);
    }

    #[test]
    fn a_location_does_not_stand_in_a_later_one() {
        let locations = [
            Location { parent: Some(1), ..files("/a") },
            Location { parent: Some(1), ..files("/b") },
            Location { parent: Some(9), ..files("/c") },
        ];
        let server = server(&locations);
        let outline = Outline::new(&server);
        assert_eq!([0, 1, 2, 3].map(|i| outline.parent(i)), [None; 4]);
        assert_eq!(outline.serving(b"/a"), Some(0));
    }
}
