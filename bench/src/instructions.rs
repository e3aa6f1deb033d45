//! Exact figures: what one operation costs an nginx of a single process in instructions. It is the slope
//! between two runs that differ only in the number of operations, so that start and end cancel out.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use tokio::time::timeout;

use crate::callgrind::{self, Count};
use crate::chart::{Bar, Panel};
use crate::client::{self, WEBSOCKET};
use crate::echo::Echo;
use crate::files::write;
use crate::process::{free_address, pinned, Server};
use crate::report::{ratio, whole, Bound, Report};
use crate::statistics::Estimate;
use crate::subject::{self, Kind, Subject, GUARD, GUARD_FEATURES, GUARD_NO_FRAMES};
use crate::Bench;

const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq)]
enum Operation {
    Handshake,
    Echo(usize),
    Plain(&'static str),
}

struct Work {
    title: &'static str,
    operation: Operation,
    /// Of one run and of the other.
    counts: (u32, u32),
    goal: Option<f64>,
}

/// What it may cost to look at frames, against a tunnel whose bytes are not looked at, by the size of messages.
const FRAMES: [(usize, f64); 3] = [(64, 1.02), (1 << 10, 1.02), (64 << 10, 1.005)];

/// The same with every feature on frames.
const FEATURES: f64 = 1.02;

const WORK: [Work; 7] = [
    Work {
        title: "handshake",
        operation: Operation::Handshake,
        counts: (50, 350),
        goal: Some(1.02),
    },
    Work {
        title: "plain request, untouched location that nginx answers",
        operation: Operation::Plain("/answer/"),
        counts: (100, 2100),
        goal: Some(1.001),
    },
    Work {
        title: "plain request, untouched location that is proxied",
        operation: Operation::Plain("/plain/"),
        counts: (50, 350),
        goal: Some(1.001),
    },
    Work {
        title: "plain request, WebSocket location",
        operation: Operation::Plain(WEBSOCKET),
        counts: (50, 350),
        goal: None,
    },
    Work {
        title: "round trip of 64 B",
        operation: Operation::Echo(64),
        counts: (100, 3100),
        goal: None,
    },
    Work {
        title: "round trip of 1 KiB",
        operation: Operation::Echo(1 << 10),
        counts: (100, 3100),
        goal: None,
    },
    Work {
        title: "round trip of 64 KiB",
        operation: Operation::Echo(64 << 10),
        counts: (50, 550),
        goal: None,
    },
];

pub async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let rounds = if bench.quick { 1 } else { 3 };
    report.section("Instructions", &format!(
        "User-space instructions of a single nginx process (`valgrind --tool=callgrind`), the slope between two \
         numbers of operations, one after the other. The least of {rounds} counts is taken: what \
         the clock and the scheduler do to a run can only add to it. The hand-written recipe runs without the \
         module; for the untouched locations it is therefore the nginx without the module."
    ));
    let mut rows = Vec::new();
    let mut panels = Vec::new();
    for work in &WORK {
        let mut bars = Vec::new();
        let mut hand = None;
        let (mut guard, mut features, mut no_frames) = (None, None, None);
        let subjects = match work.operation {
            Operation::Echo(_) => subject::nginxes_and_frames(),
            Operation::Handshake | Operation::Plain(_) => subject::nginxes(),
        };
        for (at, subject) in subjects.iter().enumerate() {
            let place = format!("Instructions, {}, {}", work.title, subject.name);
            bench.progress(&place);
            let cost = cost(bench, *subject, work, rounds).await.context(place)?;
            let hand = *hand.get_or_insert(cost);
            if subject.kind == GUARD.kind {
                guard = Some(cost);
            } else if subject.kind == GUARD_FEATURES.kind {
                features = Some(cost);
            } else if subject.kind == GUARD_NO_FRAMES.kind {
                no_frames = Some(cost);
            }
            let title = if at == 0 { work.title } else { "" };
            rows.extend(describe(title, subject.name, cost, hand));
            let (value, label) = (cost.total, subject.name.to_owned());
            bars.push(Bar { label, value, text: whole(value) });
            if let (1, Some(goal)) = (at, work.goal) {
                // In a plain request the guard takes nothing from the heap, see below.
                let (title, against) = match work.operation {
                    Operation::Plain(_) => (
                        "Instructions except malloc and free, with / without the module",
                        cost.heapless / hand.heapless,
                    ),
                    _ => ("Instructions, guard / by hand", cost.total / hand.total),
                };
                report.goal(
                    format!("{title}: {}", work.title),
                    Bound::AtMost(goal),
                    Estimate::exact(against),
                );
            }
        }
        panels.push(Panel { title: format!("Instructions: {}", work.title), bars });
        let goal = FRAMES.iter().find(|(size, _)| work.operation == Operation::Echo(*size));
        let costs = guard.zip(features).zip(no_frames).zip(goal);
        if let Some((((guard, features), no_frames), (_, goal))) = costs {
            for (what, cost, goal) in [
                ("frames looked at", guard, *goal),
                ("every feature on frames", features, FEATURES),
            ] {
                report.goal(
                    format!("Instructions, {what} / frames not looked at: {}", work.title),
                    Bound::AtMost(goal),
                    Estimate::exact(cost.total / no_frames.total),
                );
            }
        }
    }
    report.table(&["", "nginx with", "instructions", "more in the worst run", "× hand"], &rows);
    report.paragraph(
        "SHA-1, which proves that a 101 is the backend's, is counted in software: the processor that valgrind \
         imitates lacks the instructions for it that current ones have. What malloc and free cost depends on which \
         chunks of the heap lie free: the same request differs by a hundred instructions and more between two \
         configurations of the same nginx, so the counts stand there without these functions, too.",
    );
    report.chart("instructions", &panels);
    Ok(())
}

/// What one operation costs.
#[derive(Clone, Copy)]
struct Cost {
    total: f64,
    sha1: f64,
    heapless: f64,
    /// How much more it was in the worst run.
    spread: f64,
}

async fn cost(bench: &Bench, subject: Subject, work: &Work, rounds: u32) -> Result<Cost> {
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        few.push(count(bench, subject, work.operation, work.counts.0).await?);
        many.push(count(bench, subject, work.operation, work.counts.1).await?);
    }
    let operations = f64::from(work.counts.1 - work.counts.0);
    let slope = |of: fn(&Count) -> f64| (least(&many, of) - least(&few, of)) / operations;
    let worst = many.iter().map(|count| count.total).fold(0.0, f64::max);
    Ok(Cost {
        total: slope(|count| count.total),
        sha1: slope(|count| count.sha1),
        heapless: slope(|count| count.total - count.heap),
        spread: (worst - least(&many, |count| count.total)) / operations,
    })
}

/// The rows of one subject.
fn describe(title: &str, subject: &str, cost: Cost, hand: Cost) -> Vec<Vec<String>> {
    let row = |title: &str, subject: &str, value: f64, spread: String, against: f64| {
        let against = ratio(&Estimate::exact(against));
        vec![title.to_owned(), subject.to_owned(), whole(value), spread, against]
    };
    let less = |what: &str, value: f64, against: f64| row("", what, value, String::new(), against);
    let mut rows =
        vec![row(title, subject, cost.total, whole(cost.spread), cost.total / hand.total)];
    if cost.sha1 > 1.0 {
        let value = cost.total - cost.sha1;
        rows.push(less("less its SHA-1", value, value / hand.total));
    }
    rows.push(less("less its heap", cost.heapless, cost.heapless / hand.heapless));
    rows
}

fn least(runs: &[Count], of: fn(&Count) -> f64) -> f64 {
    runs.iter().map(of).fold(f64::INFINITY, f64::min)
}

async fn count(bench: &Bench, subject: Subject, operation: Operation, count: u32) -> Result<Count> {
    let Kind::Nginx(recipe) = subject.kind else {
        bail!("{} is not nginx", subject.name);
    };
    let directory = bench.scratch.directory("callgrind")?;
    let address = free_address()?;
    let (file, output) = (directory.join("nginx.conf"), directory.join("callgrind.out"));
    write(&file, &subject::nginx(bench, recipe, address, false))?;
    let mut command = pinned(bench.proxy_cpu, "valgrind")?;
    callgrind::arguments(&mut command, &output);
    command.arg(&bench.nginx).arg("-p").arg(&directory).arg("-c").arg(&file);
    let server =
        Server::start(subject.name, subject.clients(), command, directory.join("output"), address)
            .await?;
    timeout(PATIENCE, operate(subject, address, operation, count))
        .await
        .context("no answer in time")??;
    server.stop().await?;
    Count::read(&output)
}

async fn operate(
    subject: Subject,
    address: SocketAddr,
    operation: Operation,
    count: u32,
) -> Result<()> {
    match operation {
        Operation::Handshake => {
            for _ in 0..count {
                client::close(client::open(address, subject.clients()).await?).await?;
            }
        }
        Operation::Echo(size) => {
            let mut tunnel = client::open(address, subject.clients()).await?;
            let (mut message, mut room) = (Echo::new(size), Vec::new());
            for _ in 0..count {
                client::echo(&mut tunnel, &mut message, &mut room).await?;
            }
            client::close(tunnel).await?;
        }
        Operation::Plain(path) => {
            let mut connection = client::connect(address).await?;
            for _ in 0..count {
                client::get(&mut connection, path).await?;
            }
        }
    }
    Ok(())
}
