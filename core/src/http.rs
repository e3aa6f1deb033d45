//! The parts of an HTTP message that a handshake needs (RFC 9110, RFC 9112).

pub mod field;
pub mod head;
pub mod host;
pub mod status;
pub mod target;
pub mod token;
pub mod version;
