//! The rules of websocket_guard that need no nginx: the opening handshake of RFC 6455, the
//! verification of a backend's 101, origins, and the safe printing of what a peer sent.
//!
//! Everything works on borrowed bytes. What runs for a request allocates nothing, takes time
//! linear in the size of the headers, and cannot panic, whatever the peer sends. Header lines are
//! passed as a cloneable iterator over the values of one header, in the order received.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
// A test that indexes or unwraps wrongly fails, as it should.
#![cfg_attr(
    test,
    allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

pub mod accept;
pub mod audit;
pub mod catalogue;
pub mod diagnosis;
pub mod escape;
pub mod field;
pub mod frame;
pub mod handshake;
pub mod head;
pub mod origin;
pub mod response;
pub mod source;
pub mod token;
pub mod upgrade;
