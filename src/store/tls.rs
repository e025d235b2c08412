//! A private certificate authority, and the certificate of the public endpoints.
//!
//! Made once and kept in `<state>/tls/`. The endpoint's certificate is renewed when the names change or its end is near;
//! the authority's, which users hold a copy of, is not touched before its own last month. Each key lies in one file with
//! its certificate, so that no instant has one without the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::files::{self, FileError};
use crate::model::{Secret, SecretName};

/// The directory's name in the state directory.
pub const DIR: &str = "tls";
/// The authority's certificate in [`DIR`]: what users verify with.
pub const CA_FILE: &str = "ca.crt";
/// The authority's certificate and key in one, in [`DIR`].
pub const AUTHORITY_FILE: &str = "ca.pem";

/// Whom the endpoints' certificate is of.
const VIP: &str = "Mastic public endpoints";

pub(super) const DAY: i64 = 24 * 60 * 60;
/// Ten years.
const CA_DAYS: i64 = 3650;
/// The longest that clients of the big platforms accept.
const LEAF_DAYS: i64 = 825;
/// What ends within this is renewed.
pub(super) const RENEW_DAYS: i64 = 30;
/// Valid from a little before now: clocks of hosts differ.
const BACKDATE: i64 = 60 * 60;

/// What is wrong with the certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read or written, or others can read it.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not what Mastic wrote.
    #[error("{} does not hold a certificate and its key ({reason}): restore it, or remove it to have a new one made", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A name that no certificate can carry, or the generator failed.
    #[error("cannot make a certificate for {subject}: {reason}")]
    Generate {
        /// For whom.
        subject: String,
        /// Why.
        reason: String,
    },
}

/// Why a certificate is made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// There was none.
    Missing,
    /// It ends within a month (seconds since the epoch).
    Expires(i64),
    /// It names others than are wanted now.
    Names(BTreeSet<String>),
    /// Another authority signed it.
    Authority,
}

/// The certificates and keys as PEM, and what was done to have them.
#[derive(Clone, Debug)]
pub struct TlsMaterial {
    /// Where users find the authority's certificate.
    pub ca_path: PathBuf,
    /// The authority's certificate.
    pub ca_cert: String,
    /// The public endpoints' certificate.
    pub vip_cert: String,
    /// Its key.
    pub vip_key: Secret,
    /// Why the authority was made now, if it was.
    pub ca_renewed: Option<Renewal>,
    /// Why the endpoints' certificate was made now, if it was.
    pub vip_renewed: Option<Renewal>,
}

impl TlsMaterial {
    /// Returns what templates may ask for: `tls_ca_cert`, `tls_vip_cert`, `tls_vip_key`, and `tls_vip_pem`, which is
    /// certificate and key in one, as HAProxy wants it.
    pub fn secrets(&self) -> BTreeMap<SecretName, Secret> {
        [
            ("tls_ca_cert", Secret::new(self.ca_cert.as_str())),
            ("tls_vip_cert", Secret::new(self.vip_cert.as_str())),
            ("tls_vip_key", self.vip_key.clone()),
            ("tls_vip_pem", Secret::new(bundle(&self.vip_cert, self.vip_key.expose()).as_str())),
        ]
        .into_iter()
        // The names are constants that satisfy the name rule.
        .filter_map(|(name, value)| SecretName::new(name).ok().map(|name| (name, value)))
        .collect()
    }
}

/// The names under which [`TlsMaterial::secrets`] gives them.
pub const SECRET_NAMES: [&str; 4] = ["tls_ca_cert", "tls_vip_cert", "tls_vip_key", "tls_vip_pem"];

/// Returns the path of the authority's certificate, for `clouds.yaml` and users.
pub fn ca_path(state: &Path) -> PathBuf {
    state.join(DIR).join(CA_FILE)
}

/// Returns whether the authority was made already.
pub fn has_authority(state: &Path) -> bool {
    Paths::of(state).ca.exists()
}

/// Returns the certificates for `names` (addresses and host names; `localhost` is always added), making what is missing.
pub fn ensure(state: &Path, names: &BTreeSet<String>) -> Result<TlsMaterial, TlsError> {
    ensure_at(state, names, Timestamp::now(), Anew::default())
}

/// Returns what [`ensure`] would, and writes nothing: what is missing or due is made and forgotten.
pub fn pretend(state: &Path, names: &BTreeSet<String>) -> Result<TlsMaterial, TlsError> {
    let paths = Paths::of(state);
    let now = Timestamp::now().as_second();
    let ca = Made::ca(Pair::read(&paths.ca)?, now)?;
    let vip = Made::leaf(Pair::read(&paths.vip)?, &ca.pair, &paths, VIP, &with_localhost(names), now)?;
    Ok(material(paths, ca, vip))
}

/// What is made anew although it is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Anew {
    /// The authority, and so everything that it signed.
    pub(super) authority: bool,
    /// What it signed.
    pub(super) leaves: bool,
}

pub(super) fn ensure_at(
    state: &Path,
    names: &BTreeSet<String>,
    now: Timestamp,
    anew: Anew,
) -> Result<TlsMaterial, TlsError> {
    let paths = Paths::of(state);
    files::create_private_dir(&paths.dir)?;
    let _lock = files::lock(&paths.dir.join(".lock"))?;
    for file in [&paths.ca, &paths.vip, &paths.ca_cert] {
        files::sweep(file)?;
    }
    let now = now.as_second();
    let ca = Made::ca(Pair::read(&paths.ca)?.filter(|_| !anew.authority), now)?;
    if ca.why.is_some() {
        ca.pair.write(&paths.ca)?;
    }
    // After the bundle: killed in between, the next run finds the copy to differ, and writes it.
    if files::read_optional(&paths.ca_cert)?.as_deref() != Some(ca.pair.cert.as_bytes()) {
        files::write_atomic(&paths.ca_cert, ca.pair.cert.as_bytes(), files::PUBLIC)?;
    }
    let there = Pair::read(&paths.vip)?.filter(|_| !anew.leaves);
    let vip = Made::leaf(there, &ca.pair, &paths, VIP, &with_localhost(names), now)?;
    if vip.why.is_some() {
        vip.pair.write(&paths.vip)?;
    }
    Ok(material(paths, ca, vip))
}

fn material(paths: Paths, ca: Made, vip: Made) -> TlsMaterial {
    TlsMaterial {
        ca_path: paths.ca_cert,
        ca_cert: ca.pair.cert,
        vip_cert: vip.pair.cert,
        vip_key: Secret::new(vip.pair.key.as_str()),
        ca_renewed: ca.why,
        vip_renewed: vip.why,
    }
}

/// Where things lie.
pub(super) struct Paths {
    pub(super) dir: PathBuf,
    /// Certificate and key in one.
    pub(super) ca: PathBuf,
    /// Certificate and key in one.
    pub(super) vip: PathBuf,
    /// The copy for users.
    ca_cert: PathBuf,
}

impl Paths {
    pub(super) fn of(state: &Path) -> Self {
        let dir = state.join(DIR);
        Self { ca: dir.join(AUTHORITY_FILE), vip: dir.join("vip.pem"), ca_cert: dir.join(CA_FILE), dir }
    }
}

/// What is to be used, and why it is new, if it is.
pub(super) struct Made {
    pub(super) pair: Pair,
    pub(super) why: Option<Renewal>,
}

impl Made {
    pub(super) fn ca(there: Option<Pair>, now: i64) -> Result<Self, TlsError> {
        let why = there.as_ref().map_or(Some(Renewal::Missing), |ca| ca.expires_soon(now));
        match (there, &why) {
            (Some(pair), None) => Ok(Self { pair, why }),
            (Some(_) | None, _) => Ok(Self { pair: make_ca(now)?, why }),
        }
    }

    /// A certificate that the authority signed, for these names.
    pub(super) fn leaf(
        there: Option<Pair>,
        ca: &Pair,
        paths: &Paths,
        subject: &str,
        names: &BTreeSet<String>,
        now: i64,
    ) -> Result<Self, TlsError> {
        let why = renewal(there.as_ref(), ca, names, now);
        match (there, &why) {
            (Some(pair), None) => Ok(Self { pair, why }),
            (Some(_) | None, _) => Ok(Self { pair: make_leaf(ca, &paths.ca, subject, names, now)?, why }),
        }
    }
}

fn with_localhost(names: &BTreeSet<String>) -> BTreeSet<String> {
    names.iter().cloned().chain(["localhost".to_owned()]).collect()
}

/// The rule of renewal.
fn renewal(vip: Option<&Pair>, ca: &Pair, wanted: &BTreeSet<String>, now: i64) -> Option<Renewal> {
    let Some(vip) = vip else {
        return Some(Renewal::Missing);
    };
    if vip.signed_by != ca.subject_key {
        return Some(Renewal::Authority);
    }
    if vip.names != *wanted {
        return Some(Renewal::Names(vip.names.clone()));
    }
    vip.expires_soon(now)
}

/// A certificate, its key, and what the certificate says.
pub(super) struct Pair {
    pub(super) cert: String,
    pub(super) key: Zeroizing<String>,
    pub(super) names: BTreeSet<String>,
    /// Seconds since the epoch.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// Key identifiers: this one's, and that of whoever signed it.
    subject_key: Vec<u8>,
    signed_by: Vec<u8>,
}

impl Pair {
    pub(super) fn read(path: &Path) -> Result<Option<Self>, TlsError> {
        let Some(bytes) = files::read_private(path)?.map(Zeroizing::new) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed(path, "not a text"))?;
        let key_at =
            text.find("-----BEGIN PRIVATE KEY-----").ok_or_else(|| malformed(path, "no private key"))?;
        let (cert, key) = text.split_at(key_at);
        Self::new(cert.to_owned(), Zeroizing::new(key.to_owned()))
            .map(Some)
            .map_err(|reason| malformed(path, &reason))
    }

    fn new(cert: String, key: Zeroizing<String>) -> Result<Self, String> {
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(cert.as_bytes()).map_err(|error| error.to_string())?;
        let x509 = pem.parse_x509().map_err(|error| error.to_string())?;
        let pair = KeyPair::from_pem(&key).map_err(|error| error.to_string())?;
        if x509.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
            return Err("the key is not the certificate's".to_owned());
        }
        let mut names = BTreeSet::new();
        let (mut subject_key, mut signed_by) = (Vec::new(), Vec::new());
        for extension in x509.extensions() {
            use x509_parser::extensions::ParsedExtension as E;
            match extension.parsed_extension() {
                E::SubjectAlternativeName(alternatives) => {
                    names.extend(alternatives.general_names.iter().filter_map(name_text));
                }
                E::SubjectKeyIdentifier(id) => id.0.clone_into(&mut subject_key),
                E::AuthorityKeyIdentifier(authority) => {
                    if let Some(id) = &authority.key_identifier {
                        id.0.clone_into(&mut signed_by);
                    }
                }
                // What else a certificate says is no part of the rule of renewal.
                _ => {}
            }
        }
        let validity = x509.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Ok(Self { cert, key, names, not_before, not_after, subject_key, signed_by })
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), FileError> {
        files::write_atomic(path, bundle(&self.cert, &self.key).as_bytes(), files::PRIVATE)
    }

    fn expires_soon(&self, now: i64) -> Option<Renewal> {
        (self.not_after - now < RENEW_DAYS * DAY).then_some(Renewal::Expires(self.not_after))
    }
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| IpAddr::from(b).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|b| IpAddr::from(b).to_string()),
            _ => None,
        },
        // Mastic writes no other kind.
        _ => None,
    }
}

pub(super) fn bundle(cert: &str, key: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n{}", cert.trim_end(), key))
}

fn malformed(path: &Path, reason: &str) -> TlsError {
    TlsError::Malformed { path: path.to_owned(), reason: reason.to_owned() }
}

fn make_ca(now: i64) -> Result<Pair, TlsError> {
    let serial = rand::random::<u32>();
    // Two authorities of one name in one list of trusted ones would be mistaken for each other.
    let subject = format!("Mastic CA {serial:08x}");
    let failed = |reason: String| TlsError::Generate { subject: subject.clone(), reason };
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, subject.as_str());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now, CA_DAYS);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed(error.to_string()))?;
    let cert = params.self_signed(&key).map_err(|error| failed(error.to_string()))?;
    Pair::new(cert.pem(), Zeroizing::new(key.serialize_pem())).map_err(failed)
}

fn make_leaf(
    ca: &Pair,
    ca_file: &Path,
    subject: &str,
    names: &BTreeSet<String>,
    now: i64,
) -> Result<Pair, TlsError> {
    let listed = names.iter().cloned().collect::<Vec<_>>().join(", ");
    let failed = |reason: String| TlsError::Generate { subject: listed.clone(), reason };
    let ca_key = KeyPair::from_pem(&ca.key).map_err(|error| malformed(ca_file, &error.to_string()))?;
    let issuer =
        Issuer::from_ca_cert_pem(&ca.cert, ca_key).map_err(|error| malformed(ca_file, &error.to_string()))?;
    let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())
        .map_err(|error| failed(error.to_string()))?;
    params.distinguished_name.push(DnType::CommonName, subject);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Python 3.13 and later verify strictly: without it they refuse the chain.
    params.use_authority_key_identifier_extension = true;
    // Never beyond its authority's end.
    validity(&mut params, now, LEAF_DAYS.min((ca.not_after - now) / DAY));
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed(error.to_string()))?;
    let cert = params.signed_by(&key, &issuer).map_err(|error| failed(error.to_string()))?;
    Pair::new(cert.pem(), Zeroizing::new(key.serialize_pem())).map_err(failed)
}

fn validity(params: &mut CertificateParams, now: i64, days: i64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |seconds: i64| epoch + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    params.not_before = at(now - BACKDATE);
    params.not_after = at(now + days * DAY);
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
