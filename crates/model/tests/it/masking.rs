//! Field projection: an allow-list that keeps shape and invents nothing.

use crate::support::{FIELDS, read};
use proptest::{prelude::*, sample::subsequence};
use remit_model::{
    fields::{Projection, REPORT_LIMIT, TextProjection, project, project_text},
    json::{self, Limits},
};
use serde_json::{Value, json};

fn masked(value: Value, fields: &[&str]) -> (Value, Vec<String>, Vec<String>) {
    let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    let projection = project(value, &fields);
    assert!(!projection.truncated);
    (projection.value, projection.masked, projection.returned)
}

fn ticket() -> Value {
    json!({
        "id": "T-1", "subject": "late",
        "customer": {"name": "Ada", "email": "ada@example.com", "address": {"city": "Wien"}},
        "items": [{"id": 1, "price": 5}, {"id": 2, "price": 6, "card": {"number": "4111"}}],
        "tags": ["a", "b"]
    })
}

#[test]
fn only_what_is_allowed_stays() {
    let (value, masked, returned) = masked(ticket(), &["/id", "/customer/name", "/items/*/id"]);
    assert_eq!(value, json!({"id": "T-1", "customer": {"name": "Ada"}, "items": [{"id": 1}, {"id": 2}]}));
    assert_eq!(masked, ["/customer/address", "/customer/email", "/items/*/card", "/items/*/price", "/subject", "/tags"]);
    assert_eq!(returned, ["/customer/name", "/id", "/items/*/id"]);
}

#[test]
fn nothing_allowed_leaves_a_shell() {
    assert_eq!(masked(ticket(), &[]).0, json!({}));
    assert_eq!(masked(json!([1, 2]), &[]).0, json!([]));
    assert_eq!(masked(json!("secret"), &["/id"]), (Value::Null, vec![String::new()], vec![]));
    assert_eq!(masked(ticket(), &["/nothing", "id", "/~", "/items/99999999999999999999"]).0, json!({}));
}

#[test]
fn everything_allowed_leaves_all() {
    let (value, masked, returned) = masked(ticket(), &[""]);
    assert_eq!((value, masked), (ticket(), vec![]));
    assert!(returned.contains(&"/items/*/card/number".to_owned()));
}

#[test]
fn a_prefix_covers_what_is_inside_but_not_what_only_starts_alike() {
    assert_eq!(masked(ticket(), &["/customer"]).0, json!({"customer": ticket()["customer"]}));
    assert_eq!(masked(json!({"a": 1, "ab": 2, "a/b": 3}), &["/a"]).0, json!({"a": 1}));
    assert_eq!(masked(json!({"a": {"b": 1}, "a/b": 3}), &["/a~1b"]).0, json!({"a/b": 3}));
    assert_eq!(masked(json!({"~1": 1, "/": 2}), &["/~01"]).0, json!({"~1": 1}));
}

#[test]
fn an_asterisk_is_any_item_and_never_a_member() {
    assert_eq!(masked(json!({"a": {"*": 1, "x": 2, "0": 3}}), &["/a/*"]).0, json!({"a": {}}));
    assert_eq!(masked(json!({"a": {"0": 3}}), &["/a/0"]).0, json!({"a": {}}));
    assert_eq!(masked(json!({"a": [[1, 2], [3]]}), &["/a/*/0"]).0, json!({"a": [[1], [3]]}));
    assert_eq!(masked(json!([{"x": 1, "y": 2}]), &["/*/x"]).0, json!([{"x": 1}]));
}

#[test]
fn single_items_keep_their_place() {
    let (value, masked, _) = masked(json!(["a", "b", "c", "d"]), &["/1", "/2"]);
    assert_eq!((value, masked), (json!([null, "b", "c"]), vec!["/*".to_owned()]));
    assert_eq!(self::masked(json!({"a": [{"s": 1}, {"s": 2, "t": 3}]}), &["/a/1/t"]).0, json!({"a": [null, {"t": 3}]}));
}

#[test]
fn a_scalar_where_more_was_expected_is_masked() {
    let (value, masked, returned) =
        masked(json!({"customer": "Ada, ada@example.com", "items": [5]}), &["/customer/name", "/items/*/id"]);
    assert_eq!((value, returned), (json!({"items": [null]}), vec![]));
    assert_eq!(masked, ["/customer", "/items/*"]);
}

#[test]
fn the_report_is_bounded() {
    let wide: Value = Value::Object((0..2000).map(|n| (format!("k{n:04}"), json!(n))).collect());
    let projection = project(json!({"a": wide, "b": wide}), &["/a".to_owned()]);
    assert_eq!((projection.returned.len(), projection.truncated), (REPORT_LIMIT, true));
    assert_eq!(projection.masked, ["/b"]);
    let long = json!({"x".repeat(5000): 1});
    assert!(project(long, &[]).masked[0].len() < 100);
    let many: Value = (0..5000).map(|n| json!({"id": n, "secret": n})).collect();
    assert_eq!(masked(many, &["/*/id"]).1, ["/*/secret"]);
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(1)), Just(json!("x")), Just(Value::Null), Just(json!({})), Just(json!([]))];
    leaf.prop_recursive(4, 30, 4, |inner| {
        let names = prop::sample::select(vec!["id", "items", "customer", "name", "x/y", "0", "*", "other"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())),
        ]
    })
}

fn pointers() -> impl Strategy<Value = Vec<String>> {
    subsequence(FIELDS.to_vec(), 0..5).prop_map(|fields| fields.into_iter().map(ToOwned::to_owned).collect())
}

/// Whether `part` is `whole` with members left out, items cut off, and values replaced by `null`.
fn within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Null, _) => true,
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, member)| whole.get(name).is_some_and(|other| within(member, other)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() <= whole.len() && part.iter().zip(whole).all(|(item, other)| within(item, other))
        }
        _ => part == whole,
    }
}

fn meet(a: &[String], b: &[String]) -> Vec<String> {
    let authority = |fields: &[String]| read(&[json!({"type": "tool_access", "fields": fields})]);
    authority(a).meet(&authority(b)).grants()[0].fields().unwrap_or_default()
}

/// The leaves of `value` that some field pointer, read literally, leads to.
fn allowed_leaves(value: &Value, at: &mut Vec<(String, bool)>, fields: &[String], found: &mut Vec<String>) {
    let children: Vec<(String, bool, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), false, member)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), true, item)).collect(),
        _ => Vec::new(),
    };
    let leads = |field: &String| {
        let tokens: Vec<String> = field.split('/').skip(1).map(|token| token.replace("~1", "/")).collect();
        let step = |(token, (name, item)): (&String, &(String, bool))| {
            let index = token == "*" || token.bytes().all(|byte| byte.is_ascii_digit());
            index == *item && (token == "*" || token == name)
        };
        tokens.len() <= at.len() && tokens.iter().zip(at.iter()).all(step)
    };
    if children.is_empty() && !value.is_null() && fields.iter().any(leads) {
        found.push(format!("{at:?}={value}"));
    }
    for (name, item, child) in children {
        at.push((name, item));
        allowed_leaves(child, at, fields, found);
        at.pop();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn projection_invents_nothing_and_is_idempotent(value in document(), fields in pointers()) {
        let once = project(value.clone(), &fields).value;
        prop_assert!(within(&once, &value), "{}", once);
        prop_assert_eq!(project(once.clone(), &fields).value, once);
    }

    #[test]
    fn projection_keeps_exactly_the_allowed_leaves(value in document(), fields in pointers()) {
        let (mut wanted, mut kept) = (Vec::new(), Vec::new());
        allowed_leaves(&value, &mut Vec::new(), &fields, &mut wanted);
        let once = project(value, &fields).value;
        allowed_leaves(&once, &mut Vec::new(), &fields, &mut kept);
        prop_assert_eq!(kept, wanted);
        // And nothing else but empty shells.
        let mut all = Vec::new();
        allowed_leaves(&once, &mut Vec::new(), &[String::new()], &mut all);
        let scalars = |leaves: &[String]| leaves.iter().filter(|l| !l.ends_with("={}") && !l.ends_with("=[]")).count();
        let mut allowed = Vec::new();
        allowed_leaves(&once, &mut Vec::new(), &fields, &mut allowed);
        prop_assert_eq!(scalars(&all), scalars(&allowed));
    }

    #[test]
    fn projection_is_monotone_under_meet(value in document(), a in pointers(), b in pointers()) {
        let both = project(value.clone(), &meet(&a, &b)).value;
        let first = project(value.clone(), &a).value;
        prop_assert!(within(&both, &first));
        prop_assert!(within(&both, &project(value, &b).value));
        prop_assert!(within(&both, &project(first, &b).value));
    }

    #[test]
    fn masked_and_returned_are_sorted_and_distinct(value in document(), fields in pointers()) {
        let projection = project(value, &fields);
        for list in [&projection.masked, &projection.returned] {
            prop_assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}

const SCALARS: &[&str] = &[
    "1",
    "-0",
    "0.50",
    "1e3",
    "1E-7",
    "1e400",
    "01",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "true",
    "false",
    "null",
    "nul",
    "\"x\"",
    "\"\\u0041\\n\\/\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"é\u{7f}\"",
    "\"9007199254740993\"",
    "{}",
    "[]",
    "[ ]",
    "",
];

/// Names of members as JSON texts; some are the same in disguise, some no document may have.
fn names() -> impl Strategy<Value = String> {
    let long = format!("\"{}\"", "n".repeat(70));
    let known = ["\"id\"", "\"items\"", "\"customer\"", "\"name\"", "\"x/y\"", "\"0\"", "\"*\"", "\"other\"", "\"\""];
    let odd = ["\"\\u0069d\"", "\"a\\u0000b\"", "\"$serde_json::private::RawValue\"", "7"];
    prop_oneof![
        20 => prop::sample::select(known.to_vec()).prop_map(ToOwned::to_owned),
        1 => prop::sample::select(odd.to_vec()).prop_map(ToOwned::to_owned),
        1 => Just(long),
    ]
}

/// JSON text as a hostile upstream writes it: spaced, escaped, repeated, out of range, cut off.
fn text() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", "", "", " ", "\n\t "]);
    let scalar = prop_oneof![
        9 => prop::sample::select(vec!["1", "\"x\"", "\"a\\\"b\"", "null", "2.5", "{}", "[]"]),
        1 => prop::sample::select(SCALARS.to_vec()),
    ];
    let leaf = scalar.prop_map(ToOwned::to_owned);
    let value = leaf.prop_recursive(5, 40, 5, move |inner| {
        let items = prop::collection::vec((space(), inner.clone()), 0..5);
        let members = prop::collection::vec((names(), space(), inner), 0..6);
        prop_oneof![
            items.prop_map(|items| {
                let items: Vec<_> = items.into_iter().map(|(space, item)| format!("{space}{item}{space}")).collect();
                format!("[{}]", items.join(","))
            }),
            members.prop_map(|members| {
                let members: Vec<_> =
                    members.into_iter().map(|(name, space, value)| format!("{space}{name}{space}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    (value, space(), prop_oneof![30 => Just(""), 1 => Just(","), 1 => Just("]"), 1 => Just("{}")], 0_usize..40).prop_map(
        |(value, space, after, cut)| {
            let whole = format!("{space}{value}{space}{after}");
            // One in twenty ends too early.
            if cut < 2 { whole.chars().take(whole.chars().count() / 2).collect() } else { whole }
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    prop::sample::select(vec![
        Limits::RESPONSE,
        Limits::RESPONSE,
        Limits::REQUEST,
        Limits { bytes: 40, ..Limits::RESPONSE },
        Limits { depth: 2, ..Limits::RESPONSE },
        Limits { members: 5, ..Limits::RESPONSE },
    ])
}

/// The same by way of the parsed document.
fn by_document(text: &str, fields: &[String], limits: &Limits) -> Option<TextProjection> {
    let value = json::parse_repaired(text.as_bytes(), limits).ok().filter(|value| value.is_object() || value.is_array())?;
    let shown = project(value, fields);
    let Projection { value, masked, returned, emptied, .. } = shown;
    Some(TextProjection { text: value.to_string(), masked, returned, emptied })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn text_is_projected_as_the_document_is(text in text(), fields in pointers(), limits in limits()) {
        prop_assert_eq!(project_text(&text, &fields, &limits), by_document(&text, &fields, &limits), "{}", text);
    }

    #[test]
    fn written_documents_are_projected_alike(value in document(), fields in pointers()) {
        for text in [value.to_string(), format!("{value:#}")] {
            prop_assert_eq!(
                project_text(&text, &fields, &Limits::RESPONSE),
                by_document(&text, &fields, &Limits::RESPONSE)
            );
        }
    }
}

#[test]
fn long_lists_wide_objects_and_deep_ones_are_projected_alike() {
    let wide: Value = Value::Object((0..2000).map(|n| (format!("k{n:04}"), json!({"id": n, "x": [n]}))).collect());
    let many: Value = (0..500).map(|n| json!({"id": n, "name": format!("n{n}"), "other": {"id": [n, 0.5]}})).collect();
    let deep = (0..64).fold(json!(1), |inner, _| json!([inner]));
    let too_deep = json!([deep]);
    let odd = r#"{"id":1,"k0":1,"k1":1,"k2":1,"k3":1,"k4":1,"k5":1,"k6":1,"k7":1,"k8":1,"k9":1,"ka":1,"kb":1,"kc":1,"kd":1,"ke":1,
        "kf":1,"kg":1,"kh":1,"ki":1,"kj":1,"kk":1,"kl":1,"km":1,"kn":1,"ko":1,"kp":1,"k\u0071":1,"kq":1}"#;
    let documents = [wide.clone(), many, json!({"items": wide, "id": 1}), deep, too_deep].map(|value| value.to_string());
    for text in documents.iter().map(String::as_str).chain([odd, &odd.replace("k\\u0071", "kz")]) {
        for fields in [&["/id"][..], &["/*/id"], &["/*"], &["/items"], &["/items/k0001/x/*", "/7/other"], &[""], &[]] {
            let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
            assert_eq!(
                project_text(text, &fields, &Limits::RESPONSE),
                by_document(text, &fields, &Limits::RESPONSE),
                "{fields:?}"
            );
        }
    }
    assert_eq!(project_text(odd, &[], &Limits::RESPONSE), None, "a repeated name among many, in disguise");
}
