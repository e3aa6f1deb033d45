//! The load-time audit: what is missing or contradictory for WebSocket in a configuration.

pub mod model;
