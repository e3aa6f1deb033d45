//! The benchmark of ngx_http_websocket_guard_module: `make bench`.
//!
//! Load and echo backend are this program; each proxy is started for it, on loopback, on a processor of its own.
//! See `USAGE` and docs/benchmarks.md, which it writes.

mod backend;
mod callgrind;
mod chart;
mod client;
mod configuration;
mod echo;
mod fairness;
mod files;
mod http;
mod idle;
mod instructions;
mod machine;
mod process;
mod rates;
mod report;
mod statistics;
mod subject;
mod tls;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{anyhow, bail, Context, Error, Result};
use tokio::signal::unix::{signal, SignalKind};

use crate::process::Scratch;
use crate::report::Report;

const USAGE: &str = "websocket-guard-bench --module FILE [--nginx FILE] [--output DIRECTORY] [--quote FILE] [--quick] [PART ...]

Measures the parts rates, idle, fairness, instructions and configuration, or those that are named.

  --module FILE       ngx_http_websocket_guard_module.so
  --nginx FILE        the nginx that it is built for (nginx)
  --output DIRECTORY  write benchmarks.md and benchmarks/*.svg there; otherwise the figures are printed
  --quote FILE        write the figures that have a goal into it, between the marks that it has for them
  --quick             fewer and shorter rounds: a look, not a result
";

/// What all parts need to know.
pub struct Bench {
    nginx: PathBuf,
    module: PathBuf,
    backend: SocketAddr,
    scratch: Scratch,
    processors: usize,
    proxy_cpu: usize,
    load_cpu: usize,
    /// `worker_connections` and its like: two for each tunnel, and a third to spare, since nginx drops
    /// connections that have not yet sent a request when few are left.
    connections: u64,
    tunnels: usize,
    quick: bool,
    start: Instant,
}

impl Bench {
    fn progress(&self, what: impl std::fmt::Display) {
        eprintln!("{:4} s  {what}", self.start.elapsed().as_secs());
    }
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("websocket-guard-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // How this program starts others: see process.rs.
    match arguments.first().and_then(|first| first.to_str()) {
        Some("exec") => return process::exec(arguments.split_off(1)),
        Some("measure") => return process::measure(arguments.split_off(1)),
        _ => {}
    }
    let options = Options::parse(arguments).map_err(|error| anyhow!("{error}\n\n{USAGE}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = run(options) => result,
            result = tokio::signal::ctrl_c() => result.map_err(Error::from).and(Err(anyhow!("interrupted"))),
            _ = terminate.recv() => Err(anyhow!("terminated")),
        }
    })
}

struct Options {
    nginx: PathBuf,
    module: PathBuf,
    output: Option<PathBuf>,
    quote: Option<PathBuf>,
    quick: bool,
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Rates,
    Idle,
    Fairness,
    Instructions,
    Configuration,
}

const PARTS: [(&str, Part); 5] = [
    ("rates", Part::Rates),
    ("idle", Part::Idle),
    ("fairness", Part::Fairness),
    ("instructions", Part::Instructions),
    ("configuration", Part::Configuration),
];

impl Options {
    fn parse(arguments: Vec<OsString>) -> Result<Self> {
        let mut arguments = pico_args::Arguments::from_vec(arguments);
        let mut options = Self {
            nginx: arguments.opt_value_from_str("--nginx")?.unwrap_or_else(|| "nginx".into()),
            module: arguments.value_from_str("--module")?,
            output: arguments.opt_value_from_str("--output")?,
            quote: arguments.opt_value_from_str("--quote")?,
            quick: arguments.contains("--quick"),
            parts: Vec::new(),
        };
        for argument in arguments.finish() {
            let part = PARTS.iter().find(|(name, _)| argument == *name);
            let (_, part) = part.ok_or_else(|| anyhow!("there is no part {argument:?}"))?;
            options.parts.push(*part);
        }
        if options.parts.is_empty() {
            options.parts.extend(PARTS.iter().map(|(_, part)| part));
        }
        Ok(options)
    }
}

async fn run(options: Options) -> Result<()> {
    let processors = std::thread::available_parallelism()?.get();
    if processors < 2 {
        bail!("it takes two processors: one for the proxy, one for the load");
    }
    let files = process::raise_file_limit()?;
    let tunnels =
        (if options.quick { 1000 } else { 4000 }).min((files as usize).saturating_sub(500) / 2);
    let module =
        options.module.canonicalize().with_context(|| options.module.display().to_string())?;
    let bench = Bench {
        nginx: options.nginx,
        module,
        backend: process::free_address()?,
        scratch: Scratch::new()?,
        processors,
        proxy_cpu: 0,
        load_cpu: 1,
        connections: 3 * tunnels as u64,
        tunnels,
        quick: options.quick,
        start: Instant::now(),
    };
    process::pin(bench.load_cpu)?;
    backend::start(bench.backend)?;

    let mut report = Report::default();
    for part in &options.parts {
        match part {
            Part::Rates => rates::run(&bench, &mut report).await?,
            Part::Idle => idle::run(&bench, &mut report).await?,
            Part::Fairness => fairness::run(&bench, &mut report).await?,
            Part::Instructions => instructions::run(&bench, &mut report).await?,
            Part::Configuration => configuration::run(&bench, &mut report).await?,
        }
    }
    bench.progress("done");
    if let Some(file) = options.quote {
        report.quote(&file)?;
    }
    match options.output {
        Some(directory) => {
            machine::describe(&bench, &mut report)?;
            report.write(&directory, &machine::introduction(&bench)?)
        }
        None => {
            print!("{}", report.text());
            Ok(())
        }
    }
}
