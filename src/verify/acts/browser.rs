//! Horizon as a person sees it: a real browser, in a container of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use super::super::scene::Scene;
use super::super::tempest::Place;
use super::super::walk::{ActResult, Failure};
use super::super::webdriver::Browser;
use crate::build::INIT_BINARY;
use crate::engine::{CreateRequest, ExecRequest, archive};
use crate::model::labels::{self, LabelRole};
use crate::model::spec::{
    FileSpec, INIT_PATH, Limits, MountSource, MountSpec, Privileges, StopSpec, TaskTrigger,
};
use crate::model::{ContainerId, ContainerSpec, NameError, Role, Slot, TaskPhase};
use crate::store::{files, tls};

/// The image's user (`images/browser/image.yaml`).
const USER: u32 = 819;
const AUTHORITY: &str = "/etc/mastic/tls/ca.crt";
/// What the container, its service and its set are called.
const NAME: &str = "browser";
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
    let spec = spec(place, port, authority)?;
    let labels = [
        (labels::DEPLOYMENT, place.deployment.to_string()),
        (labels::ROLE, LabelRole::Tool.as_str().to_owned()),
        (labels::RUN, scene.name.clone()),
    ];
    let request = CreateRequest::Spec {
        // By its name a later run finds what a killed one left.
        name: scene.name.clone(),
        spec: &spec,
        deployment: &place.deployment,
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    };
    let id = place.engine.create(&request).await?;
    let seen = shown(scene, place, &id, &spec, root, port).await;
    place.engine.remove(&id, true).await?;
    seen
}

/// The part between the container's creation and its removal.
async fn shown(
    scene: &Scene,
    place: &Place,
    id: &ContainerId,
    spec: &ContainerSpec,
    root: &str,
    port: u16,
) -> ActResult {
    place.engine.upload(id, archive::config(&spec.files, INIT_BINARY)?).await?;
    place.engine.start(id).await?;
    let target = format!("tcp:127.0.0.1:{port}");
    let command = [INIT_PATH, "check", "--wait", LISTENS, &target].map(str::to_owned).to_vec();
    let listens = place.engine.exec(id, &ExecRequest { command, ..ExecRequest::default() }).await?;
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

fn spec(place: &Place, port: u16, authority: Option<Vec<u8>>) -> Result<ContainerSpec, NameError> {
    let mut command = vec!["/usr/local/lib/mastic/mastic-browser".to_owned(), port.to_string()];
    let mut files = Vec::new();
    if let Some(content) = authority {
        command.push(AUTHORITY.to_owned());
        files.push(FileSpec {
            path: AUTHORITY.to_owned(),
            uid: USER,
            gid: USER,
            mode: 0o644,
            content,
            origin: "mastic verify".to_owned(),
            sensitive: false,
        });
    }
    Ok(ContainerSpec {
        slot: Slot { host: place.host.clone(), container: NAME.parse()? },
        service: NAME.parse()?,
        set: NAME.parse()?,
        role: Role::Task { phase: TaskPhase::Check, trigger: TaskTrigger::Spec, deadline: 0 },
        image: place.image.clone(),
        init_args: Vec::new(),
        command,
        user: (USER, USER),
        working_dir: "/tmp".to_owned(),
        environment: BTreeMap::new(),
        files,
        mounts: vec![MountSpec {
            source: MountSource::Tmpfs { options: "mode=1777,size=1g".to_owned() },
            target: "/tmp".to_owned(),
            read_only: false,
        }],
        host_network: true,
        privileges: Privileges::default(),
        limits: Limits { memory: MEMORY, pids: 1024, ..Limits::default() },
        check: None,
        stop: StopSpec { signal: "SIGTERM".to_owned(), grace: 2 },
        after: BTreeSet::new(),
    })
}
