//! The secrets file: one YAML mapping of names to values, `<state>/secrets.yaml`, 0600.
//!
//! What is in it is never changed or removed by Mastic: only missing names are added, all in one atomic write. An
//! operator may edit it; comments and order stay. Values come from the system's random source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::files::{self, FileError};
use super::redact::Redactor;
use crate::model::spec::hex;
use crate::model::{NameError, Secret, SecretKind, SecretName};

/// The file's name in the state directory.
pub const FILE: &str = "secrets.yaml";

/// The one secret that no service asks for: it tells deployments of the same name apart. See [`Secrets::fingerprint`].
pub const DEPLOYMENT_KEY: &str = "mastic_deployment_key";

const HEADER: &str = "\
# The secrets of this deployment: generated once, never rewritten by Mastic. Keep this file private and backed up;
# without it the databases cannot be opened. To change a value, edit it here and deploy.
";

/// Letters and digits only: nothing that a shell, a URL, an INI file or SQL reads as its own.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// 40 characters of 62 are 238 bits.
const PASSWORD_LENGTH: usize = 40;

/// What is wrong with the secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file could not be read or written, or others can read it.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a mapping of names to texts. Holds no value: only where the first mistake is.
    #[error("{} is not a mapping of names to texts{}", path.display(), position(*line))]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// First bad line, if known.
        line: Option<usize>,
    },
    /// A key that no secret can have.
    #[error("{}: {source}", path.display())]
    Name {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: NameError,
    },
    /// The value is empty or not a text.
    #[error("{}: the value of `{name}` must be a non-empty text (quote numbers)", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Whose.
        name: String,
    },
    /// It could not be carried into every place where secrets go.
    #[error(
        "{}: the value of `{name}` has characters that are special on its way (in a URL, SQL or an INI file): use \
         letters, digits and -_.~+=/", path.display()
    )]
    Characters {
        /// Which file.
        path: PathBuf,
        /// Whose.
        name: String,
    },
    /// The system's random source failed.
    #[error("no random numbers from the system: {0}")]
    Random(String),
}

fn position(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

/// Result of work with the secrets file.
pub type SecretsResult<T> = Result<T, SecretsError>;

/// The values by name. Shows names only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    values: BTreeMap<SecretName, Secret>,
}

impl Secrets {
    /// Returns one value.
    pub fn get(&self, name: &SecretName) -> Option<&Secret> {
        self.values.get(name)
    }

    /// Returns the names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.values.keys()
    }

    /// Returns all values by name, for rendering.
    pub fn values(&self) -> &BTreeMap<SecretName, Secret> {
        &self.values
    }

    /// Adds values that are kept elsewhere (certificates and their keys).
    pub fn extend(&mut self, more: impl IntoIterator<Item = (SecretName, Secret)>) {
        self.values.extend(more);
    }

    /// Returns what generation records on the hosts hold, so that another machine can tell whether it has the secrets of
    /// this deployment: 32 hex digits, a hash of [`DEPLOYMENT_KEY`]. That key is random and used for nothing else, so
    /// the hash says nothing of any password. None where there is no key yet.
    pub fn fingerprint(&self) -> Option<String> {
        let key = self.values.get(&SecretName::new(DEPLOYMENT_KEY).ok()?)?;
        let digest = Sha256::digest(format!("mastic deployment {}", key.expose()));
        hex(&digest).get(..32).map(str::to_owned)
    }

    /// Returns what masks all of them.
    pub fn redactor(&self) -> Redactor {
        Redactor::new(self.values.values())
    }
}

/// What [`ensure`] found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ensured {
    /// All values: those that were there, requested or not, and the new ones.
    pub secrets: Secrets,
    /// Names that were generated now, sorted.
    pub generated: Vec<SecretName>,
}

/// Returns the path of the secrets file.
pub fn path(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// Reads the secrets; no file is no secrets. Never writes.
pub fn read(state: &Path) -> SecretsResult<Secrets> {
    let path = path(state);
    match files::read_private(&path)? {
        Some(bytes) => parse(&path, &Zeroizing::new(bytes)),
        None => Ok(Secrets::default()),
    }
}

/// Says what is wrong with the content of a secrets file, if anything is; `path` is for the message.
pub fn check(path: &Path, bytes: &[u8]) -> SecretsResult<()> {
    parse(path, bytes).map(|_| ())
}

/// Returns which requested secrets do not exist yet. Never writes.
pub fn missing(state: &Path, requests: &BTreeMap<SecretName, SecretKind>) -> SecretsResult<Vec<SecretName>> {
    let secrets = read(state)?;
    Ok(requests.keys().filter(|name| secrets.get(name).is_none()).cloned().collect())
}

/// Generates the requested secrets that are missing, and returns all. Runs at the same time wait for each other.
///
/// Killed at any instant the file is the old one or the new one; what was in it stays as it was, byte for byte.
pub fn ensure(state: &Path, requests: &BTreeMap<SecretName, SecretKind>) -> SecretsResult<Ensured> {
    // The common case takes no lock and writes nothing: a file that has every name will keep them.
    let secrets = read(state)?;
    if requests.keys().all(|name| secrets.get(name).is_some()) {
        return Ok(Ensured { secrets, generated: Vec::new() });
    }
    files::create_private_dir(state)?;
    let path = path(state);
    let _lock = files::lock(&state.join(format!(".{FILE}.lock")))?;
    files::sweep(&path)?;
    // Read again: another run may have added some while this one waited.
    let old = Zeroizing::new(files::read_private(&path)?.unwrap_or_default());
    let mut secrets = parse(&path, &old)?;
    let mut added = BTreeMap::new();
    for (name, kind) in requests {
        if secrets.get(name).is_none() {
            added.insert(name.clone(), generate(*kind)?);
        }
    }
    let generated: Vec<_> = added.keys().cloned().collect();
    if !generated.is_empty() {
        let new = append(&path, &old, &secrets, &added)?;
        files::write_atomic(&path, new.as_bytes(), files::PRIVATE)?;
        secrets.extend(added);
    }
    Ok(Ensured { secrets, generated })
}

/// Returns a fresh value.
pub fn generate(kind: SecretKind) -> SecretsResult<Secret> {
    Ok(match kind {
        SecretKind::Password => {
            let mut text = Zeroizing::new(String::with_capacity(PASSWORD_LENGTH));
            while text.len() < PASSWORD_LENGTH {
                let byte = random::<1>()?[0];
                // 248 is the largest multiple of 62 in a byte: beyond it some characters would be likelier.
                if let (true, Some(letter)) = (byte < 248, ALPHABET.get(usize::from(byte % 62))) {
                    text.push(char::from(*letter));
                }
            }
            Secret::new(text.as_str())
        }
        SecretKind::Hex32 => Secret::new(hex(random::<32>()?.as_slice())),
        SecretKind::Hex16 => Secret::new(hex(random::<16>()?.as_slice())),
        SecretKind::Base64x32 => Secret::new(STANDARD.encode(random::<32>()?.as_slice())),
        SecretKind::FernetKey => Secret::new(URL_SAFE.encode(random::<32>()?.as_slice())),
        SecretKind::Uuid => {
            let mut bytes = random::<16>()?;
            bytes[6] = bytes[6] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            let hex = Zeroizing::new(hex(bytes.as_slice()));
            let part = |range| hex.get(range).unwrap_or_default();
            Secret::new(format!(
                "{}-{}-{}-{}-{}",
                part(0..8),
                part(8..12),
                part(12..16),
                part(16..20),
                part(20..32)
            ))
        }
    })
}

fn random<const N: usize>() -> SecretsResult<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    OsRng.try_fill_bytes(bytes.as_mut_slice()).map_err(|error| SecretsError::Random(error.to_string()))?;
    Ok(bytes)
}

/// Reads the mapping. Errors name keys and lines, never values: a parser's own message may quote the text.
fn parse(path: &Path, bytes: &[u8]) -> SecretsResult<Secrets> {
    let malformed = |line| SecretsError::Malformed { path: path.to_owned(), line };
    let text = std::str::from_utf8(bytes).map_err(|_| malformed(None))?;
    // An empty document (or one of comments only) is an empty mapping.
    // `Mapping` refuses a key that is given twice; a map of our own would silently take the last.
    let document: Option<serde_yaml::Mapping> =
        serde_yaml::from_str(text).map_err(|error| malformed(error.location().map(|at| at.line())))?;
    let mut secrets = Secrets::default();
    for (key, value) in document.unwrap_or_default() {
        let serde_yaml::Value::String(key) = key else {
            return Err(malformed(None));
        };
        let name = SecretName::new(key.clone())
            .map_err(|source| SecretsError::Name { path: path.to_owned(), source })?;
        match value {
            serde_yaml::Value::String(value) if !value.is_empty() => {
                if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+=/".contains(&byte)) {
                    return Err(SecretsError::Characters { path: path.to_owned(), name: key });
                }
                secrets.values.insert(name, Secret::new(value));
            }
            _ => return Err(SecretsError::Value { path: path.to_owned(), name: key }),
        }
    }
    Ok(secrets)
}

/// Returns the old text with the new entries behind it: nothing that was there changes, not even a comment.
fn append(
    path: &Path,
    old: &[u8],
    before: &Secrets,
    added: &BTreeMap<SecretName, Secret>,
) -> SecretsResult<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::from_utf8_lossy(old).into_owned());
    if text.is_empty() {
        text.push_str(HEADER);
    } else if !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, value) in added {
        // Generated values hold no quote or backslash, so that this is YAML as it stands.
        text.push_str(&Zeroizing::new(format!("{name}: '{}'\n", value.expose())));
    }
    // A mapping in flow style (`{a: b}`) or a document that ends with `...` cannot be extended by lines: say so.
    let mut expected = before.clone();
    expected.extend(added.clone());
    match parse(path, text.as_bytes()) {
        Ok(after) if after == expected => Ok(text),
        Ok(_) | Err(_) => Err(SecretsError::Malformed {
            path: path.to_owned(),
            line: Some(String::from_utf8_lossy(old).lines().count() + 1),
        }),
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
