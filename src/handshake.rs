//! The way of a handshake, in the order in which nginx calls: its header, the gate, the request for the
//! backend, the backend's answer, the end.
//!
//! nginx calls the functions that it is handed here in its one thread, with pointers that are live for the call:
//! a request, what belongs to it, and the configurations that it was started with. Each function's
//! `# Safety` says which.

pub mod filter;
pub mod gate;
pub mod header;
pub mod log_phase;
pub mod outbound;
pub mod peer;
pub mod switch;
pub mod variables;
