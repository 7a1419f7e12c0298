use crate::refund;
use remit_policy::{Bundle, Effect, Known};
use serde_json::{Value, json};

const PERMIT: &str = "@id(\"pay\") permit (principal == Agent::\"planner\", action, resource);";
const FORBID: &str = "@id(\"stop\")\nforbid (principal, action, resource) when { context.depth > 5 };";

fn files(names: &[(&str, &str)]) -> Vec<(String, String)> {
    names.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn two() -> Vec<(String, String)> {
    files(&[("a.cedar", PERMIT), ("b.cedar", FORBID)])
}

fn known() -> Known {
    let bytes = Bundle::parse(&two()).unwrap().to_known().to_bytes();
    Known::from_bytes(&bytes).unwrap()
}

#[test]
fn what_is_known_is_not_validated_again_and_decides_the_same() {
    let (first, again) = (Bundle::parse(&two()).unwrap(), Bundle::parse_knowing(&two(), &known()).unwrap());
    assert_eq!((first.checked(), again.checked()), (2, 0));
    assert_eq!((first.digest(), first.len()), (again.digest(), again.len()));
    assert_eq!(first.decide(&refund(1)), again.decide(&refund(1)));
    assert_eq!(again.decide(&refund(1)).effect, Effect::Permit);
    assert_eq!(first.to_known().to_bytes(), again.to_known().to_bytes(), "and can be known again");
}

#[test]
fn only_what_changed_is_validated() {
    let changed = files(&[("a.cedar", PERMIT), ("b.cedar", "forbid (principal, action, resource);")]);
    let bundle = Bundle::parse_knowing(&changed, &known()).unwrap();
    assert_eq!(bundle.checked(), 1);
    assert_eq!(bundle.decide(&refund(1)).effect, Effect::Deny);
}

#[test]
fn a_changed_text_a_swapped_name_and_a_mistake_are_never_known() {
    for (asked, anew) in [
        (files(&[("b.cedar", PERMIT), ("a.cedar", FORBID)]), 2),
        (files(&[("a.cedar", &format!("{PERMIT} ")), ("b.cedar", FORBID)]), 1),
        (files(&[("c.cedar", PERMIT)]), 1),
    ] {
        assert_eq!(Bundle::parse_knowing(&asked, &known()).unwrap().checked(), anew, "{asked:?}");
    }
    let broken = files(&[("a.cedar", PERMIT), ("b.cedar", "forbid (principal, action);")]);
    assert_eq!(Bundle::parse_knowing(&broken, &known()).unwrap_err()[0].file, "b.cedar");
    let misspelt = files(&[("a.cedar", PERMIT), ("b.cedar", "forbid (principal, action, resource) when { context.no };")]);
    assert!(Bundle::parse_knowing(&misspelt, &known()).is_err());
}

#[test]
fn an_id_that_a_new_file_repeats_is_found_beside_a_known_one() {
    let doubled = files(&[("a.cedar", PERMIT), ("c.cedar", PERMIT)]);
    let wrong = Bundle::parse_knowing(&doubled, &known()).unwrap_err();
    assert_eq!(wrong[0].to_string(), "c.cedar:1: the id `pay` is already used at a.cedar:1");
    let doubled = files(&[("a.cedar", PERMIT), ("a.cedar", PERMIT)]);
    assert!(Bundle::parse_knowing(&doubled, &known()).unwrap_err()[0].to_string().contains("given twice"));
}

#[test]
fn what_is_known_under_another_schema_is_not_known() {
    let mut other: Value = serde_json::from_slice(&known().to_bytes()).unwrap();
    other["schema"] = json!("sha-256:00");
    let other = Known::from_bytes(other.to_string().as_bytes()).unwrap();
    assert_eq!(Bundle::parse_knowing(&two(), &other).unwrap().checked(), 2);
}

#[test]
fn places_that_are_not_in_the_text_deny_instead_of_leaving_a_policy_out() {
    for (pointer, wrong) in [("start", json!(7)), ("end", json!(60_000)), ("end", json!(0)), ("start", json!(60_000))] {
        let mut damaged: Value = serde_json::from_slice(&known().to_bytes()).unwrap();
        damaged["files"]["b.cedar"]["places"][0][pointer] = wrong.clone();
        let damaged = Known::from_bytes(damaged.to_string().as_bytes()).unwrap();
        let decision = Bundle::parse_knowing(&two(), &damaged).unwrap().decide(&refund(1));
        assert_eq!((decision.effect, decision.errors.len()), (Effect::Deny, 1), "{pointer} {wrong}");
    }
}

#[test]
fn what_is_not_ours_does_not_read_as_known() {
    let whole = known().to_bytes();
    for bytes in
        [&b""[..], b"null", b"{}", b"[]", &whole[1..], &whole[..whole.len() - 1], b"{\"schema\":\"x\",\"files\":{\"a\":1}}"]
    {
        assert!(Known::from_bytes(bytes).is_none(), "{}", String::from_utf8_lossy(bytes));
    }
}
