//! What a tunnel costs in memory while nothing is said.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chart::{Bar, Panel};
use crate::client;
use crate::echo::Echo;
use crate::error::{Doing, Error, Result};
use crate::report::{ratio, whole, Bound, Report};
use crate::statistics::{median, Estimate, Random};
use crate::subject::{self, Subject, APACHE, APACHE_THREADS, GUARD, HAND};
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

pub async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let rounds = if bench.quick { 2 } else { 3 };
    let tunnels = bench.tunnels;
    let subjects = subject::proxies();
    let mut all: Vec<(Subject, Vec<Sample>)> =
        subjects.into_iter().map(|subject| (subject, Vec::new())).collect();
    let mut random = Random::new(1);
    for round in 0..rounds {
        bench.progress(format!("Idle tunnels, round {} of {rounds}", round + 1));
        for at in random.order(all.len()) {
            let Some((subject, samples)) = all.get_mut(at) else { continue };
            let tunnels = if subject.name == APACHE.name {
                tunnels.min(APACHE_THREADS - 100)
            } else {
                tunnels
            };
            let sample =
                timeout(PATIENCE, measure(bench, *subject, tunnels)).await.map_err(Error::from);
            samples.push(
                sample
                    .and_then(|sample| sample)
                    .doing(format!("Idle tunnels, {}", subject.name))?,
            );
        }
    }

    report.section("Idle tunnels", &format!(
        "Memory (PSS) of the whole process tree, freshly started: before, with {} tunnels open ({} for {}, which keeps \
         a thread for each), after each of them has carried a message of 64 KiB there and back, and after all \
         were closed. Medians of {rounds} rounds. What the kernel keeps for sockets is not in it.",
        whole(tunnels as f64), whole(tunnels.min(APACHE_THREADS - 100) as f64), APACHE.name,
    ));
    let Some((_, hand)) = all.iter().find(|(subject, _)| subject.name == HAND.name) else {
        return Ok(());
    };
    let mut rows = Vec::new();
    let mut panels = [
        Panel { title: "Memory of an idle tunnel, KiB".to_owned(), bars: Vec::new() },
        Panel { title: "The same after a message of 64 KiB, KiB".to_owned(), bars: Vec::new() },
    ];
    for (subject, samples) in &all {
        let of = |value: fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<_>>();
        let against = |value: fn(&Sample) -> f64| {
            Estimate::ratio(&of(value), &hand.iter().map(value).collect::<Vec<_>>())
        };
        let (idle, after) = (median(&of(Sample::idle)), median(&of(Sample::after_message)));
        let returned = of(Sample::returned);
        rows.push(vec![
            subject.name.to_owned(),
            whole(median(&of(|sample| sample.before))),
            format!("{idle:.2}"),
            format!("{after:.2}"),
            format!("{:.0} %", 100.0 * median(&returned)),
            ratio(&against(Sample::idle)),
            ratio(&against(Sample::after_message)),
        ]);
        for (panel, value) in panels.iter_mut().zip([idle, after]) {
            panel.bars.push(Bar {
                label: subject.name.to_owned(),
                value,
                text: format!("{value:.1}"),
            });
        }
        if subject.kind == GUARD.kind {
            report.goal("Idle tunnel: memory × hand", Bound::AtMost(0.6), against(Sample::idle));
            report.goal(
                "Idle tunnel that has carried 64 KiB: memory × hand",
                Bound::AtMost(0.6),
                against(Sample::after_message),
            );
            report.goal(
                "Part of the memory returned after close",
                Bound::Above(0.9),
                Estimate::of(&returned),
            );
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
    report.chart("idle-tunnels", &panels);
    Ok(())
}

async fn measure(bench: &Bench, subject: Subject, tunnels: usize) -> Result<Sample> {
    let running = subject.start(bench).await?;
    let address = running.address;
    let server = running.server.as_ref().ok_or_else(|| Error::new("no proxy to measure"))?;
    // What is allocated once, at the first connections, is not the price of a tunnel.
    let mut first = at_once(0..TOGETHER, |_| client::open(address)).await?;
    first = at_once(first, use_once).await?;
    at_once(first, client::close).await?;
    sleep(SETTLE).await;
    let before = server.memory()?;

    let mut open = at_once(0..tunnels, |_| client::open(address)).await?;
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

async fn use_once(mut tunnel: TcpStream) -> Result<TcpStream> {
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
