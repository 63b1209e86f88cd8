//! Kubernetes in `gateway replay`: requests and what came of them, in words.
//!
//! In: events of a session. Out: sentences. Recordings of exec and attach are played like those of SSH.

use super::duration;
use crate::audit::event::{KubernetesOutcome, KubernetesRequest, Status};

/// What was asked: the request line as it was kept, whatever of it could be read.
pub(super) fn asked(request: &KubernetesRequest) -> String {
    let of = [&request.namespace, &request.name].into_iter().filter(|part| !part.is_empty());
    let place = of.map(String::as_str).collect::<Vec<_>>().join("/");
    let kind = match request.subresource.as_str() {
        "" => request.resource.clone(),
        subresource => format!("{}/{subresource}", request.resource),
    };
    let words = [request.verb.as_str(), &kind, &place].into_iter().filter(|word| !word.is_empty());
    let words = words.collect::<Vec<_>>().join(" ");
    let undone = if request.stripped.is_empty() {
        String::new()
    } else {
        format!("; left out: {}", request.stripped.join(", "))
    };
    match (words.is_empty(), request.resource.is_empty()) {
        (true, _) | (_, true) => format!("{}{undone}", request.text.as_str()),
        _ => format!("{words}: {}{undone}", request.text.as_str()),
    }
}

pub(super) fn came_of_it(outcome: &KubernetesOutcome) -> String {
    let took = duration(outcome.duration_us);
    let code = outcome.code.map(|code| format!(" {code}")).unwrap_or_default();
    let end = match (outcome.status, outcome.exit_status) {
        (Status::Ok, Some(status)) => format!("exit status {status}"),
        (Status::Ok, None) => format!("answered{code}"),
        (Status::Error, _) => format!("the server refused it:{code}"),
        (Status::Refused, _) => "its answer was refused".to_owned(),
        (Status::Cancelled, _) => "cut off".to_owned(),
        (Status::Lost, _) => "its end is not known".to_owned(),
    };
    let mut text = format!("{end} after {took}; {} bytes", outcome.bytes);
    if !outcome.masked.is_empty() {
        let list: Vec<_> = outcome.masked.iter().map(|(class, values)| format!("{class} {values}")).collect();
        text += &format!("; masked: {}", list.join(", "));
    }
    if let Some(reason) = &outcome.reason {
        text += &format!("; {reason}");
    }
    text
}

/// What is kept of its bodies.
pub(super) fn bodies(outcome: &KubernetesOutcome) -> Vec<String> {
    let sent = outcome.request_body.as_ref().map(|text| format!("sent: {}", text.as_str()));
    let got = outcome.answer_body.as_ref().map(|text| format!("got: {text}"));
    let left_out = outcome.bodies_left_out.as_ref().map(|why| format!("its bodies are not all kept: {why}"));
    [sent, got, left_out].into_iter().flatten().collect()
}
