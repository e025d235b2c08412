//! Lists in pages: Glance gives 25 items at once, Nova, Cinder and Keystone a thousand at most.

use serde_json::Value;

use super::http::{CloudError, CloudResult};
use super::observe::text;

/// A list while its pages are asked for, one after another: each page says where the next one is.
pub(super) struct Pages<'p> {
    key: &'p str,
    /// The page to be asked for.
    pub next: Option<String>,
    /// What the pages so far have.
    pub items: Vec<Value>,
}

impl<'p> Pages<'p> {
    /// A list under `key`, of which the first page is at a path.
    pub fn new(path: &str, key: &'p str) -> Self {
        Self { key, next: Some(path.to_owned()), items: Vec::new() }
    }

    /// Takes the document of the page that was asked for. `url` is for what goes wrong.
    pub fn take(&mut self, url: &str, mut document: Value) -> CloudResult<()> {
        let Some(Value::Array(items)) = document.get_mut(self.key).map(Value::take) else {
            let reason = format!("no list `{}`", self.key);
            return Err(CloudError::Answer { url: url.to_owned(), reason });
        };
        let page = self.next.take().unwrap_or_default();
        // A page may be linked to although nothing is on it.
        if !items.is_empty() {
            self.next = next_page(&document, self.key, &page).filter(|next| *next != page);
        }
        self.items.extend(items);
        Ok(())
    }
}

/// Returns the path of the page that a list's document links to. Only the link's query counts: services write their own URL as they
/// see it behind a proxy, or none.
fn next_page(document: &Value, key: &str, path: &str) -> Option<String> {
    // Nova's, Cinder's and Neutron's; Keystone's; Glance's.
    let links = document.get(format!("{key}_links")).or_else(|| document.get("links"));
    let link = match links {
        Some(Value::Array(links)) => links.iter().find(|link| text(link, "rel") == "next")?.get("href"),
        Some(links) => links.get("next"),
        None => document.get("next"),
    };
    let (_, query) = link?.as_str()?.split_once('?')?;
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    Some(format!("{path}?{query}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_that_is_linked_to_must_be_asked_for_where_the_list_was() {
        let next = |document: Value| next_page(&document, "servers", "servers/detail?status=ACTIVE");
        let page = Some("servers/detail?limit=2&marker=b".to_owned());
        let href = "http://inside:8774/v2.1/servers/detail?limit=2&marker=b";
        let links = json!([{"rel": "previous", "href": "x?y"}, {"rel": "next", "href": href}]);
        assert_eq!(next(json!({"servers_links": links})), page);
        assert_eq!(next(json!({"links": links})), page);
        assert_eq!(next(json!({"links": {"self": "x", "next": href}})), page);
        assert_eq!(next(json!({"next": "/v2/images?limit=2&marker=b"})), page);
        assert_eq!(next(json!({"servers_links": [{"rel": "previous", "href": "x?y"}]})), None);
        assert_eq!(next(json!({"links": {"self": "x", "next": null}})), None);
        assert_eq!(next(json!({"servers": []})), None);
    }
}
