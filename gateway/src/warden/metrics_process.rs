//! The process that Prometheus asks, as the warden sees it: started with a listening socket, and told how things are.
//!
//! In: its question, which says nothing else. Out: all metrics of this moment. When it dies, or its address changes, a new one is
//! started.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Child;

use super::Warden;
use crate::audit::event::Verdict;
use crate::audit::journal::{Count, Disk};
use crate::bridge::{self, Bridge, Question};
use crate::control::service::Shipping;
use crate::metrics::exposition::{self as metrics, Family, Samples};
use crate::metrics::{EngineCounts, Page, ToMetrics, ToWarden};

/// How long a new one may take.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the engine may take to count.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(3);
/// Pauses between tries double between these.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
const MICROS: f64 = 1e6;

impl Warden {
    /// Serves metrics where the configuration says, for as long as the gateway runs.
    pub async fn serve_metrics(self: Arc<Self>) {
        let mut pause = PAUSES.0;
        loop {
            let Some(listen) = self.config.lock().metrics else {
                self.metrics_changed.notified().await;
                continue;
            };
            match start(listen).await {
                Ok((child, bridge)) => {
                    pause = PAUSES.0;
                    self.tell_metrics(child, bridge).await;
                    tracing::warn!("the process for metrics ended: another one is started where one is configured");
                }
                Err(reason) => tracing::error!(reason, "there are no metrics"),
            }
            let _ = tokio::time::timeout(pause, self.metrics_changed.notified()).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn tell_metrics(self: &Arc<Self>, mut child: Child, bridge: Arc<Bridge>) {
        loop {
            let said = tokio::select! {
                _ = child.wait() => return,
                () = self.metrics_changed.notified() => {
                    // Its socket goes with it: the next one may listen there.
                    if let Err(error) = child.kill().await {
                        tracing::error!(%error, "the process for metrics cannot be ended");
                    }
                    return;
                }
                said = bridge.receive::<ToWarden>() => said,
            };
            match said {
                Ok(Some((ToWarden::Scrape, _))) => {
                    let page = self.page(child.id()).await;
                    if bridge.send(&ToMetrics::Page(page), &[]).await.is_err() {
                        return;
                    }
                }
                Ok(Some((ToWarden::Ready, _))) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn page(&self, own: Option<u32>) -> Page {
        let mut samples = Samples::default();
        let mut unready = Vec::new();
        samples.add(&metrics::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
        let counts = self.engine_counts().await;
        samples.add(&metrics::ENGINE_UP, &[], flag(counts.is_some()));
        match counts {
            Some(counts) => of_engine(&counts, &mut samples),
            None => unready.push("no engine answers: protected connections are refused until it does".to_owned()),
        }
        let (disk, free) = self.journal.disk();
        samples.add(&metrics::JOURNAL_FREE, &[], number(free));
        if disk != Disk::Enough {
            unready.push("the disk of the journal is nearly full: no session begins".to_owned());
        }
        events("warden", self.journal.counts().iter().map(|(kind, count)| (*kind, count)), &mut samples);
        self.of_attachments(&mut samples, &mut unready);
        self.of_copies(&mut samples);
        let (since, is_refused) = {
            let in_force = self.in_force.lock();
            (in_force.since(), in_force.refusal().is_some())
        };
        samples.add(&metrics::CONFIG_IN_FORCE, &[], number(since.as_micros()) / MICROS);
        samples.add(&metrics::CONFIG_REFUSED, &[], flag(is_refused));
        let processes = [("warden", Some(std::process::id())), ("engine", self.engine.pid()), ("metrics", own)];
        for (name, pid) in processes.into_iter().filter_map(|(name, pid)| Some((name, pid?))) {
            of_process(name, pid, &mut samples);
        }
        Page { text: samples.page(), unready }
    }

    /// What the engine counts; `None`: it does not answer.
    pub(super) async fn engine_counts(&self) -> Option<EngineCounts> {
        let answer = tokio::time::timeout(ENGINE_TIMEOUT, self.engine.ask(Question::Counts)).await;
        serde_json::from_value(answer.ok()?.ok()?).ok()
    }

    fn of_attachments(&self, samples: &mut Samples, unready: &mut Vec<String>) {
        let status = self.status();
        samples.add(&metrics::GAPS, &[""], count(status.gaps.len()));
        for attachment in &status.attachments {
            let name = attachment.name.as_str();
            samples.add(&metrics::ATTACHMENT_UP, &[name], flag(attachment.degraded.is_none()));
            samples.add(&metrics::ATTACHMENT_CHECKED, &[name], number(attachment.looked_secs));
            samples.add(&metrics::ATTACHMENT_PROCESSES, &[name], f64::from(attachment.processes));
            samples.add(&metrics::ATTACHMENT_OBSERVES, &[name], flag(attachment.observe));
            samples.add(&metrics::GAPS, &[name], count(attachment.gaps.len()));
            for (reason, seen) in &attachment.counts {
                samples.add(&metrics::ATTACHMENT_KERNEL, &[name, reason], number(*seen));
            }
            unready.extend(attachment.degraded.as_ref().map(|degraded| format!("{name}: {degraded}")));
        }
    }

    fn of_copies(&self, samples: &mut Samples) {
        let mut add = |to: &str, shipping: &Shipping| {
            samples.add(&metrics::COPY_LAG, &[to], number(shipping.lag_events));
            samples.add(&metrics::COPY_LAG_SECONDS, &[to], number(shipping.lag_secs));
        };
        if let Some(shipping) = self.shipper.status() {
            add("clickhouse", &shipping);
        }
        for (name, shipping) in self.feeds.by_name() {
            add(&name, &shipping);
        }
    }
}

async fn start(listen: SocketAddr) -> Result<(Child, Arc<Bridge>), String> {
    let text = |error: std::io::Error| error.to_string();
    let listener = TcpListener::bind(listen).map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let (ours, theirs) = bridge::pair().map_err(text)?;
    let child = super::start_part("metrics", theirs).map_err(text)?;
    let bridge = Arc::new(Bridge::new(ours).map_err(text)?);
    bridge.send(&ToMetrics::Start, &[listener.as_fd()]).await.map_err(text)?;
    match tokio::time::timeout(READY_TIMEOUT, bridge.receive::<ToWarden>()).await {
        Ok(Ok(Some((ToWarden::Ready, _)))) => Ok((child, bridge)),
        _ => Err("it ended before it was ready".to_owned()),
    }
}

fn of_engine(counts: &EngineCounts, samples: &mut Samples) {
    events("engine", counts.events.iter().map(|(kind, count)| (kind.as_str(), count)), samples);
    for (kind, count) in &counts.events {
        for ((_, word), decided) in Verdict::ALL.iter().zip(count.verdicts).filter(|(_, decided)| *decided > 0) {
            samples.add(&metrics::DECISIONS, &[kind, word], number(decided));
        }
    }
    for (attachment, protocol, running) in &counts.sessions {
        samples.add(&metrics::SESSIONS, &[attachment, protocol], number(*running));
    }
    samples.add(&metrics::APPROVALS, &[], count(counts.approvals));
    samples.add(&metrics::WINDOWS, &[], count(counts.windows));
}

fn events<'c>(process: &str, counts: impl Iterator<Item = (&'c str, &'c Count)>, samples: &mut Samples) {
    for (kind, count) in counts {
        samples.add(&metrics::EVENTS, &[process, kind], number(count.lines));
    }
}

/// From proc(5): what cannot be read is left out.
fn of_process(name: &str, pid: u32, samples: &mut Samples) {
    let mut add = |family: &Family, value: Option<f64>| {
        if let Some(value) = value {
            samples.add(family, &[name], value);
        }
    };
    let page = u64::try_from(rustix::param::page_size()).unwrap_or_default();
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let resident: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    add(&metrics::PROCESS_RESIDENT, resident.map(|pages| number(pages * page)));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: utime and stime are the fields 14 and 15.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let ticks: Vec<u64> = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    let second = rustix::param::clock_ticks_per_second();
    add(&metrics::PROCESS_CPU, (ticks.len() == 2).then(|| number(ticks.iter().sum()) / number(second)));
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count);
    add(&metrics::PROCESS_FDS, open.map(count));
}

fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 Prometheus itself counts no single steps")]
fn number(value: u64) -> f64 {
    value as f64
}

fn count(value: usize) -> f64 {
    number(u64::try_from(value).unwrap_or(u64::MAX))
}
