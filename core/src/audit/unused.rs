//! What is asked of the guard where it guards nothing.

use std::collections::HashSet;

use super::model::{Asked, Site};
use crate::words::Place;

/// The directives that no guarded location has, by place. What is used once is not among them, however often an
/// `include` repeats it elsewhere.
#[derive(Default)]
pub struct Unused<'a>(HashSet<Place<'a>>);

impl<'a> Unused<'a> {
    pub fn new(site: &Site<'a>) -> Self {
        let mut unused: HashSet<Place> = HashSet::new();
        let mut used: HashSet<Place> = HashSet::new();
        let mut note = |asked: &[Asked<'a>], is_used| {
            let places = asked.iter().map(|asked| asked.place);
            if is_used { &mut used } else { &mut unused }.extend(places);
        };
        let mut in_site = site.http.mode.is_guarded();
        for server in site.servers {
            let mut in_server = server.own.mode.is_guarded();
            let mut below = vec![false; server.locations.len()];
            // What is nested stands behind what it is nested in.
            for (index, location) in server.locations.iter().enumerate().rev() {
                let nested = below.get(index).copied().unwrap_or_default();
                let guarded = location.mode.is_guarded() || nested;
                if let Some(around) = location.parent.and_then(|it| below.get_mut(it)) {
                    *around |= guarded;
                }
                note(location.asked, guarded);
                in_server |= guarded;
            }
            note(server.own.asked, in_server);
            in_site |= in_server;
        }
        note(site.http.asked, in_site);
        unused.retain(|place| !used.contains(place));
        Self(unused)
    }

    /// Whether any of it is not used.
    pub fn is_among(&self, asked: &[Asked<'a>]) -> bool {
        asked.iter().any(|asked| self.contains(asked))
    }

    pub fn contains(&self, asked: &Asked<'a>) -> bool {
        self.0.contains(&asked.place)
    }
}
