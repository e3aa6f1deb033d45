//! From what happened to one line in the log, or the value of a variable.

pub mod facts;
pub mod journal;
pub mod outcome;
