//! `mastic exec` and `mastic openstack`: a program in a container, with our terminal.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::Result;
use futures::StreamExt;
use nix::sys::termios::{self, SetArg, Termios};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cli::args::{ExecArgs, OpenstackArgs};
use crate::cli::commands::logs::Chosen;
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::engine::{Engine, ExecRequest};
use crate::model::{ContainerId, ContainerState, ObservedContainer};

/// How the program ended: our own exit code is its.
#[derive(Clone, Copy, Debug)]
pub struct ProgramExit(pub i64);

/// Puts the terminal into raw mode until dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        let before = termios::tcgetattr(stdin.as_fd()).ok()?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(std::io::stdin().as_fd(), SetArg::TCSADRAIN, &self.0);
    }
}

/// How an engine's own words begin when a program cannot be started.
const REFUSAL: &str = "OCI runtime exec failed";

/// Runs a program with our streams attached; a terminal on both sides makes it interactive.
pub async fn attach(
    context: &Context,
    engine: &Arc<dyn Engine>,
    container: &ContainerId,
    request: &ExecRequest,
) -> Result<ProgramExit> {
    let tty = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut exec = engine.exec_interactive(container, request, tty).await?;
    let raw = if tty { Raw::enter() } else { None };
    if tty {
        resize(engine, &exec.id).await;
    }
    let mut input = exec.input;
    let typing = tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        let mut buffer = vec![0; 8192];
        while let Ok(n) = stdin.read(&mut buffer).await {
            if n == 0 || input.write_all(&buffer[..n]).await.is_err() || input.flush().await.is_err() {
                break;
            }
        }
        let _ = input.shutdown().await;
    });
    // Engines say on the program's own output that there is no such program: held back until the code tells.
    let mut refusal = None;
    let mut changed = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())?;
    loop {
        tokio::select! {
            chunk = exec.output.next() => match chunk {
                Some(chunk) => {
                    let chunk = chunk?;
                    if chunk.bytes.starts_with(REFUSAL.as_bytes()) && refusal.is_none() {
                        refusal = Some(chunk);
                        continue;
                    }
                    context.printer.raw(&chunk.bytes, chunk.stderr);
                }
                None => break,
            },
            _ = changed.recv(), if tty => resize(engine, &exec.id).await,
        }
    }
    typing.abort();
    drop(raw);
    let code = engine.exec_exit_code(&exec.id).await?;
    let Some(said) = refusal else { return Ok(ProgramExit(code)) };
    if !matches!(code, 126 | 127) {
        // A program that just talks like an engine.
        context.printer.raw(&said.bytes, said.stderr);
        return Ok(ProgramExit(code));
    }
    let text = String::from_utf8_lossy(&said.bytes).into_owned();
    // As shells have it: 127 is "not there", 126 "there, and cannot be run". Engines differ.
    let absent = ["executable file not found", "no such file or directory"].iter().any(|w| text.contains(w));
    let why =
        text.trim().rsplit_once("exec: ").map_or(text.trim(), |(_, why)| why).trim_end_matches(": unknown");
    context.printer.error(&format!("error: the container cannot run it: {why}"));
    Ok(ProgramExit(if absent { 127 } else { 126 }))
}

/// Tells the program how large our terminal is; without an answer it keeps its default.
async fn resize(engine: &Arc<dyn Engine>, exec: &str) {
    let (rows, columns) = terminal_rows_columns();
    let _ = engine.exec_resize(exec, rows, columns).await;
}

/// Returns rows and columns of our terminal.
fn terminal_rows_columns() -> (u16, u16) {
    terminal_size::terminal_size().map_or((24, 80), |(width, height)| (height.0, width.0))
}

/// Turns the program's exit code into ours.
pub fn exit_code(program: ProgramExit) -> Exit {
    match program.0 {
        0 => Exit::Done,
        code => Exit::Program(u8::try_from(code.clamp(1, 255)).unwrap_or(1)),
    }
}

/// `mastic exec CONTAINER PROGRAM...`
pub async fn exec(context: &Context, args: &ExecArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let chosen = context.running(&loaded, &engines, std::slice::from_ref(&args.container)).await?;
    let (engine, container) = only_running(&chosen, &args.container)?;
    let request =
        ExecRequest { command: args.command.clone(), user: args.user.clone(), ..ExecRequest::default() };
    Ok(exit_code(attach(context, engine, &container.id, &request).await?))
}

/// `mastic openstack ...`
pub async fn openstack(context: &Context, args: &OpenstackArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let chosen =
        context.running(&loaded, &engines, &["toolbox".to_owned()]).await.map_err(|error| match error
            .downcast::<CliError>()
        {
            Ok(error) => {
                error.help("the client is in the service `toolbox`: name it in a set, and deploy").into()
            }
            Err(other) => other,
        })?;
    let (engine, container) = only_running(&chosen, "toolbox")?;
    let mut command = vec!["openstack".to_owned()];
    command.extend(args.arguments.iter().cloned());
    let request = ExecRequest { command, ..ExecRequest::default() };
    Ok(exit_code(attach(context, engine, &container.id, &request).await?))
}

/// Returns the one running container of those that were meant.
fn only_running<'a>(chosen: &'a Chosen, name: &str) -> Result<&'a (Arc<dyn Engine>, ObservedContainer)> {
    let running: Vec<_> = chosen.iter().filter(|(_, c)| c.state == ContainerState::Running).collect();
    match running.as_slice() {
        [one] => Ok(one),
        [] => Err(CliError::new(format!("`{name}` does not run"))
            .help("`mastic start`, or `mastic status`")
            .into()),
        // A service of several containers: the one that has its very name, if there is one.
        several => several
            .iter()
            .find(|(_, c)| c.slot_labels.as_ref().is_some_and(|l| l.container.as_str() == name))
            .copied()
            .ok_or_else(|| {
                let names: Vec<String> = several.iter().map(|(_, c)| c.name.clone()).collect();
                CliError::new(format!("`{name}` is several containers: {}", names.join(", ")))
                    .help("name one of them")
                    .into()
            }),
    }
}
