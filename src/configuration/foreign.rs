//! Other modules' settings: where they stand, and who they are.

pub mod keepalive;
pub mod proxies;
mod trial;
