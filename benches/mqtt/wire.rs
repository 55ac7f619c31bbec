//! One connection of the load generator: bytes in and out, plain or in TLS, and the few packets that it
//! speaks. Blocking until [`Wire::ready`], never after it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

/// Room that is made before each read: what a socket gives at once under load.
const CHUNK: usize = 256 << 10;

/// Longest wait for an answer while a connection is set up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a server.
pub struct Wire {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    blocks: bool,
    /// What is to be written, from `written` on.
    out: Vec<u8>,
    written: usize,
    /// What was read: `start..end` is not taken yet.
    input: Vec<u8>,
    start: usize,
    end: usize,
}

/// A packet that came, its body in place.
pub enum Came<'a> {
    ConnAck {
        /// A session of this client was there.
        present: bool,
        code: u8,
    },
    SubAck {
        code: u8,
    },
    PubAck {
        id: u16,
    },
    /// A delivery at QoS 1.
    Publish {
        id: u16,
        body: &'a [u8],
    },
}

impl Wire {
    /// Connects, with the handshake of TLS if asked for.
    pub fn connect(address: SocketAddr, transport: Transport) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let tls = match transport {
            Transport::Plain => None,
            Transport::Tls => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let mut tls =
                    ClientConnection::new(tls_config(), name).map_err(io::Error::other)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut stream)?;
                }
                Some(Box::new(tls))
            }
        };
        Ok(Self {
            stream,
            tls,
            blocks: true,
            out: Vec::new(),
            written: 0,
            input: Vec::new(),
            start: 0,
            end: 0,
        })
    }

    /// CONNECT of MQTT 3.1.1 and its answer: whether a session of this client was there.
    pub fn log_in(
        &mut self,
        id: &str,
        clean: bool,
        login: Option<(&str, &str)>,
    ) -> io::Result<bool> {
        let mut flags = u8::from(clean) << 1;
        let mut payload = Vec::new();
        text(&mut payload, id);
        if let Some((user, password)) = login {
            flags |= 0xc0;
            text(&mut payload, user);
            text(&mut payload, password);
        }
        let mut packet = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 0];
        // Keep-alive: longer than any run. rumqttd refuses none at all.
        packet[8..10].copy_from_slice(&600u16.to_be_bytes());
        packet.extend(payload);
        self.send(0x10, &packet)?;
        match self.answer()? {
            Came::ConnAck { present, code: 0 } => Ok(present),
            Came::ConnAck { code, .. } => Err(io::Error::other(format!("CONNECT refused: {code}"))),
            _ => Err(io::Error::other("CONNECT not answered by CONNACK")),
        }
    }

    /// SUBSCRIBE to one filter at QoS 1 and its answer.
    pub fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let mut packet = vec![0, 1];
        text(&mut packet, filter);
        packet.push(1);
        self.send(0x82, &packet)?;
        match self.answer()? {
            Came::SubAck { code: 1 } => Ok(()),
            Came::SubAck { code } => Err(io::Error::other(format!("SUBSCRIBE granted {code:#x}"))),
            _ => Err(io::Error::other("SUBSCRIBE not answered by SUBACK")),
        }
    }

    /// DISCONNECT.
    pub fn log_out(mut self) -> io::Result<()> {
        self.blocks = true;
        self.stream.set_nonblocking(false)?;
        self.send(0xe0, &[])
    }

    /// From here on nothing blocks.
    pub fn ready(&mut self) -> io::Result<()> {
        self.blocks = false;
        self.stream.set_nonblocking(true)
    }

    fn send(&mut self, kind: u8, rest: &[u8]) -> io::Result<()> {
        self.out.push(kind);
        length(&mut self.out, rest.len());
        self.out.extend_from_slice(rest);
        while !self.flush()? {}
        Ok(())
    }

    fn answer(&mut self) -> io::Result<Came<'_>> {
        while frame(&self.input[self.start..self.end])?.is_none() {
            self.fill()?;
        }
        self.next()
            .map(|came| came.expect("a whole packet is there"))
    }

    /// Room for packets to be sent; [`Wire::flush`] sends them.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Writes as much as goes. `false`: the rest must wait until the socket takes more.
    pub fn flush(&mut self) -> io::Result<bool> {
        loop {
            let waits = &self.out[self.written..];
            let wrote = match &mut self.tls {
                None if waits.is_empty() => break,
                None => self.stream.write(waits),
                Some(tls) => {
                    self.written += tls.writer().write(waits)?;
                    if !tls.wants_write() {
                        break;
                    }
                    match tls.write_tls(&mut self.stream) {
                        // What was encrypted is gone from `out` already.
                        Ok(_) => continue,
                        Err(error) => Err(error),
                    }
                }
            };
            match wrote {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(true)
    }

    /// Reads what is there, once. `false`: nothing was.
    pub fn fill(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.input.len() < self.end + CHUNK {
            self.input.resize(self.end + CHUNK, 0);
        }
        let room = &mut self.input[self.end..];
        let read = match &mut self.tls {
            None => self.stream.read(room),
            Some(tls) => read_tls(tls, &mut self.stream, self.blocks, room),
        };
        match read {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.end += count;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next whole packet of what was read.
    pub fn next(&mut self) -> io::Result<Option<Came<'_>>> {
        let Some((kind, head, whole)) = frame(&self.input[self.start..self.end])? else {
            return Ok(None);
        };
        let packet = &self.input[self.start + head..self.start + whole];
        self.start += whole;
        let bad = || io::Error::other(format!("packet {kind:#x} of {} bytes", packet.len()));
        let number = |at: usize| {
            let bytes = packet.get(at..at + 2).ok_or_else(bad)?;
            Ok::<_, io::Error>(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        Ok(Some(match kind {
            0x20 => Came::ConnAck {
                present: packet.first().is_some_and(|flags| flags & 1 != 0),
                code: *packet.get(1).ok_or_else(bad)?,
            },
            0x90 => Came::SubAck {
                code: *packet.get(2).ok_or_else(bad)?,
            },
            0x40 => Came::PubAck { id: number(0)? },
            kind if kind & 0xf6 == 0x32 => {
                let topic = usize::from(number(0)?);
                Came::Publish {
                    id: number(2 + topic)?,
                    body: packet.get(4 + topic..).ok_or_else(bad)?,
                }
            }
            _ => return Err(bad()),
        }))
    }

    /// The socket, to wait for it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// As `read` of a socket: what one or more records held.
fn read_tls(
    tls: &mut ClientConnection,
    stream: &mut TcpStream,
    blocks: bool,
    room: &mut [u8],
) -> io::Result<usize> {
    let mut count = 0;
    loop {
        match tls.reader().read(&mut room[count..]) {
            Ok(0) => return Ok(count),
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if count == room.len() || (blocks && count > 0) {
            return Ok(count);
        }
        match tls.read_tls(stream) {
            Ok(0) => return Ok(count),
            Ok(_) => {
                tls.process_new_packets().map_err(io::Error::other)?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && count > 0 => return Ok(count),
            Err(error) => return Err(error),
        }
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

fn text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("a short text");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7f).expect("seven bits");
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

/// A PUBLISH at QoS 1 that is made once; only its packet id and the begin of its body change.
pub struct Publish {
    bytes: Vec<u8>,
    id: usize,
}

impl Publish {
    /// With so many bytes of body.
    pub fn new(topic: &str, body: usize) -> Self {
        let mut bytes = vec![0x32];
        length(&mut bytes, 2 + topic.len() + 2 + body);
        text(&mut bytes, topic);
        let id = bytes.len();
        bytes.resize(id + 2 + body, b'x');
        Self { bytes, id }
    }

    /// Appends it with this packet id and begin of body.
    pub fn write(&mut self, id: u16, begin: &[u8], out: &mut Vec<u8>) {
        self.bytes[self.id..self.id + 2].copy_from_slice(&id.to_be_bytes());
        self.bytes[self.id + 2..self.id + 2 + begin.len()].copy_from_slice(begin);
        out.extend_from_slice(&self.bytes);
    }
}

/// Trusts every server: what is measured is the cost of records, not who is at the other end.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::ring::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn tls_config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let make = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS 1.2 and 1.3 need")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_no_client_auth();
        Arc::new(config)
    };
    CONFIG.get_or_init(make).clone()
}
