//! `mastic secrets`: make, find, list, take over.

use anyhow::Result;
use serde_json::json;

use crate::cli::args::SecretsCommand;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::store::{import, secrets};

/// Works on the secrets file of the profile's deployment; asks no engine.
pub fn run(context: &Context, command: &SecretsCommand) -> Result<Exit> {
    let loaded = context.load()?;
    let path = secrets::path(&loaded.state);
    match command {
        SecretsCommand::Generate => {
            let ensured = secrets::ensure(&loaded.state, &loaded.secret_requests())?;
            let there = ensured.secrets.names().count() - ensured.generated.len();
            if context.global.json {
                let document =
                    json!({"version": 1, "path": path, "generated": ensured.generated, "kept": there});
                context.printer.data(&serde_json::to_string_pretty(&document)?);
            }
            context.printer.say(&format!(
                "{} secrets made, {there} were there; they are in {}",
                ensured.generated.len(),
                path.display()
            ));
        }
        SecretsCommand::Path if context.global.json => {
            let document = json!({"version": 1, "path": path, "exists": path.exists()});
            context.printer.data(&serde_json::to_string_pretty(&document)?);
        }
        SecretsCommand::Path => context.printer.data(&path.display().to_string()),
        SecretsCommand::List => {
            let names: Vec<String> = secrets::read(&loaded.state)?.names().map(ToString::to_string).collect();
            if context.global.json {
                context.printer.data(&serde_json::to_string_pretty(&names)?);
            } else {
                context.printer.data(&names.join("\n"));
            }
        }
        SecretsCommand::Import { from } => {
            let imported = import::import(from, &loaded.state)?;
            if context.global.json {
                let document = json!({"version": 1, "path": path, "imported": imported});
                context.printer.data(&serde_json::to_string_pretty(&document)?);
            }
            context.printer.say(&match imported.as_slice() {
                [] => format!("all of it is in {} already", loaded.state.display()),
                files => format!("taken over into {}: {}", loaded.state.display(), files.join(", ")),
            });
            if !crate::store::tls::has_authority(&loaded.state) {
                context.printer.say(
                    "the certificate authority is not among it: give the whole state folder, or clients must \
                     trust a new one",
                );
            }
        }
    }
    Ok(Exit::Done)
}
