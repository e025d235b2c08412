//! A newer image that is no good, and hands that meddle while a good one takes over: the old or the new serves, without a failed request
//! where nobody restarts the balancer.

use crate::api::Api;
use crate::harness::{Cloud, Containers, docker};
use crate::upgrade::Logins;

const GOOD: &str = "mastic/keystone:2026.1";
const SITE: &str = "/opt/mastic/lib/python3.13/site-packages";

/// Python that runs at the start of every interpreter; `api()` tells the server from one-shot tasks.
const AT_START: &str = "import os, time\n\ndef api():\n    with open('/proc/self/comm') as comm:\n        \
                        return comm.read().startswith('uwsgi')\n\n";

/// Its first half is done and stays: MariaDB has no transactions for tables.
const HALF_A_MIGRATION: &str = "revision = 'feedfacefeed'\ndown_revision = '742c857f1dfb'\n\n\
    import sqlalchemy as sa\nfrom alembic import op\n\n\n\
    def upgrade():\n    op.create_table('half', sa.Column('id', sa.Integer()))\n    \
    raise RuntimeError('broken off half-way')\n";

/// An image of Keystone's with one file more.
struct Image {
    tag: &'static str,
    path: String,
    text: String,
}

impl Image {
    fn new(tag: &'static str, path: &str, text: &str) -> Self {
        Self { tag, path: format!("{SITE}/{path}"), text: text.to_owned() }
    }

    /// One that does something when Python starts.
    fn at_start(tag: &'static str, act: &str) -> Self {
        Self::new(tag, "zz_fault.py", &format!("{AT_START}{act}\n"))
    }

    fn make(&self, cloud: &Cloud) {
        let container = format!("{}-making", cloud.name);
        docker(&["create", "--name", &container, GOOD, "true"]);
        let put = |text: &str, path: &str| {
            let file = cloud.write("file", text);
            docker(&["cp", &file.to_string_lossy(), &format!("{container}:{path}")]);
        };
        put(&self.text, &self.path);
        put("import zz_fault\n", &format!("{SITE}/zz_fault.pth"));
        if !self.path.ends_with("zz_fault.py") {
            put("", &format!("{SITE}/zz_fault.py"));
        }
        docker(&["commit", &container, &self.reference()]);
        docker(&["rm", &container]);
    }

    fn reference(&self) -> String {
        format!("mastic/keystone:{}", self.tag)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["rmi", "-f", &self.reference()]).output();
    }
}

/// Keystone with a short patience, for images that never serve.
fn cloud(name: &str, number: u8) -> Cloud {
    let cloud = Cloud::new(name, number);
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/keystone");
    for entry in std::fs::read_dir(own).expect("the service is there") {
        let entry = entry.expect("it can be listed");
        let text = std::fs::read_to_string(entry.path()).expect("it can be read");
        let file = entry.file_name().into_string().expect("a name");
        cloud.write(
            &format!("extra/templates/keystone/{file}"),
            &text.replace("deadline: 90", "deadline: 20"),
        );
    }
    cloud.write("mastic.yaml", &cloud.profile("library: [extra]\n"));
    cloud
}

#[test]
fn an_image_that_is_no_good_must_never_come_between_the_old_one_and_its_clients() {
    let cloud = cloud("t-images-bad", 18);
    cloud.mastic(&["deploy", "--yes"]).ok();
    Api::of(&cloud).make_project("kept");
    let profile =
        || std::fs::read_to_string(cloud.dir.path().join("mastic.yaml")).expect("the profile is there");
    let (old, text) = (cloud.containers(), profile());
    let images = [
        (Image::at_start("crashes", "if api():\n    os._exit(3)"), "ended with code 3"),
        (Image::at_start("mute", "if api():\n    time.sleep(3600)"), "was not healthy within 20 s"),
        (
            Image::at_start(
                "dies",
                "if api() and os.fork() == 0:\n    time.sleep(10)\n    os.kill(-1, 9)\n    os._exit(0)",
            ),
            "it was healthy, and then",
        ),
        (
            Image::new(
                "half",
                "keystone/common/sql/migrations/versions/2026.1/expand/zz_half.py",
                HALF_A_MIGRATION,
            ),
            "broken off half-way",
        ),
    ];
    for (image, words) in &images {
        image.make(&cloud);
        let logins = Logins::begin(&cloud);
        let soak = if image.tag == "dies" { "30" } else { "3" };
        let ran =
            cloud.mastic(&["upgrade", "--service", "keystone", "--to", image.tag, "--soak", soak, "--yes"]);
        ran.code(6).says(words);
        // What killed workers were answering, or had in their queue, is lost; what merely reads is sent elsewhere.
        logins.assert_at_most(if image.tag == "dies" { 4 } else { 0 }, image.tag);
        let now = cloud.containers();
        // Its key rotation may have changed already, and been proven; whoever answers requests has not.
        for (name, seen) in old.iter().filter(|(name, _)| !name.contains("-keystone-fernet-")) {
            assert_eq!(now.get(name), Some(seen), "{}: {name} was touched", image.tag);
        }
        assert_eq!(profile(), text, "{}: the profile asks for what failed", image.tag);
        cloud.mastic(&["abort", "--yes"]).ok();
        let states = |all: &Containers| -> Vec<(String, String)> {
            all.iter().map(|(name, (.., state))| (name.clone(), state.clone())).collect()
        };
        assert_eq!(states(&cloud.containers()), states(&old), "{}", image.tag);
        cloud.mastic(&["plan"]).ok().says("Nothing to do");
    }
    assert!(Api::of(&cloud).has_project("kept"));

    // A good one takes over all the same, and what the half migration left is nobody's.
    let good = Image::at_start("good", "");
    good.make(&cloud);
    let logins = Logins::begin(&cloud);
    cloud.mastic(&["upgrade", "--service", "keystone", "--to", "good", "--yes"]).ok();
    logins.assert_none_failed("a good one");
    assert!(profile().contains("    keystone: \"mastic/keystone:good\"\n"), "{}", profile());
    cloud.mastic(&["plan"]).ok().says("Nothing to do");

    // What was kept was removed by hand: it is made anew, of its own image.
    let kept = old.keys().find(|name| name.contains("-keystone-api-")).expect("it was there").clone();
    docker(&["rm", "-f", &kept]);
    let logins = Logins::begin(&cloud);
    cloud.mastic(&["rollback", "--yes"]).ok();
    logins.assert_none_failed("rollback to what was removed");
    let running =
        cloud.containers().into_keys().find(|name| name.contains("-keystone-api-")).expect("it runs");
    let image = docker(&["inspect", "-f", "{{.Image}}", &running]);
    assert_eq!(image, docker(&["image", "inspect", "-f", "{{.Id}}", GOOD]), "{running} is of another image");
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    assert!(Api::of(&cloud).has_project("kept"));
}

#[test]
fn hands_that_meddle_with_an_upgrade_must_not_keep_it_from_its_end() {
    let cloud = cloud("t-images-hands", 19);
    cloud.mastic(&["deploy", "--yes"]).ok();
    Api::of(&cloud).make_project("kept");
    let good = Image::at_start("meddled", "");
    good.make(&cloud);
    let balancer = cloud.containers().into_keys().find(|name| name.contains("-haproxy-")).expect("it runs");
    let events = cloud.events();
    let run = cloud.spawn(&["upgrade", "--service", "keystone", "--to", "meddled", "--yes"]);
    events.until("start", "-keystone-api-");
    // Another operator, and somebody who restarts the balancer.
    cloud.mastic(&["deploy", "--yes"]).code(1).says("is open");
    cloud.mastic(&["abort", "--yes"]).code(4);
    docker(&["restart", &balancer]);
    run.wait().ok();
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
    cloud.mastic(&["check"]).ok();
    assert!(Api::of(&cloud).has_project("kept"));
    let logins = Logins::begin(&cloud);
    let run = cloud.spawn(&["rollback", "--yes"]);
    run.wait().ok();
    logins.assert_none_failed("rollback after it");
    cloud.mastic(&["plan"]).ok().says("Nothing to do");
}
