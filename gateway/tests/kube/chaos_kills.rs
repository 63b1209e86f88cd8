//! API requests under random kills.

use std::fs;

use crate::chaos::{Chaos, SETTINGS};
use crate::clickhouse::ClickHouse;
use crate::site::Site;

#[test]
fn chaos_of_api_requests_leaves_none_without_its_event() {
    let site = Site::new();
    let store = ClickHouse::migrated(&site.world);
    let configuration = format!("{SETTINGS}{}", store.section());
    let path = format!("/api/v1/namespaces/{}/configmaps", site.namespace);
    Chaos {
        name: "kubernetes",
        world: &site.world,
        store: &store,
        attach: &|| site.attach_with(&configuration, None),
        work: &|markers| {
            let numbers: Vec<&str> = markers.iter().map(|marker| marker.trim_start_matches("chaos")).collect();
            drop(site.curl(&["-o", "/dev/null"], &format!("{path}/chaos{{{}}}", numbers.join(","))));
        },
        batch: 20,
        received: &|| {
            let noted = fs::read_to_string(site.node.home.join("audit.log")).unwrap();
            noted.lines().filter(|line| line.contains(&path)).collect()
        },
        kind: "kubernetes.request",
    }
    .run();
}
