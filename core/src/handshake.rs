//! The opening handshake of RFC 6455: what a client asks, who may ask, what a backend answers.

pub mod accept;
pub mod origin;
mod regex;
mod request;
pub mod switch;
pub mod upgrade;

pub use request::{Action, Request, Strictness, ValueFault, Violation, VERSION};
