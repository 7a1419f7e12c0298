//! DPoP proofs. SPEC: RFC 9449, DP-01 to DP-15, N-DP-*.

use crate::support::{
    NOW, RESOURCE, access_claims, altered, delegation, ed25519, es256, expect_proof, forge, proof_for, refused, without,
};
use remit_model::{Code, Refusal, UnixTime};
use remit_token::{
    PrivateKey, access,
    dpop::{self, Expect, NonceRule, Nonces, Proof, ProofFor, ReplaySet, WINDOW_SECS},
};
use serde_json::json;

fn good(key: &PrivateKey) -> String {
    dpop::create(key, &proof_for()).unwrap()
}

fn verify(compact: &str) -> Result<Proof, Refusal> {
    dpop::verify(&[compact], &expect_proof())
}

#[test]
fn a_sender_shows_that_it_holds_the_key() {
    for key in [ed25519(1), es256(1)] {
        let compact = good(&key);
        let proof = verify(&compact).unwrap();
        assert_eq!(proof.jkt(), key.public().thumbprint());
        assert_eq!((proof.jti.as_str(), proof.htm.as_str(), proof.htu.as_str(), proof.iat), ("proof-1", "POST", RESOURCE, NOW));
        assert_eq!(proof.compact(), compact);
        dpop::verify_recorded(&compact, key.public().thumbprint()).unwrap();
        refused(dpop::verify_recorded(&compact, ed25519(7).public().thumbprint()), Code::DpopKeyMismatch);
    }
}

#[test]
fn a_header_that_is_known_decides_as_one_that_is_read() {
    for key in [ed25519(1), es256(1)] {
        let first = good(&key);
        let known = verify(&first).unwrap().header().unwrap();
        let other = ed25519(7);
        let next = dpop::create(&key, &ProofFor { jti: "proof-2", ..proof_for() }).unwrap();
        let (begin, signature) = next.rsplit_once('.').unwrap();
        let mut tried = vec![
            next.clone(),
            good(&other),
            format!("{begin}."),
            format!("{begin}.{signature}A"),
            format!("{begin}.{}", first.rsplit_once('.').unwrap().1),
            format!("{begin}!.{signature}"),
            format!("{begin}.x.{signature}"),
            begin.to_owned(),
            // The known header over a payload that another key signed.
            format!("{}.{}", next.split('.').next().unwrap(), good(&other).split_once('.').unwrap().1),
        ];
        for name in ["jti", "htm", "htu", "iat"] {
            tried.push(altered(&next, &key, |_, payload| without(payload, name)));
        }
        tried.push(altered(&next, &key, |header, _| header["typ"] = json!("JWT")));
        tried.push(altered(&next, &key, |header, _| header["crit"] = json!(["x"])));
        tried.push(altered(&next, &key, |_, payload| payload["htm"] = json!("GET")));
        for bound_to in [None, Some(key.public().thumbprint()), Some(other.public().thumbprint())] {
            let mut taken = 0;
            for compact in &tried {
                let read = dpop::verify(&[compact], &Expect { bound_to, ..expect_proof() });
                let known = dpop::verify(&[compact], &Expect { bound_to, known: Some(&known), ..expect_proof() });
                taken += usize::from(known.is_ok());
                let said =
                    |result: Result<Proof, Refusal>| result.map(|proof| (proof.jkt().to_owned(), proof.compact().to_owned()));
                assert_eq!(said(known), said(read), "{compact}");
            }
            assert_eq!(taken, if bound_to.is_none() { 2 } else { 1 });
        }
    }
}

#[test]
fn dp_01_a_proof_is_there() {
    refused(dpop::verify(&[], &expect_proof()), Code::DpopProofMissing);
}

#[test]
fn n_dp_12_two_headers_or_two_proofs_in_one() {
    let proof = good(&ed25519(1));
    refused(dpop::verify(&[&proof, &proof], &expect_proof()), Code::DpopProofInvalid);
    refused(verify(&format!("{proof}, {proof}")), Code::DpopProofInvalid);
    refused(verify(&format!("{proof},{proof}")), Code::DpopProofInvalid);
    refused(verify(""), Code::DpopProofInvalid);
}

#[test]
fn n_dp_01_typ_jwt_or_none_at_all() {
    let key = ed25519(1);
    for typ in ["JWT", "at+jwt", "dpop"] {
        refused(verify(&altered(&good(&key), &key, |header, _| header["typ"] = json!(typ))), Code::DpopProofInvalid);
    }
    refused(verify(&altered(&good(&key), &key, |header, _| without(header, "typ"))), Code::DpopProofInvalid);
}

#[test]
fn dp_02_every_required_claim() {
    let key = ed25519(1);
    for name in ["jti", "htm", "htu", "iat"] {
        refused(verify(&altered(&good(&key), &key, |_, body| without(body, name))), Code::DpopProofInvalid);
        refused(verify(&altered(&good(&key), &key, |_, body| body[name] = json!(["x"]))), Code::DpopProofInvalid);
    }
    refused(verify(&altered(&good(&key), &key, |header, _| without(header, "jwk"))), Code::DpopProofInvalid);
}

#[test]
fn n_dp_02_symmetric_and_absent_algorithms() {
    let key = es256(1);
    for alg in ["HS256", "HS512", "none", "None", "ES384", "RS256"] {
        refused(verify(&altered(&good(&key), &key, |header, _| header["alg"] = json!(alg))), Code::DpopProofInvalid);
    }
    let oct = json!({"kty": "oct", "k": "c2VjcmV0"});
    let symmetric = altered(&good(&key), &key, |header, _| {
        header["alg"] = json!("HS256");
        header["jwk"] = oct;
    });
    refused(verify(&symmetric), Code::DpopProofInvalid);
}

#[test]
fn n_dp_03_private_key_in_jwk() {
    let key = ed25519(1);
    let leaking =
        altered(&good(&key), &key, |header, _| header["jwk"]["d"] = json!("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"));
    refused(verify(&leaking), Code::DpopProofInvalid);
}

#[test]
fn n_dp_04_wrong_method() {
    let key = ed25519(1);
    for method in ["GET", "post", "POST ", ""] {
        refused(verify(&altered(&good(&key), &key, |_, body| body["htm"] = json!(method))), Code::DpopProofInvalid);
    }
}

#[test]
fn n_dp_05_wrong_host_path_or_scheme() {
    let key = ed25519(1);
    for url in [
        "http://remit.example/mcp/helpdesk",
        "https://evil.example/mcp/helpdesk",
        "https://remit.example.evil.example/mcp/helpdesk",
        "https://remit.example@evil.example/mcp/helpdesk",
        "https://remit.example:8443/mcp/helpdesk",
        "https://remit.example/mcp/payroll",
        "https://remit.example/mcp/helpdesk/",
        "https://remit.example/mcp/Helpdesk",
        "https://remit.example/mcp//helpdesk",
        "https://remit.example/mcp%2Fhelpdesk",
        "https://remit.example",
        "/mcp/helpdesk",
        "remit.example/mcp/helpdesk",
        "",
    ] {
        refused(verify(&altered(&good(&key), &key, |_, body| body["htu"] = json!(url))), Code::DpopProofInvalid);
    }
}

#[test]
fn n_dp_06_query_and_fragment_are_ignored_on_both_sides() {
    let key = ed25519(1);
    for url in
        ["https://remit.example/mcp/helpdesk?a=b", "https://remit.example/mcp/helpdesk#f", "https://remit.example/mcp/helpdesk?"]
    {
        verify(&altered(&good(&key), &key, |_, body| body["htu"] = json!(url))).unwrap();
        dpop::verify(&[&good(&key)], &Expect { url, ..expect_proof() }).unwrap();
        let created = dpop::create(&key, &ProofFor { url, ..proof_for() }).unwrap();
        assert_eq!(verify(&created).unwrap().htu, RESOURCE);
    }
}

#[test]
fn n_dp_07_spellings_of_the_same_url() {
    let key = ed25519(1);
    for url in [
        "HTTPS://remit.example/mcp/helpdesk",
        "https://REMIT.Example/mcp/helpdesk",
        "https://remit.example:443/mcp/helpdesk",
        "https://remit.example:/mcp/helpdesk",
        "https://remit.example/mcp/%68elpdesk",
        "https://remit.example/./mcp/x/../helpdesk",
        "https://remit.example/%2e/mcp/helpdesk",
    ] {
        verify(&altered(&good(&key), &key, |_, body| body["htu"] = json!(url))).unwrap();
    }
}

#[test]
fn n_dp_08_outside_the_window() {
    let key = ed25519(1);
    let made_at = |offset: i64| dpop::create(&key, &ProofFor { now: NOW.plus(offset), ..proof_for() }).unwrap();
    for offset in [-300, 300] {
        verify(&made_at(offset)).unwrap();
    }
    for offset in [-301, 301, -1_800_000_000] {
        refused(verify(&made_at(offset)), Code::DpopProofInvalid);
    }
}

#[test]
fn n_dp_09_replayed_jti() {
    let replay = ReplaySet::new(10_000, 300);
    let key = ed25519(1);
    let expect = Expect { replay: Some(&replay), ..expect_proof() };
    let proof = good(&key);
    let accept = |proof: &str| dpop::verify(&[proof], &expect).and_then(|proof| replay.remember(&proof, NOW));
    accept(&proof).unwrap();
    refused(dpop::verify(&[&proof], &expect), Code::DpopProofReplayed);
    let same_jti_again = dpop::create(&key, &ProofFor { now: NOW.plus(1), ..proof_for() }).unwrap();
    refused(dpop::verify(&[&same_jti_again], &expect), Code::DpopProofReplayed);
    accept(&good(&ed25519(2))).unwrap();
    accept(&dpop::create(&key, &ProofFor { jti: "proof-2", ..proof_for() }).unwrap()).unwrap();
}

#[test]
fn n_dp_09_of_two_requests_with_one_proof_that_were_both_looked_at_one_is_accepted() {
    let replay = ReplaySet::new(10_000, 300);
    let expect = Expect { replay: Some(&replay), ..expect_proof() };
    let [first, second] = [1, 2].map(|_| dpop::verify(&[&good(&ed25519(1))], &expect).unwrap());
    replay.remember(&first, NOW).unwrap();
    refused(replay.remember(&second, NOW), Code::DpopProofReplayed);
}

#[test]
fn n_dp_09_a_proof_that_is_only_verified_takes_no_room() {
    let replay = ReplaySet::new(64, 300);
    let expect = Expect { replay: Some(&replay), ..expect_proof() };
    for n in 0..500 {
        let jti = format!("proof-{n}");
        dpop::verify(&[&dpop::create(&ed25519(1), &ProofFor { jti: &jti, ..proof_for() }).unwrap()], &expect).unwrap();
    }
    replay.remember(&dpop::verify(&[&good(&ed25519(1))], &expect).unwrap(), NOW).unwrap();
}

#[test]
fn n_dp_09_a_forged_proof_does_not_burn_the_jti() {
    let replay = ReplaySet::new(10_000, 300);
    let key = ed25519(1);
    let expect = Expect { replay: Some(&replay), ..expect_proof() };
    let forged = altered(&good(&key), &ed25519(2), |_, _| ());
    refused(dpop::verify(&[&forged], &expect), Code::DpopProofInvalid);
    dpop::verify(&[&good(&key)], &expect).unwrap();
}

#[test]
fn dp_09_replay_is_remembered_as_long_as_the_proof_could_be_accepted() {
    let replay = ReplaySet::new(10_000, 300);
    // Made 300 s ahead of us, so acceptable for 600 s from now.
    let iat = NOW.plus(300);
    replay.insert("k", "j", iat, NOW).unwrap();
    for later in [1, 299, 300, 599, 600] {
        // Other traffic moves the slots on.
        replay.insert("k", &format!("other-{later}"), NOW.plus(later), NOW.plus(later)).unwrap();
        refused(replay.insert("k", "j", iat, NOW.plus(later)), Code::DpopProofReplayed);
    }
    refused(replay.insert("k", "j", iat, NOW.plus(601)), Code::DpopProofInvalid);
}

#[test]
fn dp_09_a_clock_that_runs_back_does_not_open_the_past() {
    let replay = ReplaySet::new(10_000, 300);
    replay.insert("k", "j", NOW, NOW).unwrap();
    for far in [700, 1400, 2100, 9000] {
        replay.insert("k", &format!("j{far}"), NOW.plus(far), NOW.plus(far)).unwrap();
    }
    assert!(replay.insert("k", "j", NOW, NOW).is_err());
}

#[test]
fn dp_09_a_full_memory_refuses_and_recovers() {
    let replay = ReplaySet::new(128, 300);
    let results: Vec<_> = (0..1000).map(|n| replay.insert("k", &format!("j{n}"), NOW, NOW)).collect();
    assert!(results.iter().filter(|result| result.is_ok()).count() <= 128);
    assert!(results.iter().any(|result| result.as_ref().is_err_and(|refusal| refusal.code == Code::RateLimited)));
    // What was accepted is still known, even though it is full.
    let known = results.iter().position(Result::is_ok).unwrap();
    refused(replay.insert("k", &format!("j{known}"), NOW, NOW), Code::DpopProofReplayed);
    let later = NOW.plus(2000);
    replay.insert("k", "fresh", later, later).unwrap();
}

#[test]
fn dp_09_a_steady_load_within_the_room_is_never_refused() {
    // Twelve a second for as long as they are good and a quarter longer: 4,500 at a time, unevenly spread over the shards.
    let replay = ReplaySet::new(8_000, 300);
    for second in 0..2_000 {
        let now = NOW.plus(second);
        for n in 0..12 {
            replay.insert("k", &format!("{second} {n}"), now, now).unwrap();
        }
        if second >= 300 {
            let old = format!("{} 0", second - 300);
            refused(replay.insert("k", &old, NOW.plus(second - 300), now), Code::DpopProofReplayed);
        }
    }
}

#[test]
fn dp_09_nobody_fills_one_part_of_the_memory_on_purpose() {
    // Identifiers whose hash ends alike: a sender that chooses them must not fill one part of it.
    let last = |jti: &str| remit_model::json::sha256(format!("1:k{jti}").as_bytes())[31];
    let alike = (0..).map(|n: u32| format!("j{n}")).filter(|jti| last(jti).trailing_zeros() >= 6);
    let replay = ReplaySet::new(256, 300);
    let taken = alike.take(64).filter(|jti| replay.insert("k", jti, NOW, NOW).is_ok()).count();
    assert!(taken > 32, "{taken} of 64 were taken; one part has room for 4");
}

#[test]
fn dp_09_thumbprint_and_jti_do_not_run_together() {
    let replay = ReplaySet::new(10_000, 300);
    replay.insert("ab", "c", NOW, NOW).unwrap();
    replay.insert("a", "bc", NOW, NOW).unwrap();
    refused(replay.insert("ab", "c", NOW, NOW), Code::DpopProofReplayed);
}

#[test]
fn dp_09_of_many_threads_with_one_proof_exactly_one_wins() {
    let replay = ReplaySet::new(10_000, 300);
    let wins: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..200).filter(|n| replay.insert("k", &format!("j{n}"), NOW, NOW).is_ok()).count()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(wins, 200);
}

#[test]
fn n_dp_10_missing_or_wrong_ath() {
    let key = ed25519(9);
    let token = access::mint(&ed25519(1), &access_claims()).unwrap();
    let digest = access::digest(&token);
    let expect = Expect { access_token: Some(&digest), bound_to: Some(key.public().thumbprint()), ..expect_proof() };
    let with_token = |token| dpop::create(&key, &ProofFor { access_token: token, ..proof_for() }).unwrap();
    dpop::verify(&[&with_token(Some(token.as_str()))], &expect).unwrap();
    refused(dpop::verify(&[&with_token(None)], &expect), Code::DpopProofInvalid);
    refused(dpop::verify(&[&with_token(Some("another"))], &expect), Code::DpopProofInvalid);
}

#[test]
fn n_dp_11_a_stolen_token_with_another_key() {
    let token = access::mint(&ed25519(1), &access_claims()).unwrap();
    let digest = access::digest(&token);
    let thief = dpop::create(&ed25519(2), &ProofFor { access_token: Some(&token), ..proof_for() }).unwrap();
    let bound = access_claims().cnf_jkt.unwrap();
    let expect = Expect { access_token: Some(&digest), bound_to: Some(&bound), ..expect_proof() };
    refused(dpop::verify(&[&thief], &expect), Code::DpopKeyMismatch);
}

#[test]
fn n_dp_13_a_nonce_of_another_process() {
    let (ours, theirs) = (Nonces::new(&[5; 32], 150), Nonces::new(&[6; 32], 150));
    ours.check(&ours.issue(NOW), NOW).unwrap();
    refused(ours.check(&theirs.issue(NOW), NOW), Code::DpopNonceRequired);
}

#[test]
fn n_dp_14_an_expired_nonce_and_rotation() {
    let nonces = Nonces::new(&[5; 32], 150);
    let issued = nonces.issue(NOW);
    for later in [0, 149, 150, 299] {
        nonces.check(&issued, NOW.plus(later)).unwrap();
    }
    for other in [301, 100_000, -151] {
        refused(nonces.check(&issued, NOW.plus(other)), Code::DpopNonceRequired);
    }
    assert_ne!(nonces.issue(NOW), nonces.issue(NOW.plus(150)));
    refused(Nonces::new(&[6; 32], 150).check(&issued, NOW), Code::DpopNonceRequired);
    for bad in ["", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &format!("{issued}A")] {
        refused(nonces.check(bad, NOW), Code::DpopNonceRequired);
    }
}

#[test]
fn dp_07_who_needs_a_nonce() {
    let nonces = Nonces::new(&[5; 32], 150);
    let key = ed25519(1);
    let issued = nonces.issue(NOW);
    let made = |nonce| dpop::create(&key, &ProofFor { nonce, ..proof_for() }).unwrap();
    let under = |rule, nonce| dpop::verify(&[&made(nonce)], &Expect { nonce: rule, ..expect_proof() });
    under(NonceRule::Optional(&nonces), None).unwrap();
    under(NonceRule::Optional(&nonces), Some(&issued)).unwrap();
    refused(under(NonceRule::Optional(&nonces), Some("stale")), Code::DpopNonceRequired);
    refused(under(NonceRule::Required(&nonces), None), Code::DpopNonceRequired);
    under(NonceRule::Required(&nonces), Some(&issued)).unwrap();
    under(NonceRule::Ignored, Some("anything")).unwrap();
}

#[test]
fn dp_09_after_a_restart_every_proof_that_may_have_been_used_needs_a_nonce() {
    let key = ed25519(1);
    for start in [NOW.plus(-WINDOW_SECS - 1), NOW.plus(-1), NOW, NOW.plus(1)] {
        let nonces = Nonces::new(&[5; 32], 150).after_restart(start, WINDOW_SECS);
        for ahead in [-290, -1, 0, 1, 60, 290, WINDOW_SECS] {
            let made = |nonce| dpop::create(&key, &ProofFor { now: NOW.plus(ahead), nonce, ..proof_for() }).unwrap();
            let under = |nonce| dpop::verify(&[&made(nonce)], &Expect { nonce: NonceRule::Optional(&nonces), ..expect_proof() });
            // An earlier process, which ended at the start, accepted what was dated up to a window ahead.
            let doubtful = ahead <= start.since(NOW) + WINDOW_SECS;
            match under(None) {
                Err(refusal) => assert!(doubtful && refusal.code == Code::DpopNonceRequired, "{start} {ahead} {refusal}"),
                Ok(_) => assert!(!doubtful, "{start} {ahead}"),
            }
            under(Some(&nonces.issue(NOW))).unwrap();
        }
    }
}

#[test]
fn n_dp_16_signature_by_one_key_and_jwk_of_another() {
    let (signer, shown) = (ed25519(1), ed25519(2));
    let crossed = altered(&good(&signer), &signer, |header, _| header["jwk"] = shown.public().to_jwk());
    refused(verify(&crossed), Code::DpopProofInvalid);
}

#[test]
fn n_dp_17_a_point_that_is_not_on_the_curve() {
    let key = es256(1);
    let off = altered(&good(&key), &key, |header, _| header["jwk"]["y"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"));
    refused(verify(&off), Code::DpopProofInvalid);
}

#[test]
fn n_dp_18_a_jti_of_10_kilobytes() {
    let key = ed25519(1);
    for (length, accepted) in [(256, true), (257, false), (10_240, false)] {
        let jti = "j".repeat(length);
        assert_eq!(verify(&dpop::create(&key, &ProofFor { jti: &jti, ..proof_for() }).unwrap()).is_ok(), accepted, "{length}");
    }
    refused(verify(&dpop::create(&key, &ProofFor { jti: "", ..proof_for() }).unwrap()), Code::DpopProofInvalid);
}

#[test]
fn a_proof_may_carry_what_its_sender_hands_on() {
    let key = ed25519(1);
    let handed = delegation();
    let compact = dpop::create(&key, &ProofFor { delegation: Some(&handed), ..proof_for() }).unwrap();
    assert_eq!(verify(&compact).unwrap().delegation.as_ref(), Some(&handed));
    for bad in [json!("x"), json!({}), json!({"sub": "agent:x"})] {
        refused(verify(&altered(&compact, &key, |_, body| body[dpop::DELEGATION_CLAIM] = bad)), Code::DpopProofInvalid);
    }
}

#[test]
fn a_proof_made_by_a_stock_client_is_accepted() {
    let key = es256(3);
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": {
        "kty": "EC", "crv": "P-256", "x": key.public().to_jwk()["x"], "y": key.public().to_jwk()["y"],
        "ext": true, "key_ops": ["verify"],
    }});
    let body = json!({"iat": NOW.0, "jti": "4d1b", "htm": "POST", "htu": RESOURCE});
    let proof = verify(&forge(&header, &body, &key)).unwrap();
    assert_eq!((proof.jkt(), proof.iat), (key.public().thumbprint(), UnixTime(NOW.0)));
}
