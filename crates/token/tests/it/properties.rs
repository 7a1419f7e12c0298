//! Properties: altered bytes never verify, hostile bytes never panic, `htu` has one normal form.

use crate::support::{
    CLIENT, ISSUER, NOW, access_claims, delegation, ed25519, es256, expect_proof, id_claims, proof_for, verify_access,
    verify_assertion, verify_id, verify_statement,
};
use proptest::prelude::*;
use remit_token::{Jws, access, assertion, dpop, id_token, inspect_unverified, statement};

/// Whether a verifier accepts the text.
type Holds<'a> = Box<dyn Fn(&str) -> bool + 'a>;

/// Flips one bit of a token's text.
fn flipped(compact: &str, at: usize, bit: u8) -> Option<String> {
    let mut bytes = compact.as_bytes().to_vec();
    let at = at % bytes.len();
    bytes[at] ^= 1 << (bit % 7);
    String::from_utf8(bytes).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_flipped_bit_never_verifies(at in any::<usize>(), bit in any::<u8>(), kind in 0..6) {
        let key = ed25519(1);
        let ec = es256(1);
        let (good, holds): (String, Holds<'_>) = match kind {
            0 => (access::mint(&key, &access_claims()).unwrap(), Box::new(|text| verify_access(text, &key).is_ok())),
            1 => (access::mint(&ec, &access_claims()).unwrap(), Box::new(|text| verify_access(text, &ec).is_ok())),
            2 => (assertion::create(&key, CLIENT, ISSUER, "a", NOW).unwrap(), Box::new(|text| verify_assertion(text, &key).is_ok())),
            3 => (id_token::mint(&key, &id_claims()).unwrap(), Box::new(|text| verify_id(text, &key).is_ok())),
            4 => (
                statement::create(&key, CLIENT, ISSUER, "s", NOW, &delegation()).unwrap(),
                Box::new(|text| verify_statement(text).is_ok()),
            ),
            _ => (dpop::create(&key, &proof_for()).unwrap(), Box::new(|text| dpop::verify(&[text], &expect_proof()).is_ok())),
        };
        prop_assert!(holds(&good));
        if let Some(bad) = flipped(&good, at, bit) {
            prop_assert!(!holds(&bad), "{bad}");
        }
    }

    #[test]
    fn hostile_text_never_panics(text in "\\PC{0,200}") {
        read_everything(&text);
    }

    #[test]
    fn hostile_segments_never_panic(header in "[A-Za-z0-9_-]{0,60}", body in "[A-Za-z0-9_.=-]{0,60}", tail in "[A-Za-z0-9_-]{0,90}") {
        read_everything(&format!("{header}.{body}.{tail}"));
    }

    #[test]
    fn htu_normalising_twice_is_normalising_once(url in url_text()) {
        if let Some(once) = dpop::normalise(&url) {
            prop_assert_eq!(dpop::normalise(&once), Some(once.clone()));
            prop_assert!(dpop::htu_matches(&url, &once));
            let rest = once.split_once("://").unwrap().1;
            prop_assert!(!rest.contains("/../") && !rest.contains("/./"));
            prop_assert!(!once.contains('?') && !once.contains('#'));
        }
    }

    #[test]
    fn htu_query_fragment_case_and_default_port_do_not_matter(host in "[a-z]{1,8}(\\.[a-z]{1,5}){0,2}", path in "(/[a-z0-9~._-]{1,6}){0,4}", query in "[a-z=&]{0,8}") {
        let plain = format!("https://{host}{path}");
        for twin in [
            format!("HTTPS://{}:443{path}?{query}", host.to_uppercase()),
            format!("https://{host}{path}#{query}"),
            format!("https://{host}{}", path.replace('a', "%61").replace('~', "%7E")),
        ] {
            prop_assert!(dpop::htu_matches(&plain, &twin), "{plain} {twin}");
        }
        let (other_scheme, other_port, longer) =
            (format!("http://{host}{path}"), format!("https://{host}:444{path}"), format!("{plain}/x"));
        for stranger in [&other_scheme, &other_port, &longer] {
            prop_assert!(!dpop::htu_matches(&plain, stranger), "{plain} {stranger}");
        }
    }

    #[test]
    fn htu_agrees_with_a_url_parser_on_scheme_host_and_port(url in url_text()) {
        if let (Some(normal), Ok(parsed)) = (dpop::normalise(&url), url::Url::parse(&url)) {
            let ours = url::Url::parse(&normal).unwrap();
            prop_assert_eq!(ours.scheme(), parsed.scheme());
            prop_assert_eq!(ours.host_str(), parsed.host_str());
            prop_assert_eq!(ours.port_or_known_default(), parsed.port_or_known_default());
        }
    }
}

fn url_text() -> impl Strategy<Value = String> {
    let path = prop::collection::vec(
        prop_oneof![
            Just("..".to_owned()),
            Just(".".to_owned()),
            Just(String::new()),
            "[a-zA-Z0-9%~:@!$&'()*+,;=._-]{0,6}",
            Just("%2e%2E".to_owned()),
            Just("%2f".to_owned())
        ],
        0..6,
    )
    .prop_map(|segments| segments.iter().fold(String::new(), |path, segment| path + "/" + segment));
    (
        prop_oneof!["https?", "HTTPS", "ftp"],
        "[a-zA-Z0-9.-]{0,12}",
        prop_oneof![Just(String::new()), ":[0-9]{0,6}"],
        path,
        "(\\?[a-z/.]{0,5})?(#[a-z]{0,3})?",
    )
        .prop_map(|(scheme, host, port, path, tail)| format!("{scheme}://{host}{port}{path}{tail}"))
}

/// What a fuzzer would call: every parser of hostile bytes.
fn read_everything(text: &str) {
    let key = ed25519(1);
    let _ = Jws::parse(text).map(|jws| jws.claims().is_ok());
    let _ = inspect_unverified(text);
    let _ = verify_access(text, &key);
    let _ = verify_assertion(text, &key);
    let _ = verify_statement(text);
    let _ = dpop::verify(&[text], &expect_proof());
    let _ = dpop::normalise(text);
    let _ = assertion::Presented::read(text).and_then(|presented| presented.client_id().map(str::to_owned));
    let _ = dpop::Nonces::new(&[1; 32], 150).check(text, NOW);
    let _ = remit_token::PrivateKey::from_pkcs8_pem(text);
}

/// Seeds for a fuzzer, replayed on every run.
#[test]
fn the_corpus_of_hostile_texts_is_read_without_harm() {
    let nested = format!("e30.{}.AA", "W1tb".repeat(3000));
    for text in [
        "",
        ".",
        "..",
        "...",
        "e30.e30.",
        "e30.e30.AA",
        ".e30.",
        "e30..e30",
        "eyJhbGciOiJub25lIn0.e30.",
        "\u{0}.\u{0}.\u{0}",
        "é.é.é",
        "http://",
        "http:///",
        "https://[::1]:443/",
        "https://[::1",
        "https://[]/",
        "https://a:b:c/",
        "https://a:99999/",
        "https://%41/",
        "https://a/%",
        "https://a/%4",
        "https://a/%zz",
        "https://a/..//../",
        "https://a\\b/",
        "https://a /",
        "https://@/",
        "https://a@b/",
        "https://a/%C3%A9",
        "https://é/",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----",
        &nested,
    ] {
        read_everything(text);
    }
}

#[test]
fn htu_normal_forms_of_rfc_3986() {
    for (url, normal) in [
        ("HTTP://Example.COM:80", Some("http://example.com/")),
        ("https://example.com:80/a", Some("https://example.com:80/a")),
        ("https://[2001:DB8::1]:443/a", Some("https://[2001:db8::1]/a")),
        ("https://a/b/../c/./d/", Some("https://a/c/d/")),
        ("https://a/b/..", Some("https://a/")),
        ("https://a/b/c/..", Some("https://a/b/")),
        ("https://a/..", Some("https://a/")),
        ("https://a//b", Some("https://a//b")),
        ("https://a/%7euser/%2fx", Some("https://a/~user/%2Fx")),
        ("https://a/%2E%2e/b", Some("https://a/b")),
        ("https://a?x", Some("https://a/")),
        ("https://user@a/", None),
        ("https://a\\@b/", None),
        ("https:///x", None),
        ("https://a:65536/", None),
        ("https://a:1x/", None),
        ("ftp://a/", None),
        ("https://a/ b", None),
        ("https://a/%g0", None),
        ("https://[::1]x/", None),
        ("a/b", None),
    ] {
        assert_eq!(dpop::normalise(url).as_deref(), normal, "{url}");
    }
}
