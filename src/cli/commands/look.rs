//! Commands that look at the profile and touch nothing: validate, render, explain, privileges.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::cli::args::{ExplainArgs, RenderArgs};
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::{Loaded, Make};
use crate::model::words::nearest;
use crate::model::{ContainerSpec, Desired, ImageId, PinnedImage};
use crate::store::files;
use crate::store::redact::Redactor;

/// Resolves with made-up image ids, and with made-up values for secrets that are not there yet; also returns all that must be masked.
pub fn resolve_offline(context: &Context, loaded: &Loaded) -> Result<(Desired, Redactor)> {
    let images = loaded
        .profile
        .image_requests()
        .into_iter()
        .map(|(name, reference)| {
            (name, PinnedImage { reference, id: ImageId(format!("sha256:{}", "0".repeat(64))) })
        })
        .collect();
    let secrets = context.secrets(loaded, Make::Pretend)?;
    let redactor = Redactor::new(secrets.values());
    Ok((context.resolve_with(loaded, images, secrets)?, redactor))
}

/// `mastic validate`
pub fn validate(context: &Context) -> Result<Exit> {
    let loaded = context.load()?;
    let (desired, _) = resolve_offline(context, &loaded)?;
    let tasks = desired.containers.values().filter(|c| c.is_task()).count();
    let files: usize = desired.containers.values().map(|c| c.files.len()).sum();
    let counts = json!({
        "version": 1, "ok": true, "deployment": desired.deployment, "release": desired.release,
        "hosts": desired.hosts.len(), "sets": desired.sets, "containers": desired.containers.len() - tasks,
        "tasks": tasks, "files": files,
    });
    if context.global.json {
        context.printer.data(&serde_json::to_string_pretty(&counts)?);
    } else {
        context.printer.data(&format!(
            "deployment {} is valid: {} hosts, {} sets, {} containers, {tasks} tasks, {files} config files",
            desired.deployment,
            desired.hosts.len(),
            desired.sets.len(),
            desired.containers.len() - tasks,
        ));
    }
    Ok(Exit::Done)
}

/// `mastic render`
pub fn render(context: &Context, args: &RenderArgs) -> Result<Exit> {
    let loaded = context.load()?;
    if args.reveal {
        // What is revealed must be what will be used.
        context.secrets(&loaded, Make::Keep)?;
    }
    let (desired, redactor) = resolve_offline(context, &loaded)?;
    let mut known: Vec<String> = Vec::new();
    let mut chosen: Vec<&ContainerSpec> = Vec::new();
    for spec in desired.containers.values() {
        known.extend([spec.name().to_string(), spec.service.to_string()]);
        if args.names.is_empty()
            || args.names.iter().any(|n| n == spec.name().as_str() || n == spec.service.as_str())
        {
            chosen.push(spec);
        }
    }
    if let Some(unknown) = args.names.iter().find(|n| !known.contains(n)) {
        let mut error = CliError::new(format!("the profile has no container or service `{unknown}`"));
        if let Some(near) = nearest(unknown, known.iter().map(String::as_str)) {
            error = error.help(format!("did you mean `{near}`?"));
        }
        return Err(error.into());
    }
    let show = |file: &crate::model::FileSpec| -> Vec<u8> {
        match std::str::from_utf8(&file.content) {
            Ok(_) if file.sensitive && is_one_secret(&file.origin) => {
                crate::model::secret::MASK.as_bytes().to_vec()
            }
            Ok(text) => redactor.redact(text).into_owned().into_bytes(),
            Err(_) => format!("({} bytes)", file.content.len()).into_bytes(),
        }
    };
    let mut documents = Vec::new();
    for spec in chosen {
        for file in &spec.files {
            if let Some(dir) = &args.output {
                let path = dir
                    .join(spec.host().as_str())
                    .join(spec.name().as_str())
                    .join(file.path.trim_start_matches('/'));
                let bytes = if args.reveal { file.content.clone() } else { show(file) };
                write(&path, &bytes, args.reveal)?;
                continue;
            }
            let text = String::from_utf8_lossy(&show(file)).into_owned();
            documents.push(json!({
                "host": spec.host(), "container": spec.name(), "path": file.path, "origin": file.origin,
                "mode": format!("{:04o}", file.mode), "uid": file.uid, "gid": file.gid, "content": text,
            }));
        }
    }
    if let Some(dir) = &args.output {
        context.printer.say(&format!("config files are in {}", dir.display()));
    } else if context.global.json {
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "files": documents}))?);
    } else {
        // The same file goes into several containers: shown once.
        let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in &documents {
            let place = format!("{}/{}", text_of(file, "host"), text_of(file, "container"));
            let body = format!(
                "{} ({}, mode {}, from {})\n{}",
                text_of(file, "path"),
                text_of(file, "uid"),
                text_of(file, "mode"),
                text_of(file, "origin"),
                text_of(file, "content")
            );
            seen.entry(body).or_default().push(place);
        }
        for (body, places) in seen {
            context.printer.data(&format!("# {}: {body}\n", places.join(", ")));
        }
    }
    Ok(Exit::Done)
}

/// A file that is one secret and nothing else has its name as origin.
fn is_one_secret(origin: &str) -> bool {
    origin.starts_with("secret ")
}

fn text_of(value: &serde_json::Value, key: &str) -> String {
    match &value[key] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn write(path: &Path, bytes: &[u8], secret: bool) -> Result<()> {
    if let Some(parent) = path.parent() {
        if secret {
            files::create_private_dir(parent)?;
        } else {
            fs_err::create_dir_all(parent)?;
        }
    }
    files::write_atomic(path, bytes, if secret { 0o600 } else { 0o644 })?;
    Ok(())
}

/// `mastic explain`
pub fn explain(context: &Context, args: &ExplainArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let host = args
        .host
        .as_deref()
        .map(|h| h.parse().map_err(|e: crate::model::NameError| CliError::new(e.to_string())))
        .transpose()?;
    let explained =
        loaded.profile.explain(&loaded.library, args.key.as_deref(), host.as_ref()).map_err(|unknown| {
            let mut error = CliError::new(unknown.to_string());
            if let Some(near) = unknown.nearest {
                error = error.help(format!("did you mean `{near}`?"));
            }
            error.help("`mastic explain` without a key lists everything")
        })?;
    if context.global.json {
        context.printer.data(&serde_json::to_string_pretty(&explained)?);
    } else if let [one] = explained.as_slice().iter().as_slice() {
        context.printer.data(&format!(
            "{} = {}\n  {}\n  type: {}\n  from: {}",
            one.key, one.value, one.help, one.kind, one.origin
        ));
    } else {
        let mut rows = vec![["KEY", "VALUE", "FROM", "WHAT"].map(str::to_owned).to_vec()];
        rows.extend(
            explained
                .iter()
                .map(|e| vec![e.key.clone(), e.value.to_string(), e.origin.clone(), e.help.clone()]),
        );
        context.printer.data(&table(&rows));
    }
    Ok(Exit::Done)
}

/// `mastic privileges`
pub fn privileges(context: &Context) -> Result<Exit> {
    let loaded = context.load()?;
    let list = loaded.profile.privileges();
    if context.global.json {
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "privileges": list}))?);
        return Ok(Exit::Done);
    }
    if list.is_empty() {
        context.printer.data(
            "no container has any privilege: all run as their own user, without capabilities, without new privileges",
        );
        return Ok(Exit::Done);
    }
    let mut rows = vec![["CONTAINER", "PRIVILEGE", "REASON"].map(str::to_owned).to_vec()];
    rows.extend(list.iter().map(|p| vec![p.container.to_string(), p.privilege.clone(), p.reason.clone()]));
    context.printer.data(&table(&rows));
    Ok(Exit::Done)
}
