//! What websocket_guard knows that needs no nginx, room by room:
//!
//! - [`words`], [`text`], [`http`]: modes and places, values in a sentence, the parts of an HTTP message
//! - [`handshake`]: the opening handshake of RFC 6455, who may open one, and the check of a backend's 101
//! - [`frame`]: the frames of a tunnel, without its sockets
//! - [`findings`]: the catalogue of all that is reported, and its page of the documentation
//! - [`config`]: the text of a configuration, and what its variables become for an upgrade
//! - [`audit`]: what is wrong with a configuration, at load time
//! - [`diagnosis`]: why an upgrade failed or a tunnel ended, at run time
//!
//! A room imports only those above it, and the last two do not know each other (`.ci/imports` checks that).
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

pub mod audit;
pub mod config;
pub mod diagnosis;
pub mod findings;
pub mod frame;
pub mod handshake;
pub mod http;
pub mod text;
pub mod words;
