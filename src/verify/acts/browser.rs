//! Horizon as a person sees it: a real browser, in a container of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use super::super::scene::Scene;
use super::super::tool::{self, AUTHORITY, Held, Tool};
use super::super::walk::{ActResult, Failure};
use super::super::webdriver::Browser;
use crate::engine::ExecRequest;
use crate::model::spec::INIT_PATH;
use crate::store::{files, tls};

/// A bound for what grows without end.
const MEMORY: u64 = 2 << 30;
/// How long a page may take to show what is looked for.
const PATIENCE: Duration = Duration::from_mins(1);
/// Seconds until the driver listens.
const LISTENS: &str = "60";

/// No network but the dashboard's is asked for anything. The sandbox wants user namespaces, which a container without privileges
/// does not have; the one page that is opened is ours.
const ARGUMENTS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--window-size=1280,900",
];

/// Logs in as the run's own user, looks at the page behind, and keeps a picture of it.
pub(in crate::verify) async fn browser(scene: &Scene) -> ActResult {
    let none = || Failure("there is no engine on this machine to run a browser".to_owned());
    let place = scene.browser.as_ref().ok_or_else(none)?;
    let root = scene.facts.dashboard.as_deref().ok_or_else(none)?;
    // Free now; whoever takes it in between makes the step fail, and says so.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Failure(format!("no port is free: {error}")))?
        .port();
    let authority = files::read_optional(&tls::ca_path(&scene.state))?.filter(|_| root.starts_with("https:"));
    let held = place.make(&scene.name, tool(port, authority)).await?;
    let seen = shown(scene, &held, root, port).await;
    held.remove().await?;
    seen
}

/// The part between the container's creation and its removal.
async fn shown(scene: &Scene, held: &Held<'_>, root: &str, port: u16) -> ActResult {
    held.start().await?;
    let target = format!("tcp:127.0.0.1:{port}");
    let command = [INIT_PATH, "check", "--wait", LISTENS, &target].map(str::to_owned).to_vec();
    let listens = held.engine.exec(&held.id, &ExecRequest { command, ..ExecRequest::default() }).await?;
    if listens.code != 0 {
        return Err(Failure(format!(
            "the browser's driver does not listen: {}",
            String::from_utf8_lossy(&listens.stderr)
        )));
    }
    let browser = Browser::start(&format!("http://127.0.0.1:{port}"), &ARGUMENTS).await?;
    let outcome = log_in(scene, &browser, root).await;
    // Kept as well, and even more so, when the login failed.
    let picture = scene.state.join("verify").join("dashboard.png");
    let kept = keep(&browser, &picture).await;
    let seen = outcome.map_err(|Failure(why)| Failure(format!("{why}; see {}", picture.display())))?;
    kept?;
    Ok(format!("{seen}; {}", picture.display()))
}

async fn log_in(scene: &Scene, browser: &Browser, root: &str) -> ActResult {
    browser.open(&format!("{root}/auth/login/")).await?;
    browser.enter("#id_username", &scene.name, PATIENCE).await?;
    browser.enter("#id_password", scene.password.expose(), PATIENCE).await?;
    browser.click("button[type=submit]", PATIENCE).await?;
    // The bar on top has the user's name, and is on no page of those who are not logged in.
    let bar = browser.text(".navbar", PATIENCE).await?;
    let place = browser.place().await?;
    if !bar.contains(&scene.name) {
        return Err(Failure(format!("{place} does not greet the user: {}", bar.replace('\n', " "))));
    }
    Ok(format!("{place} greets the user"))
}

async fn keep(browser: &Browser, path: &Path) -> Result<(), Failure> {
    let picture = browser.screenshot().await?;
    if let Some(folder) = path.parent() {
        files::create_private_dir(folder)?;
    }
    files::write_atomic(path, &picture, 0o600)?;
    Ok(())
}

fn tool(port: u16, authority: Option<Vec<u8>>) -> Tool {
    let mut command = vec!["/usr/local/lib/mastic/mastic-browser".to_owned(), port.to_string()];
    let mut files = Vec::new();
    if let Some(content) = authority {
        command.push(AUTHORITY.to_owned());
        files.push(tool::file(AUTHORITY, content, 0o644, false));
    }
    Tool {
        name: "browser",
        command,
        working_dir: "/tmp",
        files,
        tmpfs: vec![("/tmp", "mode=1777,size=1g".to_owned())],
        memory: MEMORY,
        grace: 2,
        ..Tool::default()
    }
}
