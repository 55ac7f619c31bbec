//! A module as Azure's SDKs make it: it acknowledges a message, and then sends another, on a socket that has
//! Nagle's algorithm on. The second packet waits for the system's acknowledgement of the first.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use edge_mqtt::client::{self, Heard};
use edge_mqtt::packet::{Packet, PacketId, QoS, Version};

const PATIENCE: Duration = Duration::from_secs(10);

/// A client that waits for each answer.
struct Peer {
    stream: TcpStream,
    input: BytesMut,
}

impl Peer {
    fn connect(address: SocketAddr, name: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut peer = Self {
            stream,
            input: BytesMut::new(),
        };
        let mut hello = client::connect(Version::V3, name);
        // Longer than any run; rumqttd refuses none at all.
        hello.keep_alive = 600;
        peer.send(&Packet::Connect(Box::new(hello)))?;
        match peer.hear()? {
            Heard::ConnAck { code: 0, .. } => Ok(peer),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let filters = [(filter, QoS::AtLeastOnce)];
        self.send(&Packet::Subscribe(client::subscribe(
            NonZeroU16::MIN,
            &filters,
        )))?;
        match self.hear()? {
            Heard::SubAck { codes, .. } if codes == [1] => Ok(()),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    /// One packet, one write.
    fn send(&mut self, packet: &Packet) -> io::Result<()> {
        let mut out = BytesMut::new();
        client::encode(&mut out, Version::V3, packet);
        self.stream.write_all(&out)
    }

    fn publish(&mut self, topic: &str, id: PacketId, body: &[u8]) -> io::Result<()> {
        let publish = client::publish(topic, Some(id), body.to_vec());
        self.send(&Packet::Publish(publish))
    }

    fn hear(&mut self) -> io::Result<Heard> {
        loop {
            let heard = client::decode(Version::V3, &mut self.input).map_err(io::Error::other)?;
            if let Some(heard) = heard {
                return Ok(heard);
            }
            let mut room = [0; 4 << 10];
            match self.stream.read(&mut room)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.input.extend_from_slice(&room[..read]),
            }
        }
    }

    /// The next message, acknowledged.
    fn take(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.hear()? {
                Heard::Publish {
                    id: Some(id), body, ..
                } => {
                    self.send(&Packet::PubAck(client::ack(id)))?;
                    return Ok(body.to_vec());
                }
                Heard::PubAck(_) => {}
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
        }
    }
}

/// Messages a second that pass the module, one after the other.
pub fn rate(address: SocketAddr, name: &str, messages: u16) -> io::Result<f64> {
    let (inward, outward) = (format!("hop/{name}/in"), format!("hop/{name}/out"));
    let mut feeder = Peer::connect(address, &format!("feeder-{name}"))?;
    let mut module = Peer::connect(address, &format!("module-{name}"))?;
    let mut sink = Peer::connect(address, &format!("sink-{name}"))?;
    module.subscribe(&inward)?;
    sink.subscribe(&outward)?;
    let begin = Instant::now();
    for number in 1..=messages {
        let id = NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN);
        feeder.publish(&inward, id, &number.to_be_bytes())?;
        let body = module.take()?;
        module.publish(&outward, id, &body)?;
        if sink.take()? != number.to_be_bytes() {
            return Err(io::Error::other("another message than was sent"));
        }
    }
    Ok(f64::from(messages) / begin.elapsed().as_secs_f64())
}
