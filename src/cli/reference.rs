//! `docs/reference/commands.md`, generated from the command line itself.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};

use super::args::{Cli, EXIT_CODES};

/// Returns the command reference as Markdown.
pub fn markdown() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = String::from(
        "# Command reference\n\nGenerated from the program (`just generate`). Global options stand at the end.\n\n",
    );
    let _ = writeln!(text, "{EXIT_CODES}\n");
    for command in root.get_subcommands().filter(|c| !c.is_hide_set()) {
        describe(&mut text, command, "mastic", 2);
    }
    let _ = writeln!(text, "## Global options\n");
    options(&mut text, &root, true);
    text
}

fn describe(text: &mut String, command: &Command, parent: &str, level: usize) {
    let name = format!("{parent} {}", command.get_name());
    let _ = writeln!(text, "{} `{name}`\n", "#".repeat(level));
    if let Some(about) = command.get_about() {
        let _ = writeln!(text, "{about}\n");
    }
    let aliases: Vec<String> = command.get_visible_aliases().map(|a| format!("`{a}`")).collect();
    if !aliases.is_empty() {
        let _ = writeln!(text, "Also: {}\n", aliases.join(", "));
    }
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(text, "```text\n{}\n```\n", usage.trim());
    options(text, command, false);
    if let Some(help) = command.get_after_help() {
        let _ = writeln!(text, "{help}\n");
    }
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        describe(text, sub, &name, level + 1);
    }
}

fn options(text: &mut String, command: &Command, global: bool) {
    let mut any = false;
    for argument in command.get_arguments() {
        if argument.is_hide_set()
            || argument.is_global_set() != global
            || matches!(argument.get_id().as_str(), "help" | "version")
        {
            continue;
        }
        if !any {
            text.push_str("| option | meaning |\n| --- | --- |\n");
            any = true;
        }
        let values: Vec<String> =
            argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
        let takes_value = argument.get_action().takes_values();
        let mut shown: Vec<String> = Vec::new();
        if argument.is_positional() {
            shown.push(values.join(" "));
        } else {
            shown.extend(argument.get_short().map(|c| format!("-{c}")));
            shown.extend(argument.get_long().map(|l| format!("--{l}")));
            if takes_value && let Some(last) = shown.last_mut() {
                let _ = write!(last, " {}", values.join(" "));
            }
        }
        let mut help = argument
            .get_long_help()
            .or_else(|| argument.get_help())
            .map(|h| h.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
            .unwrap_or_default();
        let choices: Vec<String> =
            argument.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect();
        if takes_value && !choices.is_empty() && choices.len() < 10 {
            let _ = write!(help, " ({})", choices.join(", "));
        }
        if let Some(variable) = argument.get_env().and_then(|v| v.to_str()) {
            let _ = write!(help, " [`{variable}`]");
        }
        let _ = writeln!(text, "| `{}` | {} |", shown.join("`, `"), help.replace('|', "\\|"));
    }
    if any {
        text.push('\n');
    }
}
