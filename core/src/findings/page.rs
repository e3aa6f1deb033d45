//! `docs/findings.md`, written from the table.

use std::fmt::Write;

use super::entry::{Entry, Level};
use super::table::{EndFinding, Finding, LoadFinding, RunFinding};

/// When a finding is reported.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Load,
    Run,
    TunnelEnd,
}

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
                let _ = explain(&mut out, finding);
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

fn explain(out: &mut String, finding: Finding) -> std::fmt::Result {
    let Entry { slug, title, cause, fix, symptom, example } = finding.entry();
    let reports: Vec<String> =
        reports(finding).into_iter().map(|(kind, level)| report(kind, level)).collect();
    writeln!(out, "\n### {slug}\n\n**{title}** ({})\n", reports.join("; "))?;
    writeln!(out, "- Symptom: {symptom}.")?;
    writeln!(out, "- Cause: {cause}.")?;
    writeln!(out, "- Fix: {fix}.")?;
    writeln!(out, "\n```\n{example}\n```")
}

fn report(kind: Kind, level: Option<Level>) -> String {
    let when = match kind {
        Kind::Load => "load time",
        Kind::Run => "run time",
        Kind::TunnelEnd => "tunnel end",
    };
    let level = match level {
        Some(Level::Error) => "`error`",
        Some(Level::Warn) => "`warn`",
        Some(Level::Notice) => "`notice`",
        Some(Level::Info) => "`info`",
        None => "level of `websocket_guard_log`",
    };
    format!("{when}, {level}")
}

fn of_kind(kind: Kind) -> impl Iterator<Item = Finding> {
    let reported = move |finding: &Finding| reports(*finding).iter().any(|(it, _)| *it == kind);
    Finding::ALL.into_iter().filter(reported)
}

/// The section that holds the whole entry; the others refer to it.
fn explained_in(finding: Finding) -> Option<Kind> {
    reports(finding).first().map(|(kind, _)| *kind)
}

/// When it is reported, and at which level; `None` for that of `websocket_guard_log`.
fn reports(finding: Finding) -> Vec<(Kind, Option<Level>)> {
    let load = LoadFinding::ALL.iter().map(|it| (Finding::from(*it), Kind::Load, Some(it.level())));
    let run = RunFinding::ALL.iter().map(|it| (Finding::from(*it), Kind::Run, it.level()));
    let end =
        EndFinding::ALL.iter().map(|it| (Finding::from(*it), Kind::TunnelEnd, Some(it.level())));
    let all = load.chain(run).chain(end).filter(|(it, ..)| *it == finding);
    all.map(|(_, kind, level)| (kind, level)).collect()
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
