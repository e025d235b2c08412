//! Programs run in running containers.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::ResizeExecOptions;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncWriteExt as _;

use super::DockerEngine;
use crate::engine::{
    EngineErrorKind, EngineResult, ExecOutcome, ExecRequest, InputStream, InteractiveExec, OutputChunk,
};
use crate::model::ContainerId;

/// An ended program's code may come a moment after its output has ended, and no event tells of it on all versions.
const CODE_LATE: Duration = Duration::from_secs(5);

type Output =
    std::pin::Pin<Box<dyn futures::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// Returns a chunk of output in our words; input that is echoed is none.
pub(super) fn chunk(output: LogOutput) -> Option<OutputChunk> {
    match output {
        LogOutput::StdErr { message } => Some(OutputChunk { stderr: true, bytes: message }),
        LogOutput::StdOut { message } | LogOutput::Console { message } => {
            Some(OutputChunk { stderr: false, bytes: message })
        }
        LogOutput::StdIn { .. } => None,
    }
}

impl DockerEngine {
    fn describe(&self, id: &ContainerId, request: &ExecRequest) -> String {
        // Only the program: its arguments may be long.
        let program = request.command.first().map_or("", String::as_str);
        format!("run {program} in container {}", self.name(id))
    }

    async fn begin_exec(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
        stdin: bool,
        tty: bool,
    ) -> EngineResult<(String, Output, InputStream)> {
        let operation = self.describe(id, request);
        let options = CreateExecOptions {
            attach_stdin: Some(stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(tty),
            cmd: Some(request.command.clone()),
            env: Some(request.environment.clone()),
            user: request.user.clone(),
            working_dir: request.working_dir.clone(),
            privileged: Some(false),
            detach_keys: None,
        };
        let exec = self.docker.create_exec(&id.0, options).await.map_err(self.failed(operation.clone()))?;
        let start = StartExecOptions { detach: false, tty, output_capacity: None };
        let started = self.docker.start_exec(&exec.id, Some(start)).await;
        match started.map_err(self.failed(operation.clone()))? {
            StartExecResults::Attached { output, input } => Ok((exec.id, output, input)),
            StartExecResults::Detached => Err(self.error(
                &operation,
                EngineErrorKind::Failed,
                "the engine did not attach to the program",
            )),
        }
    }

    pub(super) async fn run_exec(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
    ) -> EngineResult<ExecOutcome> {
        let (exec, mut output, mut input) =
            self.begin_exec(id, request, request.stdin.is_some(), false).await?;
        let stdin = request.stdin.clone().unwrap_or_default();
        let feed = async {
            // A program may end without reading all: that is its right, and its code tells.
            let _ = input.write_all(&stdin).await;
            let _ = input.shutdown().await;
            // Held until the output has ended: some versions take a closed connection for a detached client.
            input
        };
        let read = async {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            while let Some(part) = output.try_next().await? {
                if let Some(part) = chunk(part) {
                    if part.stderr { &mut stderr } else { &mut stdout }.extend_from_slice(&part.bytes);
                }
            }
            Ok((stdout, stderr))
        };
        let feed = async { if request.stdin.is_some() { Some(feed.await) } else { None } };
        let (_input, outcome) = tokio::join!(feed, read);
        let (stdout, stderr) = outcome.map_err(self.failed(self.describe(id, request)))?;
        Ok(ExecOutcome { code: self.exec_code(&exec).await?, stdout, stderr })
    }

    pub(super) async fn attach_exec(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
        tty: bool,
    ) -> EngineResult<InteractiveExec> {
        let (exec, output, input) = self.begin_exec(id, request, true, tty).await?;
        let (operation, endpoint) = (self.describe(id, request), self.endpoint.clone());
        let output = output
            .map(move |part| match part {
                Ok(part) => chunk(part).map(Ok),
                Err(error) => Some(Err(super::errors::situate(&operation, &endpoint, &error))),
            })
            .filter_map(std::future::ready)
            .boxed();
        Ok(InteractiveExec { output, input, id: exec })
    }

    pub(super) async fn resize_exec(&self, exec: &str, rows: u16, columns: u16) -> EngineResult<()> {
        let options = ResizeExecOptions { h: i32::from(rows), w: i32::from(columns) };
        self.docker.resize_exec(exec, options).await.map_err(self.failed("resize a terminal"))
    }

    pub(super) async fn exec_code(&self, exec: &str) -> EngineResult<i64> {
        let operation = "ask how a program ended";
        let deadline = tokio::time::Instant::now() + CODE_LATE;
        let mut pause = Duration::from_millis(2);
        loop {
            let state = self.docker.inspect_exec(exec).await.map_err(self.failed(operation))?;
            match (state.running.unwrap_or_default(), state.exit_code) {
                (false, Some(code)) => return Ok(code),
                (_, _) if tokio::time::Instant::now() >= deadline => {
                    return Err(self.error(
                        operation,
                        EngineErrorKind::Conflict,
                        "the program is still running",
                    ));
                }
                (_, _) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}
