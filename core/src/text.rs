//! Values in a sentence of a log line.

pub mod count;
pub mod duration;
pub mod escape;
pub mod quoted;
