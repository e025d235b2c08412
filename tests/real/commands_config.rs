//! What an operator wrote into config files, looked at by the images that are about to read it.

use crate::harness::Cloud;

#[test]
fn an_option_that_its_image_does_not_know_must_be_told_with_its_line_before_anything_stops() {
    let cloud = Cloud::new("t-options", 176);
    // On the first deploy too: nothing is left of it but what holds data.
    let file = cloud.write("overrides/keystone.conf", "# mine\n[token]\nexpiraton = 7200\n");
    let told = format!(
        "{}:3: [token] expiraton: there is no such option; did you mean `expiration`?",
        file.display()
    );
    cloud.mastic(&["deploy", "--yes"]).code(6).says(&told).says("nothing was stopped or started");
    // The history keeps that it was tried.
    let left = cloud.containers();
    assert!(left.keys().all(|name| name.ends_with(".ledger")), "{left:?}");

    // Values too, with what the option takes.
    cloud.write(
        "overrides/keystone.conf",
        "[token]\nexpiration = soon\n[catalog]\ncaching = on\n[DEFAULT]\ndebug = yess\n",
    );
    let told = |line: u32, what: &str| format!("{}:{line}: {what}", file.display());
    cloud
        .mastic(&["deploy", "--yes"])
        .code(6)
        .says(&told(
            2,
            "[token] expiration: `soon` is not a whole number, at least 0, at most 9223372036854775807",
        ))
        .says(&told(6, "[DEFAULT] debug: `yess` is not true or false"));
    std::fs::remove_file(&file).expect("the file is there");
    cloud.mastic(&["deploy", "--yes"]).ok();
    let before = cloud.containers();

    // Of one that runs nothing is touched, whichever of its services is wrong.
    cloud.write("overrides/keystone.conf", "[DEFAULT]\nno_such_option = 1\n");
    let told = format!("{}:2: [DEFAULT] no_such_option: there is no such option", file.display());
    cloud.mastic(&["deploy", "--yes", "--accept", "outage"]).code(6).says(&told);
    assert_eq!(cloud.containers(), before);

    // HAProxy looks at its own config in its own way.
    std::fs::remove_file(&file).expect("the file is there");
    let file = cloud.write("overrides/haproxy.cfg", "global\n    no-such-word\n");
    let failed = cloud.mastic(&["deploy", "--yes", "--accept", "outage"]).code(6);
    assert!(failed.stderr.contains("no-such-word"), "{}", failed.stderr);
    assert_eq!(cloud.containers(), before);
    std::fs::remove_file(&file).expect("the file is there");
    cloud.mastic(&["plan"]).ok();

    // What is right is taken, and once only.
    cloud.write("overrides/keystone.conf", "[token]\nexpiration = 7200\n");
    cloud.mastic(&["deploy", "--yes", "--accept", "outage"]).ok();
    cloud.mastic(&["plan"]).ok();
}
