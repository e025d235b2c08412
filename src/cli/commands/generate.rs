//! Things printed from the program itself: completions, manual pages, schemas, profiles to start from.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::CommandFactory;

use crate::cli::args::{Cli, CompletionsArgs, InitArgs, ManArgs, SchemaArgs, SchemaKind};
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::profile::schema;
use crate::store::{files, library};

/// `mastic completions SHELL`
pub fn completions(context: &Context, args: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mastic", &mut script);
    context.printer.data(&String::from_utf8_lossy(&script));
    Exit::Done
}

/// `mastic man`
pub fn man(context: &Context, args: &ManArgs) -> Result<Exit> {
    let mut root = Cli::command();
    root.build();
    match &args.output {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(root).render(&mut page)?;
            context.printer.data(&String::from_utf8_lossy(&page));
        }
        Some(dir) => {
            fs_err::create_dir_all(dir)?;
            write_pages(dir, &root, "mastic")?;
            context.printer.say(&format!("manual pages are in {}", dir.display()));
        }
    }
    Ok(Exit::Done)
}

fn write_pages(dir: &Path, command: &clap::Command, name: &str) -> Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().name(name.to_owned())).render(&mut page)?;
    fs_err::write(dir.join(format!("{name}.1")), page)?;
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        write_pages(dir, sub, &format!("{name}-{}", sub.get_name()))?;
    }
    Ok(())
}

/// `mastic schema`
pub fn print_schema(context: &Context, args: &SchemaArgs) -> Exit {
    let document = match args.kind {
        SchemaKind::Profile => schema::profile(),
        SchemaKind::Service => schema::service(),
    };
    context.printer.data(&schema::text(document));
    Exit::Done
}

/// `mastic init`
pub fn init(context: &Context, args: &InitArgs) -> Result<Exit> {
    let library = library::embedded();
    let profiles: Vec<(String, String)> = library
        .under("profiles/")
        .filter_map(|(path, file)| {
            let text = String::from_utf8(file.bytes.clone()).ok()?;
            Some((path.strip_suffix(".yaml")?.to_owned(), text))
        })
        .collect();
    if args.list {
        let rows: Vec<Vec<String>> = profiles
            .iter()
            .map(|(name, text)| {
                let about = text.lines().next().unwrap_or("").trim_start_matches('#').trim();
                vec![name.clone(), about.to_owned()]
            })
            .collect();
        context.printer.data(&crate::cli::printer::table(&rows));
        return Ok(Exit::Done);
    }
    let Some((_, text)) = profiles.iter().find(|(name, _)| *name == args.from) else {
        let names: Vec<&str> = profiles.iter().map(|(name, _)| name.as_str()).collect();
        return Err(CliError::new(format!("there is no built-in profile `{}`", args.from))
            .help(format!("there are: {}", names.join(", ")))
            .into());
    };
    if args.file == "-" {
        context.printer.data(text);
        return Ok(Exit::Done);
    }
    let path = Path::new(&args.file);
    if path.exists() && !args.force {
        return Err(CliError::new(format!("{} exists already", path.display()))
            .help("choose another name, or overwrite it with --force")
            .into());
    }
    let absolute =
        std::path::absolute(path).with_context(|| format!("{} cannot be made absolute", path.display()))?;
    files::write_atomic(&absolute, text.as_bytes(), 0o644)?;
    context.printer.say(&format!(
        "wrote {}; edit it, then: mastic validate && mastic plan && mastic deploy",
        path.display()
    ));
    Ok(Exit::Done)
}
