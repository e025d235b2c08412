//! From the command line to a plan: load, resolve, observe, reconcile. The one place where core and shell meet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::args::Selection as SelectionArgs;
use super::context::{self, Context, Engines};
use super::exit::{CliError, Exit};
use crate::engine::Engine;
use crate::model::words::nearest;
use crate::model::{
    Desired, ImageName, Observed, ObservedContainer, PinnedImage, Secret, SecretKind, SecretName,
};
use crate::observe;
use crate::plan::{self, Options, Plan, Selection};
use crate::profile::{self, Edits, Library, Profile};
use crate::store::{certificates, files, library, redact::Redactor, secrets, tls};

/// A profile that passed every check, and where its things lie.
#[derive(Debug)]
pub struct Loaded {
    /// The profile.
    pub profile: Profile,
    /// What it was loaded from.
    pub library: Library,
    /// Where its secrets, certificates, client files and journals lie.
    pub state: PathBuf,
}

impl Loaded {
    /// Returns all secrets that must exist: those of the services, and the one that identifies the deployment.
    pub fn secret_requests(&self) -> BTreeMap<SecretName, SecretKind> {
        let own = SecretName::new(secrets::DEPLOYMENT_KEY).map(|name| (name, SecretKind::Hex32));
        self.profile.secret_requests().into_iter().chain(own).collect()
    }
}

/// Whether secrets that do not exist yet may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// Make and keep them: something is going to use them.
    Keep,
    /// Only pretend, for a look: nothing is written.
    Pretend,
}

impl Context {
    /// Loads the profile with everything it refers to; all mistakes at once.
    pub fn load(&self) -> Result<Loaded> {
        self.load_with(&Edits { release: self.global.release.clone(), ..Edits::default() })
    }

    /// The same, of another release than the profile says.
    pub fn load_as(&self, release: &str) -> Result<Loaded> {
        self.load_with(&Edits::release(release))
    }

    /// The same, with what a command says otherwise.
    pub fn load_with(&self, edits: &Edits) -> Result<Loaded> {
        let (name, text, beside) = self.profile_text()?;
        let text = edits.apply(&text).ok_or_else(|| by_hand(&name, edits))?;
        let sources = profile::sources(&text);
        let folders: Vec<PathBuf> = sources
            .library
            .iter()
            .map(|dir| beside.join(dir))
            .chain(self.global.library.iter().cloned())
            .collect();
        let mut library = library::load(&folders)?;
        let overrides = beside.join(&sources.overrides);
        if sources.overrides_named || overrides.is_dir() {
            library::add_overrides(&mut library, &overrides)?;
        }
        let profile =
            profile::load(&name, &text, &library).map_err(|diagnostics| self.mistakes(&diagnostics))?;
        let state = context::state_dir(
            self.global.state_dir.as_deref(),
            profile.document.state.as_deref(),
            &beside,
            &profile.document.deployment,
        )?;
        Ok(Loaded { profile, library, state })
    }

    /// Writes into the profile what a command said otherwise, where that is a file. Returns whether it did.
    pub fn keep(&self, edits: &Edits) -> Result<bool> {
        let (name, text, _) = self.profile_text()?;
        let changed = edits.apply(&text).ok_or_else(|| by_hand(&name, edits))?;
        if changed == text || !Path::new(&name).is_file() {
            return Ok(false);
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs_err::metadata(&name)?.permissions()) & 0o777;
        files::write_atomic(Path::new(&name), changed.as_bytes(), mode)?;
        Ok(true)
    }

    /// Returns the profile's name for messages, its text, and the folder its paths are relative to.
    fn profile_text(&self) -> Result<(String, String, PathBuf)> {
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        let chosen = match &self.global.profile {
            Some(given) => given.clone(),
            None if here.join("mastic.yaml").exists() => "mastic.yaml".to_owned(),
            None => "all-in-one".to_owned(),
        };
        let path = Path::new(&chosen);
        if path.is_file() {
            let bytes = fs_err::read(path)?;
            let text = String::from_utf8(bytes).map_err(|error| {
                let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
                    + 1;
                CliError::new(format!("{chosen}:{line}:1: the profile is not UTF-8 text"))
            })?;
            // Joined with nothing, a path ends in a slash.
            let beside = path.parent().filter(|p| !p.as_os_str().is_empty());
            let beside = beside.map_or_else(|| here.clone(), |parent| here.join(parent));
            return Ok((chosen.clone(), text, beside));
        }
        let embedded = library::embedded();
        match embedded.get(&format!("profiles/{chosen}.yaml")) {
            Some(file) => Ok((
                format!("(built in) profiles/{chosen}.yaml"),
                String::from_utf8_lossy(&file.bytes).into_owned(),
                here,
            )),
            None => Err(CliError::new(format!(
                "there is no profile `{chosen}`: neither a file nor built in"
            ))
            .help("`mastic init` writes one to start from; `mastic init --list` lists the built-in ones")
            .into()),
        }
    }

    /// Shows all mistakes, and returns the error that ends the program.
    pub fn mistakes(&self, diagnostics: &profile::Diagnostics) -> anyhow::Error {
        if self.global.json {
            self.printer.data(&diagnostics.to_json());
        } else {
            self.printer.error(&diagnostics.to_string());
        }
        let count = diagnostics.len();
        CliError::new(format!(
            "{count} {}; nothing was touched",
            if count == 1 { "mistake" } else { "mistakes" }
        ))
        .into()
    }

    /// Returns clients of all hosts' engines.
    pub async fn engines(&self, profile: &Profile) -> Result<Engines> {
        context::connect(profile).await
    }

    /// Asks every engine whether it is there.
    pub async fn reach(&self, engines: &Engines) -> Result<()> {
        for (host, engine) in engines {
            engine.ping(std::time::Duration::from_secs(10)).await.map_err(|error| {
                CliError::new(format!(
                    "host `{host}`: no Docker engine answers at {}: {}",
                    engine.endpoint(),
                    error.message
                ))
                .help("`mastic bootstrap` installs and starts one on this machine")
            })?;
        }
        Ok(())
    }

    /// Returns a mask for everything secret of this deployment.
    pub fn redactor(&self, loaded: &Loaded) -> Result<Redactor> {
        Ok(secrets::read(&loaded.state)?.redactor())
    }

    /// Returns all secrets that the profile needs.
    pub fn secrets(&self, loaded: &Loaded, make: Make) -> Result<BTreeMap<SecretName, Secret>> {
        let requests = loaded.secret_requests();
        let names = certificate_names(&loaded.profile);
        let backends = loaded.profile.backends();
        let (mut all, tls, backends) = match make {
            Make::Keep => {
                let made = secrets::ensure(&loaded.state, &requests)?;
                let tls = tls::ensure(&loaded.state, &names)?;
                (made.secrets.values().clone(), tls, certificates::ensure(&loaded.state, &backends)?)
            }
            Make::Pretend => {
                let mut all = secrets::read(&loaded.state)?.values().clone();
                for (name, kind) in &requests {
                    if !all.contains_key(name) {
                        all.insert(name.clone(), secrets::generate(*kind)?);
                    }
                }
                let tls = tls::pretend(&loaded.state, &names)?;
                (all, tls, certificates::pretend(&loaded.state, &backends)?)
            }
        };
        all.extend(tls.secrets());
        let named = |(service, pem)| Some((profile::backend_secret(&service)?, pem));
        all.extend(backends.into_iter().filter_map(named));
        Ok(all)
    }

    /// Pins every image the profile needs to what the engines have; `None` where one has it not.
    pub async fn images(
        &self,
        loaded: &Loaded,
        engines: &Engines,
    ) -> Result<BTreeMap<ImageName, Option<PinnedImage>>> {
        let pins = loaded.profile.image_requests().into_iter().map(async |(name, reference)| {
            for engine in engines.values() {
                if let Some(image) = engine.image(&reference).await? {
                    return Ok::<_, anyhow::Error>((name, Some(PinnedImage { reference, id: image.id })));
                }
            }
            Ok((name, None))
        });
        Ok(futures::future::try_join_all(pins).await?.into_iter().collect())
    }

    /// Resolves the profile against what is there.
    pub async fn desired(&self, loaded: &Loaded, engines: &Engines, make: Make) -> Result<Desired> {
        self.resolve(loaded, self.all_images(loaded, engines).await?, make)
    }

    /// Pins every image the profile needs, or says which are not there.
    pub async fn all_images(
        &self,
        loaded: &Loaded,
        engines: &Engines,
    ) -> Result<BTreeMap<ImageName, PinnedImage>> {
        let images = self.images(loaded, engines).await?;
        let missing: Vec<String> = images
            .iter()
            .filter(|(_, pin)| pin.is_none())
            .map(|(name, _)| {
                loaded.profile.image_requests().get(name).cloned().unwrap_or_else(|| name.to_string())
            })
            .collect();
        if !missing.is_empty() {
            return Err(CliError::new(format!("these images are not there: {}", missing.join(", ")))
                .help("`mastic build` builds them, `mastic pull` pulls them from the profile's registry")
                .into());
        }
        Ok(images.into_iter().filter_map(|(name, pin)| Some((name, pin?))).collect())
    }

    /// Resolves the profile with these images.
    pub fn resolve(
        &self,
        loaded: &Loaded,
        images: BTreeMap<ImageName, PinnedImage>,
        make: Make,
    ) -> Result<Desired> {
        self.resolve_with(loaded, images, self.secrets(loaded, make)?)
    }

    /// Resolves the profile with these images and secrets.
    pub fn resolve_with(
        &self,
        loaded: &Loaded,
        images: BTreeMap<ImageName, PinnedImage>,
        secrets: BTreeMap<SecretName, Secret>,
    ) -> Result<Desired> {
        let inputs = profile::Inputs { secrets, images, init_digest: crate::build::INIT_DIGEST.to_owned() };
        profile::resolve(&loaded.profile, &loaded.library, &inputs)
            .map_err(|diagnostics| self.mistakes(&diagnostics))
    }

    /// Looks at every host.
    pub async fn observe(&self, loaded: &Loaded, engines: &Engines) -> Result<Observed> {
        self.reach(engines).await?;
        Ok(observe::observe(engines, &loaded.profile.document.deployment).await?)
    }

    /// Refuses to go on with secrets that are not those of what is deployed: new ones would be made for databases that know
    /// only the old ones.
    pub fn same_secrets(&self, loaded: &Loaded, observed: &Observed) -> Result<()> {
        let Some(deployed) = observed.ledger.as_ref().and_then(|ledger| ledger.secrets.as_ref()) else {
            return Ok(());
        };
        let (deployment, state) = (&loaded.profile.document.deployment, loaded.state.display());
        let here = secrets::read(&loaded.state)?;
        let why = match here.fingerprint() {
            Some(fingerprint) if fingerprint == *deployed => {
                if tls::has_authority(&loaded.state) {
                    return Ok(());
                }
                format!("its certificate authority is not in {state}: clients trust no other")
            }
            Some(_) => format!("the secrets in {state} are those of another deployment"),
            None => format!("its secrets are not in {state}: new ones would not open its databases"),
        };
        let last = observed.last_generation;
        Err(CliError::new(format!("deployment {deployment} is on its hosts already (generation {last}), and {why}"))
            .help("copy the state folder from where it was deployed (`mastic secrets path` there), then: mastic secrets import FOLDER")
            .help(format!(
                "if another cloud is meant, give it another name in `deployment:`; if {deployment} can go: `mastic destroy --volumes all`"
            ))
            .into())
    }

    /// Returns the containers that were named (container or service names), or all, with their engines.
    pub async fn running(
        &self,
        loaded: &Loaded,
        engines: &Engines,
        names: &[String],
    ) -> Result<Vec<(Arc<dyn Engine>, ObservedContainer)>> {
        let observed = self.observe(loaded, engines).await?;
        let mut chosen = Vec::new();
        let mut known = BTreeSet::new();
        let mut found = BTreeSet::new();
        for (host, there) in &observed.hosts {
            let Some(engine) = engines.get(host) else { continue };
            for container in &there.containers {
                let Some(labels) = &container.slot_labels else { continue };
                let names_of = [labels.container.as_str(), labels.service.as_str(), container.name.as_str()];
                known.extend(names_of.iter().take(2).map(|n| (*n).to_owned()));
                let hit = names.iter().find(|n| names_of.contains(&n.as_str()));
                if names.is_empty() || hit.is_some() {
                    found.extend(hit.cloned());
                    chosen.push((engine.clone(), container.clone()));
                }
            }
        }
        if let Some(missing) = names.iter().find(|n| !found.contains(*n)) {
            let mut error =
                CliError::new(format!("there is no container or service `{missing}` in this deployment"));
            if let Some(near) = nearest(missing, known.iter().map(String::as_str)) {
                error = error.help(format!("did you mean `{near}`?"));
            }
            return Err(error.into());
        }
        Ok(chosen)
    }

    /// Makes a plan and checks it.
    pub fn plan(&self, desired: &Desired, observed: &Observed, options: &Options) -> Result<Plan> {
        let plan = plan::reconcile(desired, observed, options);
        self.verified(plan, desired, observed)
    }

    /// Checks a plan: what fails here is a defect of Mastic, and nothing is touched.
    pub fn verified(&self, plan: Plan, desired: &Desired, observed: &Observed) -> Result<Plan> {
        match plan::verify(&plan, desired, observed) {
            Ok(()) => Ok(plan),
            Err(violations) => {
                let lines: Vec<String> = violations.iter().map(|v| format!("  {v}")).collect();
                Err(CliError::new(format!(
                    "the plan breaks the rules of plans, nothing was touched; please report this:\n{}",
                    lines.join("\n")
                ))
                .into())
            }
        }
    }

    /// Reads `--set` and `--service`. A name that neither the profile nor what is deployed knows is a mistake: it would
    /// select nothing, and look like success.
    pub fn selection(&self, args: &SelectionArgs, loaded: &Loaded, observed: &Observed) -> Result<Selection> {
        let listing = loaded.profile.listing();
        let deployed = || {
            let containers = observed.hosts.values().flat_map(|host| &host.containers);
            containers.filter_map(|container| container.slot_labels.as_ref())
        };
        let sets: BTreeSet<_> = loaded.profile.sets().iter().chain(deployed().map(|l| &l.set)).collect();
        let services: BTreeSet<_> =
            listing.iter().flat_map(|s| s.services.keys()).chain(deployed().map(|l| &l.service)).collect();
        Ok(Selection {
            sets: args.sets.iter().map(|s| one_of("set", s, &sets)).collect::<Result<_>>()?,
            services: args.services.iter().map(|s| one_of("service", s, &services)).collect::<Result<_>>()?,
        })
    }
}

/// Says what a person must write into a profile whose shape is not changed by a program.
fn by_hand(name: &str, edits: &Edits) -> CliError {
    let pins: Vec<String> =
        edits.pins.iter().map(|(image, reference)| format!("    {image}: {reference}")).collect();
    CliError::new(format!("{name}: `images` has its keys in braces, where a pin is for you to write"))
        .help(format!("images:\n  pins:\n{}\nthen the same command without `--to`", pins.join("\n")))
}

/// Finds a name among those that there are.
fn one_of<N: Ord + Clone + AsRef<str>>(kind: &str, name: &str, known: &BTreeSet<&N>) -> Result<N> {
    if let Some(found) = known.iter().find(|candidate| candidate.as_ref() == name) {
        return Ok((*found).clone());
    }
    let names: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let mut error = CliError::new(format!("there is no {kind} `{name}` in this deployment"));
    if let Some(near) = nearest(name, names.iter().copied()) {
        error = error.help(format!("did you mean `{near}`?"));
    }
    Err(error.help(format!("there are: {}", names.join(", "))).into())
}

/// Returns the addresses and names that the public certificate must hold.
pub fn certificate_names(profile: &Profile) -> BTreeSet<String> {
    let public = &profile.document.public;
    let internal = profile.document.internal.as_ref();
    [Some(public.address.clone()), public.name.clone()]
        .into_iter()
        .chain([internal.map(|i| i.address.clone()), internal.and_then(|i| i.name.clone())])
        .flatten()
        .collect()
}

/// Ends with the code for a person's missing yes.
pub fn needs_yes(message: impl Into<String>) -> CliError {
    CliError::new(message).exit(Exit::NeedsYes)
}
