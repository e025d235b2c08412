//! Two looks at the same databases, told apart.

use std::collections::{BTreeMap, BTreeSet};

use super::judge;
use super::{Act, Change, Column, ForeignKey, Index, Schema, Table, Thing, Verdict};

/// Returns what is different in the second look, in the order of its names. What a new table has is not listed by itself.
pub fn compare(before: &Schema, after: &Schema) -> Vec<Change> {
    let mut found = Vec::new();
    let databases: BTreeSet<&String> = before.0.keys().chain(after.0.keys()).collect();
    for database in databases {
        let none = BTreeMap::new();
        let (old, new) = (before.0.get(database).unwrap_or(&none), after.0.get(database).unwrap_or(&none));
        let mut all = Found { database, table: "", list: &mut found };
        // All of one that is new or gone would be a list of everything in it.
        if old.is_empty() || new.is_empty() {
            let act = if old.is_empty() { Act::Added } else { Act::Dropped };
            let how = format!("{} tables", old.len().max(new.len()));
            all.add(Thing::Database, act, "", how, judge::table(act));
            continue;
        }
        for (name, before, after) in pairs(old, new) {
            all.table = name;
            match (before, after) {
                (None, Some(table)) => {
                    all.add(thing(table), Act::Added, "", summary(table), judge::table(Act::Added));
                }
                (Some(table), None) => {
                    all.add(thing(table), Act::Dropped, "", String::new(), judge::table(Act::Dropped));
                }
                (Some(before), Some(after)) => all.within(before, after),
                (None, None) => {}
            }
        }
    }
    found
}

/// Returns the rows that were written between two looks, by database and table; of none nothing is said.
pub fn written(before: &Schema, after: &Schema) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut all: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (database, tables) in &after.0 {
        for (name, table) in tables {
            let earlier = before.0.get(database).and_then(|tables| tables.get(name));
            let rows = table.written.saturating_sub(earlier.map_or(0, |table| table.written));
            if rows > 0 {
                all.entry(database.clone()).or_default().insert(name.clone(), rows);
            }
        }
    }
    all
}

/// Pairs what has the same name, in the order of names.
fn pairs<'a, T>(
    old: &'a BTreeMap<String, T>,
    new: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a str, Option<&'a T>, Option<&'a T>)> {
    let names: BTreeSet<&'a String> = old.keys().chain(new.keys()).collect();
    names.into_iter().map(|name| (name.as_str(), old.get(name), new.get(name)))
}

fn thing(table: &Table) -> Thing {
    if table.view { Thing::View } else { Thing::Table }
}

fn summary(table: &Table) -> String {
    format!("{} columns", table.columns.len())
}

struct Found<'a> {
    database: &'a str,
    table: &'a str,
    list: &'a mut Vec<Change>,
}

impl Found<'_> {
    fn add(
        &mut self,
        thing: Thing,
        act: Act,
        name: &str,
        how: String,
        (verdict, reason): (Verdict, &'static str),
    ) {
        self.list.push(Change {
            database: self.database.to_owned(),
            table: self.table.to_owned(),
            thing,
            act,
            name: name.to_owned(),
            how,
            verdict,
            reason: reason.to_owned(),
        });
    }

    fn within(&mut self, before: &Table, after: &Table) {
        if before.collation != after.collation && !before.collation.is_empty() {
            let how = format!("{} -> {}", before.collation, after.collation);
            self.add(Thing::Table, Act::Changed, "", how, judge::table(Act::Changed));
        }
        for (name, old, new) in pairs(&before.columns, &after.columns) {
            match (old, new) {
                (None, Some(new)) => {
                    self.add(Thing::Column, Act::Added, name, column(new), judge::added_column(new));
                }
                (Some(old), None) => {
                    self.add(Thing::Column, Act::Dropped, name, column(old), judge::dropped_column());
                }
                (Some(old), Some(new)) if old != new => {
                    let how = difference(old, new);
                    self.add(Thing::Column, Act::Changed, name, how, judge::changed_column(old, new));
                }
                (Some(_) | None, Some(_) | None) => {}
            }
        }
        for (name, old, new) in pairs(&before.indexes, &after.indexes) {
            let of = |one: &Index| if one.unique { Thing::Key } else { Thing::Index };
            match (old, new) {
                (None, Some(new)) => {
                    self.add(of(new), Act::Added, name, new.columns.clone(), judge::added_index(new));
                }
                (Some(old), None) => {
                    self.add(of(old), Act::Dropped, name, old.columns.clone(), judge::dropped_index(old));
                }
                (Some(old), Some(new)) if old != new => {
                    let how = format!("{} -> {}", index(old), index(new));
                    let verdict = judge::dropped_index(old).max(judge::added_index(new));
                    self.add(of(new), Act::Changed, name, how, verdict);
                }
                (Some(_) | None, Some(_) | None) => {}
            }
        }
        for (name, old, new) in pairs(&before.foreign_keys, &after.foreign_keys) {
            let verdict = judge::foreign_key(old, new);
            self.pair(Thing::ForeignKey, name, old.map(foreign_key), new.map(foreign_key), verdict);
        }
        for (name, old, new) in pairs(&before.checks, &after.checks) {
            let verdict = judge::check(new.is_some());
            self.pair(Thing::Check, name, old.cloned(), new.cloned(), verdict);
        }
        for (name, old, new) in pairs(&before.triggers, &after.triggers) {
            self.pair(Thing::Trigger, name, old.cloned(), new.cloned(), judge::trigger());
        }
    }

    fn pair(
        &mut self,
        thing: Thing,
        name: &str,
        old: Option<String>,
        new: Option<String>,
        verdict: (Verdict, &'static str),
    ) {
        match (old, new) {
            (None, Some(new)) => self.add(thing, Act::Added, name, new, verdict),
            (Some(old), None) => self.add(thing, Act::Dropped, name, old, verdict),
            (Some(old), Some(new)) if old != new => {
                self.add(thing, Act::Changed, name, format!("{old} -> {new}"), verdict);
            }
            (Some(_) | None, Some(_) | None) => {}
        }
    }
}

fn column(column: &Column) -> String {
    let mut words = vec![column.kind.clone(), if column.nullable { "NULL" } else { "NOT NULL" }.to_owned()];
    if !column.default.is_empty() && column.default != "NULL" {
        words.push(format!("DEFAULT {}", column.default));
    }
    if !column.extra.is_empty() {
        words.push(column.extra.clone());
    }
    words.join(" ")
}

/// What is another in a column; where all that people see of it is the same, how its text is ordered.
fn difference(old: &Column, new: &Column) -> String {
    let (before, after) = (column(old), column(new));
    if before == after {
        return format!("{} -> {}", old.collation, new.collation);
    }
    format!("{before} -> {after}")
}

fn index(index: &Index) -> String {
    format!("{}{}", if index.unique { "unique " } else { "" }, index.columns)
}

fn foreign_key(key: &ForeignKey) -> String {
    let ForeignKey { columns, to, on_update, on_delete } = key;
    format!("{columns} to {to}, on update {on_update}, on delete {on_delete}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::read;

    const BEFORE: &str = "table\td\tserver\tBASE TABLE\t10\t1\tutf8mb3_general_ci\n\
        column\td\tserver\tid\tint(11)\tNO\t\tauto_increment\t\n\
        column\td\tserver\tname\tvarchar(64)\tNO\t\t\tutf8mb3_general_ci\n\
        column\td\tserver\told\tint(11)\tYES\tNULL\t\t\n\
        column\td\tserver\tstate\tvarchar(10)\tYES\tNULL\t\tutf8mb3_general_ci\n\
        index\td\tserver\tPRIMARY\t0\tBTREE\tid\n\
        index\td\tserver\tu\t0\tBTREE\tname\n\
        table\td\tgone\tBASE TABLE\t0\t1\tutf8mb3_general_ci\n\
        written\td\tserver\t2\n";
    const AFTER: &str = "table\td\tserver\tBASE TABLE\t10\t1\tutf8mb3_general_ci\n\
        column\td\tserver\tid\tbigint(20)\tNO\t\tauto_increment\t\n\
        column\td\tserver\tname\tvarchar(255)\tNO\t\t\tutf8mb3_general_ci\n\
        column\td\tserver\tnew\tint(11)\tNO\t\t\t\n\
        column\td\tserver\tstate\tvarchar(10)\tYES\tNULL\t\tutf8mb3_bin\n\
        index\td\tserver\tPRIMARY\t0\tBTREE\tid\n\
        index\td\tserver\tu\t0\tBTREE\tname,new\n\
        index\td\tserver\tix\t1\tBTREE\tnew\n\
        foreign\td\tserver\tfk\tnew\tother(id)\tRESTRICT\tCASCADE\n\
        table\td\tother\tBASE TABLE\t0\t1\tutf8mb3_general_ci\n\
        column\td\tother\tid\tint(11)\tNO\t\t\t\n\
        written\td\tserver\t5\n";

    #[test]
    fn every_difference_must_be_listed_once_with_its_verdict() {
        let (before, after) = (read(BEFORE).unwrap(), read(AFTER).unwrap());
        let changes = compare(&before, &after);
        let lines: Vec<String> = changes
            .iter()
            .map(|change| format!("{} [{}] {}", change, change.verdict.as_str(), change.reason))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        - table gone [closed] older code reads it
        + table other: 1 columns [open] older code does not know it
        ~ column server.id: int(11) NOT NULL auto_increment -> bigint(20) NOT NULL auto_increment [open] wider
        ~ column server.name: varchar(64) NOT NULL -> varchar(255) NOT NULL [open] wider
        + column server.new: int(11) NOT NULL [closed] older code gives it no value, and it must have one
        - column server.old: int(11) NULL [closed] older code reads it
        ~ column server.state: utf8mb3_general_ci -> utf8mb3_bin [look] text compares otherwise
        + index server.ix: new [open] faster, no more
        ~ unique key server.u: unique name -> unique name,new [look] newer code may write twice what older code takes to be one
        + foreign key server.fk: new to other(id), on update restrict, on delete cascade [look] it refuses what older code may write or delete
        ");
        assert_eq!(Verdict::of(&changes), Verdict::Closed);
        assert_eq!(written(&before, &after), [("d".to_owned(), [("server".to_owned(), 3)].into())].into());
    }

    #[test]
    fn a_new_database_must_be_one_difference() {
        let (none, some) = (read("").unwrap(), read(BEFORE).unwrap());
        let all = |before, after| compare(before, after).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(all(&none, &some), ["+ database: 2 tables"]);
        assert_eq!(all(&some, &none), ["- database: 2 tables"]);
    }

    #[test]
    fn the_same_must_have_no_difference() {
        let one = read(BEFORE).unwrap();
        assert_eq!(compare(&one, &one), []);
        assert_eq!(Verdict::of(&[]), Verdict::Open);
        assert!(written(&one, &one).is_empty());
    }
}
