//! Horizon: a login as a person does it, by its form.

use std::collections::BTreeMap;

use reqwest::{Method, Response, StatusCode, header};

use super::super::scene::Scene;
use super::super::walk::{ActResult, Failure};
use crate::cloud::browser_client;

/// Logs in as the run's own user: the form with its token, the session's cookie, the page behind it with the user's name.
pub(in crate::verify) async fn dashboard(scene: &Scene) -> ActResult {
    let root =
        scene.facts.dashboard.as_deref().ok_or_else(|| Failure("the profile has no dashboard".to_owned()))?;
    let mut browser = Browser {
        client: browser_client(root.starts_with("https:").then_some(scene.state.as_path()))?,
        cookies: BTreeMap::new(),
    };
    let url = format!("{root}/auth/login/");
    let form = text(browser.send(Method::GET, &url, None).await?).await?;
    let mut fields = hidden(&form);
    if !fields.contains_key("csrfmiddlewaretoken") {
        return Err(Failure(format!("{url} shows no login form: {}", start(&form))));
    }
    fields.insert("username".to_owned(), scene.name.clone());
    fields.insert("password".to_owned(), scene.password.expose().to_owned());
    let answer = browser.send(Method::POST, &url, Some(&fields)).await?;
    if answer.status() != StatusCode::FOUND {
        let status = answer.status();
        let page = text(answer).await?;
        return Err(Failure(format!(
            "the login was answered with {status}, not with a way on: {}",
            start(&page)
        )));
    }
    let mut next = onwards(&answer, root)?;
    // From one page to the next, until one is shown: the way goes by what the user may see.
    for _ in 0..5 {
        let answer = browser.send(Method::GET, &next, None).await?;
        if answer.status().is_redirection() {
            next = onwards(&answer, root)?;
            continue;
        }
        let status = answer.status();
        let page = text(answer).await?;
        if status == StatusCode::OK && page.contains(&scene.name) && !hidden(&page).contains_key("username") {
            return Ok(format!("{next} greets the user"));
        }
        return Err(Failure(format!("{next}: {status}, without the user's name: {}", start(&page))));
    }
    Err(Failure(format!("the way goes in circles, last to {next}")))
}

/// A client that keeps cookies.
struct Browser {
    client: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    async fn send(
        &mut self,
        method: Method,
        url: &str,
        form: Option<&BTreeMap<String, String>>,
    ) -> Result<Response, Failure> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = self.client.request(method, url).header(header::REFERER, url);
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if let Some(form) = form {
            let fields: Vec<_> =
                form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
            request = request
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(fields.join("&"));
        }
        let answer = request.send().await?;
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap_or_default();
            if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        Ok(answer)
    }
}

async fn text(answer: Response) -> Result<String, Failure> {
    Ok(answer.text().await?)
}

/// Where an answer sends to.
fn onwards(answer: &Response, root: &str) -> Result<String, Failure> {
    let to = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match to {
        "" => Err(Failure(format!("{} sends on to nowhere", answer.url()))),
        path if path.starts_with('/') => Ok(format!("{root}{path}")),
        url if url.starts_with(root) => Ok(url.to_owned()),
        url => Err(Failure(format!("{} sends away to {url}", answer.url()))),
    }
}

/// Names and values of a page's `<input>`s, those without a value empty.
fn hidden(page: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for part in page.split("<input").skip(1) {
        let tag = part.split('>').next().unwrap_or_default();
        let attribute = |name: &str| {
            let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
            Some(rest.split('"').next().unwrap_or_default().to_owned())
        };
        if let Some(name) = attribute("name") {
            fields.insert(name, attribute("value").unwrap_or_default().replace("&amp;", "&"));
        }
    }
    fields
}

/// The beginning of a page's text, without its tags.
fn start(page: &str) -> String {
    let body = page.split_once("<body").map_or(page, |(_, body)| body);
    let mut text = String::new();
    for part in body.split('<') {
        text.push_str(part.split_once('>').map_or("", |(_, text)| text));
        text.push(' ');
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

/// Percent-encodes a form's text.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forms_fields_must_be_found() {
        let page = "<form><input type=\"hidden\" name=\"csrfmiddlewaretoken\" value=\"abc\">\n<input name=\"username\"  id=x>\
                    <input type='hidden'><input type=\"hidden\" name=\"region\" value=\"https://c:5000/v3?a=1&amp;b\" /></form>";
        let fields: Vec<_> = hidden(page).into_iter().collect();
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            fields,
            [
                field("csrfmiddlewaretoken", "abc"),
                field("region", "https://c:5000/v3?a=1&b"),
                field("username", "")
            ]
        );
    }

    #[test]
    fn a_page_must_be_told_without_its_tags() {
        assert_eq!(
            start("<html><head><title>x</title></head><body class=y><p>Sorry,\n <b>no</b></p>"),
            "Sorry, no"
        );
        assert_eq!(encode("a b&c=\u{fc}"), "a%20b%26c%3D%C3%BC");
    }
}
