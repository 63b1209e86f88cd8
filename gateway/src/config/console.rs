//! `[console]`: the page and the API for people, on loopback.
//!
//! In: the section. Out: where it listens, what it is called, and who may look. Nothing is opened here.

use std::net::SocketAddr;

use super::oidc::Place;
use super::table::Section;
use super::target::{SecretSource, read_secret};

/// The console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// A loopback address: what stands before it brings people here.
    pub listen: SocketAddr,
    /// What people's browsers call it.
    pub public: Place,
    /// As which client it is known to the issuer of `[identity.oidc]`.
    pub client_id: String,
    /// The secret of that client.
    pub client_secret: SecretSource,
    /// The client of `gateway login`: one without a secret, which comes back to a port of the person's own host.
    pub cli_client_id: Option<String>,
    /// People may log in by a code that they type at the issuer, on another host than their command line.
    pub device_code: bool,
    /// Groups whose members see sessions, policies and health.
    pub viewers: Vec<String>,
    /// Groups whose members see all that waits, too.
    pub admins: Vec<String>,
}

pub(super) fn read(root: &Section<'_, '_>) -> Option<Console> {
    let section = root.section("console");
    if !section.is_there() {
        return None;
    }
    let listen = section.required("listen").and_then(|text| {
        let address: Option<SocketAddr> = text.parse().ok();
        if !address.is_some_and(|address| address.ip().is_loopback()) {
            section.fault("listen", format!("`{text}` is no loopback address with a port, such as `127.0.0.1:7443`"));
        }
        address
    });
    let public = section.required("public_url").and_then(|url| {
        let place = Place::parse(&url).map_err(|reason| section.fault("public_url", reason)).ok()?;
        if !place.path.is_empty() {
            section.fault("public_url", "a host alone: the console has no path of its own");
        }
        Some(place)
    });
    let client_id = section.required("client_id");
    let client_secret = read_secret(&section, "client_secret");
    if client_secret.is_none() {
        section.fault("client_secret", "is missing");
    }
    let cli_client_id = section.string("cli_client_id");
    if cli_client_id.is_some() && cli_client_id == client_id {
        section.fault("cli_client_id", "a client of its own, without a secret: that of browsers has one");
    }
    let device_code = section.flag("device_code").unwrap_or(false);
    if device_code && cli_client_id.is_none() {
        section.fault("device_code", "needs `cli_client_id`: the client that the codes are for");
    }
    let (viewers, admins) = (section.strings("viewers"), section.strings("admins"));
    section.finish();
    Some(Console {
        listen: listen?,
        public: public?,
        client_id: client_id?,
        client_secret: client_secret?,
        cli_client_id,
        device_code,
        viewers,
        admins,
    })
}
