//! rumqttd at an address, with room for everything that a run sends, until standard input ends: whoever
//! started it is gone then.
//!
//! `rumqttd-peer 127.0.0.1:PORT`

use std::io::{Read, stdin};
use std::process::ExitCode;

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address] = &words[..] else {
        eprintln!("usage: rumqttd-peer ADDRESS:PORT");
        return ExitCode::from(2);
    };
    let listen = match address.parse() {
        Ok(listen) => listen,
        Err(error) => {
            eprintln!("{address}: {error}");
            return ExitCode::from(2);
        }
    };
    let server = ServerSettings {
        name: "v4".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 10_000,
            max_payload_size: 1 << 20,
            max_inflight_count: 1_000,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let mut broker = Broker::new(Config {
        router: RouterConfig {
            max_connections: 1_000,
            max_outgoing_packet_count: 200,
            max_segment_size: 100 << 20,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some([("1".to_owned(), server)].into()),
        ..Config::default()
    });
    std::thread::spawn(move || {
        if let Err(error) = broker.start() {
            eprintln!("rumqttd: {error}");
            std::process::exit(1);
        }
    });
    match stdin().read_to_end(&mut Vec::new()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("standard input: {error}");
            ExitCode::FAILURE
        }
    }
}
