//! What a consent page says: our words, and data of others that cannot become them. SPEC: AZ-09

use crate::{flow::*, world::*};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use serde_json::json;

/// What stands between the tags of a page, and within which element.
fn texts(page: &str) -> Vec<(String, String)> {
    let main = page.split_once("<main").unwrap().1;
    main.split('<')
        .filter_map(|piece| piece.split_once('>'))
        .map(|(tag, text)| (tag.to_owned(), text.to_owned()))
        .filter(|(_, text)| !text.trim().is_empty())
        .collect()
}

/// Whether the page holds `marker` in boxes for data alone.
fn only_data(page: &str, marker: &str) -> bool {
    let inside = |tag: &str| tag == "code class=\"data\"" || tag == "q class=\"data\"";
    texts(page).iter().all(|(tag, text)| !text.contains(marker) || inside(tag))
}

async fn page_for(world: &World, browser: &mut Browser, hostile: &str) -> Reply {
    let pointer = format!("/{}", hostile.replace('~', "~0").replace('/', "~1"));
    let details = json!([{
        "type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"],
        "arguments": {pointer.as_str(): {"in": [hostile, "b"]}, "/p": {"prefix": hostile}},
        "fields": ["/id"],
    }]);
    let parameters = request_with(&[("authorization_details", &details.to_string()), ("purpose", hostile)]);
    browser.begin(world, &parameters).await
}

#[test]
fn what_an_agent_sends_never_speaks_in_the_pages_voice() {
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[23; 32]));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (world, browser) = runtime.block_on(async {
        let world = World::new().await;
        let mut browser = Browser::default();
        assert!(is_consent(&browser.consent_page(&world, "alice", &request()).await));
        (world, browser)
    });
    let hostile = "(`|<b>|</code>|</li>|&lt;|\"|'|\\\\|; | and |[a-z ]|\u{202e}|\u{200b}|\u{e9}|\\{\\{){0,12}";
    let outcome = runner.run(&(hostile, hostile), |(before, after)| {
        runtime.block_on(async {
            let reply = page_for(&world, &mut browser.clone(), &format!("{before}MARK{after}")).await;
            if is_consent(&reply) {
                prop_assert!(only_data(&reply.text, "MARK"), "{}", reply.text);
                prop_assert!(reply.text.matches("MARK").count() >= 3, "{}", reply.text);
                prop_assert!(!reply.text.contains(['\u{202e}', '\u{200b}']), "{}", reply.text);
                prop_assert_eq!(reply.text.matches("<form").count(), 1);
                Ok(())
            } else {
                // An unreadable text is refused where it comes in.
                let back = reply.location();
                prop_assert!(query(&back, "remit_code").is_some(), "{}", back);
                Ok::<(), TestCaseError>(())
            }
        })
    });
    outcome.unwrap();
}

#[tokio::test]
async fn a_value_of_two_hundred_kilobytes_is_refused_and_not_shown() {
    let world = World::new().await;
    let mut browser = Browser::default();
    browser.consent_page(&world, "alice", &request()).await;
    let details = json!([{"type": "tool_access", "arguments": {"/p": {"eq": "x".repeat(200 << 10)}}}]).to_string();
    let reply = browser.post(&world, "/oauth/authorize", &request_with(&[("authorization_details", &details)])).await;
    assert!(reply.text.contains("request_too_large"), "{}", reply.text);
}

#[tokio::test]
async fn titles_stand_before_the_names_they_are_for() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &request()).await;
    assert!(page.text.contains("Read a ticket (<code class=\"data\">tickets_read</code>)"), "{}", page.text);
    assert!(page.text.contains(" at helpdesk"), "the server's title: {}", page.text);
    let marks = page.text.matches("data-list=").count();
    assert_eq!(marks, 2, "what reads the page without eyes finds the lists by their names");
}
