//! Why an upgrade failed, or a tunnel ended: from what nginx knows to one line in the log.
//!
//! nginx code only gathers [`Facts`] and [`TunnelEnd`]s. [`diagnose`] decides which finding of the
//! [catalogue](crate::findings) explains them, and [`Diagnosis`] prints it with the values that
//! matter. Nothing here allocates; the texts are written straight into the caller's buffer.

mod connect;
mod decision;
mod facts;
pub mod flood;
mod obstacle;
mod oddity;
mod origin;
mod redirect;
mod scheme;
mod sentence;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;

use std::fmt;

use crate::findings::{EndFinding, Finding, Level, RunFinding};

pub use connect::{Cause, Step, Unconnected};
pub use facts::{
    Alteration, Asks, BackendFacts, Dropped, Early, EarlySigns, Facts, Failure, Gate, Handler,
    HostFrom, Limit, NamedPlace, OtherServer, OwnSettings, Preface, Reached, Sent, SwitchFault,
    Waiting,
};
pub use redirect::{tells_tls, TLS_IN_FRONT};
pub use tunnel::{End, EndSigns, FrameError, MessageRate, MessageTooLarge, TunnelEnd};

/// The diagnosis of a request, if there is anything to say about it.
///
/// There is not for a verified tunnel, nor for plain requests, with few exceptions.
pub fn diagnose<'a>(facts: &'a Facts<'a>) -> Option<Diagnosis<'a>> {
    let finding = decision::finding(facts)?;
    Some(Diagnosis { subject: Subject::Request(finding, facts) })
}

/// The diagnosis of a tunnel's end; `None` for a normal one.
pub fn diagnose_end<'a>(end: &'a TunnelEnd<'a>) -> Option<Diagnosis<'a>> {
    let finding = end.end.finding()?;
    Some(Diagnosis { subject: Subject::Tunnel(finding, end) })
}

/// One finding, and the facts that tell how to word it.
///
/// Displays as the sentence alone, which is the value of `$websocket_guard_reason`; see
/// [`line`](Self::line) for the log.
#[derive(Clone, Copy, Debug)]
pub struct Diagnosis<'a> {
    subject: Subject<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Subject<'a> {
    Request(RunFinding, &'a Facts<'a>),
    Tunnel(EndFinding, &'a TunnelEnd<'a>),
}

impl<'a> Diagnosis<'a> {
    /// No line is longer, in bytes.
    pub const LINE_MAX: usize = 1700;

    /// The finding.
    pub fn finding(&self) -> Finding {
        match self.subject {
            Subject::Request(finding, _) => finding.into(),
            Subject::Tunnel(finding, _) => finding.into(),
        }
    }

    /// The level at which it is logged; `None` for the one that is configured.
    pub fn level(&self) -> Option<Level> {
        match self.subject {
            Subject::Request(finding, _) => finding.level(),
            Subject::Tunnel(finding, _) => Some(finding.level()),
        }
    }

    /// The whole line for the log: `websocket_guard: SENTENCE [NAME]`.
    pub fn line(&self) -> Line<'a> {
        Line(*self)
    }
}

impl fmt::Display for Diagnosis<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject {
            Subject::Request(finding, facts) => sentence::request(f, finding, facts),
            Subject::Tunnel(finding, end) => sentence::tunnel_end(f, finding, end),
        }
    }
}

/// A [`Diagnosis`] as the log shows it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a>(Diagnosis<'a>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line(diagnosis) = self;
        write!(f, "websocket_guard: {diagnosis} [{}]", diagnosis.finding().slug())
    }
}
