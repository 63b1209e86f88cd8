//! `[metrics]`: where Prometheus asks. In: the section. Out: an address. Nothing is opened here.

use std::net::SocketAddr;

use super::table::Section;

pub(super) fn read(root: &Section<'_, '_>) -> Option<SocketAddr> {
    let section = root.section("metrics");
    let text = if section.is_there() { section.required("listen") } else { section.string("listen") };
    section.finish();
    let text = text?;
    let address = text.parse().ok();
    if address.is_none_or(|address: SocketAddr| address.port() == 0) {
        section.fault("listen", format!("`{text}` is no address with a port, such as `127.0.0.1:9464`"));
    }
    address
}
