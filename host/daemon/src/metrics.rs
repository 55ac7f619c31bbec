//! Prometheus text: names and labels as dashboards of the seed system know them, and ours.
//!
//! Counted where things happen (hub, log, agent); here they are only written down.

mod agent;
mod clients;
mod host;
mod hub;
mod messages;
mod store;
mod text;
mod upstream;

use edge_core::Timestamp;

use crate::device::Device;
use text::Page;

/// What the text is.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics now. Blocks for a moment.
pub(crate) fn render(device: &Device) -> String {
    // A device without a parent has none to name; the label stays, for dashboards that group by it.
    let mut page = Page::new([
        ("iothub", String::new()),
        ("edge_device", device.name().to_string()),
        ("instance_number", device.instance().to_owned()),
    ]);
    messages::write(&mut page, device);
    clients::write(&mut page, device);
    hub::write(&mut page, device);
    upstream::write(&mut page, device);
    agent::write(&mut page, device);
    host::write(&mut page);
    store::write(&mut page, device);
    page.finish()
}

/// Seconds since a time.
fn seconds_since(now: Timestamp, then: Timestamp) -> f64 {
    now.since(then).as_secs_f64()
}
