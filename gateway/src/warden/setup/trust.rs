//! From what clients of a user know the gateway by to a step, with what to install where they do not. In: what was found. Out: words. It
//! looks at nothing.

use crate::control::setup::{Spoken, Step};
use crate::host::readable::{Client, Known};

/// The clients of a protocol.
pub(super) fn of(protocol: Spoken) -> Client {
    match protocol {
        Spoken::Postgres => Client::Postgres,
        Spoken::Ssh => Client::Ssh,
        Spoken::Kubernetes => Client::Kubernetes,
    }
}

pub(super) fn step(about: &str, known: &Known) -> Step {
    let (name, what) = match known.client {
        Client::Postgres => ("trusts_postgres", "the gateway's authority"),
        Client::Ssh => ("trusts_ssh", "a line with the gateway's host key, or with the authority of it,"),
        Client::Kubernetes => ("trusts_kubernetes", "the gateway's authority"),
    };
    let without = known.without.join(", ");
    match (known.client, &known.by) {
        (_, Some(path)) => Step::passed(about, name, format!("{what} stands in {path}")),
        (Client::Postgres, None) if without.is_empty() => {
            Step::passed(about, name, "clients that verify nothing need nothing: there is no ~/.postgresql/root.crt")
        }
        (Client::Postgres, None) => Step::failed(
            about,
            name,
            format!("{what} does not stand in {without}, against which libpq verifies whoever answers"),
            "`gateway trust --ca` prints it: append it there",
        ),
        (Client::Ssh, None) => Step::failed(
            about,
            name,
            format!("{what} stands in no file of known hosts that this user can read"),
            "`gateway trust --ssh` prints it: append it to /etc/ssh/ssh_known_hosts, of the container where they run in one",
        ),
        (Client::Kubernetes, None) if without.is_empty() => {
            Step::skipped(about, name, "no kubeconfig stands at a place that is known, or this user cannot read it")
        }
        (Client::Kubernetes, None) => Step::failed(
            about,
            name,
            format!("{what} stands in none of {without}"),
            "`gateway trust --kubeconfig TARGET` prints a kubeconfig that has it; in a pod, mount `gateway trust --ca` over ca.crt",
        ),
    }
}
