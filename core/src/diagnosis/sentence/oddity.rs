//! What is peculiar about what the backend was sent, and what to do about that.

use std::fmt::{self, Formatter};

use crate::diagnosis::facts::Facts;
use crate::diagnosis::oddity::{oddities, Oddity};
use crate::findings::RunFinding;
use crate::text::escape::Escaped;

/// Adds it to the cause.
pub fn clauses(f: &mut Formatter, finding: RunFinding, facts: &Facts) -> fmt::Result {
    if !tells(finding) {
        return Ok(());
    }
    oddities(facts).try_for_each(|oddity| match oddity {
        // That sentence has both already.
        Oddity::Uri { .. } if finding == RunFinding::BackendNotFound => Ok(()),
        Oddity::Uri { asked, sent } => write!(
            f,
            "; the client asked for \"{}\" and nginx for \"{}\"",
            Escaped(asked),
            Escaped(sent)
        ),
    })
}

/// Writes what to do: about all that is peculiar, and what the finding needs besides.
pub fn fix(
    f: &mut Formatter,
    finding: RunFinding,
    facts: &Facts,
    usual: &'static str,
) -> fmt::Result {
    let mut any = false;
    if !tells(finding) || !explains(finding) {
        f.write_str(usual)?;
        any = true;
    }
    if tells(finding) {
        for oddity in oddities(facts) {
            f.write_str(if any { ", and " } else { "" })?;
            f.write_str(fix_of(oddity))?;
            any = true;
        }
    }
    if any {
        Ok(())
    } else {
        f.write_str(usual)
    }
}

fn fix_of(oddity: Oddity) -> &'static str {
    match oddity {
        Oddity::Uri { .. } => {
            "pass the URI on as it came, by a proxy_pass without one, or correct the rewrite or the \
             URI there: \"$1\" and \"$uri\" are decoded and have no query"
        }
    }
}

/// Whether the backend may have stumbled over what it was sent.
fn tells(finding: RunFinding) -> bool {
    explains(finding)
        || matches!(
            finding,
            RunFinding::BackendOrigin
                | RunFinding::BackendAuth
                | RunFinding::BackendRedirect
                | RunFinding::BackendError
                | RunFinding::BackendClosed
        )
}

/// Whether what is peculiar is a better explanation than that of the finding.
fn explains(finding: RunFinding) -> bool {
    matches!(
        finding,
        RunFinding::BackendBadHandshake
            | RunFinding::BackendNotFound
            | RunFinding::BackendNotWebsocket
    )
}
