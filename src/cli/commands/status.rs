//! `mastic status`: sets, services, containers, health, generation, at one glance.

use anyhow::Result;
use futures::future::join_all;
use jiff::{SpanRound, Timestamp, Unit};
use serde_json::json;

use crate::cli::args::StatusArgs;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::printer::table;
use crate::cli::session::Make;
use crate::model::{ContainerState, Health, ObservedContainer};
use crate::plan::{self, Options};

/// Shows what runs.
pub async fn run(context: &Context, args: &StatusArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    let selection = context.selection(&args.selection, &loaded, &observed)?;
    let now = Timestamp::now();

    let mut containers = Vec::new();
    for (host, there) in &observed.hosts {
        for container in &there.containers {
            let Some(labels) = &container.slot_labels else { continue };
            if selection.has(&labels.set, &labels.service) {
                containers.push((host.clone(), container.clone()));
            }
        }
    }
    // Launch order is how an operator thinks of them: sets as the profile orders them, then names.
    let order = loaded.profile.sets();
    containers.sort_by_key(|(_, c)| {
        let labels = c.slot_labels.as_ref();
        (
            labels.map(|l| order.iter().position(|s| *s == l.set).unwrap_or(usize::MAX)),
            labels.map(|l| (l.service.clone(), l.container.clone(), l.generation)),
        )
    });
    let memory = join_all(containers.iter().map(|(host, container)| {
        let engine = engines.get(host).cloned();
        async move {
            match engine {
                Some(engine) if container.state == ContainerState::Running => {
                    engine.memory(&container.id).await.ok()
                }
                _ => None,
            }
        }
    }))
    .await;

    let drift = if args.drift {
        context.same_secrets(&loaded, &observed)?;
        let desired = context.desired(&loaded, &engines, Make::Pretend).await?;
        Some(context.plan(&desired, &observed, &Options { selection, ..Options::default() })?)
    } else {
        None
    };

    if context.global.json {
        let rows: Vec<_> = containers
            .iter()
            .zip(&memory)
            .filter_map(|((host, c), memory)| {
                let l = c.slot_labels.as_ref()?;
                Some(json!({
                    "host": host, "set": l.set, "service": l.service, "container": l.container,
                    "task": c.slot_labels.as_ref().is_some_and(|l| l.role == crate::model::labels::LabelRole::Task),
                    "name": c.name, "id": c.id, "state": c.state, "health": c.health, "verdict": verdict(c),
                    "generation": l.generation, "release": l.release, "image": c.image, "spec_hash": l.spec_hash,
                    "started_at": c.started_at, "exit_code": c.exit_code, "restarts": c.restart_count,
                    "memory_bytes": memory,
                }))
            })
            .collect();
        let document = json!({
            "version": 1,
            "deployment": loaded.profile.document.deployment,
            "generation": observed.last_generation,
            "containers": rows,
            "drift": drift.as_ref().map(|plan| !plan.is_empty()),
        });
        context.printer.data(&serde_json::to_string_pretty(&document)?);
    } else {
        context.printer.data(&format!(
            "deployment {}, release {}, generation {}, state in {}\n",
            loaded.profile.document.deployment,
            loaded.profile.document.release,
            observed.last_generation,
            loaded.state.display()
        ));
        let head = ["SET", "SERVICE", "CONTAINER", "HOST", "STATE", "GEN", "IMAGE", "UP", "MEMORY"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for ((host, container), memory) in containers.iter().zip(&memory) {
            let Some(labels) = &container.slot_labels else { continue };
            rows.push(vec![
                labels.set.to_string(),
                labels.service.to_string(),
                labels.container.to_string(),
                host.to_string(),
                verdict(container),
                labels.generation.to_string(),
                container.image.short().to_owned(),
                age(container, now),
                memory.map(bytes).unwrap_or_default(),
            ]);
        }
        if containers.is_empty() {
            context.printer.data("nothing is deployed; `mastic plan` shows what would be");
        } else {
            context.printer.data(&table(&rows));
        }
        if let Some(plan) = &drift {
            context.printer.data(&plan::render::text(plan));
        }
    }
    Ok(match drift {
        Some(plan) if !plan.is_empty() => Exit::Changes,
        _ => Exit::Done,
    })
}

/// Says in one or two words how a container is.
fn verdict(container: &ObservedContainer) -> String {
    let task =
        container.slot_labels.as_ref().is_some_and(|l| l.role == crate::model::labels::LabelRole::Task);
    match (container.state, container.health) {
        (ContainerState::Running, Health::Healthy) => "healthy".to_owned(),
        (ContainerState::Running, Health::Unhealthy) => "UNHEALTHY".to_owned(),
        (ContainerState::Running, Health::Starting | Health::None) => "running".to_owned(),
        (ContainerState::Exited, _) if task && container.exit_code == Some(0) => "done".to_owned(),
        (ContainerState::Exited, _) => format!("EXITED {}", container.exit_code.unwrap_or(-1)),
        (ContainerState::Created, _) => "created".to_owned(),
        (ContainerState::Paused, _) => "PAUSED".to_owned(),
        (ContainerState::Restarting, _) => format!("RESTARTING ({})", container.restart_count),
        (ContainerState::Removing, _) => "removing".to_owned(),
        (ContainerState::Dead, _) => "DEAD".to_owned(),
    }
}

/// Returns how long it has been up.
fn age(container: &ObservedContainer, now: Timestamp) -> String {
    if container.state != ContainerState::Running {
        return String::new();
    }
    let Ok(started) = container.started_at.parse::<Timestamp>() else { return String::new() };
    let unit = if now.as_second() - started.as_second() < 3600 { Unit::Second } else { Unit::Minute };
    now.since(started)
        .and_then(|span| span.round(SpanRound::new().smallest(unit).largest(Unit::Hour)))
        .map(|span| format!("{span:#}"))
        .unwrap_or_default()
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
