//! Where a forward leads, as far as anybody here can tell.
//!
//! In: a host and port in a client's words, the SSH server that it leads through, the configuration. Out: what is spoken
//! there and which target it is, or why it goes nowhere. The far end reads the words again: only those pass that it can
//! read in one way.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use gateway_common::{Endpoint, Verdict};

use crate::capture::Tables;
use crate::config::{Config, Target, is_host_name};
use crate::host::network::Network;
use crate::policy::vocabulary::names::Handling;
use crate::protocol::Protocol;
use crate::protocol::forward::Onward;

/// What is known of the two ends.
pub(super) struct Ends<'a> {
    pub(super) config: &'a Config,
    pub(super) attachment: &'a str,
    /// The server that it leads through: where we know it to be.
    pub(super) server: IpAddr,
    /// Or by which name, where nobody here knows more.
    pub(super) server_name: Option<&'a str>,
    /// The name that the workload was told an address for.
    pub(super) told: &'a dyn Fn(IpAddr) -> Option<String>,
}

/// Where a forward leads.
#[derive(Debug)]
pub(super) struct Place {
    /// For the server at the far end.
    pub(super) host: String,
    /// The address of a host that is named is that of its target, or `::`.
    pub(super) address: SocketAddr,
    pub(super) name: Option<String>,
    pub(super) protocol: Protocol,
    pub(super) handling: Handling,
    pub(super) target: Option<Target>,
}

/// Finds out.
///
/// # Errors
/// With the reason.
pub(super) fn find(ends: &Ends<'_>, wanted: &Onward) -> Result<Place, String> {
    let port = u16::try_from(wanted.port).ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| format!("{} is no port", wanted.port))?;
    let host = wanted.host.strip_suffix('.').unwrap_or(&wanted.host).to_ascii_lowercase();
    let address = match host.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical()),
        Err(_) => None,
    };
    // To the server, loopback is itself: what is declared there is meant, whatever it is called.
    let is_itself = match address {
        Some(address) => address.is_loopback() || address.is_unspecified(),
        None => host == "localhost" || host.ends_with(".localhost"),
    };
    let mut place = match (address, ends.server_name) {
        (_, Some(name)) if is_itself => by_name(ends, name, port),
        (_, None) if is_itself => by_address(ends, SocketAddr::new(ends.server, port)),
        (Some(address), _) => by_address(ends, SocketAddr::new(address, port)),
        (None, _) => by_name(ends, &host, port),
    }?;
    place.host = address.map_or(host, |address| address.to_string());
    Ok(place)
}

fn by_address(ends: &Ends<'_>, address: SocketAddr) -> Result<Place, String> {
    let endpoint = Endpoint::from(address);
    if endpoint.carried_v4().is_some() || endpoint.needs_scope() || is_link_local(address.ip()) {
        return Err(format!("{} means another host to each that reads it", address.ip()));
    }
    if let Some(name) = (ends.told)(address.ip()) {
        // Declared by a name that has this address: as if it were named.
        let of_name = ends.config.of_name(&name, ends.attachment);
        if of_name.iter().any(|(_, verdict)| *verdict != Verdict::Allow) {
            return Ok(Place { address, ..by_name(ends, &name, address.port())? });
        }
    }
    let verdict = Tables::of(ends.config, ends.attachment).verdict(address);
    let target = ends.config.target_of(address, ends.attachment).cloned();
    let (protocol, handling) = match (verdict, Protocol::of(verdict)) {
        (Verdict::Allow, _) if is_listed(ends.config, address) => (Protocol::Tcp, Handling::Passthrough),
        (Verdict::Allow, _) => (Protocol::Tcp, Handling::Unread),
        (_, Some(protocol)) => (protocol, Handling::Inspected),
        (_, None) => return Err(format!("{address} is refused: neither a [[target]] nor [egress] lets it be reached")),
    };
    Ok(Place { host: String::new(), address, name: None, protocol, handling, target })
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_link_local())
}

fn is_listed(config: &Config, address: SocketAddr) -> bool {
    let lists = [&config.egress.allow, &config.egress.passthrough];
    lists
        .into_iter()
        .flatten()
        .any(|allowed| allowed.network.contains(address.ip()) && allowed.port.is_none_or(|port| port == address.port()))
}

/// Finds out of a port of a pod, which is called by a name of ours, as all of its namespace are by another: what is declared
/// under these, else what is spoken at such a port wherever it is.
///
/// # Errors
/// With the reason.
pub(super) fn in_pod(config: &Config, attachment: &str, names: &[String; 2], port: u32) -> Result<Place, String> {
    let port = u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(|| format!("{port} is no port"))?;
    let names = names.each_ref().map(|name| name.to_ascii_lowercase());
    if !names.iter().all(|name| is_host_name(name)) {
        return Err("it is no name of a pod".to_owned());
    }
    let target = names.iter().find_map(|name| config.target_named(name, port, attachment)).cloned();
    let [name, _] = names;
    let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let verdict =
        target.as_ref().map_or_else(|| Tables::new(Verdict::Allow).verdict(address), |target| target.protocol);
    let (protocol, handling) = match (verdict, Protocol::of(verdict)) {
        (Verdict::Allow, _) => (Protocol::Tcp, Handling::Unread),
        (_, Some(protocol)) => (protocol, Handling::Inspected),
        (_, None) => return Err(format!("port {port} is refused, of pods too")),
    };
    Ok(Place { host: name.clone(), address, name: Some(name), protocol, handling, target })
}

/// A name means what its declaration says: where it leads is found out at the far end.
fn by_name(ends: &Ends<'_>, name: &str, port: u16) -> Result<Place, String> {
    let last = name.rsplit('.').next().unwrap_or_default();
    // `0x7f.1` and `2130706433` are addresses to inet_aton(3).
    if !is_host_name(name) || last.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("it is neither an address nor a name".to_owned());
    }
    let of = |target: Option<&Target>| {
        let address = target.and_then(|target| target.addresses.iter().find_map(Network::host_address));
        SocketAddr::new(address.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), port)
    };
    let place = |protocol, handling, target: Option<Target>| Place {
        host: String::new(),
        address: of(target.as_ref()),
        name: Some(name.to_owned()),
        protocol,
        handling,
        target,
    };
    if let Some(target) = ends.config.target_named(name, port, ends.attachment) {
        let protocol = Protocol::of(target.protocol).ok_or("its target has no protocol")?;
        return Ok(place(protocol, Handling::Inspected, Some(target.clone())));
    }
    let said = ends.config.of_name(name, ends.attachment);
    let said: Vec<_> = said.iter().filter(|(of, _)| of.is_none_or(|of| of == port)).map(|(_, says)| *says).collect();
    // A port that is protected, or refused, at every address.
    let everywhere = Tables::new(Verdict::Allow).verdict(of(None));
    if !said.is_empty() && said.iter().all(|verdict| *verdict == Verdict::Allow) && everywhere == Verdict::Allow {
        return Ok(place(Protocol::Tcp, Handling::Passthrough, None));
    }
    Err(format!(
        "nothing here tells which host `{name}` is at the far end: declare it as a [[target]], list it under [egress] \
         allow, or write its address"
    ))
}

#[cfg(test)]
mod tests;
