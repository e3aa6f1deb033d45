//! What the figures were measured on and with.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::files::read;
use crate::report::Report;
use crate::subject::{self, Kind, APACHE, CADDY, HAND, HAPROXY};
use crate::Bench;

/// The head of the page.
pub fn introduction(bench: &Bench) -> Result<String> {
    let cpu = read(Path::new("/proc/cpuinfo"))?;
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = cpu.map_or("unknown", |(_, model)| model);
    let memory = read(Path::new("/proc/meminfo"))?;
    let memory = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<f64>().ok()
    });
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("Linux")
        .trim_matches('"');
    let virtual_machine = if read(Path::new("/proc/cpuinfo"))?.contains(" hypervisor") {
        ", a virtual machine"
    } else {
        ""
    };
    let minutes = bench.start.elapsed().as_secs_f64() / 60.0;

    let mut text = format!(
        "<!-- written by `make bench`; do not edit -->\n\n# Benchmarks\n\n\
         `make bench` wrote this page on {} in {minutes:.0} minutes{}. Load and echo backend are one program on one \
         processor, each proxy has one worker or thread on another one; everything is on loopback, without TLS.\n\n",
        output("date", &["-u", "+%Y-%m-%d"])?,
        if bench.quick { " (quick: a look, not a result)" } else { "" },
    );
    let _ = writeln!(
        text,
        "- machine: {cpu}, {} processors, {:.0} GiB{virtual_machine}",
        bench.processors,
        memory.unwrap_or(f64::NAN) / f64::from(1 << 20),
    );
    let _ = writeln!(text, "- system: {system}, Linux {}", output("uname", &["-r"])?);
    let _ = writeln!(text, "- module: version {}, commit {}", env!("CARGO_PKG_VERSION"), commit());
    for (name, subject) in
        [("nginx", HAND), ("HAProxy", HAPROXY), ("Caddy", CADDY), ("Apache httpd", APACHE)]
    {
        let _ = writeln!(text, "- {name}: `{}`", subject.version(bench)?);
    }
    let _ = writeln!(text, "- valgrind: `{}`", output("valgrind", &["--version"])?);
    text += "\nTo repeat it: `make bench`; `make bench BENCH_QUICK=1` for a look of a few minutes; `make bench-config` for \
             the last part only.\n";
    Ok(text)
}

/// The configurations, as they were used.
pub fn describe(bench: &Bench, report: &mut Report) -> Result<()> {
    report.section(
        "Configurations",
        "Each as its documentation recommends for WebSocket. The hand-written recipe holds all that \
         `websocket_guard on` stands for.",
    );
    for subject in subject::proxies() {
        report.subsection(match subject.kind {
            Kind::Caddy => "Caddy (GOMAXPROCS=1)",
            _ => subject.name,
        });
        report.paragraph(&format!("```\n{}```", subject.example(bench)));
    }
    Ok(())
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A release has no repository around it.
fn commit() -> String {
    let commit =
        output("git", &["describe", "--always", "--dirty", "--exclude=*"]).unwrap_or_default();
    if commit.is_empty() {
        "unknown".to_owned()
    } else {
        commit
    }
}
