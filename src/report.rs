//! From what happened to one line in the log, or the value of a variable.

pub mod end;
pub mod facts;
pub mod journal;
pub mod outcome;
