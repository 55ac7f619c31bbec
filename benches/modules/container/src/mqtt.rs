//! As much of MQTT 3.1.1 in TLS as a module needs, blocking, one thread. What one read brought is handled before
//! anything is written, and goes out as one write.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::environment::Environment;

/// Where the hub takes MQTT in TLS.
const PORT: u16 = 8883;
/// What the hub is told, in seconds.
const KEEP_ALIVE: u16 = 240;
/// After so much silence it hears a ping.
const SILENCE: Duration = Duration::from_secs(120);
/// Room for what comes: a record of TLS.
const CHUNK: usize = 16 << 10;

/// A connection with the hub.
pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    input: Vec<u8>,
    start: usize,
    out: Vec<u8>,
}

/// A packet that came.
pub enum Came<'a> {
    Publish { id: u16, body: &'a [u8] },
    PubAck { id: u16 },
    Other { kind: u8, rest: &'a [u8] },
}

impl Connection {
    /// Connects, proves who it is and subscribes to the module's inputs.
    ///
    /// # Errors
    /// The hub cannot be reached, is not who it should be, or says no.
    pub fn open(of: &Environment, bundle: &str, token: &str) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            let certificate = certificate.map_err(io::Error::other)?;
            roots.add(certificate).map_err(io::Error::other)?;
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(of.gateway.clone()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let socket = TcpStream::connect((of.gateway.as_str(), PORT))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE))?;
        let mut connection = Self {
            stream: StreamOwned::new(tls, socket),
            input: Vec::new(),
            start: 0,
            out: Vec::new(),
        };
        connection.log_in(of, token)?;
        connection.subscribe(&of.inputs())?;
        Ok(connection)
    }

    fn log_in(&mut self, of: &Environment, token: &str) -> io::Result<()> {
        // Protocol 4; a user name, a password, a clean session.
        let mut packet = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2];
        packet.extend_from_slice(&KEEP_ALIVE.to_be_bytes());
        for field in [&of.client_id(), &of.user_name(), token] {
            text(&mut packet, field)?;
        }
        self.packet(0x10, &packet);
        match self.answer()? {
            (0x20, rest) if rest.get(1) == Some(&0) => Ok(()),
            (kind, rest) => Err(io::Error::other(format!("CONNECT: {kind:#x} {rest:?}"))),
        }
    }

    fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let mut packet = vec![0, 1];
        text(&mut packet, filter)?;
        packet.push(1);
        self.packet(0x82, &packet);
        match self.answer()? {
            (0x90, rest) if rest.get(2) == Some(&1) => Ok(()),
            (kind, rest) => Err(io::Error::other(format!("SUBSCRIBE: {kind:#x} {rest:?}"))),
        }
    }

    fn answer(&mut self) -> io::Result<(u8, Vec<u8>)> {
        self.flush()?;
        loop {
            match self.next()? {
                Some(Came::Other { kind, rest }) => return Ok((kind, rest.to_vec())),
                Some(_) => return Err(io::Error::other("a message before the answer")),
                None => self.fill()?,
            }
        }
    }

    /// Waits for more. Before that, everything that is to be sent goes out.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn fill(&mut self) -> io::Result<()> {
        self.flush()?;
        self.input.drain(..self.start);
        self.start = 0;
        let length = self.input.len();
        self.input.resize(length + CHUNK, 0);
        let read = self.stream.read(&mut self.input[length..]);
        self.input.truncate(length + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.packet(0xc0, &[]);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The next whole packet of what was read.
    ///
    /// # Errors
    /// What came is no packet.
    pub fn next(&mut self) -> io::Result<Option<Came<'_>>> {
        let bytes = &self.input[self.start..];
        let Some((kind, head, whole)) = frame(bytes)? else {
            return Ok(None);
        };
        let rest = &bytes[head..whole];
        self.start += whole;
        let bad = || io::Error::other(format!("a packet {kind:#x} of {} bytes", rest.len()));
        let number = |at: usize| {
            let two = rest.get(at..at + 2).and_then(|two| two.try_into().ok());
            two.map(u16::from_be_bytes).ok_or_else(bad)
        };
        Ok(Some(match kind {
            0x40 => Came::PubAck { id: number(0)? },
            // At QoS 1; flags of repeats and of retained ones do not matter.
            kind if kind & 0xf6 == 0x32 => {
                let topic = usize::from(number(0)?);
                Came::Publish {
                    id: number(2 + topic)?,
                    body: rest.get(4 + topic..).ok_or_else(bad)?,
                }
            }
            kind => Came::Other { kind, rest },
        }))
    }

    /// The place in the input of the body that came last.
    pub fn place(&self, length: usize) -> (usize, usize) {
        (self.start - length, self.start)
    }

    /// Sends, with what is written next, a PUBLISH at QoS 1 with a body that is still in the input.
    ///
    /// # Errors
    /// The topic is too long.
    pub fn publish(&mut self, topic: &str, id: u16, (from, to): (usize, usize)) -> io::Result<()> {
        self.out.push(0x32);
        length(&mut self.out, 2 + topic.len() + 2 + (to - from));
        text(&mut self.out, topic)?;
        self.out.extend_from_slice(&id.to_be_bytes());
        self.out.extend_from_slice(&self.input[from..to]);
        Ok(())
    }

    /// Sends a PUBACK with what is written next.
    pub fn acknowledge(&mut self, id: u16) {
        let [high, low] = id.to_be_bytes();
        self.out.extend_from_slice(&[0x40, 2, high, low]);
    }

    fn packet(&mut self, kind: u8, rest: &[u8]) {
        self.out.push(kind);
        length(&mut self.out, rest.len());
        self.out.extend_from_slice(rest);
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out)?;
            self.stream.flush()?;
            self.out.clear();
        }
        Ok(())
    }
}

/// Kind, length of the fixed header and whole length of the first packet, if it is whole.
fn frame(bytes: &[u8]) -> io::Result<Option<(u8, usize, usize)>> {
    let Some(kind) = bytes.first() else {
        return Ok(None);
    };
    let mut length = 0;
    for (at, byte) in bytes[1..].iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let whole = 2 + at + length;
            return Ok((whole <= bytes.len()).then_some((*kind, 2 + at, whole)));
        }
    }
    match bytes.len() {
        0..5 => Ok(None),
        _ => Err(io::Error::other("a length of more than four bytes")),
    }
}

fn text(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    let length = u16::try_from(text.len()).map_err(io::Error::other)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        // Seven bits of it.
        #[allow(clippy::cast_possible_truncation, reason = "it is masked")]
        let low = (length & 0x7f) as u8;
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}
