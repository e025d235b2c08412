//! The chain must satisfy rustls, and each rule of renewal must hold.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};

use super::*;

const NOW: i64 = 1_790_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn verify(tls: &TlsMaterial, name: &str, now: i64) -> Result<(), rustls::Error> {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der(&tls.ca_cert)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
    verifier.verify_server_cert(&der(&tls.vip_cert), &[], &name, &[], now).map(|_| ())
}

#[test]
fn the_chain_must_verify_for_every_name_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let tls = ensure_at(
        dir.path(),
        &names(&["10.0.0.5", "fd00::5", "cloud.example.org"]),
        at(NOW),
        Anew::default(),
    )
    .unwrap();
    for name in ["10.0.0.5", "fd00::5", "cloud.example.org", "localhost"] {
        verify(&tls, name, NOW).unwrap();
        verify(&tls, name, NOW - BACKDATE + 1).unwrap();
        verify(&tls, name, NOW + (LEAF_DAYS - 1) * DAY).unwrap();
    }
    assert!(verify(&tls, "10.0.0.6", NOW).is_err());
    assert!(verify(&tls, "other.example.org", NOW).is_err());
    assert!(verify(&tls, "localhost", NOW + (LEAF_DAYS + 1) * DAY).is_err());
    assert_eq!(
        (tls.ca_renewed.clone(), tls.vip_renewed.clone()),
        (Some(Renewal::Missing), Some(Renewal::Missing))
    );
    let secrets = tls.secrets();
    assert_eq!(secrets.keys().map(SecretName::as_str).collect::<Vec<_>>(), SECRET_NAMES);
    assert!(
        secrets[&SecretName::new("tls_vip_pem").unwrap()]
            .expose()
            .contains("-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----")
    );
}

#[test]
fn to_pretend_must_write_nothing_and_use_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let wanted = names(&["127.0.0.1"]);
    let pretended = pretend(&state, &wanted).unwrap();
    assert_eq!(pretended.vip_renewed, Some(Renewal::Missing));
    verify(&pretended, "127.0.0.1", Timestamp::now().as_second()).unwrap();
    assert!(!state.exists());
    let kept = ensure(&state, &wanted).unwrap();
    assert_eq!(pretend(&state, &wanted).unwrap().secrets(), kept.secrets());
}

#[test]
fn keys_must_be_private_and_the_authority_readable() {
    let dir = tempfile::tempdir().unwrap();
    let tls = ensure_at(dir.path(), &names(&["127.0.0.1"]), at(NOW), Anew::default()).unwrap();
    let mode = |name: &str| {
        std::fs::metadata(dir.path().join(DIR).join(name)).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!((mode("ca.pem"), mode("vip.pem"), mode("ca.crt")), (0o600, 0o600, 0o644));
    assert_eq!(std::fs::read_to_string(ca_path(dir.path())).unwrap(), tls.ca_cert);
    assert!(!tls.ca_cert.contains("PRIVATE"));
}

#[test]
fn nothing_must_change_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = names(&["127.0.0.1"]);
    let first = ensure_at(dir.path(), &wanted, at(NOW), Anew::default()).unwrap();
    let later = ensure_at(dir.path(), &wanted, at(NOW + (LEAF_DAYS - RENEW_DAYS - 1) * DAY), Anew::default())
        .unwrap();
    assert_eq!((&later.ca_renewed, &later.vip_renewed), (&None, &None));
    assert_eq!(later.vip_cert, first.vip_cert);
    assert_eq!(later.secrets(), first.secrets());
}

#[test]
fn a_certificate_near_its_end_must_be_renewed_by_the_same_authority() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = names(&["127.0.0.1"]);
    let first = ensure_at(dir.path(), &wanted, at(NOW), Anew::default()).unwrap();
    let later = NOW + (LEAF_DAYS - RENEW_DAYS + 1) * DAY;
    let renewed = ensure_at(dir.path(), &wanted, at(later), Anew::default()).unwrap();
    assert_eq!(renewed.vip_renewed, Some(Renewal::Expires(NOW + LEAF_DAYS * DAY)));
    assert_eq!(renewed.ca_cert, first.ca_cert);
    verify(&renewed, "127.0.0.1", later + LEAF_DAYS * DAY - 1).unwrap();
}

#[test]
fn other_names_must_renew_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    ensure_at(dir.path(), &names(&["127.0.0.1"]), at(NOW), Anew::default()).unwrap();
    let renewed = ensure_at(dir.path(), &names(&["10.1.2.3"]), at(NOW), Anew::default()).unwrap();
    assert_eq!(renewed.vip_renewed, Some(Renewal::Names(names(&["127.0.0.1", "localhost"]))));
    assert_eq!(renewed.ca_renewed, None);
    verify(&renewed, "10.1.2.3", NOW).unwrap();
}

#[test]
fn an_authority_near_its_end_must_be_replaced_together_with_what_it_signed() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = names(&["127.0.0.1"]);
    // Renewed once in the authority's last years: the certificate must not outlive it.
    ensure_at(dir.path(), &wanted, at(NOW), Anew::default()).unwrap();
    let late = NOW + (CA_DAYS - 40) * DAY;
    let short = ensure_at(dir.path(), &wanted, at(late), Anew::default()).unwrap();
    verify(&short, "127.0.0.1", late).unwrap();
    let later = NOW + (CA_DAYS - 29) * DAY;
    let renewed = ensure_at(dir.path(), &wanted, at(later), Anew::default()).unwrap();
    assert!(matches!(renewed.ca_renewed, Some(Renewal::Expires(_))));
    assert_eq!(renewed.vip_renewed, Some(Renewal::Authority));
    verify(&renewed, "127.0.0.1", later).unwrap();
    assert_eq!(std::fs::read_to_string(renewed.ca_path).unwrap(), renewed.ca_cert);
}

#[test]
fn a_lost_copy_of_the_authority_must_come_back_and_a_broken_bundle_be_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = names(&["127.0.0.1"]);
    let tls = ensure_at(dir.path(), &wanted, at(NOW), Anew::default()).unwrap();
    std::fs::remove_file(&tls.ca_path).unwrap();
    ensure_at(dir.path(), &wanted, at(NOW), Anew::default()).unwrap();
    assert_eq!(std::fs::read_to_string(&tls.ca_path).unwrap(), tls.ca_cert);

    // The key of another certificate: a restore that mixed two backups.
    let other = tempfile::tempdir().unwrap();
    let alien = ensure_at(other.path(), &wanted, at(NOW), Anew::default()).unwrap();
    let vip = dir.path().join(DIR).join("vip.pem");
    files::write_atomic(&vip, bundle(&tls.vip_cert, alien.vip_key.expose()).as_bytes(), files::PRIVATE)
        .unwrap();
    let error = ensure_at(dir.path(), &wanted, at(NOW), Anew::default()).unwrap_err().to_string();
    assert!(error.contains("vip.pem") && error.contains("the key is not the certificate's"), "{error}");
    files::write_atomic(&vip, b"rubbish", 0o644).unwrap();
    let error = ensure_at(dir.path(), &wanted, at(NOW), Anew::default()).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}
