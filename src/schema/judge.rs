//! What a difference means for code that was written for what was before, and goes on after it.
//!
//! That code names its columns, leaves out those that it does not know, and writes NULL or a value of its own into those that it does.

use super::{Act, Column, ForeignKey, Index, Verdict};

/// A verdict and why.
pub type Judged = (Verdict, &'static str);

use Verdict::{Closed, Look, Open};

/// A table or view that is new, in another collation, or gone.
pub fn table(act: Act) -> Judged {
    match act {
        Act::Added => (Open, "older code does not know it"),
        Act::Changed => (Look, "text compares otherwise"),
        Act::Dropped => (Closed, "older code reads it"),
    }
}

/// A new column.
pub fn added_column(column: &Column) -> Judged {
    let fills_itself = ["generated", "auto_increment"].iter().any(|word| column.extra.contains(word));
    if column.nullable {
        (Open, "older code leaves it empty")
    } else if fills_itself || !column.default.is_empty() {
        (Open, "it has a value where older code gives none")
    } else {
        (Closed, "older code gives it no value, and it must have one")
    }
}

/// A column that is gone, or has another name.
pub fn dropped_column() -> Judged {
    (Closed, "older code reads it")
}

/// A column that is another: the worst of all that is.
pub fn changed_column(old: &Column, new: &Column) -> Judged {
    let mut all = vec![(Open, "nothing that older code would notice")];
    if old.kind != new.kind {
        all.push(changed_kind(&old.kind, &new.kind));
    }
    if old.nullable && !new.nullable {
        all.push(if new.default.is_empty() {
            (Closed, "older code may leave it empty")
        } else {
            (Look, "older code may write NULL")
        });
    }
    if !old.nullable && new.nullable {
        all.push((Look, "newer code may leave it empty, which older code has never read"));
    }
    // That a column which may be empty is so by default says nothing more.
    let given =
        |column: &Column| if column.default == "NULL" { String::new() } else { column.default.clone() };
    match (given(old).is_empty(), given(new).is_empty()) {
        (true, false) if !new.nullable => all.push((Open, "it has a default now")),
        (false, true) if !new.nullable => all.push((Look, "older code may rely on its default")),
        _ if given(old) != given(new) => all.push((Look, "another default")),
        _ => {}
    }
    if old.extra != new.extra {
        all.push(if old.extra.contains("auto_increment") {
            (Closed, "older code has it numbered by the database")
        } else {
            (Look, "the database fills it otherwise")
        });
    }
    if old.collation != new.collation {
        all.push((Look, "text compares otherwise"));
    }
    // The first of the worst: what comes first says most.
    let worst = all.iter().map(|(verdict, _)| *verdict).max().unwrap_or(Open);
    all.into_iter()
        .skip(1)
        .find(|(verdict, _)| *verdict == worst)
        .unwrap_or((Open, "nothing that older code would notice"))
}

/// How wide numbers and texts are, from narrow to wide, within their families.
const FAMILIES: [&[&str]; 4] = [
    &["tinyint", "smallint", "mediumint", "int", "bigint"],
    &["char", "varchar", "tinytext", "text", "mediumtext", "longtext"],
    &["binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"],
    &["float", "double"],
];

/// Another type.
fn changed_kind(old: &str, new: &str) -> Judged {
    let (narrower, wider, other) = (
        (Closed, "narrower: what older code writes may not fit"),
        (Open, "wider"),
        (Look, "another type: whether older code can use it, the schema does not tell"),
    );
    let (Kind { word: before, size: had, rest: was }, Kind { word: after, size: has, rest: is }) =
        (Kind::of(old), Kind::of(new));
    if let (Some(had), Some(has)) = (choices(old), choices(new)) {
        return if had.iter().all(|choice| has.contains(choice)) {
            (Look, "more choices: newer code may store one that older code does not know")
        } else {
            (Closed, "fewer choices: what older code writes may not be one")
        };
    }
    if was != is {
        return other;
    }
    if before == after {
        // The number behind a whole number's type is how wide it is shown.
        if FAMILIES[0].contains(&before) {
            return (Open, "shown otherwise");
        }
        // decimal(10,2) has two.
        return match had.len() == has.len() {
            true if had.iter().zip(&has).all(|(had, has)| had <= has) => wider,
            true if had.iter().zip(&has).all(|(had, has)| had >= has) => narrower,
            _ if had.is_empty() => wider,
            _ => other,
        };
    }
    for family in FAMILIES {
        let place = |word: &str| family.iter().position(|one| *one == word);
        if let (Some(from), Some(to)) = (place(before), place(after)) {
            let sized = |word: &str| matches!(word, "char" | "varchar" | "binary" | "varbinary");
            return match (sized(before), sized(after)) {
                (true, true) if had <= has => wider,
                (true, true) => narrower,
                // tinytext holds 255 bytes.
                (true, false) if after.starts_with("tiny") => other,
                _ if from < to => wider,
                _ => narrower,
            };
        }
    }
    other
}

/// `decimal(10,2) unsigned` in its parts.
struct Kind<'a> {
    word: &'a str,
    size: Vec<u64>,
    rest: &'a str,
}

impl<'a> Kind<'a> {
    fn of(text: &'a str) -> Self {
        let end = text.find(['(', ' ']).unwrap_or(text.len());
        let (word, more) = text.split_at(end);
        match more.strip_prefix('(').and_then(|more| more.split_once(')')) {
            Some((size, rest)) => {
                let size = size.split(',').filter_map(|number| number.trim().parse().ok()).collect();
                Self { word, size, rest: rest.trim() }
            }
            None => Self { word, size: Vec::new(), rest: more.trim() },
        }
    }
}

/// The choices of `enum('a','b')` or of a set. None of OpenStack's has a comma in it.
fn choices(text: &str) -> Option<Vec<&str>> {
    let list = text.strip_prefix("enum(").or_else(|| text.strip_prefix("set("))?.strip_suffix(')')?;
    Some(list.split(',').collect())
}

/// A new index.
pub fn added_index(index: &Index) -> Judged {
    if index.unique {
        (Look, "it refuses what older code may write twice")
    } else {
        (Open, "faster, no more")
    }
}

/// An index that is gone.
pub fn dropped_index(index: &Index) -> Judged {
    if index.unique {
        (Look, "newer code may write twice what older code takes to be one")
    } else {
        (Open, "slower, no more")
    }
}

/// A foreign key that is new, another, or gone.
pub fn foreign_key(old: Option<&ForeignKey>, new: Option<&ForeignKey>) -> Judged {
    match (old, new) {
        (_, Some(_)) => (Look, "it refuses what older code may write or delete"),
        (Some(old), None)
            if [&old.on_delete, &old.on_update]
                .iter()
                .any(|act| act.as_str() != "RESTRICT" && act.as_str() != "NO ACTION") =>
        {
            (Look, "older code may rely on what it deletes or changes along")
        }
        (_, None) => (Open, "it refused, no more"),
    }
}

/// A condition of rows.
pub fn check(is_there: bool) -> Judged {
    if is_there { (Look, "it refuses what older code may write") } else { (Open, "it refused, no more") }
}

/// A trigger that is new, another, or gone.
pub fn trigger() -> Judged {
    (Look, "the database does otherwise what older code asks for")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: &str, nullable: bool, default: &str) -> Column {
        Column { kind: kind.to_owned(), nullable, default: default.to_owned(), ..Column::default() }
    }

    #[test]
    fn a_new_column_closes_the_way_only_where_older_code_cannot_fill_it() {
        assert_eq!(added_column(&column("int(11)", true, "NULL")).0, Open);
        assert_eq!(added_column(&column("int(11)", false, "0")).0, Open);
        assert_eq!(added_column(&column("int(11)", false, "")).0, Closed);
        let generated = Column { extra: "stored generated".to_owned(), ..column("int(11)", false, "") };
        assert_eq!(added_column(&generated).0, Open);
    }

    #[test]
    fn a_type_must_be_judged_by_whether_it_holds_what_the_older_one_did() {
        for (old, new, verdict) in [
            ("varchar(64)", "varchar(255)", Open),
            ("varchar(255)", "varchar(64)", Closed),
            ("varchar(255)", "text", Open),
            ("varchar(255)", "tinytext", Look),
            ("text", "mediumtext", Open),
            ("mediumtext", "text", Closed),
            ("text", "varchar(255)", Closed),
            ("char(32)", "varchar(64)", Open),
            ("char(36)", "varchar(32)", Closed),
            ("int(11)", "bigint(20)", Open),
            ("bigint(20)", "int(11)", Closed),
            ("int(11)", "int(10)", Open),
            ("int(11)", "int(10) unsigned", Look),
            ("tinyint(1)", "varchar(5)", Look),
            ("decimal(10,2)", "decimal(12,2)", Open),
            ("decimal(10,2)", "decimal(8,2)", Closed),
            ("decimal(10,2)", "decimal(8,4)", Look),
            ("datetime", "datetime(6)", Open),
            ("enum('a','b')", "enum('a','b','c')", Look),
            ("enum('a','b')", "enum('a')", Closed),
            ("float", "double", Open),
        ] {
            assert_eq!(changed_kind(old, new).0, verdict, "{old} -> {new}");
        }
    }

    #[test]
    fn the_worst_of_all_that_is_another_in_a_column_must_count() {
        let of = |old: &Column, new: &Column| changed_column(old, new);
        let old = column("varchar(64)", true, "NULL");
        assert_eq!(of(&old, &column("varchar(64)", false, "")).0, Closed);
        assert_eq!(of(&old, &column("varchar(64)", false, "'x'")).0, Look);
        assert_eq!(
            of(&old, &column("varchar(32)", true, "'x'")).1,
            "narrower: what older code writes may not fit"
        );
        assert_eq!(of(&column("int(11)", false, ""), &column("int(11)", true, "NULL")).0, Look);
        assert_eq!(of(&column("int(11)", false, ""), &column("int(11)", false, "0")).0, Open);
        assert_eq!(of(&column("int(11)", false, "1"), &column("int(11)", false, "0")).0, Look);
        assert_eq!(of(&column("int(11)", false, "1"), &column("int(11)", false, "")).0, Look);
        let counted = Column { extra: "auto_increment".to_owned(), ..column("int(11)", false, "") };
        assert_eq!(of(&counted, &column("int(11)", false, "")).0, Closed);
        let text = Column { collation: "utf8mb3_bin".to_owned(), ..old.clone() };
        assert_eq!(of(&old, &text), (Look, "text compares otherwise"));
    }

    #[test]
    fn what_refuses_must_be_looked_at_when_it_comes_and_what_does_more_when_it_goes() {
        let index = |unique| Index { unique, ..Index::default() };
        assert_eq!((added_index(&index(false)).0, added_index(&index(true)).0), (Open, Look));
        assert_eq!((dropped_index(&index(false)).0, dropped_index(&index(true)).0), (Open, Look));
        let key = |on_delete: &str| ForeignKey {
            on_delete: on_delete.to_owned(),
            on_update: "RESTRICT".to_owned(),
            ..ForeignKey::default()
        };
        assert_eq!(foreign_key(None, Some(&key("RESTRICT"))).0, Look);
        assert_eq!(foreign_key(Some(&key("RESTRICT")), None).0, Open);
        assert_eq!(foreign_key(Some(&key("CASCADE")), None).0, Look);
        assert_eq!((check(true).0, check(false).0), (Look, Open));
        assert_eq!((table(Act::Added).0, table(Act::Dropped).0), (Open, Closed));
    }
}
