//! All certificates of a deployment: those of the backends beside the authority's and the endpoints' (`tls`), what ends when, and
//! making them anew before they end.
//!
//! A backend is what HAProxy sends requests to. Each service that has one gets a certificate and a key of its own, for the names of
//! its containers and the addresses of their hosts: a service that is broken into cannot pass for another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::files;
use super::tls::{self, Anew, DAY, Made, Pair, Paths, RENEW_DAYS, TlsError, bundle};
use crate::model::{Secret, ServiceName};

/// The folder of the backends' certificates in [`tls::DIR`].
const BACKENDS: &str = "backends";

/// The names of each service's backends.
pub type Backends = BTreeMap<ServiceName, BTreeSet<String>>;

/// Which certificates are made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Renew {
    /// Those that end soon.
    Due,
    /// All, but the authority's.
    Leaves,
    /// The authority's too: every client needs its certificate then.
    Authority,
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// It signs the others.
    Authority,
    /// Clients meet it at HAProxy.
    Endpoints,
    /// HAProxy meets it at this service.
    Backend(ServiceName),
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What for.
    pub usage: Use,
    /// Its file, with its key.
    pub path: PathBuf,
    /// Names and addresses that it is good for.
    pub names: BTreeSet<String>,
    /// From.
    pub not_before: Timestamp,
    /// Until.
    pub not_after: Timestamp,
    /// The certificate alone, as PEM.
    pub certificate: String,
    /// Certificate and key, as PEM.
    pub bundle: Secret,
}

impl Certificate {
    /// Returns what containers get of it.
    pub fn content(&self) -> &str {
        match self.usage {
            Use::Authority => &self.certificate,
            Use::Endpoints | Use::Backend(_) => self.bundle.expose(),
        }
    }

    /// Returns the days that are left; negative once it has ended.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.not_after.as_second() - now.as_second()).div_euclid(DAY)
    }

    /// Returns whether it is renewed by the next change, or by hand.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.days_left(now) < RENEW_DAYS
    }
}

fn backend_path(paths: &Paths, service: &ServiceName) -> PathBuf {
    paths.dir.join(BACKENDS).join(format!("{service}.pem"))
}

fn subject(service: &ServiceName) -> String {
    format!("Mastic backend {service}")
}

/// Returns certificate and key of each service's backends, making what is missing or due. The authority must be there.
pub fn ensure(state: &Path, wanted: &Backends) -> Result<BTreeMap<ServiceName, Secret>, TlsError> {
    backends_at(state, wanted, Timestamp::now(), true, false)
}

/// Returns what [`ensure`] would, and writes nothing.
pub fn pretend(state: &Path, wanted: &Backends) -> Result<BTreeMap<ServiceName, Secret>, TlsError> {
    backends_at(state, wanted, Timestamp::now(), false, false)
}

fn backends_at(
    state: &Path,
    wanted: &Backends,
    now: Timestamp,
    keep: bool,
    anew: bool,
) -> Result<BTreeMap<ServiceName, Secret>, TlsError> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (paths, now) = (Paths::of(state), now.as_second());
    let lock = if keep {
        files::create_private_dir(&paths.dir.join(BACKENDS))?;
        Some(files::lock(&paths.dir.join(".lock"))?)
    } else {
        None
    };
    // One that is only pretended signs nothing that is kept.
    let ca = Made::ca(Pair::read(&paths.ca)?, now)?;
    let mut made = BTreeMap::new();
    for (service, names) in wanted {
        let path = backend_path(&paths, service);
        let there = Pair::read(&path)?.filter(|_| !anew);
        let leaf = Made::leaf(there, &ca.pair, &paths, &subject(service), names, now)?;
        if keep && leaf.why.is_some() {
            files::sweep(&path)?;
            leaf.pair.write(&path)?;
        }
        made.insert(service.clone(), Secret::new(bundle(&leaf.pair.cert, &leaf.pair.key).as_str()));
    }
    drop(lock);
    Ok(made)
}

/// Lists the certificates that are there, of the services that use one.
pub fn list(state: &Path, backends: &Backends) -> Result<Vec<Certificate>, TlsError> {
    let paths = Paths::of(state);
    let own = [(Use::Authority, paths.ca.clone()), (Use::Endpoints, paths.vip.clone())];
    let backends =
        backends.keys().map(|service| (Use::Backend(service.clone()), backend_path(&paths, service)));
    let mut found = Vec::new();
    for (usage, path) in own.into_iter().chain(backends) {
        let Some(pair) = Pair::read(&path)? else { continue };
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        found.push(Certificate {
            usage,
            path,
            not_before: at(pair.not_before),
            not_after: at(pair.not_after),
            bundle: Secret::new(bundle(&pair.cert, &pair.key).as_str()),
            names: pair.names,
            certificate: pair.cert,
        });
    }
    Ok(found)
}

/// Makes certificates anew; returns those that are new. Until a deploy has brought them to their containers, those that
/// are there hold.
pub fn renew(
    state: &Path,
    names: &BTreeSet<String>,
    backends: &Backends,
    which: Renew,
) -> Result<Vec<Certificate>, TlsError> {
    let before = list(state, backends)?;
    let now = Timestamp::now();
    let anew = Anew { authority: which == Renew::Authority, leaves: which >= Renew::Leaves };
    tls::ensure_at(state, names, now, anew)?;
    backends_at(state, backends, now, true, anew.leaves)?;
    let known: BTreeSet<&str> = before.iter().map(|c| c.bundle.expose()).collect();
    Ok(list(state, backends)?.into_iter().filter(|c| !known.contains(c.bundle.expose())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn backends() -> Backends {
        [
            ("keystone".parse().unwrap(), names(&["keystone-api", "10.0.0.1"])),
            ("glance".parse().unwrap(), names(&["glance-api"])),
        ]
        .into()
    }

    fn told(list: &[Certificate]) -> Vec<(Use, String)> {
        list.iter().map(|c| (c.usage.clone(), c.bundle.expose().to_owned())).collect()
    }

    #[test]
    fn each_service_must_have_a_key_of_its_own_for_its_names_and_keep_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path();
        tls::ensure(state, &names(&["127.0.0.1"])).unwrap();
        let first = ensure(state, &backends()).unwrap();
        assert_eq!(ensure(state, &backends()).unwrap(), first);
        assert_eq!(pretend(state, &backends()).unwrap(), first);
        let [glance, keystone] = first.values().map(Secret::expose).collect::<Vec<_>>()[..] else { panic!() };
        assert_ne!(glance.split_once("PRIVATE KEY"), keystone.split_once("PRIVATE KEY"));
        let listed = list(state, &backends()).unwrap();
        let uses: Vec<&Use> = listed.iter().map(|c| &c.usage).collect();
        assert!(
            matches!(uses[..], [Use::Authority, Use::Endpoints, Use::Backend(_), Use::Backend(_)]),
            "{uses:?}"
        );
        assert_eq!(listed[3].names, names(&["keystone-api", "10.0.0.1"]));
        assert!(!listed[0].content().contains("PRIVATE"), "the authority's key went out");
        // Another name makes another certificate.
        let mut moved = backends();
        moved.insert("glance".parse().unwrap(), names(&["glance-api", "10.0.0.2"]));
        let second = ensure(state, &moved).unwrap();
        assert_ne!(second[&"glance".parse().unwrap()], first[&"glance".parse().unwrap()]);
        assert_eq!(second[&"keystone".parse().unwrap()], first[&"keystone".parse().unwrap()]);
    }

    #[test]
    fn to_renew_must_make_anew_what_was_asked_for_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (state, vip) = (dir.path(), names(&["127.0.0.1"]));
        tls::ensure(state, &vip).unwrap();
        ensure(state, &backends()).unwrap();
        let before = told(&list(state, &backends()).unwrap());
        assert!(renew(state, &vip, &backends(), Renew::Due).unwrap().is_empty());
        let leaves = renew(state, &vip, &backends(), Renew::Leaves).unwrap();
        assert_eq!(leaves.len(), 3);
        let after = told(&list(state, &backends()).unwrap());
        assert_eq!(after[0], before[0], "the authority is another");
        assert!(after[1..].iter().zip(&before[1..]).all(|(a, b)| a != b));
        assert_eq!(renew(state, &vip, &backends(), Renew::Authority).unwrap().len(), 4);
        // All of them fit the new one: nothing is left to do.
        assert!(renew(state, &vip, &backends(), Renew::Due).unwrap().is_empty());
    }

    #[test]
    fn what_ends_soon_must_be_due_and_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let (state, vip) = (dir.path(), names(&["127.0.0.1"]));
        let now = Timestamp::now();
        // An hour more than a whole number of days is left: certificates count seconds, and the test takes some.
        let long_ago = now - std::time::Duration::from_hours(800 * 24 - 1);
        tls::ensure_at(state, &vip, long_ago, Anew::default()).unwrap();
        backends_at(state, &backends(), long_ago, true, false).unwrap();
        let listed = list(state, &backends()).unwrap();
        let due: Vec<bool> = listed.iter().map(|c| c.is_due(now)).collect();
        assert_eq!(due, [false, true, true, true]);
        assert_eq!(listed[1].days_left(now), 25);
        assert_eq!(renew(state, &vip, &backends(), Renew::Due).unwrap().len(), 3);
        assert!(list(state, &backends()).unwrap().iter().all(|c| !c.is_due(now)));
    }
}
