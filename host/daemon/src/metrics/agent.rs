//! The agent's metrics.

use super::seconds_since;
use super::text::{Kind, Page};
use crate::device::Device;

pub(super) fn write(page: &mut Page, device: &Device) {
    let metrics = device.agent().metrics();
    let mut seconds = |name, help, of: fn(&edge_agent::ModuleMetrics) -> std::time::Duration| {
        let mut metric = page.metric(name, Kind::Gauge, help);
        for (module, metrics) in &metrics.modules {
            metric.sample(
                &[("module_name", module.as_str())],
                of(metrics).as_secs_f64(),
            );
        }
    };
    seconds(
        "edgeAgent_total_time_running_correctly_seconds",
        "Time that a module ran and was healthy while it was wanted running.",
        |metrics| metrics.running_correctly,
    );
    seconds(
        "edgeAgent_total_time_expected_running_seconds",
        "Time that a module was wanted running.",
        |metrics| metrics.expected_running,
    );
    type Counts = std::collections::BTreeMap<String, u64>;
    let mut by_version = |name, help, of: fn(&edge_agent::ModuleMetrics) -> &Counts| {
        let mut metric = page.metric(name, Kind::Counter, help);
        for (module, metrics) in &metrics.modules {
            for (version, count) in of(metrics) {
                let labels = [
                    ("module_name", module.as_str()),
                    ("module_version", version),
                ];
                metric.sample(&labels, *count);
            }
        }
    };
    by_version(
        "edgeAgent_module_start_total",
        "Starts of a module.",
        |metrics| &metrics.starts,
    );
    by_version(
        "edgeAgent_module_stop_total",
        "Stops of a module.",
        |metrics| &metrics.stops,
    );
    by_version(
        "edgeAgent_module_prepare_update_total",
        "Builds of a module that were prepared.",
        |metrics| &metrics.prepares,
    );
    let mut restarts = page.metric(
        "edge_module_restart_total",
        Kind::Counter,
        "Starts of a module after an end that nobody asked for.",
    );
    for (module, metrics) in &metrics.modules {
        restarts.sample(&[("module_name", module.as_str())], metrics.restarts);
    }
    let mut latency = page.metric(
        "edgeAgent_command_latency_seconds",
        Kind::Gauge,
        "How long the last command of each kind took.",
    );
    for (command, took) in &metrics.command_latency {
        latency.sample(&[("command", command)], took.as_secs_f64());
    }
    page.single(
        "edgeAgent_deployment_time_seconds",
        Kind::Counter,
        "Time spent with deployments that were not settled yet.",
        metrics.deployment_time.as_secs_f64(),
    );
    page.single(
        "edgeAgent_iotedged_uptime_seconds",
        Kind::Gauge,
        "Time since the daemon started.",
        seconds_since(device.hub().now(), device.started()),
    );
    page.metric("edgeAgent_metadata", Kind::Gauge, "The program; always 0.")
        .sample(
            &[
                ("edge_agent_version", env!("CARGO_PKG_VERSION")),
                ("experimental_features", "{}"),
                ("host_information", &host()),
            ],
            0_u64,
        );
}

/// What runs this program, as JSON.
fn host() -> String {
    let system = rustix::system::uname();
    serde_json::json!({
        "OperatingSystemType": system.sysname().to_string_lossy(),
        "Architecture": system.machine().to_string_lossy(),
        "KernelVersion": system.release().to_string_lossy(),
        "Version": env!("CARGO_PKG_VERSION"),
    })
    .to_string()
}
