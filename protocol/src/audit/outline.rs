//! How the locations of a server hang together.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use super::model::{Content, Location, LocationKind, Mode, Server};

/// The structure of a server. Locations are named by their index.
pub struct Outline<'s, 'a> {
    locations: &'s [Location<'a>],
    nesting: Vec<Nesting>,
    /// Whether every location is marked, so that an internal redirect finds another marked one.
    pub all_marked: bool,
    /// The regex locations of each level, in their order.
    regexes: HashMap<Option<usize>, Vec<usize>>,
    index: OnceCell<Index<'a>>,
    /// The location that serves each URI of a subrequest.
    subrequests: HashMap<&'a [u8], Option<usize>>,
    subrequest_targets: HashSet<usize>,
}

/// What stands in a location.
#[derive(Clone, Copy, Default)]
struct Nesting {
    locations: bool,
    /// One of them has nothing that could carry a WebSocket.
    without: bool,
    /// An `if` block proxies.
    block: bool,
}

impl Nesting {
    fn carries(self) -> bool {
        self.block || (self.locations && !self.without)
    }
}

impl<'s, 'a> Outline<'s, 'a> {
    pub fn new(server: &'s Server<'a>) -> Self {
        let locations = server.locations;
        let all_marked =
            server.mode != Mode::Off && locations.iter().all(|location| location.mode != Mode::Off);
        let mut outline = Self {
            locations,
            nesting: vec![Nesting::default(); locations.len()],
            all_marked,
            regexes: HashMap::new(),
            index: OnceCell::new(),
            subrequests: HashMap::new(),
            subrequest_targets: HashSet::new(),
        };
        for (i, location) in locations.iter().enumerate() {
            if let LocationKind::Regex(_) = location.kind {
                outline.regexes.entry(outline.parent(i)).or_default().push(i);
            }
        }
        for (i, location) in locations.iter().enumerate().rev() {
            let carries = outline.carries(i);
            let Some(around) = outline.parent(i).and_then(|p| outline.nesting.get_mut(p)) else {
                continue;
            };
            match location.kind {
                LocationKind::If => around.block |= carries,
                _ => {
                    around.locations = true;
                    around.without |= !carries;
                }
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

    /// Whether the requests of a location, or those of all locations nested in it, can come to
    /// something that could carry a WebSocket.
    pub fn carries(&self, index: usize) -> bool {
        let itself = self.get(index).is_some_and(|location| {
            location.answer.map_or(true, |answer| answer.handled)
                && matches!(location.content, Content::Proxied(_) | Content::Unknown)
        });
        itself || self.nested_carry(index)
    }

    /// The same of what is nested in it.
    pub fn nested_carry(&self, index: usize) -> bool {
        self.nesting.get(index).is_some_and(|nesting| nesting.carries())
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

    /// The location that serves a URI (`ngx_http_core_find_location`).
    fn serving(&self, uri: &[u8]) -> Option<usize> {
        self.find(None, uri).map(Found::index)
    }

    /// The regex location that takes requests for the name of this prefix location.
    pub fn shadow(&self, index: usize) -> Option<usize> {
        let uri = self.get(index)?.name;
        let mut inner = index;
        loop {
            let level = self.parent(inner);
            match self.get(inner)?.kind {
                LocationKind::Prefix => {
                    if let Some(regex) = self.matching_regex(level, uri) {
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
            _ => self.matching_regex(level, uri),
        };
        if let Some(regex) = regexes {
            let innermost = self.find(Some(regex), uri).map_or(regex, Found::index);
            return Some(Found::Final(innermost));
        }
        nested.or(prefix.map(Found::Longest))
    }

    fn matching_regex(&self, level: Option<usize>, uri: &[u8]) -> Option<usize> {
        let regexes = self.regexes.get(&level)?;
        regexes.iter().copied().find(|&i| match self.get(i) {
            Some(Location { kind: LocationKind::Regex(pattern), .. }) => pattern.matches(uri),
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
