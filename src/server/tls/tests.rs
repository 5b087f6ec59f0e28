//! Our side of TLS against that of a client, over real sockets.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use super::super::stream::{Kept, Taken};
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

/// Far more bytes than the buffers of both sockets take.
const PLENTY: usize = 20_000_000;

/// Both sides of a connection whose handshake is done.
struct Pair {
    own: TlsStream,
    client: ClientConnection,
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Pair {
    /// A connection on which nothing has been said.
    fn strange(version: &'static SupportedProtocolVersion) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        for socket in [&socket, &accepted] {
            socket.set_nonblocking(true).unwrap();
            socket.set_nodelay(true).unwrap();
        }
        let terms = Rc::new(Terms::new(Some(identity())));
        let own = TlsStream::new(mio::net::TcpStream::from_std(accepted), terms);
        Self { own, client: client_of(version), socket, buffer: vec![0; READ_BYTES] }
    }

    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let mut pair = Self::strange(version);
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

    /// The server's part of a handshake, as far as it can go on by these bytes of the client.
    fn shake(&mut self, bytes: &[u8]) -> io::Result<Shaken> {
        self.socket.write_all(bytes).unwrap();
        let mut came = vec![0; bytes.len()];
        while !self.own.socket().peek(&mut came).is_ok_and(|n| n == bytes.len()) {}
        self.own.shake_hands(&mut self.buffer)
    }

    /// A handshake in which nothing is missing but the client's last bytes; these, with a request behind them.
    fn all_but_done(version: &'static SupportedProtocolVersion) -> (Self, Vec<u8>) {
        let mut pair = Self::strange(version);
        let hello = pair.said();
        assert!(matches!(pair.shake(&hello).unwrap(), Shaken::Waits { worked: true, .. }));
        assert!(pair.own.is_answered());
        pair.client.writer().write_all(b"a request").unwrap();
        while !pair.client.wants_write() {
            pair.receive();
        }
        let last = pair.said();
        (pair, last)
    }

    /// What the client has to say, before it is sent.
    fn said(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Reads until something has come.
    fn read(&mut self) -> io::Result<Taken> {
        loop {
            match self.own.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    fn kept(&self) -> usize {
        let Kept { incoming, outgoing } = self.own.kept();
        incoming + outgoing
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
            assert!(pair.kept() <= 17 * 1_024, "no more than one record is kept: {}", pair.kept());
        }
        assert_eq!(written, bytes.len());
        assert!(came == bytes);
        assert_eq!(pair.kept(), 0, "an idle connection has no buffers");
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
            let read = pair.read().unwrap();
            assert!(!read.end && !read.more);
            taken.extend_from_slice(&pair.buffer[..read.bytes]);
        }
        assert_eq!(taken, b"hello, whoever is there, this is a request", "{at}");
        assert_eq!(pair.kept(), 0);
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
    assert_eq!(pair.read().unwrap().bytes, 4);
    assert_eq!(pair.read().unwrap_err().kind(), ErrorKind::InvalidData);
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

#[test]
fn every_whole_message_of_a_handshake_is_work_and_part_of_one_is_none() {
    let (mut pair, last) = Pair::all_but_done(&TLS12);
    // The client's part of the key comes in a record of its own, before its Finished.
    assert_eq!(last[0], 22);
    let key = 5 + usize::from(u16::from_be_bytes([last[3], last[4]]));
    assert!(matches!(pair.shake(&last[..key - 1]).unwrap(), Shaken::Waits { worked: false, .. }));
    assert!(matches!(pair.shake(&last[key - 1..key]).unwrap(), Shaken::Waits { worked: true, .. }));
    assert!(matches!(pair.shake(&last[key..]).unwrap(), Shaken::Done(Taken { bytes: 0, .. })));
}

#[test]
fn a_request_behind_a_handshake_is_not_lost_with_what_cannot_be_sent() {
    let (mut pair, last) = Pair::all_but_done(&TLS13);
    pair.own.socket().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(matches!(pair.shake(&last).unwrap(), Shaken::Done(Taken { bytes: 9, more: true, end: false })));
    assert_eq!(&pair.buffer[..9], b"a request");
    assert_eq!(pair.read().unwrap_err().kind(), ErrorKind::InvalidData, "the next read tells of it");
}

#[test]
fn a_request_is_not_lost_with_what_cannot_be_sent_of_a_handshake_before_it() {
    let (mut pair, last) = Pair::all_but_done(&TLS13);
    pair.own.hold(PLENTY);
    assert!(matches!(pair.shake(&last).unwrap(), Shaken::Done(Taken { bytes: 9, more: false, end: false })));
    assert!(pair.own.kept().outgoing > 0, "it waits for the socket, and is counted");
    pair.client.writer().write_all(b"another").unwrap();
    pair.send();
    pair.own.socket().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(pair.read().unwrap(), Taken { bytes: 7, more: true, end: false });
    assert_eq!(&pair.buffer[..7], b"another");
    assert_eq!(pair.read().unwrap_err().kind(), ErrorKind::InvalidData, "the next read tells of it");
}

#[test]
fn what_there_is_no_room_for_breaks_the_connection() {
    let (mut pair, last) = Pair::all_but_done(&TLS13);
    pair.buffer.truncate(8);
    let error = pair.shake(&last).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(pair.own.write(&[IoSlice::new(b"x")]).is_err());
}

#[test]
fn goodbye_waits_for_the_socket_and_is_said_once() {
    let mut pair = Pair::new(&TLS13);
    pair.receive();
    pair.own.hold(PLENTY);
    for _ in 0..3 {
        assert_eq!(pair.own.shutdown_write().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // What is before it is nothing that the client could understand; behind it is the end.
    let (mut came, mut part) = (Vec::new(), [0; 65_536]);
    let mut shut = false;
    loop {
        match pair.socket.read(&mut part) {
            Ok(0) => break,
            Ok(n) => came.extend_from_slice(&part[..n]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        shut = shut || pair.own.shutdown_write().is_ok();
    }
    let (before, goodbye) = came.split_at(PLENTY);
    assert!(before.iter().all(|byte| *byte == 0));
    let content = usize::from(u16::from_be_bytes([goodbye[3], goodbye[4]]));
    assert_eq!((goodbye[0], goodbye.len()), (23, 5 + content), "one record");
}
