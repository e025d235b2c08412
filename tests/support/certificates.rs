//! Certificates for engines behind TLS and their clients.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Signs for an engine and its clients.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.distinguished_name.push(DnType::CommonName, format!("{name}'s authority"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// The authority's certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes what an engine shows at 127.0.0.1.
    pub fn engine(&self, folder: &Path) {
        self.sign(folder, &["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
    }

    /// Writes what a client shows.
    pub fn client(&self, folder: &Path) {
        self.sign(folder, &[], ExtendedKeyUsagePurpose::ClientAuth);
    }

    /// Writes `ca.pem`, `cert.pem` and `key.pem`, as the engine's own client names them.
    pub fn sign(&self, folder: &Path, names: &[&str], purpose: ExtendedKeyUsagePurpose) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("good names");
        params.distinguished_name.push(DnType::CommonName, "mastic test");
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::create_dir_all(folder).expect("a folder can be made");
        for (name, text) in
            [("ca.pem", self.pem.clone()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
        {
            std::fs::write(folder.join(name), text).expect("a file can be written");
        }
    }
}
