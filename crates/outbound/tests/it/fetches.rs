//! SPEC: F-01 to F-07.

use remit_clock::Clock;
use remit_model::time::Moment;
use remit_outbound::{Documents, Freshness, Limit, Outbound, OutboundError, Rules, Source};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// A server that answers every request with `answer`, and counts them.
async fn server(answer: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, counted) = (answer.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let mut head = [0; 4_096];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    counted.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(&answer).await.unwrap();
                    stream.shutdown().await.ok();
                }
            });
        }
    });
    (format!("http://{at}/doc"), asked)
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

fn json_answer(body: &str) -> Vec<u8> {
    answer("200 OK\r\ncontent-type: application/json", body)
}

fn outbound(allow: &[String]) -> Outbound {
    Outbound::new(Rules { allow: allow.to_vec(), trusted: Vec::new() }).unwrap()
}

fn host(url: &str) -> String {
    url.trim_start_matches("http://").split('/').next().unwrap().to_owned()
}

#[test]
fn n_f_01_a_stranger_reaches_no_special_address_and_nothing_without_tls() {
    let outbound = outbound(&[]);
    for url in [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "http://idp.example/",
        "ftp://idp.example/",
        "file:///etc/passwd",
        "https://user:secret@idp.example/",
        "https://idp.example/#part",
        "idp.example",
        "",
    ] {
        assert!(matches!(outbound.check(url, Source::Stranger), Err(OutboundError::Refused { .. })), "{url}");
    }
    assert!(outbound.check(&format!("https://idp.example/{}", "a".repeat(2_048)), Source::Stranger).is_err());
    assert!(outbound.check("https://idp.example/keys?x=1", Source::Stranger).is_ok());
}

#[test]
fn an_operator_may_name_a_private_address_and_plain_http_at_loopback_only() {
    let outbound = outbound(&[]);
    for url in ["https://10.0.0.5/keys", "http://127.0.0.1:8080/keys", "http://[::1]:8080/keys", "http://localhost/keys"] {
        assert!(outbound.check(url, Source::Operator).is_ok(), "{url}");
    }
    for url in ["http://10.0.0.5/keys", "http://idp.example/keys", "http://localhost.evil.example/keys"] {
        assert!(outbound.check(url, Source::Operator).is_err(), "{url}");
    }
}

#[tokio::test]
async fn n_f_02_a_name_that_resolves_to_loopback_is_not_connected_to_for_a_stranger() {
    let outbound = outbound(&[]);
    let error = outbound.get_json("https://localhost:1/", Source::Stranger, Limit::KEYS).await.unwrap_err();
    assert!(error.to_string().contains("not public"), "{error}");
}

#[tokio::test]
async fn a_host_that_the_operator_allows_is_fetched_for_a_stranger() {
    let (url, _) = server(json_answer("{\"a\":1}")).await;
    let (document, _) = outbound(&[host(&url)]).get_json(&url, Source::Stranger, Limit::KEYS).await.unwrap();
    assert_eq!(document["a"], 1);
    let elsewhere = outbound(&["127.0.0.1:1".to_owned()]).get_json(&url, Source::Stranger, Limit::KEYS).await;
    assert!(matches!(elsewhere, Err(OutboundError::Refused { .. })), "another port is not allowed with it");
}

#[tokio::test]
async fn n_f_01_an_exception_is_for_its_port_alone() {
    let outbound = outbound(&["localhost:8443".to_owned()]);
    let error = outbound.get_json("https://localhost:9200/", Source::Stranger, Limit::KEYS).await.unwrap_err();
    assert!(error.to_string().contains("not public"), "{error}");
}

#[tokio::test]
async fn n_f_04_a_document_of_very_many_members_is_not_kept() {
    let many = format!("[{}1]", "1,".repeat(2_000));
    let (url, _) = server(json_answer(&many)).await;
    let got = outbound(&[]).get_json(&url, Source::Operator, Limit::KEYS).await;
    assert!(matches!(got, Err(OutboundError::Unusable { .. })), "{got:?}");
}

#[tokio::test]
async fn n_f_03_a_redirect_is_not_followed() {
    let (target, asked) = server(json_answer("{}")).await;
    let (url, _) = server(answer(&format!("302 Found\r\nlocation: {target}"), "")).await;
    let error = outbound(&[]).get_json(&url, Source::Operator, Limit::KEYS).await.unwrap_err();
    assert!(error.to_string().contains("302"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn n_f_04_what_is_too_long_compressed_not_json_or_doubled_is_not_used() {
    let at_limit = format!("\"{}\"", "a".repeat(Limit::CLIENT.0 - 2));
    let (url, _) = server(json_answer(&at_limit)).await;
    assert!(outbound(&[]).get_json(&url, Source::Operator, Limit::CLIENT).await.is_ok());
    for bad in [
        json_answer(&format!("{at_limit} ")),
        answer("200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip", "{}"),
        answer("200 OK\r\ncontent-type: text/html", "{}"),
        answer("200 OK", "{}"),
        json_answer("{\"a\":1,\"a\":2}"),
        json_answer("not json"),
        answer("403 Forbidden\r\ncontent-type: application/json", "{}"),
    ] {
        let (url, _) = server(bad.clone()).await;
        let got = outbound(&[]).get_json(&url, Source::Operator, Limit::CLIENT).await;
        assert!(
            matches!(got, Err(OutboundError::Unusable { .. })),
            "{}: {got:?}",
            String::from_utf8_lossy(&bad[..80.min(bad.len())])
        );
    }
    for withdrawn in ["404 Not Found", "410 Gone"] {
        let (url, _) = server(answer(&format!("{withdrawn}\r\ncontent-type: application/json"), "{}")).await;
        let got = outbound(&[]).get_json(&url, Source::Operator, Limit::CLIENT).await;
        assert!(matches!(got, Err(OutboundError::Gone { .. })), "{withdrawn}: {got:?}");
    }
}

#[tokio::test]
async fn n_f_04_an_endless_body_ends_at_the_limit() {
    let chunk = format!("{:x}\r\n{}\r\n", 4_096, "a".repeat(4_096));
    let body =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{}", chunk.repeat(8));
    let (url, _) = server(body.into_bytes()).await;
    let got = outbound(&[]).get_json(&url, Source::Operator, Limit::CLIENT).await;
    assert!(matches!(got, Err(OutboundError::Unusable { .. })), "{got:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let error = outbound(&[]).get_json(&url, Source::Operator, Limit::KEYS).await.unwrap_err();
    assert!(matches!(error, OutboundError::Unreachable { .. }), "{error}");
}

fn documents(clock: &Clock, freshness: Freshness) -> Documents {
    Documents::new(outbound(&[]), clock.clone(), Source::Operator, Limit::KEYS, freshness)
}

#[tokio::test]
async fn n_f_06_a_thousand_misses_cause_one_fetch_in_each_window() {
    let (url, asked) = server(json_answer("{\"keys\":[]}")).await;
    let clock = Clock::manual(Moment::at(1_800_000_000));
    let documents = documents(&clock, Freshness::default());
    for _ in 0..1_000 {
        documents.refresh(&url).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    clock.advance(Duration::from_secs(10));
    documents.refresh(&url).await.unwrap();
    documents.get(&url).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn f_05_a_kept_document_is_not_taken_for_one_that_was_fetched_anew() {
    let (url, asked) = server(json_answer("{\"keys\":[]}")).await;
    let clock = Clock::manual(Moment::at(1_800_000_000));
    let documents = documents(&clock, Freshness::default());
    documents.get(&url).await.unwrap();
    for _ in 0..100 {
        documents.anew(&url).await.unwrap_err();
    }
    documents.refresh(&url).await.expect("the kept one does for others");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    clock.advance(Duration::from_secs(10));
    documents.anew(&url).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_document_is_fetched_again_when_it_is_not_fresh_and_kept_while_it_may_be_stale() {
    let (url, asked) = server(answer("200 OK\r\ncontent-type: application/json\r\ncache-control: max-age=5", "{\"n\":1}")).await;
    let clock = Clock::manual(Moment::at(1_800_000_000));
    let documents = documents(&clock, Freshness { least: 60, most: 3_600, retry: 10, stale: 0, withdrawn: false });
    documents.get(&url).await.unwrap();
    clock.advance(Duration::from_secs(59));
    documents.get(&url).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "least holds though the server says five seconds");
    clock.advance(Duration::from_secs(1));
    documents.get(&url).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_kept_document_is_no_answer_of_a_server_that_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let once = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4_096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        stream.write_all(&json_answer("{\"n\":1}")).await.unwrap();
    });
    let clock = Clock::manual(Moment::at(1_800_000_000));
    let documents = documents(&clock, Freshness { stale: 3_600, ..Freshness::default() });
    documents.get(&url).await.unwrap();
    once.await.unwrap();
    documents.answered(&url).await.expect("it answered a moment ago");
    clock.advance(Duration::from_secs(10));
    for _ in 0..2 {
        documents.answered(&url).await.unwrap_err();
        documents.get(&url).await.expect("it is fresh");
        documents.refresh(&url).await.expect("it may be stale");
    }
}

#[tokio::test]
async fn a_failure_is_not_kept_as_a_document_and_not_repeated_at_once() {
    let (url, asked) = server(answer("503 Busy", "")).await;
    let clock = Clock::manual(Moment::at(1_800_000_000));
    let documents = documents(&clock, Freshness::default());
    for _ in 0..100 {
        assert!(documents.get(&url).await.is_err());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    clock.advance(Duration::from_secs(10));
    assert!(documents.get(&url).await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// As a Kubernetes API server at `/openid/v1/jwks`.
#[tokio::test]
async fn a_server_of_key_sets_alone_is_asked_for_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/openid/v1/jwks", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4_096];
        let read = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..read]).to_ascii_lowercase();
        let accept = head.lines().find_map(|line| line.strip_prefix("accept: ")).unwrap_or_default();
        let wanted = accept.split(',').any(|media| media.trim() == "application/jwk-set+json");
        let found = answer("200 OK\r\ncontent-type: application/jwk-set+json", "{\"keys\":[]}");
        let refused = b"HTTP/1.1 406 Not Acceptable\r\ncontent-length: 0\r\n\r\n".to_vec();
        stream.write_all(if wanted { &found } else { &refused }).await.unwrap();
    });
    let (document, _) = outbound(&[]).get_json(&url, Source::Operator, Limit::KEYS).await.unwrap();
    assert_eq!(document["keys"], serde_json::json!([]));
}

#[tokio::test]
async fn the_last_good_document_outlives_its_server_for_as_long_as_it_may() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let once = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4_096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        stream.write_all(&json_answer("{\"n\":1}")).await.unwrap();
    });
    let clock = Clock::manual(Moment::at(1_800_000_000));
    let documents = documents(&clock, Freshness { least: 60, most: 60, retry: 10, stale: 120, withdrawn: false });
    documents.get(&url).await.unwrap();
    once.await.unwrap();
    clock.advance(Duration::from_secs(179));
    assert_eq!(documents.get(&url).await.unwrap()["n"], 1);
    clock.advance(Duration::from_secs(1));
    assert!(documents.get(&url).await.is_err());
}
