//! The way of a handshake, in the order in which nginx calls: its header, the gate, the request for the
//! backend, the backend's answer, the end.

pub mod filter;
pub mod gate;
pub mod header;
pub mod log_phase;
pub mod outbound;
pub mod peer;
pub mod switch;
pub mod variables;
