//! As much of WebDriver (W3C, <https://www.w3.org/TR/webdriver2/>) as a login takes.

use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use super::walk::Failure;
use crate::cloud::browser_client;

/// Under this key an answer holds an element's reference.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Between two looks at a page that is still changing.
const PAUSE: Duration = Duration::from_millis(100);

/// A browser's session.
pub(super) struct Browser {
    client: reqwest::Client,
    /// With the session's id.
    url: String,
}

impl Browser {
    /// Starts a browser.
    pub(super) async fn start(driver: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let client = browser_client(None)?;
        let options = json!({"args": arguments});
        let capabilities = json!({"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}});
        let browser = Self { client, url: format!("{driver}/session") };
        let session = browser.call("", Some(json!({"capabilities": capabilities}))).await?;
        let id = session["sessionId"].as_str().unwrap_or_default().to_owned();
        Ok(Self { url: format!("{}/{id}", browser.url), ..browser })
    }

    /// Opens a page and waits until it is loaded.
    pub(super) async fn open(&self, url: &str) -> Result<(), Failure> {
        self.call("/url", Some(json!({"url": url}))).await.map(drop)
    }

    /// Where it is.
    pub(super) async fn place(&self) -> Result<String, Failure> {
        Ok(self.call("/url", None).await?.as_str().unwrap_or_default().to_owned())
    }

    /// The first element that a selector of CSS finds, as soon as it does.
    pub(super) async fn find(&self, selector: &str, patience: Duration) -> Result<String, Failure> {
        let ends = Instant::now() + patience;
        loop {
            let found =
                self.call("/element", Some(json!({"using": "css selector", "value": selector}))).await;
            match found {
                Ok(found) => return Ok(found[ELEMENT].as_str().unwrap_or_default().to_owned()),
                Err(failure) if Instant::now() > ends => return Err(failure),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Types into an element.
    pub(super) async fn enter(&self, selector: &str, text: &str, patience: Duration) -> Result<(), Failure> {
        let element = self.find(selector, patience).await?;
        self.call(&format!("/element/{element}/value"), Some(json!({"text": text}))).await.map(drop)
    }

    /// Clicks an element.
    pub(super) async fn click(&self, selector: &str, patience: Duration) -> Result<(), Failure> {
        let element = self.find(selector, patience).await?;
        self.call(&format!("/element/{element}/click"), Some(json!({}))).await.map(drop)
    }

    /// The text of an element, as a person reads it.
    pub(super) async fn text(&self, selector: &str, patience: Duration) -> Result<String, Failure> {
        let element = self.find(selector, patience).await?;
        let text = self.call(&format!("/element/{element}/text"), None).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// What it shows, as PNG.
    pub(super) async fn screenshot(&self) -> Result<Vec<u8>, Failure> {
        let text = self.call("/screenshot", None).await?;
        base64::engine::general_purpose::STANDARD
            .decode(text.as_str().unwrap_or_default())
            .map_err(|error| Failure(format!("the driver's screenshot is none: {error}")))
    }

    /// One command; a body makes it a POST.
    async fn call(&self, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.url);
        let request = match &body {
            Some(body) => self.client.post(&url).json(body),
            None => self.client.get(&url),
        };
        let answer: Value = request.send().await?.json().await?;
        let value = answer["value"].clone();
        match value["error"].as_str() {
            // Its message goes on with a trace of the driver's own code.
            Some(error) => {
                let message = value["message"].as_str().unwrap_or_default();
                Err(Failure(format!("the browser: {error}: {}", message.lines().next().unwrap_or_default())))
            }
            None => Ok(value),
        }
    }
}
