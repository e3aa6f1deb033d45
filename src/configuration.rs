//! From a directive's words to the merged setting of a location.

pub mod conf;
pub mod directives;
pub mod foreign;
pub mod recipe;
pub mod sockets;
pub mod tunnels;
pub mod words;
pub mod written;
