//! Our side of TLS against that of a client, over real sockets.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use super::session::{Shaken, TlsStream};
use super::{Identity, READ_BYTES, Terms};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};

pub(in super::super) fn identity() -> Identity {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["h".to_owned()]).unwrap();
    Identity::from_pem(cert.pem().as_bytes(), signing_key.serialize_pem().as_bytes()).unwrap()
}

/// A client that takes any certificate.
pub(in super::super) fn client() -> ClientConnection {
    client_of(&TLS13)
}

fn client_of(version: &'static SupportedProtocolVersion) -> ClientConnection {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap().dangerous();
    let config = builder.with_custom_certificate_verifier(Arc::new(Credulous)).with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from("h").unwrap()).unwrap()
}

#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
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
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Both sides of a connection whose handshake is done.
struct Pair {
    own: TlsStream,
    client: ClientConnection,
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Pair {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        for socket in [&socket, &accepted] {
            socket.set_nonblocking(true).unwrap();
            socket.set_nodelay(true).unwrap();
        }
        let terms = Rc::new(Terms::new(Some(identity())));
        let own = TlsStream::new(mio::net::TcpStream::from_std(accepted), terms);
        let mut pair = Self { own, client: client_of(version), socket, buffer: vec![0; READ_BYTES] };
        while pair.own.is_shaking_hands() {
            pair.send();
            match pair.own.shake_hands(&mut pair.buffer).unwrap() {
                Shaken::Waits { .. } | Shaken::Done(_) => {}
                other => panic!("{other:?}"),
            }
            pair.receive();
        }
        pair
    }

    /// What the client has to say.
    fn send(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.socket).unwrap();
        }
    }

    /// What has come to the client.
    fn receive(&mut self) -> Vec<u8> {
        while self.client.read_tls(&mut self.socket).is_ok_and(|n| n > 0) {
            self.client.process_new_packets().unwrap();
        }
        let mut plain = Vec::new();
        let mut part = [0; 4_096];
        while let Ok(n @ 1..) = self.client.reader().read(&mut part) {
            plain.extend_from_slice(&part[..n]);
        }
        plain
    }

    /// Writes as the loop does, until the socket takes no more; how much counts as written.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            let (one, two) = bytes[written..].split_at((bytes.len() - written).min(1_000));
            match self.own.write(&[IoSlice::new(one), IoSlice::new(two)]) {
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        written
    }
}

#[test]
fn plain_bytes_count_as_written_when_the_socket_has_their_records() {
    // Far more than the buffers of both sockets take.
    let bytes: Vec<u8> = (0..5_000_000u32).flat_map(u32::to_le_bytes).collect();
    for version in [&TLS12, &TLS13] {
        let mut pair = Pair::new(version);
        let mut written = pair.write(&bytes);
        assert!(0 < written && written < bytes.len(), "{written}: it is stuck");
        assert!(pair.own.unsent() > 0, "not all that is encrypted counts");
        assert_eq!(pair.write(&bytes[written..]), 0, "and stays so: nothing counts");
        let mut came = Vec::new();
        while came.len() < bytes.len() {
            came.extend_from_slice(&pair.receive());
            written += pair.write(&bytes[written..]);
            assert!(pair.own.kept() <= 17 * 1_024, "no more than one record is kept: {}", pair.own.kept());
        }
        assert_eq!(written, bytes.len());
        assert!(came == bytes);
        assert_eq!(pair.own.kept(), 0, "an idle connection has no buffers");
    }
}

#[test]
fn a_record_may_come_in_any_two_pieces() {
    let mut pair = Pair::new(&TLS13);
    let mut record = Vec::new();
    for at in 1..100 {
        pair.client.writer().write_all(b"hello, whoever is there, this is a request").unwrap();
        record.clear();
        pair.client.write_tls(&mut record).unwrap();
        let (first, second) = record.split_at(at.min(record.len() - 1));
        let mut taken = Vec::new();
        for part in [first, second] {
            pair.socket.write_all(part).unwrap();
            let read = loop {
                match pair.own.read(&mut pair.buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    read => break read.unwrap(),
                }
            };
            assert!(!read.end && !read.more);
            taken.extend_from_slice(&pair.buffer[..read.bytes]);
        }
        assert_eq!(taken, b"hello, whoever is there, this is a request", "{at}");
        assert_eq!(pair.own.kept(), 0);
    }
}

#[test]
fn a_goodbye_and_an_end_without_one_are_the_end() {
    for polite in [true, false] {
        let mut pair = Pair::new(&TLS13);
        pair.client.writer().write_all(b"last words").unwrap();
        if polite {
            pair.client.send_close_notify();
        }
        pair.send();
        pair.socket.shutdown(std::net::Shutdown::Write).unwrap();
        let (mut words, mut end) = (0, false);
        while !end {
            match pair.own.read(&mut pair.buffer) {
                Ok(taken) => (words, end) = (words + taken.bytes, taken.end),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(words, 10);
    }
}

#[test]
fn what_came_before_a_fault_counts_and_the_fault_is_told_then() {
    let mut pair = Pair::new(&TLS13);
    let mut bytes = Vec::new();
    pair.client.writer().write_all(b"good").unwrap();
    pair.client.write_tls(&mut bytes).unwrap();
    bytes.extend_from_slice(&[23, 3, 3, 0, 20]);
    bytes.extend_from_slice(&[0; 20]);
    pair.socket.write_all(&bytes).unwrap();
    let read = |pair: &mut Pair| -> io::Result<usize> {
        loop {
            match pair.own.read(&mut pair.buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read.map(|taken| taken.bytes),
            }
        }
    };
    assert_eq!(read(&mut pair).unwrap(), 4);
    assert_eq!(read(&mut pair).unwrap_err().kind(), ErrorKind::InvalidData);
    assert!(pair.own.write(&[IoSlice::new(b"x")]).is_err());
    pair.own.close();
    let told = loop {
        match pair.client.read_tls(&mut pair.socket) {
            Ok(_) => break pair.client.process_new_packets().unwrap_err(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    };
    assert!(told.to_string().contains("BadRecordMac"), "{told}");
}
