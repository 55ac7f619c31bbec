//! Whether the containers' network has addresses that the host reaches somewhere else: those would be cut off.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::{Facts, Outcome};

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Net {
    address: u32,
    bits: u32,
}

impl Net {
    /// `172.18.0.0/16`
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
        Some(Self {
            address: address.to_bits() & mask(bits),
            bits,
        })
    }

    fn overlaps(self, other: Self) -> bool {
        let mask = mask(self.bits.min(other.bits));
        self.address & mask == other.address & mask
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.address), self.bits)
    }
}

fn mask(bits: u32) -> u32 {
    u32::MAX.checked_shl(32 - bits).unwrap_or(0)
}

/// A route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostRoute {
    interface: String,
    to: Net,
}

/// Reads `/proc/net/route`: numbers in hexadecimal, as the machine has them in memory. Default routes are left
/// out: they overlap with everything.
pub(crate) fn routes(text: &str) -> Vec<HostRoute> {
    let route = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let number = |at: usize| {
            u32::from_str_radix(fields.get(at)?, 16)
                .ok()
                .map(u32::from_be)
        };
        let (address, mask) = (number(1)?, number(7)?);
        let to = Net {
            address,
            bits: mask.count_ones(),
        };
        (to.bits > 0).then(|| HostRoute {
            interface: (*fields.first().unwrap_or(&"")).to_owned(),
            to,
        })
    };
    text.lines().skip(1).filter_map(route).collect()
}

/// The addresses of an engine's network, and its interface on the host.
fn network(network: &Value) -> (Vec<Net>, Option<String>) {
    let pools = network["IPAM"]["Config"].as_array();
    let pools = pools.into_iter().flatten();
    let nets = pools
        .filter_map(|pool| Net::parse(pool["Subnet"].as_str()?))
        .collect();
    let named = network["Options"]["com.docker.network.bridge.name"].as_str();
    // As Docker calls those that nobody gave a name.
    let made = || Some(format!("br-{}", network["Id"].as_str()?.get(..12)?));
    (nets, named.map(str::to_owned).or_else(made))
}

pub(super) fn overlaps(facts: &Facts) -> Outcome {
    let Some(Ok(engine)) = &facts.engine else {
        return Outcome::skipped("no container engine answers");
    };
    let Some(found) = &engine.network else {
        return Outcome::skipped("the network is made with the first container");
    };
    let (nets, own) = network(found);
    let mut wrong = Vec::new();
    for net in &nets {
        for route in &facts.routes {
            if Some(&route.interface) != own.as_ref() && net.overlaps(route.to) {
                wrong.push(format!(
                    "the containers' network has {net}, and {} is reached by {}",
                    route.to, route.interface
                ));
            }
        }
    }
    if wrong.is_empty() {
        let nets: Vec<_> = nets.iter().map(Net::to_string).collect();
        return Outcome::ok(nets.join(", "));
    }
    let name = &facts.settings.containers.network;
    Outcome::error(
        wrong.join("\n"),
        format!(
            "make the network with other addresses before containers need it: `docker network rm {name}`, then `docker network create --subnet 10.210.0.0/16 {name}`; or set \"default-address-pools\" of the engine"
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Status;
    use super::super::engine::Engine;
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        br-0123456789ab\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";

    fn facts(subnet: &str) -> Facts {
        let network = json!({
            "Id": "0123456789abcdef",
            "IPAM": { "Config": [ { "Subnet": subnet } ] },
        });
        Facts {
            routes: routes(ROUTES),
            engine: Some(Ok(Engine {
                network: Some(network),
                ..Engine::default()
            })),
            ..Facts::nothing()
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_of_others_are_an_error_and_its_own_route_is_none() {
        let own = overlaps(&facts("172.18.0.0/16"));
        assert_eq!(
            (own.status, own.detail.as_str()),
            (Status::Ok, "172.18.0.0/16")
        );
        let others = overlaps(&facts("192.168.0.0/20"));
        assert_eq!(others.status, Status::Error);
        assert!(
            others.detail.contains("192.168.0.0/24 is reached by eth0"),
            "{others:?}"
        );
    }

    #[test]
    fn networks_overlap_if_the_shorter_one_holds_the_longer() {
        let net = |text| Net::parse(text).expect("a network");
        assert!(net("10.0.0.0/8").overlaps(net("10.9.0.0/16")));
        assert!(!net("10.8.0.0/16").overlaps(net("10.9.0.0/16")));
        assert!(net("0.0.0.0/0").overlaps(net("1.2.3.4/32")));
        for bad in ["10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/8"] {
            assert_eq!(Net::parse(bad), None, "{bad}");
        }
    }
}
