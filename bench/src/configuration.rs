//! `nginx -t` on very large configurations: time, memory and instructions.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::callgrind::{self, Count};
use crate::chart::{Bar, Panel};
use crate::files::write;
use crate::process::pinned;
use crate::report::{ratio, whole, Bound, Report};
use crate::statistics::{median, order, Estimate};
use crate::subject::{HAND_DIRECTIVES, HAND_MAP, TEMPORARY_PATHS};
use crate::Bench;
use anyhow::{anyhow, Context, Result};
use fastrand::Rng;

const SERVERS: usize = 50;

#[derive(Clone, Copy, PartialEq)]
enum Variant {
    Hand,
    Guard,
    /// What the audit of hand-written recipes costs.
    Audited,
    Plain,
}

const VARIANTS: [(Variant, &str); 4] = [
    (Variant::Hand, "hand-written recipe"),
    (Variant::Guard, "guard"),
    (Variant::Audited, "hand-written recipe, module loaded"),
    (Variant::Plain, "no recipe, no module"),
];

/// One `nginx -t`: seconds of CPU time and KiB at the peak.
struct Load {
    time: f64,
    memory: f64,
}

struct Measured {
    name: &'static str,
    variant: Variant,
    directory: PathBuf,
    file: PathBuf,
    loads: Vec<Load>,
    /// Of a location.
    instructions: f64,
}

impl Measured {
    fn times(&self) -> Vec<f64> {
        self.loads.iter().map(|load| load.time).collect()
    }

    fn memories(&self) -> Vec<f64> {
        self.loads.iter().map(|load| load.memory).collect()
    }
}

pub async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let (rounds, locations) = if bench.quick { (3, 5_000) } else { (7, 50_000) };
    let mut all = Vec::new();
    for (variant, name) in VARIANTS {
        bench.progress(format!("Configuration, instructions, {name}"));
        all.push(prepare(bench, variant, name, locations).await.context(name)?);
    }
    // The same order in every run, so that a run can be repeated.
    let mut random = Rng::with_seed(3);
    for round in 0..rounds {
        bench.progress(format!("Configuration, round {} of {rounds}", round + 1));
        for at in order(&mut random, all.len()) {
            let Some(measured) = all.get_mut(at) else { continue };
            let load = load(bench, &measured.directory, &measured.file).await;
            measured.loads.push(load.context(measured.name)?);
        }
    }

    let locations = whole(locations as f64);
    report.section("Configuration", &format!(
        "`nginx -t` of {locations} proxied locations in {SERVERS} servers: medians of {rounds} interleaved runs; user-space \
         instructions of a location, counted by callgrind (a configuration without locations subtracted)."
    ));
    describe(report, &locations, &all);
    Ok(())
}

/// Writes the configurations of a variant and counts its instructions.
async fn prepare(
    bench: &Bench,
    variant: Variant,
    name: &'static str,
    locations: usize,
) -> Result<Measured> {
    let directory = bench.scratch.directory(&format!("configuration-{}", variant as u8))?;
    let (file, empty) = (directory.join("nginx.conf"), directory.join("empty.conf"));
    write(&file, &text(bench, variant, locations))?;
    write(&empty, &text(bench, variant, 0))?;
    let rest = instructions(bench, &directory, &empty).await?;
    let whole = instructions(bench, &directory, &file).await?;
    let instructions = (whole - rest) / locations as f64;
    Ok(Measured { name, variant, directory, file, loads: Vec::new(), instructions })
}

fn describe(report: &mut Report, locations: &str, all: &[Measured]) {
    let Some(hand) = all.first() else { return };
    let mut rows = Vec::new();
    let mut panels = [
        Panel { title: "Instructions of a location while loading".to_owned(), bars: Vec::new() },
        Panel { title: format!("Peak memory with {locations} locations, MiB"), bars: Vec::new() },
    ];
    for measured in all {
        let time = Estimate::ratio(&measured.times(), &hand.times());
        let memory = Estimate::ratio(&measured.memories(), &hand.memories());
        let instructions = Estimate::exact(measured.instructions / hand.instructions);
        let mebibytes = median(&measured.memories()) / 1024.0;
        rows.push(vec![
            measured.name.to_owned(),
            format!("{:.2}", median(&measured.times())),
            format!("{mebibytes:.0}"),
            whole(measured.instructions),
            ratio(&time),
            ratio(&memory),
            ratio(&instructions),
        ]);
        let [counts, peaks] = &mut panels;
        let label = measured.name.to_owned();
        counts.bars.push(Bar {
            label: label.clone(),
            value: measured.instructions,
            text: whole(measured.instructions),
        });
        peaks.bars.push(Bar { label, value: mebibytes, text: format!("{mebibytes:.0}") });
        if measured.variant == Variant::Guard {
            for (what, estimate) in [("instructions", instructions), ("peak memory", memory)] {
                let what =
                    format!("Configuration of {locations} locations: {what}, guard / by hand");
                report.goal(what, Bound::AtMost(1.0), estimate);
            }
        }
    }
    report.table(
        &[
            "",
            "CPU, s",
            "peak, MiB",
            "instructions per location",
            "CPU × hand",
            "peak × hand",
            "instructions × hand",
        ],
        &rows,
    );
    report.chart("configuration", &panels);
}

fn text(bench: &Bench, variant: Variant, locations: usize) -> String {
    let module = matches!(variant, Variant::Guard | Variant::Audited);
    let load =
        if module { format!("load_module {};\n", bench.module.display()) } else { String::new() };
    let (map, directives) = match variant {
        Variant::Hand | Variant::Audited => (HAND_MAP, HAND_DIRECTIVES),
        Variant::Guard => ("", "\n            websocket_guard on;"),
        Variant::Plain => ("", ""),
    };
    let mut text = format!(
        "{load}error_log error.log;
pid nginx.pid;
events {{
}}
http {{
    access_log off;
{TEMPORARY_PATHS}{map}    upstream backend {{
        server {};
    }}
",
        bench.backend
    );
    for server in 0..SERVERS {
        let _ = write!(text, "    server {{\n        listen 127.0.0.1:8000;\n        server_name s{server}.example;\n");
        for location in 0..locations / SERVERS {
            let _ = write!(
                text,
                "        location /socket-{location:04}/ {{{directives}\n            proxy_pass http://backend;\n        }}\n"
            );
        }
        text += "    }\n";
    }
    text + "}\n"
}

/// Without it Debian's nginx writes what is only worth knowing to the terminal.
const LOG: [&str; 2] = ["-e", "error.log"];

async fn load(bench: &Bench, directory: &Path, file: &Path) -> Result<Load> {
    let mut command = pinned(bench.proxy_cpu, std::env::current_exe()?)?;
    command
        .arg("measure")
        .arg(&bench.nginx)
        .args(["-t", "-q", "-p"])
        .arg(directory)
        .arg("-c")
        .arg(file)
        .args(LOG);
    let output = output(command).await?;
    let mut numbers = output.split_whitespace().map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(microseconds)), Some(Ok(memory))) => Ok(Load { time: microseconds / 1e6, memory }),
        _ => Err(anyhow!("not what was to be measured: {output}")),
    }
}

async fn instructions(bench: &Bench, directory: &Path, file: &Path) -> Result<f64> {
    let counts = directory.join("callgrind.out");
    let mut command = pinned(bench.proxy_cpu, "valgrind")?;
    callgrind::arguments(&mut command, &counts);
    command.arg(&bench.nginx).args(["-t", "-q", "-p"]).arg(directory).arg("-c").arg(file).args(LOG);
    output(command).await?;
    Ok(Count::read(&counts)?.total)
}

/// What a command prints; what it complains about is an error.
async fn output(command: std::process::Command) -> Result<String> {
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && complaint.is_empty() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let start: String = complaint.lines().take(5).collect::<Vec<_>>().join("\n");
        Err(anyhow!("{}\n{start}", output.status))
    }
}
