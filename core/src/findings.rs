//! Everything the guard can report, by name: one table, one row for each finding.
//!
//! The log texts, `docs/findings.md`, `websocket_guard_ignore` and the tests all read this table. To
//! add a finding, add a row to `findings/table.rs`; its rule goes to the [audit](crate::audit) (load time),
//! its words to the [diagnosis](crate::diagnosis) (run time and tunnel ends).

mod entry;
mod name;
mod page;
mod set;
mod table;

pub use entry::{Entry, Level};
pub use page::page;
pub use set::FindingSet;
pub use table::{EndFinding, Finding, LoadFinding, RunFinding};
