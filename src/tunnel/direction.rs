//! The two ways through a tunnel.

use websocket_guard_core::frame::Role;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToBackend,
    ToClient,
}

impl Direction {
    /// Both, that of the client's bytes first.
    pub const BOTH: [Self; 2] = [Self::ToBackend, Self::ToClient];

    /// The way back.
    pub fn opposite(self) -> Self {
        match self {
            Self::ToBackend => Self::ToClient,
            Self::ToClient => Self::ToBackend,
        }
    }

    /// Whose bytes these are.
    pub fn sender(self) -> Role {
        match self {
            Self::ToBackend => Role::Client,
            Self::ToClient => Role::Server,
        }
    }
}

impl From<Role> for Direction {
    fn from(sender: Role) -> Self {
        match sender {
            Role::Client => Self::ToBackend,
            Role::Server => Self::ToClient,
        }
    }
}
