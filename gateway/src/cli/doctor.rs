//! `gateway doctor`: what this kernel and host offer.

use anyhow::bail;

use super::Output;
use crate::capture::probe::{Finding, probe};

pub(super) fn run(output: Output) -> anyhow::Result<()> {
    let findings = probe();
    output.print(&findings, |findings| findings.iter().map(line).collect())?;
    if findings.iter().any(|finding| finding.needed && !finding.works) {
        bail!("something that the gateway cannot do without is missing");
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    let mark = match (finding.works, finding.needed) {
        (true, _) => "ok",
        (false, true) => "missing",
        (false, false) => "without",
    };
    format!("{mark:<8} {:<18} {}\n", finding.feature, finding.detail)
}
