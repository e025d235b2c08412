//! What a stand-in says of its databases: a line each, its fields parted by tabs, `\t`, `\n` and `\\` inside them.
//!
//! ```text
//! table    DATABASE TABLE TYPE ROWS BYTES COLLATION      TYPE: `BASE TABLE` or `VIEW`
//! column   DATABASE TABLE NAME TYPE YES|NO DEFAULT EXTRA COLLATION
//! index    DATABASE TABLE NAME 0|1 KIND COLUMNS          0: unique
//! foreign  DATABASE TABLE NAME COLUMNS TABLE(COLUMNS) ON-UPDATE ON-DELETE
//! check    DATABASE TABLE NAME CONDITION
//! trigger  DATABASE TABLE NAME TIMING EVENT STATEMENT
//! written  DATABASE TABLE ROWS
//! ```

use super::{Column, ForeignKey, Index, Schema, Table};

/// A line that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number} of what the copy says of itself makes no sense: {line}")]
pub struct Unread {
    /// From 1.
    pub number: usize,
    /// The line.
    pub line: String,
}

/// Reads all of it. Lines may come in any order but that a table's own is before those of what it has.
pub fn read(text: &str) -> Result<Schema, Unread> {
    let mut schema = Schema::default();
    for (index, line) in text.lines().enumerate() {
        let fields: Vec<String> = line.split('\t').map(unescaped).collect();
        let words: Vec<&str> = fields.iter().map(String::as_str).collect();
        take(&mut schema, &words).ok_or_else(|| Unread { number: index + 1, line: line.to_owned() })?;
    }
    Ok(schema)
}

fn take(schema: &mut Schema, words: &[&str]) -> Option<()> {
    let [kind, database, table, rest @ ..] = words else { return None };
    if *kind == "table" {
        let [of, rows, bytes, collation] = rest else { return None };
        let found = Table {
            // A sequence has neither columns that anybody adds nor rows.
            view: *of != "BASE TABLE",
            rows: rows.parse().ok()?,
            bytes: bytes.parse().ok()?,
            collation: (*collation).to_owned(),
            ..Table::default()
        };
        schema.0.entry((*database).to_owned()).or_default().insert((*table).to_owned(), found);
        return Some(());
    }
    let Some(there) = schema.0.get_mut(*database).and_then(|tables| tables.get_mut(*table)) else {
        // Counted before it was renamed or dropped.
        return (*kind == "written").then_some(());
    };
    match (*kind, rest) {
        ("column", [name, kind, nullable, default, extra, collation]) => {
            let column = Column {
                kind: (*kind).to_owned(),
                nullable: *nullable == "YES",
                default: (*default).to_owned(),
                extra: extra.to_lowercase(),
                collation: (*collation).to_owned(),
            };
            there.columns.insert((*name).to_owned(), column);
        }
        ("index", [name, refuses_not, kind, columns]) => {
            let (columns, kind) = ((*columns).to_owned(), (*kind).to_owned());
            there.indexes.insert((*name).to_owned(), Index { unique: *refuses_not == "0", columns, kind });
        }
        ("foreign", [name, columns, to, on_update, on_delete]) => {
            let key = ForeignKey {
                columns: (*columns).to_owned(),
                to: (*to).to_owned(),
                on_update: (*on_update).to_owned(),
                on_delete: (*on_delete).to_owned(),
            };
            there.foreign_keys.insert((*name).to_owned(), key);
        }
        ("check", [name, condition]) => {
            there.checks.insert((*name).to_owned(), (*condition).to_owned());
        }
        ("trigger", [name, timing, event, statement]) => {
            there.triggers.insert((*name).to_owned(), format!("{timing} {event}: {statement}"));
        }
        ("written", [rows]) => there.written = rows.parse().ok()?,
        _ => return None,
    }
    Some(())
}

/// Undoes what the client does to tabs and ends of lines.
fn unescaped(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '\\' => match letters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_must_be_read() {
        let text = "table\tk\tuser\tBASE TABLE\t7\t16384\tutf8mb3_general_ci\n\
                    column\tk\tuser\tid\tvarchar(64)\tNO\t\t\tutf8mb3_bin\n\
                    column\tk\tuser\tnote\ttext\tYES\t'a\\tb'\tDEFAULT_GENERATED\t\n\
                    index\tk\tuser\tPRIMARY\t0\tBTREE\tid\n\
                    index\tk\tuser\tix\t1\tBTREE\tnote(20),id\n\
                    foreign\tk\tuser\tfk\tid\tproject(id)\tRESTRICT\tCASCADE\n\
                    check\tk\tuser\tc\t`id` in ('a\\nb')\n\
                    trigger\tk\tuser\tt\tBEFORE\tINSERT\tsignal\n\
                    written\tk\tuser\t3\n\
                    written\tk\tgone\t9\n";
        let schema = read(text).unwrap();
        let user = &schema.0["k"]["user"];
        assert_eq!((user.rows, user.bytes, user.written, user.view), (7, 16384, 3, false));
        assert_eq!(user.columns["note"].default, "'a\tb'");
        assert!(user.columns["note"].nullable && !user.columns["id"].nullable);
        assert!(user.indexes["PRIMARY"].unique && !user.indexes["ix"].unique);
        assert_eq!(user.foreign_keys["fk"].on_delete, "CASCADE");
        assert_eq!(user.checks["c"], "`id` in ('a\nb')");
        assert_eq!(user.triggers["t"], "BEFORE INSERT: signal");
    }

    #[test]
    fn a_line_that_makes_no_sense_must_be_told() {
        for text in ["x", "column\tk\tuser\tid", "table\tk\tuser\tBASE TABLE\tmany\t1\t", "table\tk"] {
            let error = read(text).unwrap_err();
            assert_eq!((error.number, error.line.as_str()), (1, text));
        }
        // What belongs to no table.
        assert!(read("check\tk\tuser\tc\t1").is_err());
    }
}
