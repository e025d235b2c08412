//! Renders templates from memory.
//!
//! A template is checked before it is rendered ([`scan`]): all names it uses that nobody gives are found at once, with their
//! places. Rendering then finds what only values can tell. Secrets come in through one function, which notes that they did.

pub mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tera::{Context, ErrorKind, Kwargs, State, Tera, Value};

use crate::model::Secret;

/// What a template may call, besides Tera's own functions.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    /// Secrets it may use, by name; none where secrets are refused.
    pub secrets: BTreeMap<String, Secret>,
    /// Whether secrets are refused altogether: in strings that end up in argv, environment and labels.
    pub no_secrets: bool,
    /// Base URLs by proxy entry: public.
    pub public_urls: BTreeMap<String, String>,
    /// Base URLs by proxy entry: internal.
    pub internal_urls: BTreeMap<String, String>,
    /// Hosts by service.
    pub hosts_of_service: BTreeMap<String, serde_json::Value>,
    /// Hosts by container.
    pub hosts_of_container: BTreeMap<String, serde_json::Value>,
    /// Services in the profile.
    pub services: BTreeSet<String>,
    /// What it may include, by name, e.g. `shared/database.conf`.
    pub pieces: Pieces,
}

/// Texts that templates include, by name. Shared: every template of a profile has the same.
pub type Pieces = Arc<BTreeMap<String, String>>;

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Names of the secrets that went into it.
    pub secrets: BTreeSet<String>,
}

/// Why a template was not rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// Line from 1, column from 1, and length, where known.
    pub place: Option<(usize, usize, usize)>,
    /// The piece that the place is in; without one, it is in the template itself.
    pub piece: Option<String>,
}

/// The name that a template itself has while it is rendered: no piece can have it.
const ITSELF: &str = "";

/// Renders `text` with `values` (a JSON object) and `functions`.
pub fn render(
    text: &str,
    values: &serde_json::Value,
    functions: &Functions,
) -> Result<Rendered, TemplateError> {
    let used = Arc::new(Mutex::new(BTreeSet::new()));
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<&str>::new());
    register(&mut tera, functions, &used);
    add(&mut tera, text, functions)?;
    let context = Context::from_serialize(values).map_err(|error| template_error(&error))?;
    let text = tera.render(ITSELF, &context).map_err(|error| template_error(&error))?;
    let secrets = used.lock().map(|used| used.clone()).unwrap_or_default();
    Ok(Rendered { text, secrets })
}

/// Evaluates a condition such as `var.tls and port.x > 1024`.
pub fn condition(
    expression: &str,
    values: &serde_json::Value,
    functions: &Functions,
) -> Result<bool, TemplateError> {
    let rendered = render(&format!("{{% if {expression} %}}1{{% endif %}}"), values, functions)?;
    Ok(rendered.text == "1")
}

/// The offset of the expression within the text that [`condition`] renders.
pub const CONDITION_PREFIX: usize = "{% if ".len();

/// Reads a template without rendering it.
pub fn parse(text: &str, functions: &Functions) -> Result<(), TemplateError> {
    let mut tera = Tera::new();
    register(&mut tera, functions, &Arc::default());
    add(&mut tera, text, functions)
}

/// Adds a template with the pieces that it includes, and those that they include.
fn add(tera: &mut Tera, text: &str, functions: &Functions) -> Result<(), TemplateError> {
    let mut wanted = scan::includes(text);
    let mut texts = BTreeMap::from([(ITSELF, text)]);
    while let Some(name) = wanted.pop() {
        // Tera itself says which `include` names a piece that is not there.
        let Some((name, piece)) = functions.pieces.get_key_value(&name) else { continue };
        if texts.insert(name, piece).is_none() {
            wanted.extend(scan::includes(piece));
        }
    }
    tera.add_raw_templates(texts).map_err(|error| template_error(&error))
}

fn register(tera: &mut Tera, functions: &Functions, used: &Arc<Mutex<BTreeSet<String>>>) {
    let secrets = functions.secrets.clone();
    let refused = functions.no_secrets;
    let used = Arc::clone(used);
    tera.register_function("secret", move |kwargs: Kwargs, _: &State<'_>| -> Result<Value, tera::Error> {
        let name = kwargs.must_get::<String>("name")?;
        if refused {
            return Err(tera::Error::message(
                "secrets belong in files only: this text can be seen in process lists and labels",
            ));
        }
        let Some(secret) = secrets.get(&name) else {
            return Err(tera::Error::message(format!("this service may not use a secret `{name}`")));
        };
        if let Ok(mut used) = used.lock() {
            used.insert(name);
        }
        Ok(Value::from(secret.expose()))
    });
    for (name, urls) in [("public_url", &functions.public_urls), ("internal_url", &functions.internal_urls)] {
        let urls = urls.clone();
        tera.register_function(name, move |kwargs: Kwargs, _: &State<'_>| -> Result<Value, tera::Error> {
            let proxy = kwargs.must_get::<String>("proxy")?;
            let path = kwargs.get::<String>("path")?.unwrap_or_default();
            match urls.get(&proxy) {
                Some(url) => Ok(Value::from(format!("{url}{path}"))),
                None => {
                    Err(tera::Error::message(format!("no `proxy` entry of this profile is named `{proxy}`")))
                }
            }
        });
    }
    let (services, containers) = (functions.hosts_of_service.clone(), functions.hosts_of_container.clone());
    tera.register_function("hosts_of", move |kwargs: Kwargs, _: &State<'_>| -> Result<Value, tera::Error> {
        let (kind, map, name) = match kwargs.get::<String>("service")? {
            Some(name) => ("service", &services, name),
            None => ("container", &containers, kwargs.must_get::<String>("container")?),
        };
        match map.get(&name) {
            Some(hosts) => Ok(Value::from_serializable(hosts)),
            None => Err(tera::Error::message(format!("no {kind} of this profile is named `{name}`"))),
        }
    });
    let services = functions.services.clone();
    tera.register_function(
        "has_service",
        move |kwargs: Kwargs, _: &State<'_>| -> Result<Value, tera::Error> {
            Ok(Value::from(services.contains(&kwargs.must_get::<String>("name")?)))
        },
    );
}

fn template_error(error: &tera::Error) -> TemplateError {
    match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => {
            let span = report.span();
            let length = if span.start_line == span.end_line {
                span.end_col.saturating_sub(span.start_col)
            } else {
                1
            };
            TemplateError {
                message: report.message().to_owned(),
                place: Some((span.start_line.max(1), span.start_col + 1, length.max(1))),
                piece: Some(report.filename().to_owned()).filter(|name| name != ITSELF),
            }
        }
        other => TemplateError { message: other.to_string(), place: None, piece: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn functions() -> Functions {
        Functions {
            secrets: [("p".to_owned(), Secret::new("s3cret"))].into(),
            public_urls: [("api".to_owned(), "https://x:5000".to_owned())].into(),
            ..Functions::default()
        }
    }

    #[test]
    fn secrets_must_be_noted_and_nothing_escaped() {
        let rendered = render(
            "a<{{ var.x }}> {{ secret(name=\"p\") }} {{ public_url(proxy=\"api\", path=\"/v3\") }}\n",
            &json!({"var": {"x": "&"}}),
            &functions(),
        )
        .unwrap();
        assert_eq!(rendered.text, "a<&> s3cret https://x:5000/v3\n");
        assert!(rendered.secrets.contains("p"));
    }

    #[test]
    fn an_unknown_name_must_be_an_error_with_its_place() {
        let error = render("x\n  {{ var.y }}", &json!({"var": {}}), &functions()).unwrap_err();
        assert_eq!(error.place.map(|p| (p.0, p.1)), Some((2, 10)), "{error}");
        let error = render("{{ secret(name=\"q\") }}", &json!({}), &functions()).unwrap_err();
        assert!(error.message.contains("may not use"), "{error}");
        let error = render("{{ oops", &json!({}), &functions()).unwrap_err();
        assert!(error.place.is_some());
    }

    #[test]
    fn a_piece_must_be_included_with_the_names_that_were_set_before_it() {
        let pieces = [
            (
                "shared/db.conf".to_owned(),
                "{% include \"shared/head\" %}{{ secret(name=user ~ \"\") }}".to_owned(),
            ),
            ("shared/head".to_owned(), "[db]\n".to_owned()),
            ("shared/bad".to_owned(), "x\n{{ var.nothing.at_all }}".to_owned()),
        ];
        let functions = Functions { pieces: Arc::new(pieces.into()), ..functions() };
        let text = "{% set user = \"p\" %}{% include \"shared/db.conf\" %}!";
        let rendered = render(text, &json!({}), &functions).unwrap();
        assert_eq!(rendered.text, "[db]\ns3cret!");
        assert!(rendered.secrets.contains("p"), "a secret that a piece asks for is noted as well");
        let error = render("{% include \"shared/bad\" %}", &json!({"var": {}}), &functions).unwrap_err();
        assert_eq!(
            (error.piece.as_deref(), error.place.map(|p| p.0)),
            (Some("shared/bad"), Some(2)),
            "{error}"
        );
        let error = parse("a\n{% include \"shared/dc.conf\" %}", &functions).unwrap_err();
        assert!(error.message.contains("shared/dc.conf"), "{error:?}");
    }

    #[test]
    fn secrets_must_be_refused_outside_of_files() {
        let functions = Functions { no_secrets: true, ..functions() };
        let error = render("{{ secret(name=\"p\") }}", &json!({}), &functions).unwrap_err();
        assert!(error.message.contains("files only"), "{error}");
    }

    #[test]
    fn conditions_must_be_expressions() {
        let values = json!({"var": {"a": true, "b": "ovn", "n": 3}});
        assert!(condition("var.a and var.b == \"ovn\"", &values, &functions()).unwrap());
        assert!(!condition("var.n > 3", &values, &functions()).unwrap());
        // Tera takes a name that nobody gives for false here: the scan finds it instead.
        assert!(!condition("var.zz", &values, &functions()).unwrap());
        assert_eq!(scan::uses_in_expression("var.zz").len(), 1);
        assert!(condition("var.n >", &values, &functions()).is_err());
    }
}
