//! Parts of sentences.

use std::fmt::{self, Formatter};

use crate::config::Answer;
use crate::diagnosis::facts::{BackendFacts, Facts, NamedPlace};
use crate::text::escape::Escaped;

/// The location of a request.
pub struct Where<'a>(pub Option<NamedPlace<'a>>);

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self(Some(place)) => place.fmt(f),
            Self(None) => f.write_str("the server (no location)"),
        }
    }
}

/// The backend that was asked.
pub struct Backend<'a> {
    peer: &'a [u8],
    name: &'a [u8],
}

impl<'a> Backend<'a> {
    pub fn of(facts: &Facts<'a>) -> Self {
        let BackendFacts { peer, name, .. } = facts.upstream.unwrap_or_default();
        Self { peer, name }
    }
}

impl fmt::Display for Backend<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.peer, self.name) {
            (b"", b"") => f.write_str("the backend"),
            (b"", name) => write!(f, "backend \"{}\"", Escaped(name)),
            (peer, _) => write!(f, "backend {}", Escaped(peer)),
        }
    }
}

/// The directive that answered.
pub struct By<'a>(pub Option<Answer<'a>>);

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self(Some(answer)) => write!(f, " by {answer}"),
            Self(None) => Ok(()),
        }
    }
}

/// The target of a redirect.
pub struct To<'a>(pub Option<&'a [u8]>);

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self(Some(target)) => write!(f, " to \"{}\"", Escaped(target)),
            Self(None) => Ok(()),
        }
    }
}
