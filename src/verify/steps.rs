//! The steps of an acceptance run, and which of them a cloud gets. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use super::facts::Facts;

/// What a step needs the cloud to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A catalogue entry of one of these types.
    Service(&'static [&'static str]),
    /// A container of this name.
    Container(&'static str),
    /// A network that leads out of the cloud, among the profile's own (`cloud.networks`).
    External,
    /// A dashboard behind the proxy.
    Dashboard,
    /// An engine on this machine, where a browser can run.
    Local,
}

const IMAGE: Need = Need::Service(&["image"]);
const PLACEMENT: Need = Need::Service(&["placement"]);
const COMPUTE: Need = Need::Service(&["compute"]);
const NETWORK: Need = Need::Service(&["network"]);
const VOLUME: Need = Need::Service(&["block-storage", "volumev3"]);
const BACKUP: Need = Need::Container("cinder-backup");
const STACK: Need = Need::Service(&["orchestration"]);
const OBJECT: Need = Need::Service(&["object-store"]);
const DASHBOARD: Need = Need::Dashboard;
const LOCAL: Need = Need::Local;
const EXTERNAL: Need = Need::External;

macro_rules! steps {
    ($($id:ident $name:literal $title:literal [$($need:ident),*] after [$($after:ident),*] within $seconds:literal;)*) => {
        /// One step. Its name is what `--only`, `--skip` and reports call it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum StepId { $(#[doc = $title] $id),* }

        impl StepId {
            /// All, in the order in which they are told.
            pub const ALL: &[Self] = &[$(Self::$id),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name),* }
            }

            /// What it shows, in a line.
            pub fn title(self) -> &'static str {
                match self { $(Self::$id => $title),* }
            }

            /// What the cloud must have for it.
            pub fn needs(self) -> &'static [Need] {
                match self { $(Self::$id => &[$($need),*]),* }
            }

            /// The steps whose success it stands on.
            pub fn after(self) -> &'static [Self] {
                match self { $(Self::$id => &[$(Self::$after),*]),* }
            }

            /// How long it may take.
            pub fn deadline(self) -> Duration {
                Duration::from_secs(match self { $(Self::$id => $seconds),* })
            }
        }
    };
}

// Deadlines are for a busy machine without hardware virtualisation: what works takes a tenth of them.
steps! {
    Project "project" "a project and a user of its own" [] after [] within 60;
    Token "token" "a token of the user, with every service in its catalogue" [] after [Project] within 30;
    Refusals "refusals" "a wrong password and a foreign request are refused" [] after [Token] within 30;
    Resources "resources" "hypervisors offer what a server needs" [PLACEMENT, COMPUTE] after [Token] within 120;
    Image "image" "an image, uploaded and read back" [IMAGE] after [Token] within 120;
    Flavor "flavor" "a flavor of its own" [COMPUTE] after [Token] within 60;
    Network "network" "network, subnet, router, security group, port" [NETWORK] after [Token] within 120;
    Server "server" "a server becomes active" [COMPUTE, IMAGE, NETWORK] after [Resources, Image, Flavor, Network] within 300;
    Console "console" "the guest comes up, by its console log" [COMPUTE, IMAGE, NETWORK] after [Server] within 240;
    Dhcp "dhcp" "the guest got its port's address by DHCP" [COMPUTE, IMAGE, NETWORK] after [Console] within 60;
    Metadata "metadata" "the guest learnt who it is from the metadata service" [COMPUTE, IMAGE, NETWORK] after [Console] within 60;
    FloatingIp "floating-ip" "a floating address of the external network" [COMPUTE, IMAGE, NETWORK, EXTERNAL] after [Server] within 60;
    Blocked "blocked" "the security group keeps traffic out" [COMPUTE, IMAGE, NETWORK, EXTERNAL] after [Console, FloatingIp] within 60;
    Ping "ping" "once allowed, the floating address answers pings" [COMPUTE, IMAGE, NETWORK, EXTERNAL] after [Blocked] within 90;
    Http "http" "once allowed, the guest answers HTTP at its floating address" [COMPUTE, IMAGE, NETWORK, EXTERNAL] after [Blocked] within 90;
    Volume "volume" "a volume" [VOLUME] after [Token] within 120;
    Attach "attach" "attached, the guest writes to it" [VOLUME, COMPUTE, IMAGE, NETWORK] after [Volume, Console, Metadata] within 180;
    Detach "detach" "detached" [VOLUME, COMPUTE, IMAGE, NETWORK] after [Attach] within 180;
    Reread "reread" "attached again, the guest reads back what it wrote" [VOLUME, COMPUTE, IMAGE, NETWORK] after [Detach] within 300;
    Snapshot "snapshot" "a snapshot of a volume" [VOLUME] after [Volume, Reread] within 180;
    Backup "backup" "a backup of a volume, restored into another one" [VOLUME, BACKUP] after [Snapshot] within 300;
    Stack "stack" "a stack is made, changed and deleted" [STACK] after [Token] within 240;
    Object "object" "an object is stored and read back" [OBJECT] after [Token] within 60;
    Dashboard "dashboard" "a login in the dashboard" [DASHBOARD] after [Token] within 180;
    Browser "browser" "a login in a real browser, with a picture kept" [DASHBOARD, LOCAL] after [Dashboard] within 240;
}

impl std::fmt::Display for StepId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl StepId {
    /// Returns the step of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|step| step.name() == name)
    }

    /// Returns everything it stands on, itself included.
    pub fn closure(self) -> BTreeSet<Self> {
        let mut found = BTreeSet::from([self]);
        for before in self.after() {
            found.extend(before.closure());
        }
        found
    }
}

/// Which steps a person wants.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only these and what they stand on; all if empty.
    pub only: BTreeSet<StepId>,
    /// Not these, and nothing that stands on them.
    pub skip: BTreeSet<StepId>,
}

/// Returns the steps that this cloud gets, in order. What a step stands on and the cloud cannot have is left out of
/// account: a cloud without Nova takes its snapshot of a volume that never was attached.
pub fn choose(facts: &Facts, choice: &Choice) -> Vec<StepId> {
    let wanted: BTreeSet<StepId> = choice.only.iter().flat_map(|step| step.closure()).collect();
    let mut chosen = Vec::new();
    for step in StepId::ALL.iter().copied() {
        let possible = step.needs().iter().all(|need| facts.has(*need));
        let asked_for = choice.only.is_empty() || wanted.contains(&step);
        let unwanted = step.closure().iter().any(|before| choice.skip.contains(before));
        if possible && asked_for && !unwanted {
            chosen.push(step);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(kinds: &[&str], containers: &[&str]) -> Facts {
        Facts {
            services: kinds.iter().map(|kind| ((*kind).to_owned(), (*kind).to_owned())).collect(),
            containers: containers.iter().map(|name| (*name).to_owned()).collect(),
            ..Facts::default()
        }
    }

    fn names(facts: &Facts, choice: &Choice) -> String {
        choose(facts, choice).iter().map(|step| step.name()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_service_must_add_its_steps() {
        let all = Choice::default();
        let is = |kinds: &[&str], containers: &[&str]| names(&facts(kinds, containers), &all);
        assert_eq!(is(&["identity"], &[]), "project token refusals");
        assert_eq!(is(&["identity", "image"], &[]), "project token refusals image");
        assert_eq!(
            is(&["identity", "volumev3"], &["cinder-backup"]),
            "project token refusals volume snapshot backup"
        );
        assert_eq!(is(&["object-store", "orchestration"], &[]), "project token refusals stack object");
        let whole = [
            "identity",
            "image",
            "placement",
            "compute",
            "network",
            "block-storage",
            "orchestration",
            "object-store",
        ];
        let mut cloud = facts(&whole, &["cinder-backup"]);
        assert!(!choose(&cloud, &all).contains(&StepId::FloatingIp), "nothing leads out");
        cloud.external = true;
        cloud.dashboard = Some("https://cloud:8443".to_owned());
        assert!(!choose(&cloud, &all).contains(&StepId::Browser), "no browser can run");
        cloud.local = true;
        assert_eq!(choose(&cloud, &all), StepId::ALL);
    }

    #[test]
    fn a_choice_must_bring_what_it_stands_on_and_a_skip_must_take_what_stands_on_it() {
        let mut cloud = facts(&["identity", "image", "placement", "compute", "network"], &[]);
        cloud.external = true;
        let only = Choice { only: [StepId::Server].into(), ..Choice::default() };
        assert_eq!(names(&cloud, &only), "project token resources image flavor network server");
        let skip = Choice { skip: [StepId::Console].into(), ..Choice::default() };
        assert_eq!(
            names(&cloud, &skip),
            "project token refusals resources image flavor network server floating-ip"
        );
    }

    #[test]
    fn a_step_must_come_after_what_it_stands_on_and_need_no_less() {
        for (place, step) in StepId::ALL.iter().enumerate() {
            assert_eq!(StepId::named(step.name()), Some(*step), "names are unique");
            for before in step.after() {
                let earlier = StepId::ALL.iter().position(|other| other == before);
                assert!(earlier.is_some_and(|earlier| earlier < place), "{step} stands on {before}");
            }
        }
    }
}
