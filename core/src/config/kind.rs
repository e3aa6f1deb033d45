//! Kinds of blocks.

/// What a block is to nginx's http modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// The whole configuration.
    Main,
    /// `http`
    Http,
    /// `upstream`
    Upstream,
    /// `map`
    Map,
    /// `server`, in `http`
    Server,
    /// `location`
    Location,
    /// `if`
    If,
    /// `limit_except`
    LimitExcept,
    /// Any other.
    Other,
    /// An included file.
    File,
    /// An `include` directive; files are what is in it.
    Include,
}

impl BlockKind {
    pub(super) fn of(name: &[u8], parent: BlockKind) -> Self {
        match (name, parent) {
            (b"http", Self::Main) => Self::Http,
            (b"upstream", Self::Http) => Self::Upstream,
            (b"map", Self::Http) => Self::Map,
            (b"server", Self::Http) => Self::Server,
            (b"location", Self::Server | Self::Location) => Self::Location,
            (b"if", Self::Server | Self::Location) => Self::If,
            (b"limit_except", Self::Location) => Self::LimitExcept,
            _ => Self::Other,
        }
    }

    /// Whether its directives belong to the block around it.
    pub(super) fn is_transparent(self) -> bool {
        matches!(self, Self::File | Self::Include)
    }
}
