//! The WebSocket recipe: what the guard makes of a location's proxy settings.

pub mod cache;
mod fill;
pub mod headers;
pub mod merge;
pub mod params;
pub mod settings;
pub mod timeouts;
