//! Daemons that are parents and children of each other.

use std::fs;
use std::net::TcpListener;

use super::Daemon;

/// A daemon that takes children, and where.
pub struct Parent {
    pub daemon: Daemon,
    port: u16,
    https: u16,
}

impl Parent {
    /// Hands all messages on, to its own parent or to whoever stands there: it has no deployment.
    pub fn with(settings: &str) -> Self {
        Self::at("127.0.0.1", settings)
    }

    /// The same at another address of this machine.
    pub fn at(address: &str, settings: &str) -> Self {
        // Free a moment ago; nobody else asks for this one.
        let free = [0; 2].map(|_| TcpListener::bind((address, 0)).unwrap());
        let [port, https] = free
            .each_ref()
            .map(|taken| taken.local_addr().unwrap().port());
        drop(free);
        let daemon = Daemon::with(&format!(
            "amqp.listen = \"{address}:{port}\"\nhttps.listen = \"{address}:{https}\"\n{settings}"
        ));
        Self {
            daemon,
            port,
            https,
        }
    }

    /// A child's identity here; the settings that make a daemon this child.
    pub fn adopt(&self, name: &str) -> String {
        self.adopt_at(name, self.port)
    }

    /// The same for a child that comes through a WebSocket.
    pub fn adopt_in_websocket(&self, name: &str) -> String {
        let settings = self.adopt_at(name, self.https);
        format!("{settings}upstream.transport = \"websocket\"\n")
    }

    /// The same for one that comes through a WebSocket and a proxy.
    pub fn adopt_through(&self, name: &str, proxy: &str) -> String {
        let settings = self.adopt_in_websocket(name);
        format!("{settings}upstream.proxy = \"{proxy}\"\n")
    }

    /// The same for a child that reaches it at another port: through something on the way.
    pub fn adopt_at(&self, name: &str, port: u16) -> String {
        let added = self.daemon.edge("identity add --edge").arg(name).output("");
        self.child(name, port, &added.code(0).out)
    }

    /// The settings of a child that its grandparent has registered behind this one.
    pub fn adopt_told(&self, name: &str) -> String {
        let connection_string = self.told(name);
        self.child(name, self.port, &connection_string)
    }

    /// The connection string of an identity that this one's parent has registered behind it, once it knows it.
    pub fn told(&self, name: &str) -> String {
        self.daemon.eventually("it is told of", |daemon| {
            let list = daemon.json("identity list");
            let list = list.as_array().unwrap();
            list.iter().any(|known| known["identity"] == name)
        });
        let known = self.daemon.json(&format!("identity show {name} --keys"));
        let connection_string = known["secrets"]["connection_string"].as_str();
        connection_string.unwrap().to_owned()
    }

    fn child(&self, name: &str, port: u16, connection_string: &str) -> String {
        let dir = self.daemon.dir();
        let (secret, bundle) = (dir.join(name), dir.join("bundle.pem"));
        fs::write(&secret, connection_string).unwrap();
        let trusted = self.daemon.edge("certificates --bundle").output("").code(0);
        fs::write(&bundle, trusted.out).unwrap();
        format!(
            "device.name = \"{name}\"\nupstream.kind = \"amqp\"\nupstream.port = {}\n\
             upstream.connection-string-file = \"{}\"\nupstream.trusted = [\"{}\"]\n",
            port,
            secret.display(),
            bundle.display()
        )
    }

    /// Where children connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Registers an identity; its connection string.
    pub fn add(&self, identity: &str) -> String {
        let added = self.daemon.edge("identity add").arg(identity).output("");
        added.code(0).out
    }
}
