//! What is peculiar about a request that a backend was sent, and did not like.

use crate::http::target::differs_beyond_prefix;

use super::facts::{BackendFacts, Facts};

/// One of the things that a backend may have stumbled over. There may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oddity<'a> {
    /// More of the URI has changed on its way than the beginning of its path.
    Uri {
        /// What the client asked for.
        asked: &'a [u8],
        /// What nginx asked for.
        sent: &'a [u8],
    },
}

/// All of them, of a request that did not get a 101.
pub(super) fn oddities<'a>(facts: &Facts<'a>) -> impl Iterator<Item = Oddity<'a>> {
    let upstream = facts.upstream.unwrap_or_default();
    [uri(facts, &upstream)].into_iter().flatten()
}

fn uri<'a>(facts: &Facts<'a>, upstream: &BackendFacts<'a>) -> Option<Oddity<'a>> {
    let (asked, sent) = (facts.uri, upstream.uri);
    // It is not known of uwsgi and scgi.
    let differs = !sent.is_empty() && differs_beyond_prefix(asked, sent);
    differs.then_some(Oddity::Uri { asked, sent })
}
