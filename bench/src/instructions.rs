//! Exact figures: what one operation costs an nginx of a single process in instructions. It is the slope
//! between two runs that differ only in the number of operations, so that start and end cancel out.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::callgrind::{self, Count};
use crate::chart::{Bar, Panel};
use crate::client::{self, WEBSOCKET};
use crate::echo::Echo;
use crate::error::{write, Doing, Error, Result};
use crate::process::{free_address, pinned, Server};
use crate::report::{ratio, whole, Bound, Report};
use crate::statistics::Estimate;
use crate::subject::{self, Kind, HAND};
use crate::Bench;

const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
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

const WORK: [Work; 6] = [
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
    let subjects = subject::nginxes();
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
        let (mut hand, mut hand_heapless) = (f64::NAN, f64::NAN);
        for (at, subject) in subjects.iter().enumerate() {
            let place = format!("Instructions, {}, {}", work.title, subject.name);
            bench.progress(&place);
            let (mut few, mut many) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                for (runs, operations) in [(&mut few, work.counts.0), (&mut many, work.counts.1)] {
                    runs.push(
                        count(bench, *subject, work.operation, operations).await.doing(&place)?,
                    );
                }
            }
            let operations = f64::from(work.counts.1 - work.counts.0);
            let slope = |of: fn(&Count) -> f64| (least(&many, of) - least(&few, of)) / operations;
            let value = slope(|count| count.total);
            let sha1 = slope(|count| count.sha1);
            let heapless = slope(|count| count.total - count.heap);
            let worst = many.iter().map(|count| count.total).fold(0.0, f64::max);
            let spread = (worst - least(&many, |count| count.total)) / operations;
            let baseline = at == 0;
            if baseline {
                (hand, hand_heapless) = (value, heapless);
            }
            let against = Estimate::exact(value / hand);
            let against_heapless = Estimate::exact(heapless / hand_heapless);
            rows.push(vec![
                if baseline { work.title.to_owned() } else { String::new() },
                subject.name.to_owned(),
                whole(value),
                whole(spread),
                ratio(&against),
            ]);
            if sha1 > 1.0 {
                rows.push(vec![
                    String::new(),
                    "less its SHA-1".to_owned(),
                    whole(value - sha1),
                    String::new(),
                    ratio(&Estimate::exact((value - sha1) / hand)),
                ]);
            }
            rows.push(vec![
                String::new(),
                "less its heap".to_owned(),
                whole(heapless),
                String::new(),
                ratio(&against_heapless),
            ]);
            bars.push(Bar { label: subject.name.to_owned(), value, text: whole(value) });
            if let (1, Some(goal)) = (at, work.goal) {
                // To a plain request the guard adds nothing on the heap.
                let (title, against) = match work.operation {
                    Operation::Plain(_) => ("× hand, less the heap", against_heapless),
                    _ => ("× hand", against),
                };
                report.goal(
                    format!("Instructions, {}: {title}", work.title),
                    Bound::AtMost(goal),
                    against,
                );
            }
        }
        panels.push(Panel { title: format!("Instructions: {}", work.title), bars });
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

fn least(runs: &[Count], of: fn(&Count) -> f64) -> f64 {
    runs.iter().map(of).fold(f64::INFINITY, f64::min)
}

async fn count(
    bench: &Bench,
    subject: subject::Subject,
    operation: Operation,
    count: u32,
) -> Result<Count> {
    let Kind::Nginx(recipe) = subject.kind else {
        return Err(Error::new(format!("{} is not nginx", subject.name)));
    };
    let directory = bench.scratch.directory("callgrind")?;
    let address = free_address()?;
    let (file, output) = (directory.join("nginx.conf"), directory.join("callgrind.out"));
    write(&file, &subject::nginx(bench, recipe, address, false))?;
    let mut command = pinned(bench.proxy_cpu, "valgrind")?;
    callgrind::arguments(&mut command, &output);
    command.arg(&bench.nginx).arg("-p").arg(&directory).arg("-c").arg(&file);
    let server = Server::start(HAND.name, command, directory.join("output"), address).await?;
    timeout(PATIENCE, operate(address, operation, count)).await??;
    server.stop().await?;
    Count::read(&output)
}

async fn operate(address: SocketAddr, operation: Operation, count: u32) -> Result<()> {
    match operation {
        Operation::Handshake => {
            for _ in 0..count {
                client::close(client::open(address).await?).await?;
            }
        }
        Operation::Echo(size) => {
            let mut tunnel = client::open(address).await?;
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
