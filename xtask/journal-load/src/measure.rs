//! What a line costs who waits for it. In: a folder on the disk in question. Out: lines a second, and microseconds. It counts
//! only lines that were said to be written, and checks that the journal has all of them.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gateway::audit::{Durability, Journal, Seq};
use gateway::id::SessionId;
use tokio::task::JoinSet;

use crate::load::{Load, Shape, outcome};

/// Sessions that write at once.
const SESSIONS: usize = 50;
/// How often the disk is asked by itself.
const SYNCS: usize = 200;

/// One session until it is told to stop: a statement that is waited for, and its outcome. Gives back the microseconds of each wait.
async fn work(journal: Arc<Journal>, shape: Arc<Shape>, over: Arc<AtomicBool>) -> Result<Vec<f64>> {
    let (session, mut waited) = (SessionId::generate(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let seq = journal.append_durable(Some(session), &shape.statement()).await?;
        waited.push(start.elapsed().as_secs_f64() * 1e6);
        journal.append_soon(Some(session), &outcome(seq))?;
    }
    Ok(waited)
}

/// Sessions at work in a runtime like the engine's; the waits of all of them, and how long it took.
fn sessions(load: &mut Load, count: usize, time: Duration) -> Result<(Vec<f64>, f64)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (shape, over) = (Arc::new(Shape::of("orders")?), Arc::new(AtomicBool::new(false)));
    runtime.block_on(async {
        let journal = Arc::clone(&load.journal);
        let watcher = tokio::spawn(async move { journal.write_waiting().await });
        let mut all = JoinSet::new();
        let start = Instant::now();
        for _ in 0..count {
            all.spawn(work(Arc::clone(&load.journal), Arc::clone(&shape), Arc::clone(&over)));
        }
        while start.elapsed() < time {
            tokio::time::sleep(Duration::from_millis(20)).await;
            load.turn_over()?;
        }
        over.store(true, Ordering::Relaxed);
        let mut waited = Vec::new();
        while let Some(done) = all.join_next().await {
            waited.extend(done??);
        }
        let took = start.elapsed().as_secs_f64();
        watcher.abort();
        Ok((waited, took))
    })
}

/// Lines a second: those that were waited for, and as many outcomes.
pub(crate) fn rate(folder: &Path, seconds: u64) -> Result<String> {
    let mut load = Load::new(folder, Durability::Process)?;
    let (waited, took) = sessions(&mut load, SESSIONS, Duration::from_secs(seconds))?;
    let lines = 2 * waited.len() as u64;
    let next = load.journal.append(None, &outcome(Seq(1)))?;
    ensure!(next == Seq(lines + 2), "the journal has {next} lines where {lines} were written");
    Ok((lines as f64 / took).to_string())
}

/// The median wait of one of so many sessions, in microseconds, and how many waited in all.
pub(crate) fn latency(folder: &Path, durability: Durability, count: usize, seconds: u64) -> Result<String> {
    let mut load = Load::new(folder, durability)?;
    let (mut waited, _) = sessions(&mut load, count, Duration::from_secs(seconds))?;
    median(&mut waited)
}

/// The median microseconds of one line's write and fdatasync by themselves: what the disk takes, whoever asks.
pub(crate) fn sync(folder: &Path) -> Result<String> {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("sync"))?;
    let mut waited = Vec::new();
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&[b'x'; 1_000])?;
        file.sync_data()?;
        waited.push(start.elapsed().as_secs_f64() * 1e6);
    }
    median(&mut waited)
}

fn median(waited: &mut [f64]) -> Result<String> {
    waited.sort_by(f64::total_cmp);
    waited.get(waited.len() / 2).map(f64::to_string).context("nothing was written")
}
