//! HTTPS: rustls without `std`, driven over a [`Stream`].
//!
//! Nothing of this is touched, or even paged in, by PID 1.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use rustls::client::UnbufferedClientConnection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::Settings;
use super::stream::{Failure, Stream, Transport};
use super::target::HostPort;
use crate::sys::{self, file};
use crate::text::Lossy;

/// Room for one encoded flight of the handshake or one record of a request.
const OUTGOING: usize = 18 * 1024;

/// An encrypted connection whose handshake is over.
pub struct Secure {
    stream: Stream,
    tls: UnbufferedClientConnection,
    /// Received and not yet understood.
    incoming: Vec<u8>,
    /// Decrypted and not yet read.
    plain: Vec<u8>,
    closed: bool,
}

impl Secure {
    pub fn connect(stream: Stream, address: &HostPort, settings: &Settings) -> Result<Self, Failure> {
        let name = settings.host.unwrap_or(&address.host);
        let server = ServerName::try_from(name)
            .map_err(|_| Failure::Wrong(format!("{name} cannot be the name in a certificate")))?
            .to_owned();
        let tls =
            UnbufferedClientConnection::new(Arc::new(configuration(settings)?), server).map_err(failure)?;
        let mut secure = Self { stream, tls, incoming: Vec::new(), plain: Vec::new(), closed: false };
        secure.drive(None)?;
        Ok(secure)
    }

    /// Lets the protocol run: without `request` until it could be sent, with it until it has been.
    fn drive(&mut self, request: Option<&[u8]>) -> Result<(), Failure> {
        let mut outgoing = Vec::new();
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.tls.process_tls_records(&mut self.incoming);
            let mut starving = false;
            let mut done = false;
            match state.map_err(failure)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(failure)?;
                        discard += record.discard;
                        self.plain.extend_from_slice(record.payload);
                    }
                    done = request.is_none();
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    encode(&mut outgoing, |room| data.encode(room).map_err(|error| error.to_string()))?;
                }
                ConnectionState::TransmitTlsData(data) => {
                    self.stream.write_all(&outgoing)?;
                    outgoing.clear();
                    data.done();
                }
                ConnectionState::WriteTraffic(mut traffic) => {
                    if let Some(request) = request {
                        encode(&mut outgoing, |room| {
                            traffic.encrypt(request, room).map_err(|error| error.to_string())
                        })?;
                        self.stream.write_all(&outgoing)?;
                    }
                    done = true;
                }
                ConnectionState::BlockedHandshake => starving = true,
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.closed = true;
                    done = true;
                }
                _ => return Err(Failure::Wrong("TLS: unexpected state".into())),
            }
            self.incoming.drain(..discard.min(self.incoming.len()));
            if done {
                return Ok(());
            }
            if starving && !self.receive()? {
                return Err(Failure::Wrong("TLS: closed during the handshake".into()));
            }
        }
    }

    /// Reads more of the peer's bytes; false at their end.
    fn receive(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer)?;
        self.incoming.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(count > 0)
    }
}

impl Transport for Secure {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        loop {
            // One read may have brought several records, of which each call takes the next.
            self.drive(None)?;
            if !self.plain.is_empty() || self.closed {
                break;
            }
            // Servers that end without a goodbye are common; what they sent stands.
            self.closed = !self.receive()?;
        }
        let count = self.plain.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(self.plain.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.drive(Some(bytes))
    }
}

/// Appends what `write` puts into a buffer with room for any one message.
fn encode(
    outgoing: &mut Vec<u8>,
    write: impl FnOnce(&mut [u8]) -> Result<usize, alloc::string::String>,
) -> Result<(), Failure> {
    let start = outgoing.len();
    outgoing.resize(start + OUTGOING, 0);
    let count = write(outgoing.get_mut(start..).unwrap_or_default())
        .map_err(|error| Failure::Wrong(format!("TLS: {error}")))?;
    outgoing.truncate(start + count);
    Ok(())
}

fn failure(error: Error) -> Failure {
    Failure::Wrong(format!("TLS: {error}"))
}

fn configuration(settings: &Settings) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_details(provider.clone(), Arc::new(Clock))
        .with_safe_default_protocol_versions()
        .map_err(failure)?;
    if settings.insecure {
        let verifier = Arc::new(AcceptAnything(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let path = settings.ca.unwrap_or_default();
    let bundle = file::read_path(path, 4 << 20)
        .map_err(|errno| Failure::Wrong(format!("--ca {}: {errno}", Lossy(path.to_bytes()))))?;
    let mut roots = RootCertStore::empty();
    // A bundle may hold certificates that are too odd to trust; the rest still count.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
    if roots.is_empty() {
        let path = Lossy(path.to_bytes());
        return Err(Failure::Wrong(format!("--ca {path}: no usable certificate in it")));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The clock that certificates are judged by.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(sys::unix_time())))
    }
}

/// `--insecure`: any certificate will do, but the handshake must still be signed with its key.
#[derive(Debug)]
struct AcceptAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _status: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
