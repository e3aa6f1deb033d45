//! Handshakes and echo round trips: how many a second, and at what price.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chart::{Bar, Panel};
use crate::client;
use crate::echo::Echo;
use crate::process::own_cpu;
use crate::report::{ratio, whole, Bound, Report};
use crate::statistics::{median, order, Estimate};
use crate::subject::{self, Kind, Running, Subject, CADDY, GUARD, HAND, HAPROXY};
use crate::tls;
use crate::Bench;

struct Workload {
    title: &'static str,
    name: &'static str,
    /// Size of the messages; None for handshakes.
    message: Option<usize>,
    /// Clients that do one operation after the other.
    clients: usize,
    /// CPU of the guard against the hand-written recipe.
    goal: Option<f64>,
}

const WORKLOADS: [Workload; 4] = [
    Workload { title: "Handshakes", name: "handshakes", message: None, clients: 16, goal: None },
    Workload {
        title: "Messages of 64 B",
        name: "messages-64",
        message: Some(64),
        clients: 16,
        goal: Some(1.0),
    },
    Workload {
        title: "Messages of 1 KiB",
        name: "messages-1k",
        message: Some(1 << 10),
        clients: 16,
        goal: Some(1.0),
    },
    Workload {
        title: "Messages of 64 KiB",
        name: "messages-64k",
        message: Some(64 << 10),
        clients: 4,
        goal: Some(0.35),
    },
];

const TLS_WORKLOADS: [Workload; 3] = [
    Workload {
        title: "Messages of 64 B, TLS",
        name: "messages-64-tls",
        message: Some(64),
        clients: 16,
        goal: None,
    },
    Workload {
        title: "Messages of 1 KiB, TLS",
        name: "messages-1k-tls",
        message: Some(1 << 10),
        clients: 16,
        goal: None,
    },
    Workload {
        title: "Messages of 64 KiB, TLS",
        name: "messages-64k-tls",
        message: Some(64 << 10),
        clients: 4,
        goal: None,
    },
];

const WARM_UP: Duration = Duration::from_millis(60);
/// For the operations under way when a slice ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// One slice of one subject.
struct Sample {
    rate: f64,
    /// Seconds of the proxy's CPU time for an operation.
    cpu: f64,
    proxy_busy: f64,
    load_busy: f64,
}

struct Series {
    subject: Subject,
    samples: Vec<Sample>,
}

impl Series {
    fn of(&self, value: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(value).collect()
    }

    fn cpu(&self) -> Vec<f64> {
        self.of(|sample| sample.cpu)
    }

    fn rate(&self) -> Vec<f64> {
        self.of(|sample| sample.rate)
    }
}

pub async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let (rounds, slice) = if bench.quick { (5, 150) } else { (15, 400) };
    let slice = Duration::from_millis(slice);
    let mut running = Vec::new();
    for subject in subject::all() {
        running.push(subject.start(bench).await?);
    }
    report.section("Rates", &format!(
        "In each of {rounds} rounds every subject has a slice of {} ms, in an order of chance. A row has the medians \
         of all rounds; the ratios are medians of the ratios within a round, with their 95 % confidence interval \
         (bootstrap). The second copy of the hand-written recipe shows how much of a ratio is noise. Every byte that \
         comes back is compared. CPU time is that of all processes of the proxy, kernel included. Where the load's \
         processor is the busy one, the rate says more about the load than about the proxy, and the CPU time is the figure to read.",
        slice.as_millis()
    ));
    for workload in &WORKLOADS {
        let series = series(bench, workload, &running, rounds, slice).await?;
        describe(report, workload, &series);
    }
    for running in running {
        running.stop().await?;
    }
    over_tls(bench, report, rounds, slice).await
}

/// The messages again, with clients that speak TLS.
async fn over_tls(bench: &Bench, report: &mut Report, rounds: u32, slice: Duration) -> Result<()> {
    let mut running = Vec::new();
    for subject in subject::with_tls() {
        running.push(subject.start(bench).await?);
    }
    report.section("Rates, clients over TLS", &format!("The same with {}.", tls::SETTINGS));
    for workload in &TLS_WORKLOADS {
        let series = series(bench, workload, &running, rounds, slice).await?;
        describe(report, workload, &series);
    }
    for running in running {
        running.stop().await?;
    }
    Ok(())
}

/// The samples of one workload: a slice of each subject in each round.
async fn series(
    bench: &Bench,
    workload: &Workload,
    running: &[Running],
    rounds: u32,
    slice: Duration,
) -> Result<Vec<Series>> {
    let empty = |running: &Running| Series { subject: running.subject, samples: Vec::new() };
    let mut all: Vec<Series> = running.iter().map(empty).collect();
    // The same order in every run, so that a run can be repeated.
    let mut random = Rng::with_seed(0);
    for round in 0..rounds {
        bench.progress(format!("{}, round {} of {rounds}", workload.title, round + 1));
        for at in order(&mut random, running.len()) {
            let (Some(running), Some(series)) = (running.get(at), all.get_mut(at)) else {
                continue;
            };
            let sample = measure(workload, running, slice).await;
            let place = || format!("{}, {}", workload.title, running.subject.name);
            series.samples.push(sample.with_context(place)?);
        }
    }
    Ok(all)
}

async fn measure(workload: &Workload, running: &Running, slice: Duration) -> Result<Sample> {
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..workload.clients {
        let (stop, done) = (stop.clone(), done.clone());
        clients.spawn(client(running.address, running.subject, workload.message, stop, done));
    }
    sleep(WARM_UP).await;
    let cpu = || running.server.as_ref().map_or(Ok(Duration::ZERO), |server| server.cpu());
    let before = (Instant::now(), done.load(Ordering::Relaxed), cpu()?, own_cpu()?);
    sleep(slice).await;
    let after = (Instant::now(), done.load(Ordering::Relaxed), cpu()?, own_cpu()?);
    stop.store(true, Ordering::Relaxed);
    timeout(PATIENCE, async {
        while let Some(client) = clients.join_next().await {
            client??;
        }
        Ok::<_, Error>(())
    })
    .await
    .context("no answer in time")??;

    let time = (after.0 - before.0).as_secs_f64();
    let operations = (after.1 - before.1) as f64;
    let (proxy, load) = ((after.2 - before.2).as_secs_f64(), (after.3 - before.3).as_secs_f64());
    Ok(Sample {
        rate: operations / time,
        cpu: proxy / operations,
        proxy_busy: proxy / time,
        load_busy: load / time,
    })
}

/// Does one operation after the other until it is to stop, and counts them.
async fn client(
    address: SocketAddr,
    subject: Subject,
    message: Option<usize>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) -> Result<()> {
    let Some(size) = message else {
        while !stop.load(Ordering::Relaxed) {
            client::close(client::open(address, subject.clients()).await?).await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        return Ok(());
    };
    let mut tunnel = client::open(address, subject.clients()).await?;
    let (mut message, mut room) = (Echo::new(size), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        client::echo(&mut tunnel, &mut message, &mut room).await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    client::close(tunnel).await
}

fn describe(report: &mut Report, workload: &Workload, all: &[Series]) {
    let Some(hand) = all.iter().find(|series| series.subject.name == HAND.name) else { return };
    report.subsection(workload.title);
    let mut rows = Vec::new();
    let mut panels = [
        Panel { title: format!("{} per second", workload.title), bars: Vec::new() },
        Panel {
            title: format!("{}: CPU time of the proxy for each, µs", workload.title),
            bars: Vec::new(),
        },
    ];
    for series in all {
        let proxied = series.subject.kind != Kind::Direct;
        let rate = median(&series.rate());
        let cpu = median(&series.cpu()) * 1e6;
        let only_proxied = |text: String| if proxied { text } else { String::new() };
        let percent = |values: Vec<f64>| format!("{:.0} %", 100.0 * median(&values));
        rows.push(vec![
            series.subject.name.to_owned(),
            whole(rate),
            only_proxied(format!("{cpu:.1}")),
            ratio(&Estimate::ratio(&series.rate(), &hand.rate())),
            only_proxied(ratio(&Estimate::ratio(&series.cpu(), &hand.cpu()))),
            only_proxied(percent(series.of(|sample| sample.proxy_busy))),
            percent(series.of(|sample| sample.load_busy)),
        ]);
        let [rates, cpus] = &mut panels;
        let label = series.subject.name.to_owned();
        rates.bars.push(Bar { label: label.clone(), value: rate, text: whole(rate) });
        if proxied {
            cpus.bars.push(Bar { label, value: cpu, text: format!("{cpu:.1}") });
        }
    }
    report.table(
        &[
            "",
            "per second",
            "CPU, µs each",
            "rate × hand",
            "CPU × hand",
            "proxy's processor",
            "load's processor",
        ],
        &rows,
    );
    report.chart(workload.name, &panels);
    goals(report, workload, all, hand);
}

fn goals(report: &mut Report, workload: &Workload, all: &[Series], hand: &Series) {
    let Some(guard) = all.iter().find(|series| series.subject.name == GUARD.name) else {
        return;
    };
    if let Some(goal) = workload.goal {
        let measured = Estimate::ratio(&guard.cpu(), &hand.cpu());
        report.goal(
            format!("{}: CPU time, guard / by hand", workload.title),
            Bound::AtMost(goal),
            measured,
        );
    }
    if workload.message == Some(64 << 10) && !hand.subject.tls {
        for other in [HAPROXY, CADDY] {
            if let Some(series) = all.iter().find(|series| series.subject.name == other.name) {
                let measured = Estimate::ratio(&guard.rate(), &series.rate());
                report.goal(
                    format!("{}: rate, guard / {}", workload.title, other.name),
                    Bound::Above(1.0),
                    measured,
                );
            }
        }
    }
}
