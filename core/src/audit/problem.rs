//! What a rule returns.

use std::borrow::Cow;

use crate::findings::Level;

use crate::words::{Place, SetAt};

/// Something that a rule found wrong.
#[derive(Debug)]
pub struct Problem<'a> {
    /// What is wrong, as the predicate of a sentence about the location.
    pub(super) what: String,
    /// What to do about it, where the catalogue's own clause does not fit.
    pub(super) fix: Option<Cow<'static, str>>,
    /// Its level, where that differs from the finding's.
    pub(super) level: Option<Level>,
    pub(super) at: At<'a>,
}

/// Where the offending directive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At<'a> {
    /// That is not known, or there is none: the location itself is shown.
    Subject,
    /// In the location.
    Inside(Place<'a>),
    /// Outside of it, so that other locations may suffer from the same.
    Outside(Place<'a>),
}

impl<'a> Problem<'a> {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), fix: None, level: None, at: At::Subject }
    }

    pub(super) fn fix(mut self, fix: impl Into<Cow<'static, str>>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// The same if that is so.
    pub(super) fn fix_where(self, is_so: bool, fix: &'static str) -> Self {
        if is_so {
            self.fix(fix)
        } else {
            self
        }
    }

    pub(super) fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    pub(super) fn at(mut self, origin: SetAt<'a>) -> Self {
        self.at = match origin {
            SetAt::Here(Some(place)) => At::Inside(place),
            SetAt::Above(Some(place)) => At::Outside(place),
            SetAt::Default | SetAt::Guard | SetAt::Here(None) | SetAt::Above(None) => At::Subject,
        };
        self
    }
}
