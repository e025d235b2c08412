//! Packages of the host's distribution: which are missing, and their installation on Debian and its kin.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;

use super::host::{self, Distribution, Family};
use super::{BootstrapError, Options};
use crate::build::fault;
use crate::report::{Event, Reporter};

/// Package lists older than this are fetched anew: mirrors drop what a security update replaced.
const FRESH: Duration = Duration::from_hours(24);
/// Tries when the network is at fault; apt itself tries each file again, but not a mirror that is not resolved.
const TRIES: u32 = 4;
/// Lines kept for a failure's message.
const LAST: usize = 20;

/// Another apt may be at work (unattended upgrades after a boot): it is waited for. A config file that somebody has
/// changed stays theirs, without a question.
const OPTIONS: [&str; 10] = [
    "-q",
    "-y",
    "-o",
    "DPkg::Lock::Timeout=300",
    "-o",
    "Acquire::Retries=3",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
];

/// Lists the Debian packages that are missing.
pub(super) fn missing(options: &Options, engine_answers: bool) -> Vec<&'static str> {
    let lacks = |program: &str| host::program(program).is_none();
    let mut missing = Vec::new();
    if !engine_answers && lacks("dockerd") {
        missing.push("docker.io");
        if lacks("iptables") {
            missing.push("iptables");
        }
        if lacks("update-ca-certificates") {
            missing.push("ca-certificates");
        }
        // Only recommended by the engine's package, and yet no container starts without it where AppArmor is on.
        if host::has_apparmor() && lacks("apparmor_parser") {
            missing.push("apparmor");
        }
    }
    if options.need_mmdebstrap && lacks("mmdebstrap") {
        missing.push("mmdebstrap");
    }
    missing
}

/// Installs them, and looks whether they are there.
pub(super) async fn install(
    options: &Options,
    packages: &[&str],
    key: &str,
    reporter: &dyn Reporter,
) -> Result<(), BootstrapError> {
    let distribution = Distribution::of_this_host();
    let command = distribution.command(packages);
    if !options.install {
        return Err(BootstrapError::MustNotInstall { missing: packages.join(", "), command });
    }
    match distribution.family() {
        Family::Debian => {}
        Family::RedHat | Family::Suse | Family::Unknown => {
            return Err(BootstrapError::Distribution { distribution, command });
        }
    }
    let apt = Apt { key, reporter };
    let updated = !lists_are_fresh(Path::new("/var/lib/apt/lists"), SystemTime::now());
    if updated {
        apt.update().await?;
    }
    let installed = apt.install(packages).await;
    match installed {
        // The lists name a version that the mirror no longer has, or do not know the package at all.
        Err(BootstrapError::Packages { .. }) if !updated => {
            apt.update().await?;
            apt.install(packages).await?;
        }
        other => other?,
    }
    for (package, program) in [("docker.io", "dockerd"), ("mmdebstrap", "mmdebstrap")] {
        if packages.contains(&package) && host::program(program).is_none() {
            return Err(BootstrapError::StillMissing { program });
        }
    }
    Ok(())
}

/// Says whether package lists are there and were fetched lately.
fn lists_are_fresh(folder: &Path, now: SystemTime) -> bool {
    let Ok(entries) = fs_err::read_dir(folder) else { return false };
    // apt gives the files the mirror's times; the folder `partial` has the time of the last fetch.
    let has_lists = entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"));
    let fetched = fs_err::metadata(folder.join("partial")).and_then(|data| data.modified());
    has_lists && fetched.is_ok_and(|time| now.duration_since(time).map_or(true, |age| age < FRESH))
}

struct Apt<'a> {
    key: &'a str,
    reporter: &'a dyn Reporter,
}

impl Apt<'_> {
    async fn update(&self) -> Result<(), BootstrapError> {
        // Without this apt ends well even when it could fetch nothing.
        self.patiently(&["-o", "APT::Update::Error-Mode=any", "update"]).await
    }

    async fn install(&self, packages: &[&str]) -> Result<(), BootstrapError> {
        let mut arguments = vec!["install", "--no-install-recommends"];
        arguments.extend(packages);
        self.patiently(&arguments).await
    }

    /// Runs apt-get, again when the network was at fault.
    async fn patiently(&self, arguments: &[&str]) -> Result<(), BootstrapError> {
        let mut attempt = 1;
        loop {
            let result = self.once(arguments).await;
            match result {
                Err(BootstrapError::Packages { command, output, .. })
                    if attempt < TRIES && fault::is_network(&lines(&output)) =>
                {
                    let pause = Duration::from_secs(1 << attempt);
                    let message = format!(
                        "`{command}`: a network fault; try {} of {TRIES} in {} s",
                        attempt + 1,
                        pause.as_secs()
                    );
                    self.reporter.on(Event::Warning { message });
                    // A network tells nobody when it is back.
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn once(&self, arguments: &[&str]) -> Result<(), BootstrapError> {
        let program = |source| BootstrapError::Program { program: "apt-get".to_owned(), source };
        let command = format!("apt-get {}", arguments.join(" "));
        let mut child = Command::new("apt-get")
            .args(OPTIONS)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("APT_LISTCHANGES_FRONTEND", "none")
            .env("NEEDRESTART_SUSPEND", "1")
            // Faults are told by their English words.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(program)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (from_stdout, from_stderr) = tokio::join!(self.follow(stdout), self.follow(stderr));
        let status = child.wait().await.map_err(program)?;
        if status.success() {
            return Ok(());
        }
        // What went wrong stands on standard error; the other stream tells where it was.
        let output: Vec<String> = from_stdout.into_iter().chain(from_stderr).collect();
        Err(BootstrapError::Packages { command, status: status.to_string(), output: output.join("\n") })
    }

    /// Passes lines on as they come, and returns the last ones.
    async fn follow(&self, stream: Option<impl AsyncRead + Unpin>) -> VecDeque<String> {
        let mut last = VecDeque::new();
        let Some(stream) = stream else { return last };
        let mut lines = BufReader::new(stream).split(b'\n');
        // A stream that breaks has ended, for our purpose: how apt ended is what counts.
        while let Ok(Some(bytes)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            if line.is_empty() {
                continue;
            }
            self.reporter.on(Event::Output { key: self.key.to_owned(), line: line.clone() });
            if last.len() == LAST {
                last.pop_front();
            }
            last.push_back(line);
        }
        last
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answering_engine_must_make_its_package_needless() {
        let options = Options { need_mmdebstrap: false, ..Options::default() };
        assert_eq!(missing(&options, true), Vec::<&str>::new());
    }

    #[test]
    fn missing_and_old_lists_must_be_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        assert!(!lists_are_fresh(&dir.path().join("nowhere"), now));
        // What an image leaves behind after `apt-get clean`.
        fs_err::create_dir(dir.path().join("partial")).unwrap();
        fs_err::write(dir.path().join("lock"), "").unwrap();
        assert!(!lists_are_fresh(dir.path(), now));
        fs_err::write(dir.path().join("mirror_dists_x_main_binary-amd64_Packages.lz4"), "").unwrap();
        assert!(lists_are_fresh(dir.path(), now));
        assert!(!lists_are_fresh(dir.path(), now + FRESH + Duration::from_mins(1)));
        // A clock that was set back says nothing against them.
        assert!(lists_are_fresh(dir.path(), now - Duration::from_mins(10)));
    }

    #[tokio::test]
    async fn a_run_that_may_not_install_must_say_the_command() {
        let options = Options { install: false, ..Options::default() };
        let error = install(&options, &["mmdebstrap"], "k", &crate::report::Silent).await.unwrap_err();
        assert!(matches!(error, BootstrapError::MustNotInstall { .. }), "{error}");
        assert!(error.to_string().contains("mmdebstrap"), "{error}");
    }
}
