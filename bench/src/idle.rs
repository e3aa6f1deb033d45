//! What a tunnel costs in memory while nothing is said.

use std::time::Duration;

use anyhow::{anyhow, Context, Result};
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chart::{Bar, Panel};
use crate::client::{self, Tunnel};
use crate::echo::Echo;
use crate::report::{ratio, whole, Bound, Report};
use crate::statistics::{median, order, Estimate};
use crate::subject::{
    self, Kind, Subject, APACHE, APACHE_THREADS, GUARD, GUARD_FEATURES, GUARD_NO_FRAMES, HAND,
};
use crate::tls;
use crate::Bench;

const MESSAGE: usize = 64 << 10;
/// Tunnels that are opened or used at the same time.
const TOGETHER: usize = 32;
const SETTLE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);

/// KiB of the whole proxy.
struct Sample {
    before: f64,
    open: f64,
    used: f64,
    closed: f64,
    tunnels: f64,
}

impl Sample {
    fn idle(&self) -> f64 {
        (self.open - self.before) / self.tunnels
    }

    fn after_message(&self) -> f64 {
        (self.used - self.before) / self.tunnels
    }

    fn returned(&self) -> f64 {
        ((self.used - self.closed) / (self.used - self.before)).max(0.0)
    }
}

/// What was measured of each proxy, round by round.
type Measured = Vec<(Subject, Vec<Sample>)>;

pub async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let rounds = if bench.quick { 2 } else { 3 };
    let mut subjects = subject::proxies();
    subjects.extend([GUARD_FEATURES, GUARD_NO_FRAMES]);
    let all = collect(bench, rounds, subjects).await?;
    report.section("Idle tunnels", &format!(
        "Memory (PSS) of the whole process tree, freshly started: before, with {} tunnels open ({} for {}, which keeps \
         a thread for each), after each of them has carried a message of 64 KiB there and back, and after all \
         were closed. Medians of {rounds} rounds. What the kernel keeps for sockets is not in it.",
        whole(bench.tunnels as f64), whole(apache_tunnels(bench) as f64), APACHE.name,
    ));
    describe(report, &all);
    frames(report, &all);
    let with_tls = collect(bench, rounds, subject::with_tls()).await?;
    report.subsection("Clients over TLS");
    report.paragraph(&format!("The same with {}.", tls::SETTINGS));
    describe(report, &with_tls);
    Ok(())
}

fn apache_tunnels(bench: &Bench) -> usize {
    bench.tunnels.min(APACHE_THREADS - 100)
}

async fn collect(bench: &Bench, rounds: u32, subjects: Vec<Subject>) -> Result<Measured> {
    let mut all: Measured = subjects.into_iter().map(|subject| (subject, Vec::new())).collect();
    // The same order in every run, so that a run can be repeated.
    let mut random = Rng::with_seed(1);
    for round in 0..rounds {
        bench.progress(format!("Idle tunnels, round {} of {rounds}", round + 1));
        for at in order(&mut random, all.len()) {
            let Some((subject, samples)) = all.get_mut(at) else { continue };
            let tunnels = match subject.kind {
                Kind::Apache => apache_tunnels(bench),
                _ => bench.tunnels,
            };
            let sample = timeout(PATIENCE, measure(bench, *subject, tunnels)).await;
            let sample = sample.context("no answer in time").and_then(|sample| sample);
            samples.push(sample.with_context(|| format!("Idle tunnels, {}", subject.name))?);
        }
    }
    Ok(all)
}

fn values(samples: &[Sample], value: fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(value).collect()
}

fn describe(report: &mut Report, all: &Measured) {
    let Some((hand_subject, hand)) = all.iter().find(|(subject, _)| subject.name == HAND.name)
    else {
        return;
    };
    let mut rows = Vec::new();
    let mut panels = [
        Panel { title: "Memory of an idle tunnel, KiB".to_owned(), bars: Vec::new() },
        Panel { title: "The same after a message of 64 KiB, KiB".to_owned(), bars: Vec::new() },
    ];
    for (subject, samples) in all {
        let middle = |value| median(&values(samples, value));
        let against = |value| Estimate::ratio(&values(samples, value), &values(hand, value));
        let (idle, after) = (middle(Sample::idle), middle(Sample::after_message));
        rows.push(vec![
            subject.name.to_owned(),
            whole(middle(|sample| sample.before)),
            format!("{idle:.2}"),
            format!("{after:.2}"),
            format!("{:.0} %", 100.0 * middle(Sample::returned)),
            ratio(&against(Sample::idle)),
            ratio(&against(Sample::after_message)),
        ]);
        for (panel, value) in panels.iter_mut().zip([idle, after]) {
            let label = subject.name.to_owned();
            panel.bars.push(Bar { label, value, text: format!("{value:.1}") });
        }
        if subject.kind == GUARD.kind && subject.tls {
            report.goal(
                "Idle tunnel, client over TLS: memory, guard / by hand",
                Bound::AtMost(0.62),
                against(Sample::idle),
            );
        } else if subject.kind == GUARD.kind {
            goals(report, samples, hand);
        }
    }
    report.table(
        &[
            "",
            "before, KiB",
            "KiB per tunnel",
            "after 64 KiB",
            "returned",
            "idle × hand",
            "after 64 KiB × hand",
        ],
        &rows,
    );
    let chart = if hand_subject.tls { "idle-tunnels-tls" } else { "idle-tunnels" };
    report.chart(chart, &panels);
}

fn goals(report: &mut Report, guard: &[Sample], hand: &[Sample]) {
    let against = |value| Estimate::ratio(&values(guard, value), &values(hand, value));
    report.goal("Idle tunnel: memory, guard / by hand", Bound::AtMost(0.6), against(Sample::idle));
    report.goal(
        "Idle tunnel that has carried 64 KiB: memory, guard / by hand",
        Bound::AtMost(0.6),
        against(Sample::after_message),
    );
    report.goal(
        "Closed tunnels: memory given back / memory that they took",
        Bound::Above(0.9),
        Estimate::of(&values(guard, Sample::returned)),
    );
}

/// What frames cost a tunnel in which nothing is said.
fn frames(report: &mut Report, all: &Measured) {
    let of = |wanted: Subject| all.iter().find(|(subject, _)| subject.kind == wanted.kind);
    let Some((_, without)) = of(GUARD_NO_FRAMES) else { return };
    for with in [GUARD, GUARD_FEATURES] {
        let Some((_, samples)) = of(with) else { continue };
        let more: Vec<f64> = samples
            .iter()
            .zip(without)
            .map(|(with, without)| 1024.0 * (with.idle() - without.idle()))
            .collect();
        report.goal(
            format!("Idle tunnel: bytes more, {} / {}", with.name, GUARD_NO_FRAMES.name),
            Bound::AtMost(96.0),
            Estimate::of(&more),
        );
    }
}

async fn measure(bench: &Bench, subject: Subject, tunnels: usize) -> Result<Sample> {
    let running = subject.start(bench).await?;
    let address = running.address;
    let server = running.server.as_ref().ok_or_else(|| anyhow!("no proxy to measure"))?;
    // What is allocated once, at the first connections, is not the price of a tunnel.
    let mut first = at_once(0..TOGETHER, |_| client::open(address, subject.clients())).await?;
    first = at_once(first, use_once).await?;
    at_once(first, client::close).await?;
    sleep(SETTLE).await;
    let before = server.memory()?;

    let mut open = at_once(0..tunnels, |_| client::open(address, subject.clients())).await?;
    sleep(SETTLE).await;
    let idle = server.memory()?;
    open = at_once(open, use_once).await?;
    sleep(SETTLE).await;
    let used = server.memory()?;
    at_once(open, client::close).await?;
    sleep(SETTLE).await;
    let closed = server.memory()?;

    running.stop().await?;
    Ok(Sample {
        before: before as f64,
        open: idle as f64,
        used: used as f64,
        closed: closed as f64,
        tunnels: tunnels as f64,
    })
}

async fn use_once(mut tunnel: Tunnel) -> Result<Tunnel> {
    client::echo(&mut tunnel, &mut Echo::new(MESSAGE), &mut Vec::new()).await?;
    Ok(tunnel)
}

/// Does the same with each item, some of them at a time.
async fn at_once<T, F, R>(
    items: impl IntoIterator<Item = T>,
    action: impl Fn(T) -> F,
) -> Result<Vec<R>>
where
    F: std::future::Future<Output = Result<R>> + Send + 'static,
    R: Send + 'static,
{
    let mut running = JoinSet::new();
    let mut results = Vec::new();
    for item in items {
        if running.len() == TOGETHER {
            if let Some(result) = running.join_next().await {
                results.push(result??);
            }
        }
        running.spawn(action(item));
    }
    while let Some(result) = running.join_next().await {
        results.push(result??);
    }
    Ok(results)
}
