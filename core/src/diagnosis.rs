//! Why an upgrade failed, or a tunnel ended: from what nginx knows to one line in the log.
//!
//! nginx code only gathers [`Facts`] and [`TunnelEnd`]s. [`diagnose`] decides which finding of the
//! [catalogue](crate::findings) explains them, and [`Diagnosis`] prints it with the values that
//! matter. Nothing here allocates; the texts are written straight into the caller's buffer.

mod decision;
mod facts;
mod sentence;
#[cfg(test)]
mod tests;
mod tunnel;

use std::fmt;

use crate::findings::{Finding, Kind, Level};

#[doc(hidden)]
pub use crate::words::Mode;
pub use decision::diagnose;
pub use facts::{
    Alteration, Asks, Early, EarlySigns, Facts, Failure, Gate, Handler, Limit, NamedPlace, Reached,
    Sent, SwitchFault, Upstream, Waiting,
};
pub use tunnel::{diagnose_end, End, EndSigns, TunnelEnd};

/// One finding, and the facts that tell how to word it.
///
/// Displays as the sentence alone, which is the value of `$websocket_guard_reason`; see
/// [`line`](Self::line) for the log.
#[derive(Clone, Copy, Debug)]
pub struct Diagnosis<'a> {
    finding: Finding,
    subject: Subject<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Subject<'a> {
    Request(&'a Facts<'a>),
    Tunnel(&'a TunnelEnd<'a>),
}

impl<'a> Diagnosis<'a> {
    /// No line is longer, in bytes.
    pub const LINE_MAX: usize = 1200;

    /// The finding.
    pub fn finding(&self) -> Finding {
        self.finding
    }

    /// The level at which it is logged.
    pub fn level(&self) -> Level {
        let kind = match self.subject {
            Subject::Request(_) => Kind::Run,
            Subject::Tunnel(_) => Kind::TunnelEnd,
        };
        self.finding.level(kind).unwrap_or(Level::Configured)
    }

    /// The whole line for the log: `websocket_guard: SENTENCE [NAME]`.
    pub fn line(&self) -> Line<'a> {
        Line(*self)
    }
}

impl fmt::Display for Diagnosis<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject {
            Subject::Request(facts) => sentence::request(f, self.finding, facts),
            Subject::Tunnel(end) => sentence::tunnel_end(f, self.finding, end),
        }
    }
}

/// A [`Diagnosis`] as the log shows it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a>(Diagnosis<'a>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line(diagnosis) = self;
        write!(f, "websocket_guard: {diagnosis} [{}]", diagnosis.finding.slug())
    }
}
