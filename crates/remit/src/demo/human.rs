//! A person at a browser, as far as a story without a screen can have one: follows redirects, keeps cookies, fills in the
//! sign-in form and presses "allow". The tests do the same with a real browser.

use crate::client::{Answer, HttpClient};
use anyhow::{Context as _, Result, bail};
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use url::Url;

/// Most pages between the first click and the agent's redirect URI.
const PAGES: usize = 8;

/// One person with an account and an empty browser.
#[derive(Debug)]
pub(crate) struct Human {
    web: HttpClient,
    name: String,
    password: String,
    cookies: BTreeMap<String, String>,
    /// What the consent page lists, an entry each.
    pub(crate) read: Vec<String>,
}

impl Human {
    pub(crate) fn new(web: HttpClient, name: &str, password: &str) -> Self {
        Self { web, name: name.to_owned(), password: password.to_owned(), cookies: BTreeMap::new(), read: Vec::new() }
    }

    /// Opens an authorization URL, signs in, consents, and hands back what the agent's redirect URI is given.
    pub(crate) async fn consent(&mut self, url: &str, redirect_uri: &str) -> Result<BTreeMap<String, String>> {
        let mut at = Url::parse(url)?;
        let mut answer = self.fetch(Method::GET, &at, None).await?;
        for _ in 0..PAGES {
            if answer.status.is_redirection() {
                let to = answer.header("location").context("a redirect without a location")?;
                if to.starts_with(redirect_uri) {
                    return Ok(Url::parse(to)?.query_pairs().into_owned().collect());
                }
                at = at.join(to)?;
                answer = self.fetch(Method::GET, &at, None).await?;
                continue;
            }
            let page = String::from_utf8_lossy(&answer.body).into_owned();
            if answer.status != StatusCode::OK {
                bail!("the page {at} answered {}: {}", answer.status, words(&page).join(" "));
            }
            let form = form(&page).with_context(|| format!("no form on {at}"))?;
            let mut fields = form.hidden;
            if page.contains("type=\"password\"") {
                fields.extend([("username".to_owned(), self.name.clone()), ("password".to_owned(), self.password.clone())]);
            } else {
                self.read = listed(&page);
                fields.push(("decision".to_owned(), "allow".to_owned()));
            }
            at = at.join(&form.action)?;
            answer = self.fetch(Method::POST, &at, Some(fields)).await?;
        }
        bail!("signing in took more than {PAGES} pages")
    }

    async fn fetch(&mut self, method: Method, url: &Url, fields: Option<Vec<(String, String)>>) -> Result<Answer> {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let origin = url.origin().ascii_serialization();
        let mut headers = vec![("cookie", cookies.as_str()), ("origin", origin.as_str())];
        let mut body = String::new();
        if let Some(fields) = fields {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
            body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        }
        let answer = self.web.send(method, url.as_str(), &headers, body).await?;
        for cookie in answer.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()) {
            if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        Ok(answer)
    }
}

struct Form {
    action: String,
    hidden: Vec<(String, String)>,
}

fn form(page: &str) -> Option<Form> {
    let (_, rest) = page.split_once("<form")?;
    let (body, _) = rest.split_once("</form>")?;
    let action = attribute(body.split('>').next()?, "action").unwrap_or_default();
    let inputs = body.split("<input").skip(1).filter_map(|input| input.split('>').next());
    let hidden = inputs.filter(|input| attribute(input, "type").as_deref() == Some("hidden"));
    Some(Form {
        action,
        hidden: hidden.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?))).collect(),
    })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(unescape(value))
}

/// The entries of the page's lists (`data-list`), each as one line.
fn listed(page: &str) -> Vec<String> {
    let lists = page.split("data-list=").skip(1).filter_map(|rest| rest.split_once('>'));
    let entries = lists.flat_map(|(_, list)| {
        // Entries of a nested list belong to the entry that they stand in.
        let end = list.find("</section>").unwrap_or(list.len());
        list.get(..end).unwrap_or_default().split("<li>").skip(1).map(str::to_owned).collect::<Vec<_>>()
    });
    let line = |entry: &str| {
        let text: String = entry.split('<').enumerate().fold(String::new(), |line, (at, piece)| {
            let text = if at == 0 { piece } else { piece.split_once('>').map_or("", |(_, text)| text) };
            line + text
        });
        unescape(text.trim())
    };
    entries.map(|entry| line(&entry)).filter(|line| !line.is_empty()).collect()
}

/// What the main part of a page says: its text, a line for each piece between tags.
fn words(page: &str) -> Vec<String> {
    let main = page.split_once("<main").map_or(page, |(_, rest)| rest);
    main.split('<')
        .filter_map(|piece| piece.split_once('>'))
        .map(|(_, text)| unescape(text.trim()))
        .filter(|text| !text.is_empty())
        .collect()
}

fn unescape(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
