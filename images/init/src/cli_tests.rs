use super::*;

fn options(words: &[&'static CStr]) -> Result<Box<Options>, String> {
    match parse(words)? {
        Command::Run(options) => Ok(options),
        Command::Help => Err("help".into()),
        Command::Version => Err("version".into()),
    }
}

#[test]
fn options_end_at_the_command_or_at_two_dashes() {
    let found = options(&[c"-v", c"--single-child", c"--", c"-x", c"--user"]).expect("valid");
    assert!(found.verbose && !found.group);
    assert_eq!(found.command, [c"-x", c"--user"]);
    let found = options(&[c"sh", c"-v"]).expect("valid");
    assert!(!found.verbose && found.group);
    assert_eq!(found.command, [c"sh", c"-v"]);
    let found = options(&[c"--", c"--", c"true"]).expect("valid");
    assert_eq!(found.command, [c"--", c"true"]);
}

#[test]
fn values_stand_alone_or_behind_an_equals_sign() {
    for words in [&[c"--grace", c"2.5", c"x"][..], &[c"--grace=2.5", c"x"]] {
        assert_eq!(options(words).map(|found| found.grace), Ok(2_500));
    }
    let found = options(&[c"--own=/a=b=1:2", c"--map-exit=143", c"-e", c"3=4", c"x"]);
    let found = found.expect("valid");
    let tree = Ownership { path: (*b"/a=b").into(), user: 1, group: 2, mode: None };
    assert_eq!(found.owned, [tree]);
    assert_eq!((found.exits[143], found.exits[3], found.exits[5]), (0, 4, 5));
}

#[test]
fn leaving_cgroups_means_leaving_children() {
    let found = options(&[c"--leave-cgroups", c"keep/libvirt", c"x"]).expect("valid");
    assert!(found.leave_children);
    for name in [c"", c"/keep", c"../x", c"a//b", c"."] {
        assert!(options(&[c"--leave-cgroups", name, c"x"]).is_err());
    }
}

#[test]
fn wrong_usage_is_refused() {
    for words in [
        &[][..],
        &[c"--"],
        &[c"-v"],
        &[c"--yolo", c"x"],
        &[c"-z"],
        &[c"--grace"],
        &[c"--grace", c"soon", c"x"],
        &[c"--verbose=1", c"x"],
        &[c"-e", c"256", c"x"],
        &[c"-e", c"1=", c"x"],
        &[c"-p", c"KILL", c"x"],
        &[c"-p", c"x", c"x"],
        &[c"--pause", c"x"],
        &[c"--pause", c"--every", c"1"],
        &[c"--every", c"0", c"x"],
        &[c"--mkdir", c"/a=1:2", c"x"],
        &[c"--own", c"/a=1", c"x"],
        &[c"--own", c"=1:2", c"x"],
        &[c"--own", c"/a=1:2:8", c"x"],
        &[c"--own", c"/a=1:2:7777:1", c"x"],
        &[c"--own", c"/a=root:root", c"x"],
        &[c"-r", c"TERM", c"x"],
    ] {
        assert!(options(words).is_err(), "{words:?}");
    }
    assert_eq!(options(&[c"--help"]).err(), Some("help".into()));
    assert_eq!(options(&[c"-V"]).err(), Some("version".into()));
}
