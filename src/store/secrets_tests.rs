//! Kill, concurrency, permissions, and that nothing is ever rewritten.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn requests(count: usize) -> BTreeMap<SecretName, SecretKind> {
    let kinds = [SecretKind::Password, SecretKind::Hex32, SecretKind::FernetKey, SecretKind::Uuid];
    (0..count).map(|n| (name(&format!("secret_{n:03}")), kinds[n % kinds.len()])).collect()
}

#[test]
fn a_generated_value_must_have_its_kinds_form() {
    let of = |kind| generate(kind).unwrap().expose().to_owned();
    let password = of(SecretKind::Password);
    assert!(password.len() >= 32 && password.bytes().all(|b| b.is_ascii_alphanumeric()), "{password}");
    let hex = of(SecretKind::Hex32);
    assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{hex}");
    assert_eq!(of(SecretKind::Hex16).len(), 32);
    assert_eq!(STANDARD.decode(of(SecretKind::Base64x32)).unwrap().len(), 32);
    assert_eq!(URL_SAFE.decode(of(SecretKind::FernetKey)).unwrap().len(), 32);
    let uuid = of(SecretKind::Uuid);
    let parts: Vec<_> = uuid.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
    assert_eq!(&uuid[14..15], "4");
    assert!("89ab".contains(&uuid[19..20]), "{uuid}");
    assert_ne!(of(SecretKind::Password), of(SecretKind::Password));
}

#[test]
fn every_letter_of_the_alphabet_must_occur_in_passwords() {
    let text: String =
        (0..200).map(|_| generate(SecretKind::Password).unwrap().expose().to_owned()).collect();
    assert!(ALPHABET.iter().all(|letter| text.contains(char::from(*letter))));
}

#[test]
fn the_second_run_must_generate_nothing_and_touch_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = ensure(dir.path(), &requests(8)).unwrap();
    assert_eq!(first.generated.len(), 8);
    let file = path(dir.path());
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    let second = ensure(dir.path(), &requests(8)).unwrap();
    assert_eq!(second.secrets, first.secrets);
    assert!(second.generated.is_empty());
    assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), metadata.modified().unwrap());
    assert!(missing(dir.path(), &requests(9)).unwrap() == [name("secret_008")]);
}

#[test]
fn what_an_operator_wrote_must_stay_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let file = path(dir.path());
    let mine = "# mine\nadmin: \"my-own_one\"   # keep\nunused: 'x'";
    files::write_atomic(&file, mine.as_bytes(), files::PRIVATE).unwrap();
    let ensured = ensure(
        dir.path(),
        &BTreeMap::from([(name("admin"), SecretKind::Hex32), (name("new"), SecretKind::Uuid)]),
    )
    .unwrap();
    assert_eq!(ensured.generated, [name("new")]);
    assert_eq!(ensured.secrets.get(&name("admin")).unwrap().expose(), "my-own_one");
    let text = std::fs::read_to_string(&file).unwrap();
    let value = ensured.secrets.get(&name("new")).unwrap().expose().to_owned();
    assert_eq!(text, format!("{mine}\nnew: '{value}'\n"));
}

#[test]
fn a_file_that_others_can_read_must_be_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    files::write_atomic(&path(dir.path()), b"a: b\n", 0o604).unwrap();
    let error = ensure(dir.path(), &requests(1)).unwrap_err().to_string();
    assert!(error.contains("can be read by others (mode 0604)") && error.contains("chmod 600"), "{error}");
}

#[test]
fn a_broken_file_must_be_refused_by_line_or_name_without_a_value_in_the_message() {
    for (text, expected) in [
        ("a: hunter2\nb: [hunter2\n", "is not a mapping of names to texts (line"),
        ("- hunter2\n", "is not a mapping of names to texts"),
        ("a: hunter2\na: hunter2\n", "is not a mapping of names to texts"),
        ("a: 12345\n", "the value of `a` must be a non-empty text (quote numbers)"),
        ("a: ''\n", "the value of `a` must be a non-empty text"),
        ("a: hunter2'; DROP\n", "the value of `a` has characters that are special"),
        ("a: hunter2$x\n", "the value of `a` has characters that are special"),
        ("Bad Name: hunter2\n", "secret name `Bad Name` must begin with a lower-case letter"),
        // Lines behind these would not belong to the mapping.
        ("{a: hunter2}\n", "is not a mapping of names to texts (line 2)"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = path(dir.path());
        files::write_atomic(&file, text.as_bytes(), files::PRIVATE).unwrap();
        let error = ensure(dir.path(), &requests(1)).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "a refused file must stay as it was");
    }
}

#[test]
fn runs_at_the_same_time_must_agree_on_every_value() {
    let dir = tempfile::tempdir().unwrap();
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| ensure(dir.path(), &requests(20)).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(results.iter().all(|result| result.secrets == results[0].secrets));
    assert_eq!(results.iter().map(|result| result.generated.len()).sum::<usize>(), 20);
}

/// Adds secrets one by one to the directory that the test below names, or to one of its own.
#[test]
fn secrets_added_one_by_one_must_all_be_there() {
    let own = tempfile::tempdir().unwrap();
    let dir = std::env::var_os("MASTIC_TEST_SECRETS").map_or_else(|| own.path().to_owned(), PathBuf::from);
    for count in 1..=200 {
        ensure(&dir, &requests(count)).unwrap();
    }
    assert_eq!(read(&dir).unwrap().names().count(), 200);
}

#[test]
fn a_run_killed_at_any_instant_must_leave_the_old_file_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let mut known = Secrets::default();
    let mut kills = 0;
    // Each round kills a writer a little later; the last one is left to finish.
    for round in 0_u32.. {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::secrets::tests::secrets_added_one_by_one_must_all_be_there"])
            .env("MASTIC_TEST_SECRETS", dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_micros(u64::from(round) * 1700 + 3000);
        let finished = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if round < 40 && Instant::now() >= deadline => break None,
                None => std::thread::yield_now(),
            }
        };
        if let Some(status) = finished {
            assert!(status.success());
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        let now = read(dir.path()).unwrap();
        for (name, value) in known.values() {
            assert_eq!(now.get(name), Some(value), "{name} changed in round {round}");
        }
        // Names are added in order: a prefix, never a gap.
        assert!(now.names().zip(requests(200).keys()).all(|(have, want)| have == want));
        known = now;
        if finished.is_some() && known.names().count() == 200 {
            break;
        }
    }
    assert!(kills > 3, "only {kills} writers were killed");
    ensure(dir.path(), &requests(201)).unwrap();
    let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".secrets.yaml.lock", "secrets.yaml"], "leftovers of killed writers must go");
}
