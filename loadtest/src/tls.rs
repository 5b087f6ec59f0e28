//! Owns TLS: whom a run trusts, and the session of one connection between plain bytes and those of its socket.

use crate::args::Trust;
use crate::client::{Fault, FaultKind};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// What the TLS of all connections of a run has in common.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

impl Tls {
    /// For connections to that host; the error is a line for the user.
    pub(crate) fn new(host: &str, trust: &Trust) -> Result<Self, String> {
        let server = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("--url: {host:?} is no name that a certificate could be for"))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let mut config = match trust {
            Trust::System => trusting(builder.with_root_certificates(system_roots()?)),
            Trust::Authority(file) => trusting(builder.with_root_certificates(roots_of(file)?)),
            Trust::Anyone => {
                trusting(builder.dangerous().with_custom_certificate_verifier(Arc::new(Credulous(provider))))
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // All clients of a run would share the tickets: the server would be spared what as many real ones ask of it.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), server })
    }
}

fn trusting(builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig {
    builder.with_no_client_auth()
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!("this system has no root certificates{why}; give some with --ca FILE"));
    }
    Ok(roots)
}

fn roots_of(file: &Path) -> Result<RootCertStore, String> {
    let wrong = |why: String| format!("--ca {}: {why}", file.display());
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("it has no certificate in PEM".into())) } else { Ok(roots) }
}

/// Takes any certificate, and still has the server prove that it has the key to it: that is work to be measured.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS of one connection.
#[derive(Debug)]
pub(crate) struct Session(ClientConnection);

impl Session {
    /// One that has not begun.
    pub(crate) fn new(tls: &Tls) -> Result<Self, Fault> {
        let mut connection =
            ClientConnection::new(Arc::clone(&tls.config), tls.server.clone()).map_err(|error| fault(&error))?;
        // What waits for the socket is kept here, however much it is, as it is kept without TLS.
        connection.set_buffer_limit(None);
        Ok(Self(connection))
    }

    /// Takes plain bytes to send; they go with the next [`Session::flush`], once both sides have shaken hands.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.writer().write_all(bytes)
    }

    /// Writes until all is written or the socket is full.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads plain bytes until the buffer is full or the socket is empty, and answers what is for TLS alone. `None` is
    /// the end; 0 is nothing for now.
    pub(crate) fn read(&mut self, socket: &mut (impl Read + Write), buffer: &mut [u8]) -> Result<Option<usize>, Fault> {
        let mut count = 0;
        loop {
            while count < buffer.len() {
                match self.0.reader().read(&mut buffer[count..]) {
                    Ok(0) => return Ok(Some(count).filter(|count| *count > 0)),
                    Ok(more) => count += more,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // An end without a word of TLS: the length of what came says whether it was whole.
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                        return Ok(Some(count).filter(|count| *count > 0));
                    }
                    Err(error) => return Err(unreadable(&error)),
                }
            }
            if count == buffer.len() {
                return Ok(Some(count));
            }
            match self.0.read_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(&error)),
            }
            let taken = self.0.process_new_packets();
            // The handshake goes on; or the peer is told what is wrong, if it still listens.
            let answered = self.flush(socket);
            taken.map_err(|error| fault(&error))?;
            answered.map_err(|error| Fault::new(FaultKind::Io, format!("writing: {error}")))?;
        }
    }

    /// Says goodbye, if the socket takes it.
    pub(crate) fn close(&mut self, socket: &mut impl Write) {
        self.0.send_close_notify();
        // Whoever has gone does not need to hear it.
        let _ = self.flush(socket);
    }
}

fn unreadable(error: &io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("reading: {error}"))
}

fn fault(error: &rustls::Error) -> Fault {
    let text = match error {
        rustls::Error::InvalidCertificate(why) => {
            format!(
                "the server's certificate is not trusted: {why} (--ca FILE names whom to trust, --insecure trusts anyone)"
            )
        }
        rustls::Error::InvalidMessage(why) => format!("the server does not speak TLS there: {why:?}"),
        error => format!("TLS: {error}"),
    };
    Fault::new(FaultKind::Tls, text)
}
