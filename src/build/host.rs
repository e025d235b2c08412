//! What an image build takes over from the host, at run time: mirrors, keys, proxies, pip's index, the CA bundle.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use super::apt;

/// The host's own configuration as files of the build context, and what mmdebstrap needs of it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// By path in the context, all below `host/`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Sources for mmdebstrap, with the keys where they lie on this host.
    pub sources: String,
    /// `apt.conf` lines that say how mirrors are reached.
    pub apt_settings: String,
}

/// Reads this host's configuration for images of `suite`. What is absent is left out.
pub async fn read(suite: &str) -> Host {
    let mut host = Host::default();
    let mut sources = Vec::new();
    if let Ok(text) = fs_err::read_to_string("/etc/apt/sources.list") {
        sources.extend(apt::parse_one_line(&text));
    }
    for path in listed("/etc/apt/sources.list.d") {
        let Ok(text) = fs_err::read_to_string(&path) else { continue };
        match path.extension().and_then(|e| e.to_str()) {
            Some("sources") => sources.extend(apt::parse_deb822(&text)),
            Some("list") => sources.extend(apt::parse_one_line(&text)),
            _ => {}
        }
    }
    let derived = apt::derive(&sources, &codename(), suite);
    host.sources = apt::render(&derived, |key| Some(key.to_owned()));
    // In the image only Debian's own keyring lies at a known place; other keys travel with the context.
    let mut keys: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let inside = apt::render(&derived, |key| {
        let name = Path::new(key).file_name()?.to_str()?;
        if key == apt::KEYRING {
            return Some(key.to_owned());
        }
        // A key that this host cannot read cannot travel.
        Path::new(key).is_file().then_some(())?;
        Some(format!("/run/host/apt/keyrings/{name}"))
    });
    for source in &derived {
        if let Some(key) = source.signed_by.as_deref().filter(|k| *k != apt::KEYRING)
            && let (Some(name), Ok(bytes)) =
                (Path::new(key).file_name().and_then(|n| n.to_str()), fs_err::read(key))
        {
            keys.insert(name.to_owned(), bytes);
        }
    }
    host.files.insert("host/apt/sources.list.d/host.sources".to_owned(), inside.into_bytes());
    for (name, bytes) in keys {
        host.files.insert(format!("host/apt/keyrings/{name}"), bytes);
    }
    if let Some(dump) = output("apt-config", &["dump"]).await {
        host.apt_settings = apt::settings(&dump);
        host.files.insert("host/apt/apt.conf.d/host".to_owned(), host.apt_settings.clone().into_bytes());
    }
    let bundles =
        [std::env::var("SSL_CERT_FILE").unwrap_or_default(), "/etc/ssl/certs/ca-certificates.crt".to_owned()];
    if let Some(bytes) = bundles.iter().find_map(|path| fs_err::read(path).ok()) {
        host.files.insert("host/ca.crt".to_owned(), bytes);
    }
    let home = std::env::home_dir().unwrap_or_default();
    let pip = [home.join(".config/pip/pip.conf"), home.join(".pip/pip.conf"), "/etc/pip.conf".into()];
    if let Some(bytes) = pip.iter().find_map(|path| fs_err::read(path).ok()) {
        host.files.insert("host/pip.conf".to_owned(), bytes);
    }
    let names = [
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "PIP_INDEX_URL",
        "UV_INDEX_URL",
    ];
    let env: String = names
        .iter()
        .filter_map(|name| Some(format!("{name}='{}'\n", std::env::var(name).ok()?.replace('\'', "'\\''"))))
        .collect();
    if !env.is_empty() {
        host.files.insert("host/env".to_owned(), env.into_bytes());
    }
    host
}

fn listed(folder: &str) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> =
        fs_err::read_dir(folder).map(|dir| dir.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    paths.sort();
    paths
}

/// Returns this host's own Debian suite.
fn codename() -> String {
    fs_err::read_to_string("/etc/os-release")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME=").map(|v| v.trim_matches('"').to_owned()))
        .unwrap_or_default()
}

async fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        tokio::process::Command::new(program).args(arguments).stdin(Stdio::null()).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
