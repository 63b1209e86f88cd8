//! `gateway doctor`: what this kernel and host offer.

use anyhow::bail;

use super::Output;
use super::serve::{running, runtime};
use crate::capture::probe::{Finding, probe};
use crate::control::service::Status;

pub(super) fn run(output: Output) -> anyhow::Result<()> {
    let mut findings = probe();
    // Who may not ask the gateway still learns what the kernel offers.
    let gaps = gaps().map(|found| findings.extend(found));
    output.print(&findings, |findings| findings.iter().map(line).collect())?;
    gaps?;
    if findings.iter().any(|finding| finding.needed && !finding.works) {
        bail!("something that the gateway cannot do without is missing");
    }
    Ok(())
}

/// Ways around that attachments have now, where a gateway runs that tells us.
fn gaps() -> anyhow::Result<Vec<Finding>> {
    let status = runtime()?.block_on(async {
        match running().await? {
            Some(client) => Ok::<_, anyhow::Error>(Some(client.get::<Status>("/v1/status").await?)),
            None => Ok(None),
        }
    })?;
    let attachments = status.into_iter().flat_map(|status| status.attachments);
    let gaps =
        attachments.flat_map(|attachment| attachment.gaps.into_iter().map(move |gap| (attachment.name.clone(), gap)));
    let finding = |(name, gap): (String, crate::capture::gaps::Gap)| Finding {
        feature: "containment",
        works: false,
        needed: false,
        detail: format!("`{name}` has gap {}: {}", gap.name, gap.detail),
    };
    Ok(gaps.map(finding).collect())
}

fn line(finding: &Finding) -> String {
    let mark = match (finding.works, finding.needed) {
        (true, _) => "ok",
        (false, true) => "missing",
        (false, false) => "without",
    };
    format!("{mark:<8} {:<18} {}\n", finding.feature, finding.detail)
}
