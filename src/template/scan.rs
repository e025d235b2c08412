//! Finds the names that a template uses, with their places, without rendering it.
//!
//! Not a parser of Tera: it reads the tags only as far as to tell `var.x`, `port.x`, `host.x`, `secret(name="x")` and the like
//! apart from text, comments and raw blocks. What it does not understand, it leaves to Tera.

/// One use of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// What.
    pub what: Used,
    /// Byte offset in the text.
    pub offset: usize,
    /// Bytes.
    pub length: usize,
    /// Services without which the template does not get here: those that enclosing `if has_service(name="x")` ask for.
    pub services: Vec<String>,
}

/// What is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Used {
    /// `first.second`; `guarded` where the template itself asks whether it is there.
    Field {
        /// `var`, `port`, `host`, ...
        first: String,
        /// The name.
        second: String,
        /// `is defined`, `is undefined` or `| default` follows.
        guarded: bool,
    },
    /// `function(argument="value")`, for each literal argument.
    Call {
        /// Function.
        function: String,
        /// Argument.
        argument: String,
        /// Value.
        value: String,
    },
    /// `include "name"`.
    Include(String),
}

#[derive(Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str, usize),
    Text(&'a str, usize),
    Sign(char),
}

/// Returns all uses in the order of the text. Names that the template binds itself (`for`, `set`) are left out.
pub fn uses(text: &str) -> Vec<Use> {
    let mut found = Vec::new();
    let mut bound: Vec<String> = Vec::new();
    let mut branches: Vec<Vec<String>> = Vec::new();
    let mut at = 0;
    while let Some(open) = next_tag(text, at) {
        let (kind, body) = (text.as_bytes().get(open + 1).copied(), open + 2);
        let close = match kind {
            Some(b'#') => "#}",
            Some(b'%') => "%}",
            Some(_) | None => "}}",
        };
        let end = end_of_tag(text, body, close, kind == Some(b'#'));
        let inner = &text[body..end];
        if kind != Some(b'#') {
            let first = found.len();
            expression(inner, body, &mut found);
            if kind == Some(b'%') {
                binds(inner, &mut bound);
                found.extend(included(inner, body));
                branch(inner, &mut branches);
            }
            for found in &mut found[first..] {
                found.services = branches.concat();
            }
        }
        at = (end + close.len()).min(text.len());
        // The body of a raw block is text.
        if kind == Some(b'%') && inner.trim_matches(['-', ' ', '\n', '\t']) == "raw" {
            at = text[at..].find("endraw").map_or(text.len(), |skip| at + skip);
        }
    }
    found.retain(|found| !matches!(&found.what, Used::Field { first, .. } if bound.contains(first)));
    found
}

/// Keeps what the branches that are open ask for. Where a condition has an `or` or a `not`, nothing is certain.
fn branch(tag: &str, open: &mut Vec<Vec<String>>) {
    let words = tokens(tag, 0);
    let mut rest = words.iter().skip_while(|token| matches!(token, Token::Sign('-')));
    let Some(Token::Word(kind @ ("if" | "elif" | "else" | "endif"), _)) = rest.next() else { return };
    if *kind != "if" {
        open.pop();
    }
    if *kind != "endif" {
        let certain = !words.iter().any(|token| matches!(token, Token::Word("or" | "not", _)));
        let mut asked = Vec::new();
        expression(tag, 0, &mut asked);
        open.push(asked.into_iter().filter(|_| certain).filter_map(|found| service(found.what)).collect());
    }
}

/// Returns the service that a call asks for.
fn service(what: Used) -> Option<String> {
    match what {
        Used::Call { function, value, .. } if function == "has_service" => Some(value),
        Used::Call { .. } | Used::Field { .. } | Used::Include(_) => None,
    }
}

/// Returns the names of the pieces that a text includes.
pub fn includes(text: &str) -> Vec<String> {
    uses(text)
        .into_iter()
        .filter_map(|found| match found.what {
            Used::Include(name) => Some(name),
            Used::Field { .. } | Used::Call { .. } => None,
        })
        .collect()
}

/// Returns the piece that a tag includes, if that is what it does.
fn included(tag: &str, base: usize) -> Option<Use> {
    let words = tokens(tag, base);
    let mut words = words.iter().skip_while(|token| matches!(token, Token::Sign('-')));
    match (words.next(), words.next()) {
        (Some(Token::Word("include", _)), Some(Token::Text(name, at))) => Some(Use {
            what: Used::Include((*name).to_owned()),
            offset: *at,
            length: name.len() + 2,
            services: Vec::new(),
        }),
        _ => None,
    }
}

/// Collects the names that a tag binds: `for a, b in ...`, `set a = ...`.
fn binds(tag: &str, bound: &mut Vec<String>) {
    let words = tokens(tag, 0);
    let mut words = words.iter().skip_while(|token| matches!(token, Token::Sign('-')));
    match words.next() {
        Some(Token::Word("set" | "set_global", _)) => {
            if let Some(Token::Word(name, _)) = words.next() {
                bound.push((*name).to_owned());
            }
        }
        Some(Token::Word("for", _)) => {
            for token in words.take_while(|token| !matches!(token, Token::Word("in", _))) {
                if let Token::Word(name, _) = token {
                    bound.push((*name).to_owned());
                }
            }
        }
        Some(_) | None => {}
    }
}

/// Returns the uses in an expression that stands without braces.
pub fn uses_in_expression(text: &str) -> Vec<Use> {
    let mut found = Vec::new();
    expression(text, 0, &mut found);
    found
}

fn next_tag(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    (from..bytes.len().saturating_sub(1))
        .find(|&i| bytes[i] == b'{' && matches!(bytes[i + 1], b'{' | b'%' | b'#'))
}

fn end_of_tag(text: &str, from: usize, close: &str, comment: bool) -> usize {
    let bytes = text.as_bytes();
    let mut quote = None;
    for i in from..bytes.len() {
        match quote {
            Some(q) if bytes[i] == q => quote = None,
            None if !comment && matches!(bytes[i], b'"' | b'\'' | b'`') => quote = Some(bytes[i]),
            None if bytes[i..].starts_with(close.as_bytes()) => return i,
            Some(_) | None => {}
        }
    }
    bytes.len()
}

fn tokens(text: &str, base: usize) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let mut list = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let start = i;
        match bytes[i] {
            b'"' | b'\'' | b'`' => {
                let quote = bytes[i];
                i += 1;
                while i < bytes.len() && bytes[i] != quote {
                    i += 1;
                }
                list.push(Token::Text(text.get(start + 1..i).unwrap_or(""), base + start));
                i += 1;
            }
            b if b.is_ascii_alphanumeric() || b == b'_' => {
                while i < bytes.len() && (bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_') {
                    i += 1;
                }
                list.push(Token::Word(&text[start..i], base + start));
            }
            b if b.is_ascii_whitespace() => i += 1,
            b => {
                list.push(Token::Sign(char::from(b)));
                i += 1;
            }
        }
    }
    list
}

fn expression(text: &str, base: usize, found: &mut Vec<Use>) {
    let list = tokens(text, base);
    let mut function: Vec<Option<&str>> = Vec::new();
    for (i, token) in list.iter().enumerate() {
        match token {
            Token::Sign('(') => function.push(match i.checked_sub(1).and_then(|before| list.get(before)) {
                Some(Token::Word(name, _)) => Some(name),
                Some(_) | None => None,
            }),
            Token::Sign(')') => drop(function.pop()),
            Token::Sign(_) => {}
            Token::Text(value, offset) => {
                let before =
                    (i.checked_sub(2).and_then(|j| list.get(j)), i.checked_sub(1).and_then(|j| list.get(j)));
                if let ((Some(Token::Word(argument, _)), Some(Token::Sign('='))), Some(Some(name))) =
                    (before, function.last())
                {
                    found.push(Use {
                        what: Used::Call {
                            function: (*name).to_owned(),
                            argument: (*argument).to_owned(),
                            value: (*value).to_owned(),
                        },
                        offset: *offset,
                        length: value.len() + 2,
                        services: Vec::new(),
                    });
                }
            }
            Token::Word(first, offset) => {
                let starts =
                    i.checked_sub(1).is_none_or(|before| list.get(before) != Some(&Token::Sign('.')));
                if let (true, Some(Token::Sign('.')), Some(Token::Word(second, end))) =
                    (starts, list.get(i + 1), list.get(i + 2))
                {
                    let guarded = matches!(
                        (list.get(i + 3), list.get(i + 4)),
                        (Some(Token::Word("is", _)), Some(Token::Word("defined" | "undefined" | "not", _)))
                            | (Some(Token::Sign('|')), Some(Token::Word("default", _)))
                    );
                    found.push(Use {
                        what: Used::Field {
                            first: (*first).to_owned(),
                            second: (*second).to_owned(),
                            guarded,
                        },
                        offset: *offset,
                        length: end + second.len() - offset,
                        services: Vec::new(),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_be_found_where_they_are_names() {
        let text = "var.no {{ var.a }} {# {{ var.no }} #} {% if port.b is defined and x.var.c %}{{ secret(name=\"d\") ~ \"var.no\" }}{% endif %}{% raw %}{{ var.no }}{% endraw %}{{ var.e | default(value=1) }}";
        let shown: Vec<String> = uses(text)
            .into_iter()
            .map(|u| match u.what {
                Used::Field { first, second, guarded } => {
                    format!("{first}.{second}{}", if guarded { "?" } else { "" })
                }
                Used::Call { function, argument, value } => format!("{function}({argument}={value})"),
                Used::Include(name) => format!("include {name}"),
            })
            .collect();
        assert_eq!(shown, ["var.a", "port.b?", "x.var", "secret(name=d)", "var.e?"]);
        let use_a = &uses(text)[0];
        assert_eq!(&text[use_a.offset..use_a.offset + use_a.length], "var.a");
    }

    #[test]
    fn what_only_a_service_would_make_rendered_must_be_told_apart() {
        let text = "{{ var.a }}{% if has_service(name=\"x\") and var.y %}{{ var.b }}{% if var.c %}{{ var.d }}{% endif %}\
                    {% elif has_service(name=\"z\") %}{{ var.e }}{%- else -%}{{ var.f }}{% endif %}{{ var.g }}\
                    {% if has_service(name=\"x\") or var.y %}{{ var.h }}{% endif %}\
                    {% if not has_service(name=\"x\") %}{{ var.i }}{% endif %}";
        let shown: Vec<String> = uses(text)
            .into_iter()
            .filter_map(|u| match u.what {
                Used::Field { second, .. } => Some(format!("{second}:{}", u.services.join("+"))),
                Used::Call { .. } | Used::Include(_) => None,
            })
            .collect();
        assert_eq!(shown, ["a:", "y:x", "b:x", "c:x", "d:x", "e:z", "f:", "g:", "y:", "h:", "i:"]);
    }
}
