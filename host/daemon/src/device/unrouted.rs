//! Messages that no route takes.

use std::time::Duration;

use edge_core::{Origin, Priority, Source};
use edge_hub::Observer;
use edge_route::{Mode, Route, RouteEntry, RouteTable};

/// The routes of a device that has no deployment yet: all goes to the parent, or to what stands for one. A gateway that
/// was just set up would drop what its children send otherwise, and they could not know.
const ALL_UP: &str = "FROM /messages/* INTO $upstream";

/// The table of such a device.
pub(super) fn before_deployments() -> RouteTable {
    let route = Route::compile(ALL_UP, Mode::Strict).ok().flatten();
    let entry = |route| RouteEntry {
        name: "before-the-first-deployment".to_owned(),
        route,
        priority: Priority::DEFAULT,
        time_to_live: None::<Duration>,
    };
    RouteTable::new(route.map(entry).into_iter().collect())
}

/// Says so once for each output whose messages no route takes.
#[derive(Debug)]
pub(super) struct SaysUnrouted;

impl Observer for SaysUnrouted {
    fn unrouted(&self, origin: &Origin) {
        let (device, module) = match origin.source() {
            Source::Device(device) => (device, None),
            Source::Module { device, module, .. } => (device, Some(module)),
            // Routes rarely want these.
            Source::TwinChange(_) => return,
        };
        tracing::warn!(
            %device,
            module = module.map(|module| module.as_str()),
            path = origin.path(),
            "no route takes these messages: they are dropped, and counted (reason no_route)"
        );
    }
}

#[cfg(test)]
mod tests {
    use edge_core::EndpointId;

    use super::*;

    #[test]
    fn a_device_without_a_deployment_sends_everything_to_its_parent() {
        let table = before_deployments();
        assert_eq!(table.endpoints(), [EndpointId::Upstream]);
    }
}
