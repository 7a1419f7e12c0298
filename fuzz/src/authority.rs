//! Bodies of the targets for `remit-authority`. They panic where a property does not hold.

#[path = "../../crates/authority/src/http/form.rs"]
mod form;
use crate::signin::redirect;
use form::Form;
use std::collections::BTreeMap;
use url::{Url, form_urlencoded};

const ISSUER: &str = "https://remit.example";

/// An authorization request: the bytes as a form, and its `redirect_uri` beside the one that was registered.
pub fn requests(bytes: &[u8]) {
    if let Ok(form) = Form::parse(bytes) {
        one_meaning(bytes, &form);
        redirects(form.one("redirect_uri").unwrap_or_default(), form.one("registered").unwrap_or_default(), form.one("state"));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let mut lines = text.splitn(3, '\n');
        let mut line = || lines.next().unwrap_or_default();
        redirects(line(), line(), Some(line()).filter(|state| !state.is_empty()));
    }
}

/// Another reader of forms sees the same parameters, and each of ours once.
fn one_meaning(bytes: &[u8], form: &Form) {
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        others.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    for (name, mut values) in others {
        values.retain(|value| !value.is_empty());
        assert_eq!(form.all(&name).collect::<Vec<_>>(), values, "another reader sees another {name:?}");
        assert_eq!(form.one(&name), values.first().map(String::as_str));
        assert_eq!(form.has(&name), form.required(&name).is_ok());
        assert!(values.len() <= 1 || matches!(name.as_str(), "resource" | "audience"), "{name:?} was given twice");
    }
    assert!(!format!("{form:?}").contains("hunter2") || String::from_utf8_lossy(bytes).matches("hunter2").count() == 0);
}

/// A browser is sent only where the registration says, and what is sent arrives there whole.
fn redirects(asked: &str, registered: &str, state: Option<&str>) {
    let _ = redirect::host(asked);
    if redirect::registrable(asked).is_ok() {
        assert!(redirect::allowed(asked, &[asked.to_owned()], false), "{asked} is registered and never used");
    }
    for native in [false, true] {
        let registrations: Vec<String> = Some(registered.to_owned()).filter(|uri| !uri.is_empty()).into_iter().collect();
        if !redirect::allowed(asked, &registrations, native) {
            continue;
        }
        let to = Url::parse(asked).expect("an allowed URI is one");
        let loopback = matches!(to.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")) && to.scheme() == "http";
        assert_eq!(loopback, redirect::is_loopback(asked), "{asked}");
        assert!(asked == registered || loopback, "{asked} is not {registered}");
        assert!(!registrations.is_empty() || native, "{asked} without a registration");
        assert!(to.fragment().is_none() && to.username().is_empty() && to.password().is_none(), "{asked}");
        if let (true, Ok(known)) = (loopback, Url::parse(registered)) {
            let place = |url: &Url| (url.host_str().map(str::to_owned), url.path().to_owned(), url.query().map(str::to_owned));
            assert_eq!(place(&to), place(&known), "more than the port differs");
        }
        let source = redirect::form_action(asked);
        assert!(!source.is_empty() && !source.contains([';', ',', '*', '\'', '"', ' ']), "{asked} gives the source {source:?}");
        arrives(asked, &to, state);
    }
}

fn arrives(asked: &str, to: &Url, state: Option<&str>) {
    let sent = Url::parse(&redirect::with(asked, &[("code", "a b&c")], state, ISSUER)).expect("a redirect is a URL");
    assert_eq!((sent.scheme(), sent.host_str(), sent.port()), (to.scheme(), to.host_str(), to.port()), "{asked}");
    assert_eq!(sent.path(), to.path(), "{asked}");
    let mut wanted: Vec<(String, String)> = to.query_pairs().into_owned().collect();
    wanted.push(("code".to_owned(), "a b&c".to_owned()));
    wanted.extend(state.map(|state| ("state".to_owned(), state.to_owned())));
    wanted.push(("iss".to_owned(), ISSUER.to_owned()));
    assert_eq!(sent.query_pairs().into_owned().collect::<Vec<_>>(), wanted, "{asked}");
}
