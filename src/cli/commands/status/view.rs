//! What `mastic status` shows, as values and as text. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::open::Open;
use crate::cli::commands::points;
use crate::cli::printer::table;
use crate::model::labels::LabelRole;
use crate::model::spec::SpecRecord;
use crate::model::{
    ContainerId, ContainerState, DeploymentName, Health, HostName, ImageId, Labels, Observed,
    ObservedContainer, ReleaseName, Returning, Role, SetName, TaskPhase,
};
use crate::plan::Selection;

/// Memory in use, by container.
pub type Memory = BTreeMap<ContainerId, u64>;

/// One container as it is now.
#[derive(Clone, Debug)]
pub struct Row {
    host: HostName,
    container: ObservedContainer,
    labels: Labels,
    /// Whether an open upgrade keeps it.
    held: bool,
}

/// The deployment as it is now.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whose.
    pub deployment: DeploymentName,
    /// Series that serves.
    pub release: ReleaseName,
    /// An upgrade that is open.
    pub open: Option<Open>,
    /// A return to an older release that has not come to its end.
    pub returning: Option<Returning>,
    /// The youngest generation.
    pub generation: u64,
    rows: Vec<Row>,
}

/// How it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// With colours.
    pub color: bool,
    /// Tasks that are done as well.
    pub all: bool,
    /// For times.
    pub now: Timestamp,
}

impl Status {
    /// Takes what is selected: sets as the profile launches them, then services, then names.
    /// `due`: the tasks that a commit would run, where that can be told.
    pub fn new(
        observed: &Observed,
        release: &ReleaseName,
        order: &[SetName],
        selection: &Selection,
        due: Option<Vec<String>>,
    ) -> Self {
        let ledger = observed.ledger.as_ref();
        let held = ledger.and_then(|ledger| ledger.held.clone());
        let is_held = |container: &ObservedContainer, labels: &Labels| {
            matches!(container.state, ContainerState::Exited | ContainerState::Paused)
                && held.as_ref().is_some_and(|held| labels.generation <= held.generation)
                && observed.is_superseded(labels)
        };
        let mut rows: Vec<Row> = observed
            .hosts
            .iter()
            .flat_map(|(host, there)| there.containers.iter().map(move |container| (host, container)))
            .filter_map(|(host, container)| {
                let labels = container.slot_labels.clone()?;
                let held = is_held(container, &labels);
                let row = Row { host: host.clone(), container: container.clone(), labels, held };
                selection.has(&row.labels.set, &row.labels.service).then_some(row)
            })
            .collect();
        rows.sort_by_cached_key(|row| {
            let l = &row.labels;
            let rank = order.iter().position(|set| *set == l.set).unwrap_or(usize::MAX);
            (
                rank,
                l.set.clone(),
                l.service.clone(),
                row.is_task(),
                l.container.clone(),
                row.host.clone(),
                l.generation,
            )
        });
        // Of all, whatever is selected.
        let all = observed.hosts.values().flat_map(|host| &host.containers);
        let (kept, others): (Vec<&ObservedContainer>, Vec<&ObservedContainer>) =
            all.partition(|container| container.slot_labels.as_ref().is_some_and(|l| is_held(container, l)));
        let needed: BTreeSet<&ImageId> = others.iter().map(|container| &container.image).collect();
        Self {
            deployment: observed.deployment.clone(),
            release: ledger.map_or(release, |ledger| &ledger.release).clone(),
            open: held.clone().map(|held| Open {
                point: point(observed, &points::point_of(held.generation)),
                due,
                containers: kept.len(),
                images: kept
                    .iter()
                    .map(|c| &c.image)
                    .filter(|image| !needed.contains(image))
                    .cloned()
                    .collect(),
                held,
            }),
            returning: ledger.and_then(|ledger| ledger.returning.clone()),
            generation: observed.last_generation,
            rows,
        }
    }

    /// Returns the containers whose memory can be asked for.
    pub fn running(&self) -> impl Iterator<Item = (&HostName, &ContainerId)> {
        let runs =
            |row: &&Row| matches!(row.container.state, ContainerState::Running | ContainerState::Paused);
        self.rows.iter().filter(runs).map(|row| (&row.host, &row.container.id))
    }

    /// Returns whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the document that `--json` promises.
    pub fn json(&self, memory: &Memory, now: Timestamp) -> Json {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let (c, l) = (&row.container, &row.labels);
                json!({
                    "host": row.host, "set": l.set, "service": l.service, "container": l.container, "task": row.is_task(),
                    "name": c.name, "id": c.id, "state": c.state, "health": c.health, "verdict": row.verdict(),
                    "generation": l.generation, "release": l.release, "image": c.image, "image_reference": row.reference(),
                    "spec_hash": l.spec_hash, "started_at": c.started_at, "exit_code": c.exit_code,
                    "held": row.held, "restarts": c.restart_count, "memory_bytes": memory.get(&c.id),
                })
            })
            .collect();
        json!({
            "version": 1, "deployment": self.deployment, "release": self.release, "generation": self.generation,
            "held": self.open.as_ref().map(|open| &open.held), "open": self.open.as_ref().map(|open| open.json(now)),
            "returning": self.returning, "containers": rows,
        })
    }

    /// Returns one line about all.
    pub fn headline(&self, memory: &Memory, now: Timestamp) -> String {
        let Self { deployment, release, open, returning, generation, rows } = self;
        let (tasks, services): (Vec<&Row>, Vec<&Row>) =
            rows.iter().filter(|row| !row.held).partition(|row| row.is_task());
        let good = services.iter().filter(|row| row.is_good()).count();
        let done = tasks.iter().filter(|row| row.is_good()).count();
        let total: u64 = services.iter().filter_map(|row| memory.get(&row.container.id)).sum();
        let open = open.as_ref().map(|open| format!("\n{}", open.text(release, now)));
        let returning = returning.as_ref().map(|open| {
            format!(
                "\nthe return to {} (generation {}) with the data of {} has not come to its end: `mastic rollback --restore` goes on \
                 with it",
                open.release, open.generation, open.point
            )
        });
        format!(
            "deployment {deployment}, release {release}, generation {generation}: {good} of {} containers are well, {done} of {} tasks \
             are done, {} in use{}{}",
            services.len(),
            tasks.len(),
            bytes(total),
            open.unwrap_or_default(),
            returning.unwrap_or_default()
        )
    }

    /// Returns all of it as a table: a line a set, and below it its containers.
    pub fn text(&self, memory: &Memory, look: Look) -> String {
        let several =
            self.rows.iter().any(|row| self.rows.first().is_some_and(|first| first.host != row.host));
        let mut head = vec!["SET", "SERVICE", "CONTAINER", "STATE", "GEN", "IMAGE", "UP", "MEMORY"];
        if several {
            head.insert(3, "HOST");
        }
        let mut lines = vec![head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
        let mut paints = vec![Paint::Plain];
        let (mut set, mut service) = (None, None);
        for row in &self.rows {
            let l = &row.labels;
            if set != Some(&l.set) {
                let (cells, paint) = self.set_line(&l.set, memory, several);
                lines.push(cells);
                paints.push(paint);
                (set, service) = (Some(&l.set), None);
            }
            if (row.held || row.is_task() && row.is_good()) && !look.all {
                continue;
            }
            let mut cells = vec![
                String::new(),
                if service == Some(&l.service) { String::new() } else { l.service.to_string() },
                l.container.to_string(),
                row.verdict(),
                l.generation.to_string(),
                row.image(),
                row.age(look.now),
                memory.get(&row.container.id).copied().map(bytes).unwrap_or_default(),
            ];
            if several {
                cells.insert(3, row.host.to_string());
            }
            service = Some(&l.service);
            lines.push(cells);
            paints.push(row.paint());
        }
        let text = table(&lines);
        if !look.color {
            return text;
        }
        text.lines().zip(paints).map(|(line, paint)| format!("{}\n", paint.on(line))).collect()
    }

    fn set_line(&self, set: &SetName, memory: &Memory, several: bool) -> (Vec<String>, Paint) {
        let of_set = || self.rows.iter().filter(|row| row.labels.set == *set);
        let services = of_set().filter(|row| !row.is_task() && !row.held);
        let (good, all) =
            services.fold((0, 0), |(good, all), row| (good + usize::from(row.is_good()), all + 1));
        let bad_task = of_set().any(|row| row.is_task() && !row.is_good() && !row.held);
        let state =
            if good == all && !bad_task { "well".to_owned() } else { format!("{good} of {all} well") };
        let used: u64 = of_set().filter_map(|row| memory.get(&row.container.id)).sum();
        let used = if used > 0 { bytes(used) } else { String::new() };
        let blank = String::new;
        let mut cells = vec![set.to_string(), blank(), blank(), state, blank(), blank(), blank(), used];
        if several {
            cells.insert(3, blank());
        }
        (cells, if good == all && !bad_task { Paint::Bold } else { Paint::Red })
    }
}

/// Looks for the evidence that a restore point of this name was made.
fn point(observed: &Observed, name: &str) -> Option<String> {
    let containers = observed.hosts.values().flat_map(|host| &host.containers);
    let mut records = containers
        .filter(|c| c.state == ContainerState::Exited && c.exit_code == Some(0))
        .filter_map(|c| serde_json::from_str::<SpecRecord>(&c.slot_labels.as_ref()?.spec).ok());
    let made = |record: &SpecRecord| {
        matches!(record.role, Role::Task { phase: TaskPhase::Backup, .. })
            && record.command.iter().any(|word| word == name)
    };
    records.any(|record| made(&record)).then(|| name.to_owned())
}

impl Row {
    fn is_task(&self) -> bool {
        self.labels.role == LabelRole::Task
    }

    /// Whether it is as it should be: a service runs and is not found ill, a task has ended well. (The engine itself looks only
    /// every half minute; a deploy has waited for each by then.)
    fn is_good(&self) -> bool {
        let c = &self.container;
        if self.is_task() {
            return c.state == ContainerState::Exited && c.exit_code == Some(0);
        }
        c.state == ContainerState::Running && c.health != Health::Unhealthy
    }

    /// Says in one or two words how it is. What is wrong is in capitals.
    fn verdict(&self) -> String {
        let c = &self.container;
        if self.held {
            let frozen = c.state == ContainerState::Paused;
            return if frozen { "frozen" } else { "kept" }.to_owned();
        }
        match (c.state, c.health) {
            (ContainerState::Running, Health::Healthy) => "healthy".to_owned(),
            (ContainerState::Running, Health::Unhealthy) => "UNHEALTHY".to_owned(),
            (ContainerState::Running, Health::Starting | Health::None) => "running".to_owned(),
            (ContainerState::Exited, _) if self.is_task() && c.exit_code == Some(0) => "done".to_owned(),
            (ContainerState::Exited, _) => format!("EXITED {}", c.exit_code.unwrap_or(-1)),
            (ContainerState::Created, _) => "created".to_owned(),
            (ContainerState::Paused, _) => "PAUSED".to_owned(),
            (ContainerState::Restarting, _) => format!("RESTARTING ({})", c.restart_count),
            (ContainerState::Removing, _) => "removing".to_owned(),
            (ContainerState::Dead, _) => "DEAD".to_owned(),
        }
    }

    fn paint(&self) -> Paint {
        let verdict = self.verdict();
        if verdict.starts_with(|c: char| c.is_ascii_uppercase()) {
            Paint::Red
        } else if self.is_good() || self.held {
            if self.is_task() || self.held { Paint::Dim } else { Paint::Plain }
        } else {
            Paint::Yellow
        }
    }

    /// Returns the reference it was created by.
    fn reference(&self) -> Option<String> {
        let record: SpecRecord = serde_json::from_str(&self.labels.spec).ok()?;
        Some(record.image.reference)
    }

    /// Returns name, tag and id of its image, without the registry's part.
    fn image(&self) -> String {
        let id = self.container.image.short();
        let name = self.reference();
        let name = name.as_deref().map(|reference| reference.rsplit('/').next().unwrap_or(reference));
        name.map_or_else(|| id.to_owned(), |name| format!("{name} {id}"))
    }

    /// Returns how long it has been up: the two largest units.
    fn age(&self, now: Timestamp) -> String {
        let started = self.container.started_at.parse::<Timestamp>();
        match (self.container.state, started) {
            (ContainerState::Running, Ok(started)) => age(now.as_second() - started.as_second()),
            _ => String::new(),
        }
    }
}

/// Colours of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paint {
    Plain,
    Bold,
    Dim,
    Yellow,
    Red,
}

impl Paint {
    fn on(self, line: &str) -> String {
        let code = match self {
            Self::Plain => return line.to_owned(),
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Yellow => "33",
            Self::Red => "31",
        };
        format!("\u{1b}[{code}m{line}\u{1b}[0m")
    }
}

/// Returns a moment without its fraction of a second.
pub fn to_the_second(moment: &str) -> String {
    match moment.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => moment.to_owned(),
    }
}

/// Formats a time as people read it: its two largest units.
pub fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// Formats bytes as people read them.
pub fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
    let value = count as f64;
    if count >= 1 << 30 {
        format!("{:.1} GiB", value / f64::from(1 << 30))
    } else if count >= 1 << 20 {
        format!("{:.0} MiB", value / f64::from(1 << 20))
    } else {
        format!("{:.0} KiB", value / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObservedHost;

    fn container(text: &str, state: ContainerState, health: Health, code: Option<i64>) -> ObservedContainer {
        let mut parts = text.split('/');
        let mut part = || parts.next().unwrap();
        let (set, service, name, task) = (part(), part(), part(), part() == "task");
        let labels = Labels {
            deployment: "aio".parse().unwrap(),
            role: if task { LabelRole::Task } else { LabelRole::Service },
            host: "one".parse().unwrap(),
            set: set.parse().unwrap(),
            service: service.parse().unwrap(),
            container: name.parse().unwrap(),
            side: crate::model::spec::Side::Main,
            generation: crate::model::Generation::FIRST,
            spec_hash: crate::model::SpecHash::of(b"x"),
            spec: String::new(),
            release: "2026.1".parse().unwrap(),
            run: "r1".parse().unwrap(),
        };
        ObservedContainer {
            id: ContainerId(name.to_owned()),
            name: format!("aio-{name}-1"),
            labels: BTreeMap::new(),
            slot_labels: Some(labels),
            state,
            health,
            exit_code: code,
            error: None,
            oom_killed: false,
            restart_count: 0,
            image: ImageId(format!("sha256:{}", "ab".repeat(32))),
            created_at: String::new(),
            started_at: "2026-11-26T01:00:00Z".to_owned(),
            finished_at: String::new(),
        }
    }

    fn status() -> Status {
        let running = ContainerState::Running;
        let containers = vec![
            container("api/keystone/keystone-api/x", running, Health::Healthy, None),
            container("api/keystone/keystone-fernet/x", ContainerState::Exited, Health::None, Some(137)),
            container("api/keystone/keystone-setup/task", ContainerState::Exited, Health::None, Some(0)),
            container("api/glance/glance-api/x", running, Health::Starting, None),
            container("database/mariadb/mariadb/x", running, Health::Healthy, None),
        ];
        let host = ObservedHost { containers, volumes: Vec::new(), images: Vec::new() };
        let observed = Observed {
            deployment: "aio".parse().unwrap(),
            taken_at: String::new(),
            hosts: [("one".parse().unwrap(), host)].into(),
            last_generation: 3,
            ledger: None,
        };
        let order: Vec<SetName> = ["database", "api"].map(|set| set.parse().unwrap()).into();
        Status::new(&observed, &"2026.1".parse().unwrap(), &order, &Selection::default(), None)
    }

    fn look(color: bool, all: bool) -> Look {
        Look { color, all, now: "2026-11-26T03:02:03Z".parse().unwrap() }
    }

    #[test]
    fn everything_must_be_seen_at_one_glance() {
        let memory = [(ContainerId("mariadb".to_owned()), 260 << 20)].into();
        insta::assert_snapshot!(format!("{}\n{}", status().headline(&memory, Timestamp::UNIX_EPOCH), status().text(&memory, look(false, false))), @r"
        deployment aio, release 2026.1, generation 3: 3 of 4 containers are well, 1 of 1 tasks are done, 260 MiB in use
        SET       SERVICE   CONTAINER        STATE        GEN  IMAGE         UP     MEMORY
        database                             well                                   260 MiB
                  mariadb   mariadb          healthy      1    abababababab  2h 2m  260 MiB
        api                                  2 of 3 well
                  glance    glance-api       running      1    abababababab  2h 2m
                  keystone  keystone-api     healthy      1    abababababab  2h 2m
                            keystone-fernet  EXITED 137   1    abababababab
        ");
    }

    #[test]
    fn tasks_that_are_done_must_be_shown_when_asked_for_and_what_is_wrong_in_red() {
        let text = status().text(&Memory::new(), look(true, true));
        assert!(text.contains("keystone-setup"), "{text}");
        let line = |word: &str| text.lines().find(|line| line.contains(word)).unwrap_or_default().to_owned();
        assert!(line("EXITED 137").starts_with("\u{1b}[31m"), "{text}");
        assert!(line("mariadb  ").starts_with("          mariadb"), "{text}");
        assert!(line("glance-api").starts_with("          glance"), "{text}");
    }

    #[test]
    fn times_must_be_told_in_their_two_largest_units() {
        let told: Vec<String> = [5, 65, 7325, 200_000].map(age).into();
        assert_eq!(told, ["5s", "1m 5s", "2h 2m", "2d 7h"]);
    }
}
