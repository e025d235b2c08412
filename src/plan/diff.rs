//! What differs between the container that runs and the one that should, field by field.

use std::collections::BTreeMap;

use super::cause::FieldDiff;
use crate::model::spec::{Limits, MountSource, MountSpec, Privileges};
use crate::model::{CheckSpec, Role, SpecRecord};

/// Compares two specs. Both are taken apart by name, so that a new field must be compared to compile.
pub fn diff(old: &SpecRecord, new: &SpecRecord) -> Vec<FieldDiff> {
    let SpecRecord {
        schema,
        role,
        image,
        init,
        leaves,
        command,
        user,
        working_dir,
        environment,
        files,
        mounts,
        network,
        privileges,
        limits,
        check,
        stop,
    } = old;
    let mut out = Diffs::default();
    out.value("spec schema", schema, &new.schema);
    out.value("role", &role_words(role), &role_words(&new.role));
    if image.id != new.image.id {
        out.value("image", image, &new.image);
    } else if image.reference != new.image.reference {
        out.value("image name", &image.reference, &new.image.reference);
    }
    init_diff(&mut out, init, &new.init);
    let cgroup = |leaves: &Option<String>| leaves.clone().unwrap_or_default();
    out.value("cgroup of what lives on", &cgroup(leaves), &cgroup(&new.leaves));
    out.value("command", &command.join(" "), &new.command.join(" "));
    out.value("user", user, &new.user);
    out.value("working directory", working_dir, &new.working_dir);
    out.map("env", environment, &new.environment);
    out.map("file", files, &new.files);
    out.map("mount", &mounts_by_target(mounts), &mounts_by_target(&new.mounts));
    out.value("network", network, &new.network);
    privileges_diff(&mut out, privileges, &new.privileges);
    limits_diff(&mut out, limits, &new.limits);
    out.value("check", &check_words(check.as_ref()), &check_words(new.check.as_ref()));
    out.value("stop signal", &stop.signal, &new.stop.signal);
    out.value("stop grace", &stop.grace, &new.stop.grace);
    out.0
}

/// Compares with the label that a container carries; never empty, since its hash differs.
pub fn diff_label(label: &str, new: &SpecRecord) -> Vec<FieldDiff> {
    let diffs = match serde_json::from_str::<SpecRecord>(label) {
        Ok(old) => diff(&old, new),
        Err(_) => Vec::new(),
    };
    if diffs.is_empty() {
        // A label that cannot be read, or that was written under another meaning of the fields.
        return vec![FieldDiff {
            field: "spec".to_owned(),
            from: None,
            to: Some(String::new()),
            show: false,
        }];
    }
    diffs
}

#[derive(Default)]
struct Diffs(Vec<FieldDiff>);

impl Diffs {
    /// Compares two values that a person can read.
    fn value<T: PartialEq + ToString>(&mut self, field: &str, old: &T, new: &T) {
        if old != new {
            let words = |value: &T| {
                let text = value.to_string();
                (!text.is_empty()).then_some(text)
            };
            self.0.push(FieldDiff { field: field.to_owned(), from: words(old), to: words(new), show: true });
        }
    }

    /// Compares by key; values are not shown (digests, environments).
    fn map(&mut self, noun: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        for (key, was) in old {
            if new.get(key) != Some(was) {
                self.0.push(FieldDiff {
                    field: format!("{noun} {key}"),
                    from: Some(was.clone()),
                    to: new.get(key).cloned(),
                    show: false,
                });
            }
        }
        for (key, is) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
            self.0.push(FieldDiff {
                field: format!("{noun} {key}"),
                from: None,
                to: Some(is.clone()),
                show: false,
            });
        }
    }
}

fn role_words(role: &Role) -> String {
    match role {
        Role::Service { cutover } => format!("service ({})", words(cutover)),
        Role::Task { phase, trigger, deadline } => {
            format!("task ({}, trigger {}, {deadline} s)", phase.as_str(), words(trigger))
        }
    }
}

/// Returns an enum's name as the profile writes it.
fn words<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}

fn init_diff(out: &mut Diffs, old: &[String], new: &[String]) {
    let split = |init: &[String]| -> (String, String) {
        match init.split_first() {
            Some((digest, options)) => (digest.clone(), options.join(" ")),
            None => (String::new(), String::new()),
        }
    };
    let ((old_digest, old_options), (new_digest, new_options)) = (split(old), split(new));
    if old_digest != new_digest {
        out.0.push(FieldDiff {
            field: "mastic-init".to_owned(),
            from: Some(old_digest),
            to: Some(new_digest),
            show: false,
        });
    }
    out.value("mastic-init options", &old_options, &new_options);
}

fn mounts_by_target(mounts: &[MountSpec]) -> BTreeMap<String, String> {
    mounts
        .iter()
        .map(|MountSpec { source, target, read_only }| {
            let source = match source {
                MountSource::Volume(name) => format!("volume {name}"),
                MountSource::Bind { path, propagation } => {
                    format!("bind {path} {}", propagation.as_deref().unwrap_or_default())
                }
                MountSource::Tmpfs { options } => format!("tmpfs {options}"),
            };
            (target.clone(), format!("{source}{}", if *read_only { " read-only" } else { "" }))
        })
        .collect()
}

fn privileges_diff(out: &mut Diffs, old: &Privileges, new: &Privileges) {
    let Privileges { capabilities, new_privileges, security_opts, devices, host_pid, host_ipc, host_cgroups } =
        old;
    let list = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
    out.value("capabilities", &list(capabilities), &list(&new.capabilities));
    out.value("new privileges", new_privileges, &new.new_privileges);
    out.value("security options", &list(security_opts), &list(&new.security_opts));
    out.value("devices", &list(devices), &list(&new.devices));
    out.value("host pid", host_pid, &new.host_pid);
    out.value("host ipc", host_ipc, &new.host_ipc);
    out.value("host cgroups", host_cgroups, &new.host_cgroups);
}

fn limits_diff(out: &mut Diffs, old: &Limits, new: &Limits) {
    let Limits { memory, milli_cpus, pids, nofile, cpu_shares } = old;
    out.value("limit memory", memory, &new.memory);
    out.value("limit cpus (thousandths)", milli_cpus, &new.milli_cpus);
    out.value("share of cpus", cpu_shares, &new.cpu_shares);
    out.value("limit pids", pids, &new.pids);
    out.value("limit nofile", nofile, &new.nofile);
}

fn check_words(check: Option<&CheckSpec>) -> String {
    check.map_or_else(String::new, |check| {
        let CheckSpec { targets, status, ca, host, deadline, interval, timeout } = check;
        let option = |name: &str, value: &Option<String>| {
            value.as_ref().map_or_else(String::new, |value| format!(" {name} {value}"))
        };
        format!(
            "{}{}{}{} (deadline {deadline} s, interval {interval} s, timeout {timeout} s)",
            targets.join(" "),
            option("status", status),
            option("ca", ca),
            option("host", host),
        )
    })
}
