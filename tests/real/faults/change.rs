//! Changes and removals killed at random moments.

use std::collections::BTreeMap;

use super::support::{Dice, Volumes, assert_settled, assert_tidy, kills, progress, say};
use crate::api::Api;
use crate::harness::{Cloud, Containers};

/// Containers of all services but Keystone's, which a change of keystone.conf has nothing to do with.
fn others(cloud: &Cloud) -> Containers {
    let mine =
        |name: &String| name.contains("-keystone-") || name.ends_with(".ledger") || name.ends_with(".lock");
    cloud.containers().into_iter().filter(|(name, _)| !mine(name)).collect()
}

fn change(cloud: &Cloud, seconds: u32) {
    cloud.write("overrides/keystone.conf", &format!("[token]\nexpiration = {seconds}\n"));
    cloud.write("mastic.yaml", &cloud.profile("overrides: overrides\n"));
}

/// What each container of Keystone was made from: its spec's hash.
fn specs(cloud: &Cloud) -> BTreeMap<String, String> {
    let label = |name: &String| {
        let hash =
            cloud.docker(&["inspect", "--format", "{{index .Config.Labels \"mastic.spec-hash\"}}", name]);
        (name.rsplit_once('-').map_or(name.clone(), |(slot, _)| slot.to_owned()), hash.trim().to_owned())
    };
    cloud.containers().keys().filter(|name| name.contains("-keystone-")).map(label).collect()
}

#[test]
fn changes_and_removals_killed_at_random_moments_must_converge() {
    let cloud = Cloud::new("t-changes", 4);
    // Of 30 kills of a deploy: 6 of changes, 4 of removals. At least two of each: one goes on, one goes back.
    let wanted = kills();
    let (changes, removals) = ((wanted / 5).max(2), (wanted / 8 + 1).max(2));
    let mut dice = Dice::new("kills of changes and removals");
    cloud.mastic(&["deploy", "--yes"]).ok();
    let api = Api::of(&cloud);
    api.make_project("kept");
    let mut volumes = Volumes::default();
    volumes.assert_intact(&cloud, "at first");

    change(&cloud, 7000);
    let mut whole = cloud.mastic(&["reconfigure", "--yes"]).ok().took;
    say(&format!("a whole change takes {:.1} s", whole.as_secs_f64()));
    let untouched = others(&cloud);
    let (mut kills, mut round) = (0, 0);
    while kills < changes {
        assert!(round < 2 * changes, "only {kills} of {round} changes were killed before their end");
        let old = specs(&cloud);
        change(&cloud, 7001 + round);
        let moment = dice.moment(whole, round, changes);
        let mut run = cloud.spawn(&["reconfigure", "--yes"]);
        let when = if run.ends_within(moment) {
            // The machine was busier when the first one was timed.
            whole = whole.min(run.wait().ok().took);
            format!("change {round}, done before {:.2} s", moment.as_secs_f64())
        } else {
            run.kill();
            kills += 1;
            format!("change {round}, killed after {:.2} s ({})", moment.as_secs_f64(), progress(&cloud))
        };
        say(&format!("  {when}"));
        volumes.assert_intact(&cloud, &when);
        assert_eq!(untouched, others(&cloud), "{when}: others were touched");
        // Killed in the midst of it, the next run goes either way: on, or, when the operator thinks better of it, back.
        let back = round % 2 == 1;
        if back {
            change(&cloud, 7000 + round);
        }
        cloud.mastic(&["reconfigure", "--yes"]).ok();
        assert_settled(&cloud, &when);
        assert_eq!(untouched, others(&cloud), "{when}: others were touched");
        assert_eq!(back, old == specs(&cloud), "{when}: the set is neither wholly old nor wholly new");
        volumes.assert_intact(&cloud, &when);
        assert!(api.has_project("kept"), "{when}: the project was lost");
        if back {
            // The next round's change differs from this one's.
            change(&cloud, 7001 + round);
            cloud.mastic(&["reconfigure", "--yes"]).ok();
        }
        round += 1;
    }

    let mut whole = cloud.mastic(&["destroy", "--yes"]).ok().took;
    say(&format!("a whole removal takes {:.1} s", whole.as_secs_f64()));
    let (mut kills, mut round, mut last) = (0, 0, false);
    while !last {
        assert!(round < 2 * removals, "only {kills} of {round} removals were killed before their end");
        cloud.mastic(&["deploy", "--yes"]).ok();
        assert_tidy(&cloud, "before a removal");
        assert!(api.has_project("kept"), "removal {round}: the project was lost");
        let moment = dice.moment(whole, round, removals);
        // The last one takes the data too, which takes the same consent and more steps.
        last = kills + 1 == removals;
        let arguments =
            if last { &["destroy", "--yes", "--volumes", "all"][..] } else { &["destroy", "--yes"] };
        let mut run = cloud.spawn(arguments);
        let when = if run.ends_within(moment) {
            whole = whole.min(run.wait().ok().took);
            format!("removal {round}, done before {:.2} s", moment.as_secs_f64())
        } else {
            run.kill();
            kills += 1;
            format!("removal {round}, killed after {:.2} s ({})", moment.as_secs_f64(), progress(&cloud))
        };
        say(&format!("  {when}"));
        if !last {
            volumes.assert_intact(&cloud, &when);
        }
        // Killed in the midst of it, a deploy is as good a way on as another removal.
        if round % 2 == 1 && !last {
            cloud.mastic(&["deploy", "--yes"]).ok();
            assert_settled(&cloud, &when);
            assert!(api.has_project("kept"), "{when}: the project was lost");
        }
        cloud.mastic(arguments).ok();
        assert_eq!(cloud.containers().len(), 0, "{when}");
        if last {
            assert_eq!(cloud.volumes().len(), 0, "{when}");
        } else {
            volumes.assert_intact(&cloud, &when);
        }
        round += 1;
    }
}

#[test]
fn what_ends_beside_a_change_that_leaves_it_as_it_is_must_be_said() {
    let cloud = Cloud::new("t-beside", 49);
    cloud.mastic(&["deploy", "--yes"]).ok();
    for (seconds, command) in
        [(6000, &["deploy", "--yes"][..]), (7000, &["upgrade", "--service", "keystone", "--yes"])]
    {
        change(&cloud, seconds);
        let events = cloud.events();
        let run = cloud.spawn(command);
        events.until("start", "-keystone-api-");
        cloud.docker(&["stop", "t-beside-memcached-1"]);
        // Keystone serves without it: no step fails.
        run.wait().code(1).says("has ended meanwhile: local/memcached").says("mastic start");
        cloud.mastic(&["start", "--yes"]).ok();
    }
    cloud.mastic(&["rollback", "--yes"]).ok();
    cloud.mastic(&["check"]).ok();
    // What is wanted is what it was before the upgrade, too.
    change(&cloud, 6000);
    assert_settled(&cloud, "after the way back");
}
