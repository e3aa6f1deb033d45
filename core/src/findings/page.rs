//! `docs/findings.md`, written from the table.

use std::fmt::Write;

use super::{Entry, Finding, Kind, Level};

const HEAD: &str = "\
<!-- generated from core/src/findings/table.rs by `cargo run -p websocket-guard-core --example findings-doc` -->

# Findings

Every line that the guard writes ends with a name in brackets. This page explains each name: how a
user meets it, what causes it, what to do. `websocket_guard_ignore NAME;` silences one of them.
";

const SECTIONS: [(Kind, &str, &str); 3] = [
    (
        Kind::Load,
        "At load time",
        "Found in the configuration by `nginx -t`, at start and at reload. `error`: WebSocket cannot \
         work there. `warn`: it works, but will hurt. `notice`, `info`: worth knowing.",
    ),
    (
        Kind::Run,
        "At run time: why an upgrade failed",
        "One line for each upgrade attempt that did not end in a tunnel, at the level that \
         `websocket_guard_log` sets (`error` by default) unless another one is given here.",
    ),
    (
        Kind::TunnelEnd,
        "How a tunnel ended",
        "One line for each tunnel that neither the client nor the backend closed in the normal way.",
    ),
];

/// The whole text of `docs/findings.md`.
pub fn page() -> String {
    let mut out = String::from(HEAD);
    // Writing to a String cannot fail.
    let _ = contents(&mut out);
    for (kind, heading, intro) in SECTIONS {
        let _ = write!(out, "\n## {heading}\n\n{intro}\n");
        for finding in of_kind(kind) {
            if explained_in(finding) == Some(kind) {
                let _ = entry(&mut out, finding.entry());
            } else {
                let slug = finding.slug();
                let _ = write!(out, "\n[`{slug}`](#{slug}) is reported here too.\n");
            }
        }
    }
    out
}

fn contents(out: &mut String) -> std::fmt::Result {
    for (kind, heading, _) in SECTIONS {
        writeln!(out, "\n{heading}:\n")?;
        for finding in of_kind(kind) {
            let Entry { slug, title, .. } = finding.entry();
            writeln!(out, "- [`{slug}`](#{slug}): {title}")?;
        }
    }
    Ok(())
}

fn entry(out: &mut String, entry: &Entry) -> std::fmt::Result {
    let Entry { slug, reports, title, cause, fix, symptom, example } = entry;
    write!(out, "\n### {slug}\n\n**{title}** (")?;
    for (n, (kind, level)) in reports.iter().enumerate() {
        let separator = if n == 0 { "" } else { "; " };
        write!(out, "{separator}{}", report(*kind, *level))?;
    }
    writeln!(out, ")\n")?;
    writeln!(out, "- Symptom: {symptom}.")?;
    writeln!(out, "- Cause: {cause}.")?;
    writeln!(out, "- Fix: {fix}.")?;
    writeln!(out, "\n```\n{example}\n```")
}

fn report(kind: Kind, level: Level) -> String {
    let when = match kind {
        Kind::Load => "load time",
        Kind::Run => "run time",
        Kind::TunnelEnd => "tunnel end",
    };
    let level = match level {
        Level::Error => "`error`",
        Level::Warn => "`warn`",
        Level::Notice => "`notice`",
        Level::Info => "`info`",
        Level::Configured => "level of `websocket_guard_log`",
    };
    format!("{when}, {level}")
}

fn of_kind(kind: Kind) -> impl Iterator<Item = Finding> {
    Finding::ALL.into_iter().filter(move |finding| finding.level(kind).is_some())
}

/// The section that holds the whole entry; the others refer to it.
fn explained_in(finding: Finding) -> Option<Kind> {
    finding.entry().reports.first().map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_md_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/findings.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == page(),
            "docs/findings.md is stale: run `cargo run -p websocket-guard-core --example findings-doc`"
        );
    }

    #[test]
    fn every_finding_is_explained_once() {
        let page = page();
        for finding in Finding::ALL {
            let heading = format!("\n### {}\n", finding.slug());
            assert_eq!(page.matches(&heading).count(), 1, "{}", finding.slug());
        }
    }
}
