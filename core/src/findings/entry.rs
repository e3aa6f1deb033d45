//! What the table says of a finding.

/// The log level of a report; nginx's levels of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// WebSocket cannot work, or a tunnel was lost.
    Error,
    /// It works, but will hurt.
    Warn,
    /// Worth knowing, and normally logged.
    Notice,
    /// Worth knowing, normally not logged.
    Info,
}

/// One row of the catalogue. All texts are lower-case sentences without a full stop.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name: what stands in brackets at the end of a line.
    pub slug: &'static str,
    /// What is wrong, in one short sentence.
    pub title: &'static str,
    /// Why that breaks or hurts a WebSocket.
    pub cause: &'static str,
    /// What to do about it: the clause that ends a log line.
    pub fix: &'static str,
    /// How a user meets it: in the browser, in wscat, in the logs.
    pub symptom: &'static str,
    /// Load time: a configuration before and after. Else the line in the log.
    pub example: &'static str,
}
