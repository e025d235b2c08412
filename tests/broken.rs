//! Profiles broken in every way that a program can think of: never a panic, always a mistake with its place.
//!
//! The mutations come from a fixed seed, so that a failure can be repeated. What still loads is compared with an independent
//! reading by another YAML parser: the checker may not be laxer than the types.

mod fixture;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mastic::profile::diagnostic::CODES;
use mastic::profile::{self, Diagnostics, Library, ProfileDocument};
use proptest::prelude::*;

/// What is known of a mutation beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// It must be refused.
    Broken,
    /// It may still be right.
    Unknown,
}

struct Mutation {
    what: String,
    text: String,
    expect: Expect,
}

/// xorshift64*: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).expect("31 bits fit") % limit.max(1)
    }
}

/// Keys of the document; anything else before a colon is a name.
const KEYS: [&str; 15] = [
    "deployment",
    "release",
    "region",
    "hosts",
    "public",
    "internal",
    "sets",
    "variables",
    "images",
    "namespace",
    "services",
    "address",
    "engine",
    "tls",
    "name",
];
/// Characters that mean something to YAML, or that terminals and parsers are known to stumble over.
const ODD: [char; 15] =
    ['ß', '\u{202e}', '\u{1f600}', '\u{2028}', '"', '{', ']', ':', '*', '&', '!', '%', '@', '|', '-'];
const REQUIRED: [&str; 4] = ["deployment", "release", "hosts", "sets"];

fn shipped() -> BTreeMap<String, (String, Library)> {
    let mut all = BTreeMap::new();
    let path = "profiles/all-in-one.yaml".to_owned();
    let text = std::fs::read_to_string(fixture::root().join(&path)).expect("the profile is there");
    all.insert(path, (text, fixture::shipped()));
    all.insert("fixture.yaml".to_owned(), (fixture::PROFILE.to_owned(), fixture::small()));
    all
}

/// The key of a line and the column of its value.
fn key_of(line: &str) -> Option<(&str, usize)> {
    let trimmed = line.trim_start();
    let colon = trimmed.find(':')?;
    let key = &trimmed[..colon];
    let word = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    (word && !trimmed.starts_with('#')).then_some((key, line.len() - trimmed.len() + colon + 1))
}

/// Whether the key of a line is a name that an operator chose: any other would do as well.
fn is_name(lines: &[&str], number: usize) -> bool {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let above = lines
        .iter()
        .take(number)
        .rev()
        .filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#'));
    let mut parents = above.filter(|line| depth(line) < depth(lines[number]));
    parents
        .next()
        .and_then(|line| key_of(line))
        .is_some_and(|(key, _)| ["flavors", "networks"].contains(&key))
}

fn mutations(text: &str, seed: u64) -> Vec<Mutation> {
    let mut random = Random(seed);
    let lines: Vec<&str> = text.lines().collect();
    let mut all = Vec::new();
    let joined = |lines: &[String]| lines.join("\n") + "\n";
    let mut add = |what: String, text: String, expect| all.push(Mutation { what, text, expect });
    let with = |number: usize, line: String| {
        let mut copy: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        copy[number] = line;
        joined(&copy)
    };
    for (number, line) in
        lines.iter().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.trim().starts_with('#'))
    {
        let at = number + 1;
        let top = !line.starts_with(' ');
        let mut without: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        without.remove(number);
        let required = top && key_of(line).is_some_and(|(key, _)| REQUIRED.contains(&key));
        add(
            format!("line {at} deleted"),
            joined(&without),
            if required { Expect::Broken } else { Expect::Unknown },
        );
        let mut twice: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        twice.insert(number, (*line).to_owned());
        add(format!("line {at} twice"), joined(&twice), Expect::Broken);
        for indent in [" ", "   ", "\t"] {
            add(
                format!("line {at} indented by {indent:?}"),
                with(number, format!("{indent}{line}")),
                Expect::Unknown,
            );
        }
        if let Some((key, value)) = key_of(line) {
            let known = KEYS.contains(&key) && !is_name(&lines, number);
            let broken = if known { Expect::Broken } else { Expect::Unknown };
            let renamed = line.replacen(key, &format!("{key}x"), 1);
            add(format!("line {at}: key renamed"), with(number, renamed), broken);
            add(
                format!("line {at}: key in capitals"),
                with(number, line.replacen(key, &key.to_uppercase(), 1)),
                broken,
            );
            for other in
                [" []", " {}", " 3", " true", " null", " \"\"", " [[]]", " {a: b}", " -1", " 1.5", ""]
            {
                add(
                    format!("line {at}: value is{other}"),
                    with(number, format!("{}{other}", &line[..value])),
                    Expect::Unknown,
                );
            }
        }
        let chars: Vec<char> = line.chars().collect();
        for bad in ['\u{0}', '\u{1b}', '\u{7f}'] {
            let mut copy = chars.clone();
            copy.insert(random.below(chars.len() + 1), bad);
            add(
                format!("line {at}: {bad:?} put in"),
                with(number, copy.into_iter().collect()),
                Expect::Broken,
            );
        }
        // A third of them in each line, in turn: with all, these alone would be two fifths of the test's time.
        for odd in ODD.into_iter().cycle().skip(number * ODD.len() / 3).take(ODD.len() / 3) {
            let mut copy = chars.clone();
            copy.insert(random.below(chars.len() + 1), odd);
            add(
                format!("line {at}: {odd:?} put in"),
                with(number, copy.into_iter().collect()),
                Expect::Unknown,
            );
        }
    }
    for _ in 0..60 {
        let mut cut = random.below(text.len());
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        add(format!("cut at byte {cut}"), text[..cut].to_owned(), Expect::Unknown);
        let (one, other) = (random.below(lines.len()), random.below(lines.len()));
        let mut swapped: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        swapped.swap(one, other);
        add(format!("lines {} and {} swapped", one + 1, other + 1), joined(&swapped), Expect::Unknown);
    }
    let mut bomb = format!("{text}a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        writeln!(bomb, "a{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 10].join(", ")).expect("a String");
    }
    add("aliases of aliases".to_owned(), bomb, Expect::Broken);
    add("deep nesting".to_owned(), format!("{text}deep: {}\n", "[".repeat(50_000)), Expect::Broken);
    add("deep mappings".to_owned(), format!("{text}deep: {}\n", "{a: ".repeat(20_000)), Expect::Broken);
    add("an alias of itself".to_owned(), format!("{text}self: &s [*s]\n"), Expect::Broken);
    add("a second document".to_owned(), format!("{text}---\na: 1\n"), Expect::Broken);
    add("nothing".to_owned(), String::new(), Expect::Broken);
    add("comments only".to_owned(), "# nothing\n".to_owned(), Expect::Broken);
    add("a list".to_owned(), "- a\n- b\n".to_owned(), Expect::Broken);
    add("a word".to_owned(), "word\n".to_owned(), Expect::Broken);
    add("a tag".to_owned(), text.replacen("deployment: ", "deployment: !!binary ", 1), Expect::Broken);
    add("a merge key of no mapping".to_owned(), format!("{text}<<: x\n"), Expect::Broken);
    add("Windows line ends".to_owned(), text.replace('\n', "\r\n"), Expect::Unknown);
    add("a byte order mark".to_owned(), format!("\u{feff}{text}"), Expect::Unknown);
    all
}

fn places(what: &str, text: &str, name: &str, mistakes: &Diagnostics) {
    assert!(!mistakes.is_empty(), "{what}: refused without a reason");
    let lines = text.split('\n').count();
    for mistake in mistakes.iter() {
        assert!(!mistake.file.is_empty() && mistake.line >= 1 && mistake.column >= 1, "{what}: {mistake}");
        assert!(
            mistake.file != name || mistake.line <= lines + 1,
            "{what}: line {} of {lines}\n{mistake}",
            mistake.line
        );
        assert!(
            CODES.iter().any(|(code, _)| *code == mistake.code),
            "{what}: `{}` is not listed",
            mistake.code
        );
        let shown = mistake.to_string();
        assert!(
            shown.contains(&format!("{}:{}:{}", mistake.file, mistake.line, mistake.column)),
            "{what}: {shown}"
        );
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{what}: {shown:?}");
    }
}

/// Loads one mutation; returns whether it was refused, and what is wrong with how it was taken.
fn look(name: &str, library: &Library, mutation: &Mutation) -> (bool, Option<String>) {
    let what = format!("{name}, {}", mutation.what);
    let profile = match profile::load(name, &mutation.text, library) {
        Err(mistakes) => {
            places(&what, &mutation.text, name, &mistakes);
            return (true, None);
        }
        Ok(profile) => profile,
    };
    if mutation.expect == Expect::Broken {
        return (false, Some(format!("{what}: loads")));
    }
    // Another parser must read the same: what loads here is no accident of ours.
    let plain = mutation.text.trim_start_matches('\u{feff}');
    let wrong = match serde_yaml::from_str::<ProfileDocument>(plain) {
        Ok(document) if document == profile.document => None,
        Ok(_) => Some(format!("{what}: another parser reads another document")),
        Err(error) => Some(format!("{what}: another parser refuses it: {error}")),
    };
    (false, wrong)
}

#[test]
fn every_broken_profile_must_be_refused_with_a_place_and_never_panic() {
    let (mut total, mut refused, mut wrong) = (0, 0, Vec::new());
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for (seed, (name, (text, library))) in (1_u64..).zip(shipped()) {
        let all = mutations(&text, 0x9E37_79B9_7F4A_7C15 ^ seed);
        total += all.len();
        let share = |part: usize| all.iter().skip(part).step_by(processors);
        let looks: Vec<(bool, Option<String>)> = std::thread::scope(|scope| {
            let (name, library) = (&name, &library);
            let parts: Vec<_> = (0..processors)
                .map(|part| {
                    scope.spawn(move || share(part).map(|one| look(name, library, one)).collect::<Vec<_>>())
                })
                .collect();
            parts.into_iter().flat_map(|part| part.join().expect("no mutation makes it panic")).collect()
        });
        refused += looks.iter().filter(|(refused, _)| *refused).count();
        wrong.extend(looks.into_iter().filter_map(|(_, wrong)| wrong));
    }
    assert!(wrong.is_empty(), "{} of {total}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused >= 200, "only {refused} of {total} mutations were refused");
}

#[test]
fn every_broken_service_must_be_refused_with_a_place_and_never_panic() {
    let mut refused = 0;
    for (seed, path) in (7_u64..).zip(["templates/api/service.yaml", "templates/db/service.yaml"]) {
        let library = fixture::small();
        let text = String::from_utf8(library.get(path).expect("the file").bytes.clone()).expect("text");
        for mutation in mutations(&text, seed << 20) {
            let mut library = library.clone();
            library.insert(path, mutation.text.clone(), path);
            if let Err(mistakes) = profile::load("p.yaml", fixture::PROFILE, &library) {
                refused += 1;
                places(&mutation.what, &mutation.text, path, &mistakes);
            }
        }
    }
    assert!(refused >= 200, "only {refused} were refused");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_may_make_the_loader_panic(text in "\\PC{0,300}") {
        let _ = profile::sources(&text);
        if let Err(mistakes) = profile::load("p.yaml", &text, &Library::default()) {
            places("random text", &text, "p.yaml", &mistakes);
        }
    }

    #[test]
    fn no_yaml_like_text_may_make_the_loader_panic(lines in prop::collection::vec("[ \t]{0,4}[-?:,\\[\\]{}#&*!|>'\"%@a-c1 \n]{0,12}", 0..30)) {
        let text = lines.join("\n");
        if let Err(mistakes) = profile::load("p.yaml", &text, &fixture::small()) {
            places("random lines", &text, "p.yaml", &mistakes);
        }
    }

    #[test]
    fn no_change_of_a_template_may_panic(at in 0_usize..400, put in "\\PC{0,4}") {
        let mut library = fixture::small();
        let path = "templates/api/api.conf";
        let mut text = String::from_utf8(library.get(path).expect("the file").bytes.clone()).expect("text");
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.insert_str(at, &put);
        library.insert(path, text.clone(), path);
        if let Err(mistakes) = profile::load("p.yaml", fixture::PROFILE, &library) {
            places("template", &text, path, &mistakes);
        }
    }
}
