//! A second opinion: what a raw authorization detail means, written without the algebra and asked about every call of
//! a small universe. The universe holds a witness for every difference that the pools can make.

use crate::support::{ACTIONS, ENDS, FIELDS, LOCATIONS, closed, constraint, detail, read};
use proptest::prelude::*;
use remit_model::{Authority, Call, UnixTime};
use serde_json::{Value, json};
use std::cmp::Ordering;
use url::Url;

const ELSEWHERE: &str = "https://elsewhere.example/";

/// Whether the detail, read literally, allows the call.
fn allows(detail: &Value, call: &Call<'_>) -> bool {
    let among = |dimension: &str, name: &str| match &detail[dimension] {
        Value::Null => true,
        listed => listed.as_array().unwrap().iter().any(|one| one == name || one == "*"),
    };
    let lives = detail["not_after"].as_i64().is_none_or(|end| end > 0 && call.now.0 < end);
    let left = detail["limits"]["calls"].as_u64() != Some(0);
    let met = detail["arguments"]
        .as_object()
        .is_none_or(|arguments| arguments.iter().all(|(at, constraint)| holds(constraint, at, call.arguments)));
    let spendable = detail["limits"]["spend"]
        .as_object()
        .is_none_or(|spend| spend.iter().all(|(at, most)| holds(&json!({"min": 0, "max": most}), at, call.arguments)));
    let confined = match &detail["only"] {
        Value::Null => true,
        only => {
            let keys = |value: &Value| value.as_object().into_iter().flat_map(|m| m.keys().cloned()).collect::<Vec<_>>();
            let named = [keys(&detail["arguments"]), keys(&detail["limits"]["spend"])].concat();
            let allowed = only.as_array().map_or(named, |list| list.iter().map(|at| at.as_str().unwrap().to_owned()).collect());
            let allowed: Vec<Vec<&str>> = allowed.iter().map(|at| at.split('/').skip(1).collect()).collect();
            among_allowed(call.arguments, &mut Vec::new(), &allowed)
        }
    };
    among("locations", call.location) && among("actions", call.action) && lives && left && met && spendable && confined
}

fn is_index(token: &str) -> bool {
    token.parse::<u32>().is_ok_and(|number| number.to_string() == token)
}

/// Whether every node below is named, inside something named, or a null or fitting container above something named.
fn among_allowed(value: &Value, path: &mut Vec<String>, allowed: &[Vec<&str>]) -> bool {
    if allowed.iter().any(|at| at.len() <= path.len() && at.iter().zip(path.iter()).all(|(a, b)| a == b)) {
        return true;
    }
    let below: Vec<&str> = allowed
        .iter()
        .filter(|at| at.len() > path.len() && at.iter().zip(path.iter()).all(|(a, b)| a == b))
        .map(|at| at[path.len()])
        .collect();
    let children: Vec<(String, &Value)> = match value {
        Value::Null => return path.is_empty() || !below.is_empty(),
        Value::Object(members) if path.is_empty() || below.iter().any(|token| !is_index(token)) => {
            members.iter().map(|(name, member)| (name.replace('~', "~0").replace('/', "~1"), member)).collect()
        }
        Value::Array(items) if !path.is_empty() && below.iter().any(|token| is_index(token)) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
        }
        _ => return false,
    };
    children.into_iter().all(|(token, child)| {
        path.push(token);
        let fine = among_allowed(child, path, allowed);
        path.pop();
        fine
    })
}

/// Whether the constraint holds at the pointer, and everything above it has the shape that the pointer supposes.
fn holds(constraint: &Value, at: &str, arguments: &Value) -> bool {
    let mut here = Some(arguments);
    for (depth, token) in at.split('/').skip(1).enumerate() {
        let name = token.replace("~1", "/").replace("~0", "~");
        here = match here {
            None | Some(Value::Null) => None,
            Some(Value::Object(members)) if depth == 0 || !is_index(token) => members.get(&name),
            Some(Value::Array(items)) if depth > 0 && is_index(token) => items.get(token.parse::<usize>().unwrap()),
            _ => return false,
        };
    }
    constraint.as_object().unwrap().iter().all(|(kind, bound)| meets(kind, bound, here))
}

fn meets(kind: &str, bound: &Value, found: Option<&Value>) -> bool {
    let Some(found) = found else { return kind == "absent" || kind == "unset" };
    let equal = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.partial_cmp(&b) == Some(Ordering::Equal),
        _ => a == b,
    };
    let ordered = |holds: fn(f64, f64) -> bool| found.as_f64().zip(bound.as_f64()).is_some_and(|(a, b)| holds(a, b));
    let several = || bound.as_array().cloned().unwrap_or_else(|| vec![bound.clone()]);
    let unset = |kind: &str| bound == true || bound.as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind));
    match kind {
        "eq" => equal(found, bound),
        "in" => bound.as_array().unwrap().iter().any(|one| equal(found, one)),
        "min" => ordered(|a, b| a >= b),
        "max" => ordered(|a, b| a <= b),
        "prefix" => found.as_str().is_some_and(|text| several().iter().any(|one| text.starts_with(one.as_str().unwrap()))),
        "host" => found.as_str().and_then(|text| Url::parse(text).ok()).is_some_and(|url| {
            several().iter().any(|host| url.host_str() == host.as_str()) && url.port().is_none() && url.scheme() == "https"
        }),
        "each" => found.as_array().is_some_and(|items| {
            items.iter().all(|item| bound.as_object().unwrap().iter().all(|(kind, bound)| meets(kind, bound, Some(item))))
        }),
        "unset" => {
            found.is_null()
                || (*found == json!("") && unset("text"))
                || (*found == json!([]) && unset("list"))
                || (*found == json!({}) && unset("object"))
        }
        _ => false,
    }
}

/// Every scalar of the pools, its neighbours, and texts that extend every prefix in two ways.
fn scalars() -> Vec<Value> {
    let numbers = [-1.0, 0.0, 0.5, 1.0, 50.0, 50.5, 500.0];
    let mut all: Vec<Value> = numbers.iter().flat_map(|n: &f64| [n.next_down(), *n, n.next_up()]).map(Value::from).collect();
    all.extend([json!(1.0_f64.next_up().next_up()), json!(9_007_199_254_740_991_i64), json!(-9_007_199_254_740_991_i64)]);
    all.extend([
        json!(9_007_199_254_740_990_i64),
        json!(-9_007_199_254_740_990_i64),
        json!(7),
        json!(u64::MAX),
        json!(1e300),
        json!(1e17),
    ]);
    all.extend(["", "T", "T-", "T-1", "EUR", "1", "Ta", "T-a", "T-1a", "EURa", "1a", "z"].map(Value::from));
    all.extend(
        ["https://a.com", "https://a.com/", "https://a.com/x", "https://a.com/xa", "https://a.com.evil.net/"].map(Value::from),
    );
    all.extend(["https://b.com", "https://b.com/x", "https://a.com?x", "HTTPS://b.com"].map(Value::from));
    all.extend([Value::Null, json!(true), json!(false)]);
    all
}

fn numbers_and_pairs() -> Vec<Value> {
    let mut all = Vec::new();
    for scalar in scalars() {
        all.extend([json!({"amount": scalar}), json!({"to": scalar}), json!({"to": {"name": scalar}}), json!({"to": [scalar]})]);
        all.push(json!({"amount": 1, "to": {"name": scalar, "0": 1}}));
        all.push(json!({"amount": scalar, "to": {"0": scalar}}));
        all.extend([json!({"amount": 1, "to": [scalar, 1]}), json!({"amount": [scalar]})]);
    }
    all.extend([
        json!({}),
        json!({"to": {}}),
        json!({"to": []}),
        json!({"to": {"name": {}}}),
        json!({"to": {"name": []}}),
        json!({"to": [[]]}),
        json!({"to": [{}]}),
        json!({"to": null, "amount": {}}),
        json!({"amount": []}),
        json!({"amount": 1, "other": 1}),
        json!({"to": {"other": 1}}),
        json!({"amount": [1]}),
        Value::Null,
    ]);
    all.extend([json!({"amount": 9_007_199_254_740_992_i64}), json!({"amount": 1e300}), json!({"amount": u64::MAX})]);
    all
}

/// Calls that tell apart places, actions and times; the arguments meet most constraints of the pools.
fn places() -> Vec<(&'static str, &'static str, i64)> {
    let mut all = Vec::new();
    for location in LOCATIONS.iter().copied().chain([ELSEWHERE]) {
        for action in ACTIONS.iter().copied().chain(["other"]) {
            for end in ENDS {
                all.extend([(location, action, end - 1), (location, action, *end)]);
            }
        }
    }
    all
}

/// A detail that constrains arguments only, at pointers that lie in one another.
pub(crate) fn argument_detail() -> impl Strategy<Value = Value> {
    let spend = prop::option::weighted(0.2, prop::sample::select(vec![json!(0), json!(1), json!(50)]));
    let at = prop::option::weighted;
    (
        at(0.7, constraint()).boxed(),
        at(0.4, constraint()).boxed(),
        at(0.3, constraint()).boxed(),
        at(0.3, constraint()).boxed(),
        spend,
    )
        .prop_map(|(amount, to, name, item, spend)| {
            let named = [("/amount", amount), ("/to", to), ("/to/name", name), ("/to/0", item)];
            let arguments: serde_json::Map<_, _> = named.into_iter().filter_map(|(at, c)| Some((at.to_owned(), c?))).collect();
            let mut detail = json!({"type": "tool_access", "arguments": arguments});
            if let Some(most) = spend {
                detail["limits"] = json!({"spend": {"/amount": most}});
            }
            detail
        })
        .boxed()
}

fn asked<'a>(arguments: &'a Value, place: (&'a str, &'a str, i64)) -> Call<'a> {
    Call { location: place.0, action: place.1, arguments, now: UnixTime(place.2) }
}

/// Objects and arrays with each path of the pools and one that no pointer names, as leaf and as container.
fn documents() -> Vec<Value> {
    let item = || json!([{"id": 1, "n": [1]}, {"id": [2], "0": 3}, [4, {"id": 5}], 6]);
    vec![
        json!({"id": 1, "other": 2, "customer": {"name": "a", "mail": "b"}, "x/y": 3, "items": {"id": 4, "0": 5}}),
        json!({"id": {"id": 1}, "customer": {"name": {"first": 1}}, "x/y": [1], "items": item()}),
        json!({"items": [item(), item(), item()]}),
        json!({"items": [1, 2, 3], "customer": 4}),
        json!({"items": [{"id": 1}, {"id": 2}, {"id": 3}], "customer": [1]}),
        item(),
        json!("text"),
    ]
}

/// Every leaf of the document with whether some pointer, read literally, shows it.
fn shown(value: &Value, above: &mut Vec<(String, bool)>, fields: &Value, all: &mut Vec<bool>) {
    let children: Vec<(String, bool, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), false, member)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), true, item)).collect(),
        _ => Vec::new(),
    };
    if children.is_empty() {
        all.push(fields.as_array().is_none_or(|fields| fields.iter().any(|field| leads(field.as_str().unwrap(), above))));
    }
    for (name, item, child) in children {
        above.push((name, item));
        shown(child, above, fields, all);
        above.pop();
    }
}

fn leads(field: &str, path: &[(String, bool)]) -> bool {
    let tokens: Vec<String> = field.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
    tokens.len() <= path.len()
        && tokens.iter().zip(path).all(|(token, (name, item))| {
            let index = token == "*" || token.bytes().all(|byte| byte.is_ascii_digit());
            index == *item && (token == "*" || token == name)
        })
}

fn shown_by(fields: &Value) -> Vec<bool> {
    let mut all = Vec::new();
    for document in documents() {
        shown(&document, &mut Vec::new(), fields, &mut all);
    }
    all
}

fn implies(a: &[bool], b: &[bool]) -> bool {
    a.iter().zip(b).all(|(a, b)| !a || *b)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn permits_agrees_with_the_literal_reading_of_arguments(raw in prop::collection::vec(closed(argument_detail()), 1..3)) {
        let authority = read(&raw);
        for arguments in numbers_and_pairs() {
            let call = asked(&arguments, (ELSEWHERE, "other", 1));
            let literal = raw.iter().any(|detail| allows(detail, &call));
            prop_assert_eq!(authority.permits(&call).is_ok(), literal, "{} {}", arguments, authority.to_value());
        }
    }

    #[test]
    fn the_order_of_single_grants_is_exact_on_arguments(child in argument_detail(), parent in argument_detail(), narrow in any::<bool>()) {
        let parent_authority = read(std::slice::from_ref(&parent));
        let plain = read(std::slice::from_ref(&child));
        // Budgets are compared on their own; without them, containment is about calls alone.
        prop_assume!(child.get("limits").is_some() || parent.get("limits").is_none());
        prop_assume!(!over_budget(&child, &parent));
        let child_authority = if narrow { plain.meet(&parent_authority) } else { plain };
        prop_assert_eq!(child_authority.within(&parent_authority).is_ok(), contained(&child_authority, &parent_authority),
            "{} under {}", child_authority.to_value(), parent_authority.to_value());
    }

    #[test]
    fn a_closed_grant_below_another_permits_no_more(child in closed(argument_detail()), parent in closed(argument_detail()), narrow in any::<bool>()) {
        let (plain, parent) = (read(&[child]), read(&[parent]));
        let child = if narrow { plain.meet(&parent) } else { plain.clone() };
        let below = child.within(&parent).is_ok();
        prop_assert!(below || !narrow);
        for arguments in numbers_and_pairs() {
            let call = asked(&arguments, (ELSEWHERE, "other", 1));
            let both = plain.permits(&call).is_ok() && parent.permits(&call).is_ok();
            prop_assert_eq!(child.permits(&call).is_ok(), if narrow { both } else { plain.permits(&call).is_ok() });
            prop_assert!(!below || child.permits(&call).is_err() || parent.permits(&call).is_ok(), "{}", arguments);
        }
    }

    #[test]
    fn permits_agrees_with_the_literal_reading_of_everything(raw in prop::collection::vec(detail(), 1..3)) {
        let authority = read(&raw);
        let some = [json!({}), json!({"amount": 1, "id": "T-1", "to": {"name": "EUR", "0": 1}, "x/y": 0.5}), json!({"amount": 50, "to": "T-"})];
        for place in places() {
            for arguments in &some {
                let call = asked(arguments, place);
                prop_assert_eq!(authority.permits(&call).is_ok(), raw.iter().any(|detail| allows(detail, &call)), "{:?}", call);
            }
        }
    }

    #[test]
    fn field_containment_is_exact(a in fields(), b in fields()) {
        let authority = |fields: &Value| read(&[json!({"type": "tool_access", "fields": fields})]);
        let (child, parent) = (authority(&a), authority(&b));
        let (child_shown, parent_shown) = (shown_by(&a), shown_by(&b));
        prop_assert_eq!(child.within(&parent).is_ok(), implies(&child_shown, &parent_shown), "{} {}", a, b);
        let met = child.meet(&parent).grants()[0].fields().unwrap();
        let both: Vec<bool> = child_shown.iter().zip(&parent_shown).map(|(a, b)| *a && *b).collect();
        prop_assert_eq!(shown_by(&json!(met)), both);
    }
}

fn fields() -> impl Strategy<Value = Value> {
    prop::sample::subsequence(FIELDS.to_vec(), 0..6).prop_map(Value::from)
}

fn over_budget(child: &Value, parent: &Value) -> bool {
    let most = |detail: &Value| detail["limits"]["spend"]["/amount"].as_f64();
    most(parent).is_some_and(|held| most(child).is_none_or(|asked| asked > held))
}

/// Whether every call of the universe that the child permits, the parent permits.
///
/// Both are conjunctions of constraints on single pointers, so it is enough to start from one call that the child
/// permits and to vary one place at a time. A child that is not empty must permit some call of the universe.
fn contained(child: &Authority, parent: &Authority) -> bool {
    let Some(grant) = child.to_value().get(0).cloned() else { return true };
    // The part of the child that is about one argument, to find values that meet it.
    let part = |name: &str| {
        let mut part = grant.clone();
        part.as_object_mut().unwrap().remove("limits");
        if let Some(arguments) = part.get_mut("arguments") {
            arguments.as_object_mut().unwrap().retain(|at, _| at == name || at.starts_with(&format!("{name}/")));
        }
        read(&[part])
    };
    let permitted =
        |authority: &Authority, arguments: &Value| authority.permits(&asked(arguments, (ELSEWHERE, "other", 1))).is_ok();
    let call = |amount: &Option<Value>, to: &Option<Value>| {
        let members = [("amount", amount), ("to", to)];
        Value::Object(members.into_iter().filter_map(|(n, v)| Some((n.to_owned(), v.clone()?))).collect())
    };
    let (amounts, about_to) = (values(), part("/to"));
    let amount =
        amounts.iter().find(|amount| permitted(&part("/amount"), &call(amount, &None))).expect("some amount meets the grant");
    let mut tos = values();
    // A list of several items: one that meets the rest beside each that may not.
    let items: Vec<Value> = scalars().into_iter().filter(|item| permitted(&about_to, &json!({"to": [item]}))).collect();
    for item in items.first().into_iter().chain(items.last()) {
        tos.extend(
            scalars().into_iter().chain([json!([])]).flat_map(|other| [Some(json!([item, other])), Some(json!([other, item]))]),
        );
    }
    let to = tos.iter().find(|to| permitted(child, &call(amount, to))).expect("something meets the grant");
    let fine = |arguments: Value| !permitted(child, &arguments) || permitted(parent, &arguments);
    amounts.iter().all(|amount| fine(call(amount, to))) && tos.iter().all(|to| fine(call(amount, to)))
}

/// What one argument can be, with a witness for every difference that the pools can make at it and inside it.
fn values() -> Vec<Option<Value>> {
    let mut leaves: Vec<Value> = scalars();
    leaves.extend([json!([]), json!({}), json!(["T"]), json!([1]), json!({"z": 1})]);
    let mut all = vec![None];
    for leaf in &leaves {
        all.extend([Some(leaf.clone()), Some(json!([leaf])), Some(json!({"name": leaf})), Some(json!({"name": leaf, "z": 1}))]);
        all.extend([Some(json!([leaf, 1])), Some(json!({"name": [leaf]}))]);
    }
    all
}
