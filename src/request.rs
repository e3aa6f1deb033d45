//! What is known of one request.

pub mod attempt;
pub mod exchange;
pub mod judge;
pub mod keepalive;
pub mod other_server;
pub mod record;
pub mod view;
