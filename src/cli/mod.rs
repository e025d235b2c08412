//! The command line: parses, calls the effects, tells the result.

pub mod args;
pub mod commands;
pub mod context;
pub mod exit;
pub mod interrupt;
pub mod printer;
pub mod reference;
pub mod session;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command};
use commands::{
    backup, certificates, change, check, diff, exec, gc, generate, graph, history, image, images, logs, look,
    pin, prechecks, rehearse, secrets, status, timeline, up, upgrade, verify,
};
use context::Context;
use exit::Exit;

use crate::plan::Purpose;

/// Runs the program: arguments in, exit code out.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own code for misuse is 2, which `plan` gives a meaning.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done.into(),
                _ => Exit::Usage.into(),
            };
        }
    };
    let context = Context::new(cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            context.printer.error(&format!("error: the runtime cannot start: {error}"));
            return Exit::Error.into();
        }
    };
    let result = runtime.block_on(run(&context, &cli.command));
    // Reading a terminal cannot be interrupted: do not wait for it.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            let (exit, text) = exit::describe(&error);
            context.printer.error(&text);
            if context.global.json && !printer::printed() {
                // A script gets one document either way; a command that printed its own has said it there.
                context.printer.data(&exit::json(&error));
            }
            exit.into()
        }
    }
}

async fn run(context: &Context, command: &Command) -> Result<Exit> {
    match command {
        Command::Up(args) => up::run(context, args).await,
        Command::Bootstrap(args) => image::bootstrap_command(context, args).await,
        Command::Init(args) => generate::init(context, args),
        Command::Validate => look::validate(context),
        Command::Prechecks => prechecks::run(context).await,
        Command::Render(args) => look::render(context, args),
        Command::Build(args) => image::build(context, args).await,
        Command::Pull => image::pull(context).await,
        Command::Images(args) => images::images(context, args).await,
        Command::Pin(args) => pin::pin(context, args).await,
        Command::Gc(args) => gc::gc(context, args).await,
        Command::Plan(args) => change::plan(context, args).await,
        Command::Deploy(args) => change::deploy(context, args).await,
        Command::Upgrade(args) => Box::pin(upgrade::upgrade(context, args)).await,
        Command::Rehearse(args) => rehearse::rehearse(context, args).await,
        Command::Rollback(args) => Box::pin(upgrade::rollback(context, args)).await,
        Command::Commit(args) => upgrade::commit(context, args).await,
        Command::Backup(args) => backup::backup(context, args).await,
        Command::Restore(args) => backup::restore(context, args).await,
        Command::Status(args) => status::run(context, args).await,
        Command::History => history::run(context).await,
        Command::Diff(args) => diff::run(context, args).await,
        Command::Timeline(args) => timeline::run(context, args),
        Command::Graph(args) => graph::run(context, args),
        Command::Logs(args) => logs::run(context, args).await,
        Command::Exec(args) => exec::exec(context, args).await,
        Command::Check(args) => check::run(context, args).await,
        Command::Verify(args) => Box::pin(verify::run(context, args)).await,
        Command::Stop(args) => change::stop_or_start(context, args, &Purpose::Stop).await,
        Command::Start(args) => change::stop_or_start(context, args, &Purpose::Start).await,
        Command::Secrets(command) => secrets::run(context, command),
        Command::Certificates(args) => certificates::run(context, args).await,
        Command::PostDeploy => check::post_deploy(context).await,
        Command::Unlock(args) => change::unlock(context, args).await,
        Command::Openstack(args) => exec::openstack(context, args).await,
        Command::Explain(args) => look::explain(context, args),
        Command::Privileges => look::privileges(context),
        Command::Destroy(args) => change::destroy(context, args).await,
        Command::Schema(args) => Ok(generate::print_schema(context, args)),
        Command::Completions(args) => Ok(generate::completions(context, args)),
        Command::Man(args) => generate::man(context, args),
    }
}
