//! Quiet tunnels beside one that never stops: how long do they wait?

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use fastrand::Rng;
use tokio::io::{split, AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chart::{Bar, Panel};
use crate::client;
use crate::echo::Echo;
use crate::report::{whole, Report};
use crate::statistics::{median, order, quantile};
use crate::subject::{self, Running, Subject};
use crate::Bench;

const QUIET: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);
const FLOOD_MESSAGE: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(20);

/// Latencies in microseconds, and MiB/s of the flood in each direction.
struct Sample {
    alone: f64,
    median: f64,
    slow: f64,
    slowest: f64,
    flood: f64,
}

pub async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let (rounds, slice) = if bench.quick { (2, 500) } else { (5, 1500) };
    let slice = Duration::from_millis(slice);
    let all = collect(bench, rounds, slice).await?;
    report.section("Fairness", &format!(
        "{QUIET} quiet tunnels each send 64 B every {} ms, beside one tunnel that sends messages of 64 KiB as fast as \
         they are taken. Latency of the quiet ones, with all the waiting in the load itself (see \"no proxy\"); medians \
         of {rounds} rounds.",
        PAUSE.as_millis()
    ));
    describe(report, &all);
    for (running, _) in all {
        running.stop().await?;
    }
    Ok(())
}

async fn collect(
    bench: &Bench,
    rounds: u32,
    slice: Duration,
) -> Result<Vec<(Running, Vec<Sample>)>> {
    let mut all = Vec::new();
    for subject in subject::all() {
        all.push((subject.start(bench).await?, Vec::new()));
    }
    // The same order in every run, so that a run can be repeated.
    let mut random = Rng::with_seed(2);
    for round in 0..rounds {
        bench.progress(format!("Fairness, round {} of {rounds}", round + 1));
        for at in order(&mut random, all.len()) {
            let Some((running, samples)) = all.get_mut(at) else { continue };
            let sample = timeout(PATIENCE, measure(running, slice)).await;
            let sample = sample.context("no answer in time").and_then(|sample| sample);
            samples.push(sample.with_context(|| format!("Fairness, {}", running.subject.name))?);
        }
    }
    Ok(all)
}

fn describe(report: &mut Report, all: &[(Running, Vec<Sample>)]) {
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for (running, samples) in all {
        let middle =
            |value: fn(&Sample) -> f64| median(&samples.iter().map(value).collect::<Vec<_>>());
        let slow = middle(|sample| sample.slow);
        rows.push(vec![
            running.subject.name.to_owned(),
            whole(middle(|sample| sample.alone)),
            whole(middle(|sample| sample.median)),
            whole(slow),
            whole(middle(|sample| sample.slowest)),
            whole(middle(|sample| sample.flood)),
        ]);
        bars.push(Bar { label: running.subject.name.to_owned(), value: slow, text: whole(slow) });
    }
    report.table(
        &["latency, µs", "median, no flood", "median", "99 %", "slowest", "flood, MiB/s"],
        &rows,
    );
    let title = "Latency of quiet tunnels beside one that floods, 99 %, µs".to_owned();
    report.chart("fairness", &[Panel { title, bars }]);
}

async fn measure(running: &Running, slice: Duration) -> Result<Sample> {
    let alone = quiet(running.address, running.subject, slice / 3).await?;
    let flooding = Arc::new(Flood::default());
    let start = Instant::now();
    let task = tokio::spawn(flood(running.address, running.subject, flooding.clone()));
    let beside = quiet(running.address, running.subject, slice).await?;
    let flooded = flooding.bytes.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    flooding.stop.store(true, Ordering::Relaxed);
    task.await??;
    Ok(Sample {
        alone: median(&alone),
        median: median(&beside),
        slow: quantile(&beside, 0.99),
        slowest: quantile(&beside, 1.0),
        flood: flooded / f64::from(1 << 20),
    })
}

/// The latencies that quiet tunnels see, in microseconds.
async fn quiet(address: SocketAddr, subject: Subject, slice: Duration) -> Result<Vec<f64>> {
    let mut clients = JoinSet::new();
    for number in 0..QUIET {
        clients.spawn(async move {
            let mut tunnel = client::open(address, subject.clients()).await?;
            let (mut message, mut room) = (Echo::new(64), Vec::new());
            let mut latencies = Vec::new();
            sleep(PAUSE * number as u32 / QUIET as u32).await;
            let end = Instant::now() + slice;
            while Instant::now() < end {
                let start = Instant::now();
                client::echo(&mut tunnel, &mut message, &mut room).await?;
                latencies.push(start.elapsed().as_secs_f64() * 1e6);
                sleep(PAUSE).await;
            }
            client::close(tunnel).await?;
            Ok::<_, Error>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(client) = clients.join_next().await {
        latencies.extend(client??);
    }
    Ok(latencies)
}

/// One tunnel that is never quiet.
#[derive(Default)]
struct Flood {
    stop: AtomicBool,
    /// Number of the last message, once it is known.
    last: AtomicU64,
    bytes: AtomicU64,
}

async fn flood(address: SocketAddr, subject: Subject, flood: Arc<Flood>) -> Result<()> {
    let (mut reader, mut writer) = split(client::open(address, subject.clients()).await?);
    let sender = flood.clone();
    let sender = tokio::spawn(async move {
        let mut message = Echo::new(FLOOD_MESSAGE);
        for number in 1.. {
            message.advance();
            let last = sender.stop.load(Ordering::Relaxed);
            if last {
                sender.last.store(number, Ordering::Relaxed);
            }
            writer.write_all(&message.request).await.context("flooding")?;
            if last {
                break;
            }
        }
        Ok::<_, Error>(writer)
    });
    let mut expected = Echo::new(FLOOD_MESSAGE);
    let mut received = vec![0; expected.answer.len()];
    for number in 1.. {
        reader.read_exact(&mut received).await.context("waiting for the flood")?;
        expected.advance();
        client::same(&received, &expected)?;
        flood.bytes.fetch_add(received.len() as u64, Ordering::Relaxed);
        if flood.last.load(Ordering::Relaxed) == number {
            break;
        }
    }
    let tunnel = reader.unsplit(sender.await??);
    client::close(tunnel).await
}
