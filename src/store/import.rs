//! Takes over the secrets and certificates that another machine or folder made for a deployment.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::files::{self, FileError};
use super::secrets::{self, SecretsError};
use super::tls;

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is no secrets file.
    #[error("there is no {}: give a copy of a deployment's state folder, or of its secrets.yaml", .0.display())]
    Missing(PathBuf),
    /// What is here is never overwritten: it may be the only key to a database.
    #[error("{} is there already and differs from {}: move it away if it is not needed", here.display(), there.display())]
    Differs {
        /// The file in the state folder.
        here: PathBuf,
        /// The file that was to be taken over.
        there: PathBuf,
    },
    /// It is no secrets file.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// A file could not be read or written, or others can read it.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Copies the secrets file, and the certificate authority's where `from` is a state folder, into `state`. Everything is
/// read and compared before anything is written. Returns the names of the files that were written.
pub fn import(from: &Path, state: &Path) -> Result<Vec<String>, ImportError> {
    let mut sources = Vec::new();
    if from.is_dir() {
        sources.push((secrets::FILE.to_owned(), from.join(secrets::FILE)));
        let authority = format!("{}/{}", tls::DIR, tls::AUTHORITY_FILE);
        sources.push((authority.clone(), from.join(authority)));
    } else {
        sources.push((secrets::FILE.to_owned(), from.to_owned()));
    }
    let mut todo = Vec::new();
    for (name, path) in sources {
        let Some(bytes) = files::read_private(&path)?.map(Zeroizing::new) else {
            if name == secrets::FILE {
                return Err(ImportError::Missing(path));
            }
            continue;
        };
        if name == secrets::FILE {
            secrets::check(&path, &bytes)?;
        }
        let target = state.join(&name);
        match files::read_private(&target)?.map(Zeroizing::new) {
            Some(there) if there == bytes => {}
            Some(_) => return Err(ImportError::Differs { here: target, there: path }),
            None => todo.push((name, target, bytes)),
        }
    }
    for (_, target, bytes) in &todo {
        if let Some(folder) = target.parent() {
            files::create_private_dir(folder)?;
        }
        files::write_atomic(target, bytes, files::PRIVATE)?;
    }
    Ok(todo.into_iter().map(|(name, ..)| name).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{SecretKind, SecretName};

    fn made() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let requests = [(SecretName::new("a_password").unwrap(), SecretKind::Password)].into();
        secrets::ensure(dir.path(), &requests).unwrap();
        tls::ensure(dir.path(), &BTreeSet::from(["127.0.0.1".to_owned()])).unwrap();
        dir
    }

    #[test]
    fn a_state_folder_must_be_taken_over_with_its_authority_and_only_once() {
        let (there, here) = (made(), tempfile::tempdir().unwrap());
        let state = here.path().join("state");
        assert_eq!(import(there.path(), &state).unwrap(), ["secrets.yaml", "tls/ca.pem"]);
        assert_eq!(secrets::read(&state).unwrap(), secrets::read(there.path()).unwrap());
        let names = BTreeSet::from(["127.0.0.1".to_owned()]);
        let (old, new) = (tls::ensure(there.path(), &names).unwrap(), tls::ensure(&state, &names).unwrap());
        assert_eq!(old.ca_cert, new.ca_cert);
        assert!(import(there.path(), &state).unwrap().is_empty());
        assert!(import(&there.path().join("secrets.yaml"), &state).unwrap().is_empty());
    }

    #[test]
    fn what_is_here_and_differs_must_stay_and_nothing_else_be_written() {
        let (there, here) = (made(), tempfile::tempdir().unwrap());
        let requests = [(SecretName::new("a_password").unwrap(), SecretKind::Password)].into();
        secrets::ensure(here.path(), &requests).unwrap();
        let before = std::fs::read(secrets::path(here.path())).unwrap();
        let error = import(there.path(), here.path()).unwrap_err();
        assert!(matches!(error, ImportError::Differs { .. }), "{error}");
        assert_eq!(std::fs::read(secrets::path(here.path())).unwrap(), before);
        assert!(!here.path().join("tls").exists());
    }

    #[test]
    fn what_is_no_secrets_file_must_be_refused() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let state = here.path().join("state");
        assert!(matches!(import(there.path(), &state), Err(ImportError::Missing(_))));
        files::write_atomic(&there.path().join("secrets.yaml"), b"- a\n", files::PRIVATE).unwrap();
        assert!(matches!(import(there.path(), &state), Err(ImportError::Secrets(_))));
        files::write_atomic(&there.path().join("secrets.yaml"), b"a: 'b'\n", files::PUBLIC).unwrap();
        assert!(matches!(import(there.path(), &state), Err(ImportError::File(FileError::Exposed { .. }))));
        assert!(!state.exists());
    }
}
