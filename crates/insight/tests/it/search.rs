use crate::world::{Proposal, Way, World};
use proptest::prelude::*;
use remit_insight::{
    explain_at,
    search::{Dimension, Index, Query, SEGMENT, labelled, terms},
};
use remit_model::{
    json,
    resource::ToolClass::{Payment, Read},
};
use serde_json::json;
use std::collections::BTreeSet;

fn query(all: &[&[String]]) -> Query {
    Query { all: all.iter().map(|group| group.to_vec()).collect(), limit: 100, ..Query::default() }
}

fn sample() -> World {
    let mut world = World::new();
    let token = world.login(|_| {});
    world.call(&token, "tickets_read", Read, &json!({"id": "T-1"}), |_| {});
    world.call(&token, "refund_create", Payment, &json!({"amount": 500}), |_| {});
    world.call(&token, "tickets_read", Read, &json!({"id": "T-2"}), |draft| {
        let returned = vec!["/id".to_owned()];
        let resource = draft.resources.remove(0).projected(returned, vec!["/customer/email".to_owned()], "grant");
        draft.resources.push(resource);
    });
    world
}

#[test]
fn records_are_found_by_every_dimension() {
    let log = sample().publish();
    let reader = log.reader();
    let mut index = Index::in_memory().unwrap();
    assert!(index.catch_up(&reader).unwrap().added == reader.len());
    let human = reader.record(4).unwrap().text("/chain/0/subject_ref").unwrap().to_owned();
    let agent = reader.record(4).unwrap().text("/chain/1/subject_ref").unwrap().to_owned();
    let task = reader.record(4).unwrap().txn().unwrap().to_owned();
    let resource = reader.record(4).unwrap().text("/resource/0/id_ref").unwrap().to_owned();
    for (dimension, value, expected) in [
        (Dimension::Tool, "tickets_read", vec![6, 4]),
        (Dimension::Tool, "helpdesk/refund_create", vec![5]),
        (Dimension::Code, "policy_denied", vec![5]),
        (Dimension::Policy, "payment-ceiling", vec![5]),
        (Dimension::Field, "/customer/email", vec![6]),
        (Dimension::Field, "/id", vec![6]),
        (Dimension::Human, &human, vec![6, 5, 4, 3]),
        (Dimension::Agent, &agent, vec![6, 5, 4, 3]),
        (Dimension::Task, &task, vec![6, 5, 4, 3]),
        (Dimension::Resource, &format!("mcp.tool:{resource}"), vec![6, 4]),
        (Dimension::Type, "config_change", vec![2, 1]),
        (Dimension::Tool, "nothing", vec![]),
    ] {
        let hits = index.search(&query(&[&[dimension.term(value)]])).unwrap();
        assert_eq!(hits.records, expected, "{dimension:?} {value}");
        assert_eq!(hits.total, expected.len() as u64);
    }
    let both = index.search(&query(&[&[Dimension::Human.term(&human)], &[Dimension::Code.term("policy_denied")]])).unwrap();
    assert_eq!(both.records, [5]);
}

/// Two tasks of one sign-in, of which one hands a part on.
fn two_labels() -> (World, [Vec<u64>; 2]) {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let label = |text: &'static str, parent: String| {
        move |proposal: &mut Proposal| {
            proposal.facts.insert("label".to_owned(), json!(text));
            proposal.facts.insert("parent_jti_hash".to_owned(), json!(json::sha256_label(parent.as_bytes())));
        }
    };
    let first = world.again_with(&planner, label("ticket 1", planner.claims.jti.clone()));
    let second = world.again_with(&planner, label("ticket 2", planner.claims.jti.clone()));
    let taken = first.claims.jti.clone();
    let child = world.hand(Way::Named, &first, |proposal| {
        proposal.facts.insert("parent_jti_hash".to_owned(), json!(json::sha256_label(taken.as_bytes())));
    });
    let calls = [&first, &child, &second, &planner].map(|token| world.call(token, "tickets_read", Read, &json!({}), |_| {}));
    // Four records before the tokens: the start, two registrations, the sign-in.
    (world, [vec![calls[1], calls[0], 6, 4], vec![calls[2], 5]])
}

#[test]
fn the_tasks_of_one_sign_in_are_told_apart_by_their_labels() {
    let (world, expected) = two_labels();
    let reader = world.publish().reader();
    let mut index = Index::in_memory().unwrap();
    index.catch_up(&reader).unwrap();
    for (label, expected) in ["ticket 1", "ticket 2"].into_iter().zip(&expected) {
        let any = labelled(&index, &reader, &[label.to_owned()]).unwrap();
        assert_eq!(index.search(&query(&[&any])).unwrap().records, *expected, "{label}");
        for record in expected {
            let why = explain_at(&reader, *record).unwrap().why.join("\n");
            assert!(why.contains(label) && why.matches("Label of the token").count() == 1, "{record}: {why}");
        }
    }
    let both = labelled(&index, &reader, &["ticket 1".to_owned(), "ticket 2".to_owned()]).unwrap();
    assert_eq!(index.search(&query(&[&both])).unwrap().total, 6);
    let other = labelled(&index, &reader, &["ticket".to_owned()]).unwrap();
    assert_eq!(index.search(&query(&[&other])).unwrap().records, Vec::<u64>::new());
    let unlabelled = explain_at(&reader, 10).unwrap().why.join("\n");
    assert!(!unlabelled.contains("Label"), "{unlabelled}");
}

#[test]
fn a_token_is_found_by_its_jti_where_it_was_issued_used_and_narrowed() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let other = world.login(|_| {});
    world.call(&planner, "tickets_read", Read, &json!({}), |_| {});
    world.call(&other, "tickets_read", Read, &json!({}), |_| {});
    let reader = world.publish().reader();
    let mut index = Index::in_memory().unwrap();
    index.catch_up(&reader).unwrap();
    let digest = json::sha256_label(planner.claims.jti.as_bytes());
    assert_eq!(index.search(&query(&[&[Dimension::Token.term(&digest)]])).unwrap().records, [5, 3]);
}

#[test]
fn an_index_holds_no_name_and_no_argument() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.db");
    Index::open(&file).unwrap().catch_up(&sample().publish().reader()).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    for secret in ["alice", "planner", "T-1", "T-2"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}

#[test]
fn an_index_catches_up_across_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.db");
    let mut world = sample();
    let first = world.publish().reader();
    assert_eq!(Index::open(&file).unwrap().catch_up(&first).unwrap().added, 7);
    let token = world.login(|_| {});
    world.call(&token, "tickets_read", Read, &json!({}), |_| {});
    let second = world.publish().reader();
    let mut index = Index::open(&file).unwrap();
    let caught = index.catch_up(&second).unwrap();
    assert_eq!((caught.added, caught.anew), (2, false));
    assert_eq!(index.search(&query(&[&[Dimension::Tool.term("tickets_read")]])).unwrap().records, [8, 6, 4]);
    assert_eq!(Index::open(&file).unwrap().catch_up(&second).unwrap().added, 0);
}

#[test]
fn an_index_of_another_log_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.db");
    let mut other = World::new();
    let token = other.login(|_| {});
    for _ in 0..3 {
        other.call(&token, "refund_create", Payment, &json!({"amount": 1}), |_| {});
    }
    Index::open(&file).unwrap().catch_up(&other.publish().reader()).unwrap();
    let mut index = Index::open(&file).unwrap();
    let caught = index.catch_up(&sample().publish().reader()).unwrap();
    assert_eq!((caught.added, caught.anew), (7, true));
    assert_eq!(index.search(&query(&[&[Dimension::Tool.term("refund_create")]])).unwrap().records, [5]);
    // A shorter log than was indexed is another log as well.
    let caught = index.catch_up(&World::new().publish().reader()).unwrap();
    assert_eq!((caught.added, caught.anew), (3, true));
}

#[test]
fn a_file_that_is_no_index_is_an_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.db");
    std::fs::write(&file, "a letter, and no database at all, that its owner would miss").unwrap();
    assert!(Index::open(&file).is_err());
    assert!(Index::anew(&file).is_err());
    assert!(std::fs::read(&file).unwrap().starts_with(b"a letter"));
}

#[test]
fn records_come_in_order() {
    let mut index = Index::in_memory().unwrap();
    assert!(index.add(1, 5, ["a"]).is_err());
    index.add(0, 5, ["a"]).unwrap();
    assert!(index.add(0, 5, ["a"]).is_err());
}

#[test]
fn the_border_between_segments_is_none_for_a_query() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.db");
    let mut index = Index::open(&file).unwrap();
    for number in 0..u64::from(SEGMENT) + 10 {
        index.add(number, number, [if number % 1000 == 0 { "rare" } else { "common" }]).unwrap();
    }
    index.save("log", "root").unwrap();
    let index = Index::open(&file).unwrap();
    assert_eq!(index.size(), u64::from(SEGMENT) + 10);
    let found = index.search(&Query { since: Some(64_000), ..query(&[&["rare".to_owned()]]) }).unwrap();
    assert_eq!(found.records, [65_000, 64_000]);
    let around = Query { since: Some(65_534), until: Some(65_538), ..query(&[]) };
    assert_eq!(index.search(&around).unwrap().records, [65_537, 65_536, 65_535, 65_534]);
}

#[test]
fn the_terms_of_a_record_are_its_own_words() {
    let reader = sample().publish().reader();
    let found = terms(&reader.record(5).unwrap());
    assert!(found.contains("code:policy_denied") && found.contains("type:decision"), "{found:?}");
    assert!(!found.iter().any(|term| term.contains("500") || term.contains("alice")), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// The index finds what reading every record finds, in the same order, wherever it was saved and opened again.
    #[test]
    fn the_index_agrees_with_a_scan(
        rows in proptest::collection::vec((0_u64..50, proptest::collection::btree_set(0_u8..8, 0..5)), 0..80),
        groups in proptest::collection::vec(proptest::collection::vec(0_u8..9, 1..3), 0..3),
        since in proptest::option::of(0_u64..60),
        until in proptest::option::of(0_u64..60),
        limit in 0_usize..90,
        cut in 0_usize..80,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("index.db");
        let mut index = Index::open(&file).unwrap();
        for (number, (time, terms)) in rows.iter().enumerate() {
            if number == cut {
                index.save("log", "root").unwrap();
                index = Index::open(&file).unwrap();
            }
            index.add(number as u64, *time, terms.iter().map(u8::to_string)).unwrap();
        }
        index.save("log", "root").unwrap();
        let all: Vec<Vec<String>> = groups.iter().map(|group| group.iter().map(u8::to_string).collect()).collect();
        let meets = |(time, terms): &(u64, BTreeSet<u8>)| {
            groups.iter().all(|group| group.iter().any(|term| terms.contains(term)))
                && since.is_none_or(|since| *time >= since)
                && until.is_none_or(|until| *time < until)
        };
        let mut scan: Vec<u64> = (0..).zip(&rows).filter(|(_, row)| meets(row)).map(|(number, _)| number).collect();
        scan.reverse();
        let hits = index.search(&Query { all, since, until, limit }).unwrap();
        prop_assert_eq!(hits.total, scan.len() as u64);
        prop_assert_eq!(hits.records, scan.into_iter().take(limit).collect::<Vec<_>>());
    }
}
