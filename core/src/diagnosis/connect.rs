//! Why nginx got no connection to a backend.

use std::fmt;

use crate::text::escape::Escaped;

/// What the system said, and what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unconnected<'a> {
    /// Who or what is to blame.
    pub cause: Cause,
    /// The system's error; 0 if there was none, or nobody saw it.
    pub number: i32,
    /// Its text.
    pub text: &'a [u8],
}

/// Where a connection fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// nginx had not even asked for one (`ngx_event_connect_peer` returned `NGX_ERROR`).
    Before {
        /// Whether proxy_bind gives it an address of its own.
        bound: bool,
        /// How many worker_connections there are, if all are taken.
        exhausted: Option<u64>,
    },
    /// `connect()`, at once or later.
    Connect,
}

/// What is missing, or who does not want to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// nginx's: all worker_connections are taken, of which there are so many.
    WorkerConnections(u64),
    /// nginx's: the process may not open another file.
    Descriptors,
    /// The system's: nobody may.
    SystemDescriptors,
    /// The system's: it has no memory for a socket.
    Memory,
    /// The system's: no port is left for a connection to that address.
    Ports,
    /// The address of proxy_bind cannot be had.
    LocalAddress,
    /// nginx must not use it.
    LocalForbidden,
    /// nginx must not connect.
    Forbidden,
    /// The backend does not take its connections from its queue.
    QueueFull,
    /// There is no way to that address.
    NoRoute,
    /// Nobody is there, or nobody knows.
    Absent,
}

impl Cause {
    /// What an error of the system at a step means.
    pub fn infer(step: Step, number: i32) -> Self {
        match (step, number) {
            (_, libc::EMFILE) => Self::Descriptors,
            (_, libc::ENFILE) => Self::SystemDescriptors,
            (_, libc::ENOMEM | libc::ENOBUFS) => Self::Memory,
            (Step::Before { exhausted: Some(all), .. }, 0) => Self::WorkerConnections(all),
            (Step::Before { bound: true, .. }, libc::EADDRINUSE) => Self::Ports,
            (Step::Before { bound: true, .. }, libc::EACCES | libc::EPERM) => Self::LocalForbidden,
            (Step::Before { bound: true, .. }, number) if number != 0 => Self::LocalAddress,
            (_, libc::EACCES | libc::EPERM) => Self::Forbidden,
            (Step::Connect, libc::EADDRNOTAVAIL | libc::EADDRINUSE) => Self::Ports,
            (Step::Connect, libc::EAGAIN) => Self::QueueFull,
            (
                Step::Connect,
                libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN,
            ) => Self::NoRoute,
            _ => Self::Absent,
        }
    }

    /// Whether the backend could not even be asked, because something ran out here.
    pub(super) fn is_exhaustion(self) -> bool {
        match self {
            Self::WorkerConnections(_)
            | Self::Descriptors
            | Self::SystemDescriptors
            | Self::Memory
            | Self::Ports => true,
            Self::LocalAddress
            | Self::LocalForbidden
            | Self::Forbidden
            | Self::QueueFull
            | Self::NoRoute
            | Self::Absent => false,
        }
    }
}

impl Unconnected<'_> {
    /// Nothing is known of it.
    pub const UNKNOWN: Self = Self { cause: Cause::Absent, number: 0, text: b"" };
}

/// The system's error as nginx prints it; nothing without one.
impl fmt::Display for Unconnected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => Ok(()),
            number => write!(f, " ({number}: {})", Escaped(self.text)),
        }
    }
}
