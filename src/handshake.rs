//! The way of a handshake, in the order in which nginx calls: its header, the gate, the request for the
//! backend, the backend's answer, the end.
//!
//! # What nginx promises
//! It calls the functions that it is handed here in its one thread, with pointers that are not null and live for the
//! call: a request, and what belongs to it. A request has a connection, its log and a value for each indexed variable
//! until it is freed, and its upstream, once it has one, lives in its pool. The configurations that it was started with
//! outlive it. What a function relies on beyond that, is in its `# Safety`.

pub mod filter;
pub mod gate;
pub mod header;
pub mod log_phase;
pub mod outbound;
pub mod peer;
pub mod switch;
pub mod variables;
