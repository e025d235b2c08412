//! A profile as `init` writes it, deployed: client files, the client in the toolbox, and overrides as oslo.config reads
//! them; then what a shell and a manual reader get.

use std::process::Command;

use crate::harness::{Cloud, MASTIC};

/// What a person does with the file that `init` wrote: a name, an address, one more service.
fn edited(cloud: &Cloud) -> String {
    let written = std::fs::read_to_string(cloud.dir.path().join("cloud.yaml")).expect("init wrote it");
    assert!(written.lines().any(|line| line.starts_with("# ")), "no comments:\n{written}");
    let mine = written
        .replace("deployment: identity\n", &format!("deployment: {}\n", cloud.name))
        .replace("127.0.0.1", &cloud.address)
        .replace("services: [keystone]", "services: [keystone, toolbox]");
    assert_eq!(mine.matches(&cloud.address).count(), 2, "the profile has changed its shape:\n{mine}");
    mine
}

#[test]
fn a_fresh_profile_must_become_a_cloud_with_its_overrides_and_a_client() {
    let cloud = Cloud::new("t-init", 184);
    cloud.mastic(&["init", "--list"]).ok().says("identity");
    cloud.mastic(&["init", "--from", "identity", "cloud.yaml"]).ok();
    cloud.mastic(&["init", "--from", "identity", "cloud.yaml"]).code(1).says("--force");
    cloud.mastic(&["init", "--from", "idenity", "x.yaml"]).code(1).says("identity");
    let text = edited(&cloud);
    cloud.write("mastic.yaml", &text);
    cloud.mastic(&["validate"]).ok().says("is valid");

    // Secrets: where, made once, never changed.
    let path = cloud.mastic(&["secrets", "path"]).ok().stdout;
    assert_eq!(path.trim(), cloud.state().join("secrets.yaml").to_str().expect("text"));
    let made = cloud.mastic(&["secrets", "generate", "--json"]).ok().json();
    assert!(made["generated"].as_array().is_some_and(|names| names.len() >= 3), "{made:#}");
    let before = cloud.secrets();
    let again = cloud.mastic(&["secrets", "generate", "--json"]).ok().json();
    assert_eq!(again["generated"], serde_json::json!([]));
    assert_eq!(before, cloud.secrets());

    // An override that no service takes, a broken one, an option for one host, one with several values.
    cloud.write("overrides/keystoen.conf", "[token]\nexpiration = 7200\n");
    cloud.mastic(&["validate"]).code(1).says("keystoen.conf").says("keystone.conf");
    std::fs::remove_file(cloud.dir.path().join("overrides/keystoen.conf")).expect("it is there");
    cloud.write("overrides/keystone.conf", "[token\nexpiration = 7200\n");
    cloud.mastic(&["validate"]).code(1).says("keystone.conf:1:");
    cloud.write(
        "overrides/keystone.conf",
        "[token]\nexpiration = 7200\n[federation]\ntrusted_dashboard = https://a.example/\n\
         trusted_dashboard = https://b.example/\n",
    );
    cloud.write("overrides/local/keystone.conf", "[token]\nexpiration = 1234\n");
    cloud.mastic(&["genconfig", "keystone-api"]).ok().says("expiration = 1234");
    let shown = cloud.mastic(&["render", "keystone-api", "-o", "rendered"]).ok();
    assert!(shown.stdout.is_empty(), "talk on standard output: {}", shown.stdout);
    let file = cloud.dir.path().join("rendered/local/keystone-api/etc/keystone/keystone.conf");
    let rendered = std::fs::read_to_string(file).expect("it was rendered");
    assert!(rendered.contains("********") && !rendered.contains("expiration = 7200"), "{rendered}");

    cloud.mastic(&["explain", "keystone_api_proxy_port"]).ok().says("5000").says("service.yaml");
    let explained = cloud.mastic(&["explain", "--json"]).ok().json();
    assert!(explained.to_string().contains("keystone_workers"), "{explained:#}");

    // Deployed; the service itself reads these options in the file.
    cloud.mastic(&["deploy", "--yes"]).ok();
    let program = "from keystone.conf import CONF, configure; configure(); \
                   CONF(['--config-file', '/etc/keystone/keystone.conf'], project='keystone'); \
                   print(CONF.token.expiration, CONF.federation.trusted_dashboard)";
    let python = ["exec", "keystone-api", "--", "/opt/mastic/bin/python3", "-c", program];
    assert_eq!(
        cloud.mastic(&python).ok().stdout.lines().last(),
        Some("1234 ['https://a.example/', 'https://b.example/']")
    );

    // The client in the toolbox: arguments, streams and exit codes are its own.
    let token = cloud.mastic(&["openstack", "token", "issue", "-f", "json"]).ok().json();
    assert!(token["id"].as_str().is_some_and(|id| id.len() > 50), "no token in {token:#}");
    cloud.mastic(&["openstack", "user", "show", "nosuch"]).code(1).says("nosuch");
    cloud.mastic(&["openstack", "token", "--help"]).ok().says("token issue");

    // Client files, written again where they were lost.
    let clouds = cloud.state().join("clouds.yaml");
    let first = std::fs::read(&clouds).expect("deploy wrote it");
    std::fs::remove_file(&clouds).expect("it is there");
    let files = cloud.mastic(&["post-deploy", "--json"]).ok().json();
    assert_eq!(files["clouds"].as_str(), clouds.to_str());
    assert_eq!(std::fs::read(&clouds).expect("it is there again"), first);
    let sourced = Command::new("sh")
        .args(["-c", ". \"$0\" && echo \"$OS_AUTH_URL\""])
        .arg(files["openrc"].as_str().expect("a path"))
        .output()
        .expect("sh is there");
    assert_eq!(String::from_utf8_lossy(&sourced.stdout).trim(), format!("https://{}:5000/v3", cloud.address));

    // Every check, and what is said when one fails.
    let checks = cloud.mastic(&["check", "--json"]).ok().json();
    assert_eq!(checks["ok"], true, "{checks:#}");
    assert!(checks.to_string().contains("a token"), "{checks:#}");
    cloud.mastic(&["stop", "--service", "haproxy", "--yes"]).ok();
    let red = cloud.mastic(&["check", "--json"]).code(1).json();
    assert_eq!(red["ok"], false, "{red:#}");
    cloud.mastic(&["start", "--yes"]).ok();
    cloud.mastic(&["check"]).ok();
    cloud.mastic(&["plan"]).ok();
    // The set that keystone-api needs cannot be pulled from under it unseen: the plan says what it takes along.
    cloud.mastic(&["privileges"]).ok();
}

#[test]
fn completions_and_manual_pages_must_be_what_shells_and_man_read() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let script = dir.path().join("mastic.bash");
    let print = |arguments: &[&str]| {
        let output =
            Command::new(&*MASTIC).args(arguments).current_dir(&dir).output().expect("it can be started");
        assert!(output.status.success(), "mastic {}", arguments.join(" "));
        output.stdout
    };
    std::fs::write(&script, print(&["completions", "bash"])).expect("it can be written");
    let complete = format!(
        "set -e; bash -n '{0}'; . '{0}'; COMP_WORDS=(mastic dep); COMP_CWORD=1; _mastic mastic dep mastic; \
         echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let output = Command::new("bash").args(["-c", &complete]).output().expect("bash is there");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "deploy\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // No zsh and no fish here: their scripts are told by what the shells look for.
    assert!(String::from_utf8_lossy(&print(&["completions", "zsh"])).starts_with("#compdef mastic"));
    assert!(String::from_utf8_lossy(&print(&["completions", "fish"])).contains("complete -c mastic"));

    print(&["man", "--output", "pages"]);
    let mut pages = 0;
    for entry in std::fs::read_dir(dir.path().join("pages")).expect("it was made") {
        let page = entry.expect("an entry").path();
        // -ww: every warning of troff's; -z: no output but these.
        let output =
            Command::new("groff").args(["-man", "-ww", "-z"]).arg(&page).output().expect("groff is there");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{}: {said}", page.display());
        pages += 1;
    }
    assert!(pages > 30, "only {pages} pages");
}
