//! Values, as far as they are known.

use std::borrow::Cow;

/// The length of a value from which on no more is known than that it is not empty.
const MAX_LEN: usize = 4096;

/// What a client may send with its handshake.
#[derive(Clone, Copy)]
pub struct Client {
    /// Whether `Connection` has only the token that it must have.
    pub only_upgrade: bool,
    /// Whether there are no cookies and arguments: otherwise they are not known.
    pub bare: bool,
}

impl Client {
    pub const COUNT: usize = 4;

    pub fn index(self) -> usize {
        usize::from(self.only_upgrade) * 2 + usize::from(self.bare)
    }
}

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Evaluated<'a> {
    Known(Cow<'a, [u8]>),
    /// It is neither empty nor `0`.
    Set,
    Unknown,
}

impl<'a> Evaluated<'a> {
    pub fn constant(text: &'static [u8]) -> Self {
        Self::Known(Cow::Borrowed(text))
    }

    pub fn into_owned(self) -> Evaluated<'static> {
        match self {
            Self::Known(text) => Evaluated::Known(Cow::Owned(text.into_owned())),
            Self::Set => Evaluated::Set,
            Self::Unknown => Evaluated::Unknown,
        }
    }

    /// What nginx's `ngx_http_test_predicates` makes of it.
    pub fn is_set(&self) -> Option<bool> {
        match self {
            Self::Known(text) => Some(!matches!(&**text, b"" | b"0")),
            Self::Set => Some(true),
            Self::Unknown => None,
        }
    }

    pub fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Known(text), next) if text.is_empty() => next,
            (value, Self::Known(text)) if text.is_empty() => value,
            (Self::Known(text), Self::Known(next)) if text.len() + next.len() <= MAX_LEN => {
                let mut text = text.into_owned();
                text.extend_from_slice(&next);
                Self::Known(Cow::Owned(text))
            }
            (value, next) if value.is_set() == Some(true) || next.is_set() == Some(true) => {
                Self::Set
            }
            _ => Self::Unknown,
        }
    }
}
