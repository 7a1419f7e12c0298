//! The laws: authorities in canonical form are a meet-semilattice, and permission follows its order.

use crate::support::{Asked, asked, authority, details, read, related};
use proptest::prelude::*;
use remit_model::{Authority, Code};
use serde_json::Value;

fn below(a: &Authority, b: &Authority) -> bool {
    a.within(b).is_ok()
}

/// The fields of a permit as an authority, so that the one comparison there is compares them.
fn showing(fields: Option<&[String]>) -> Authority {
    let mut detail = serde_json::json!({"type": "tool_access"});
    if let (Some(fields), Some(members)) = (fields, detail.as_object_mut()) {
        members.insert("fields".to_owned(), fields.into());
    }
    read(&[detail])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn meet_is_commutative_associative_and_idempotent((a, b, c) in related()) {
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
        prop_assert_eq!(a.meet(&a), a);
    }

    #[test]
    fn meet_is_the_greatest_lower_bound((c, a, b) in related()) {
        let met = a.meet(&b);
        prop_assert!(below(&met, &a) && below(&met, &b));
        prop_assert_eq!(below(&c, &a) && below(&c, &b), below(&c, &met));
    }

    #[test]
    fn the_order_is_that_of_the_meet((a, b, _) in related()) {
        prop_assert_eq!(below(&a, &b), a.meet(&b) == a);
    }

    #[test]
    fn the_order_is_reflexive_transitive_and_antisymmetric((a, b, c) in related()) {
        prop_assert!(below(&a, &a));
        prop_assert!(!(below(&a, &b) && below(&b, &c)) || below(&a, &c));
        prop_assert!(!(below(&a, &b) && below(&b, &a)) || a == b);
        prop_assert!(below(&Authority::none(), &a));
    }

    #[test]
    fn what_is_below_permits_no_more((a, b, _) in related(), calls in prop::collection::vec(asked(), 10)) {
        for asked in calls {
            let (Ok(child), true) = (a.permits(&asked.call()), below(&a, &b)) else { continue };
            let parent = b.permits(&asked.call());
            prop_assert!(parent.is_ok(), "{asked:?}");
            let parent = parent.unwrap();
            prop_assert!(below(&showing(child.fields.as_deref()), &showing(parent.fields.as_deref())));
        }
    }

    #[test]
    fn a_meet_permits_what_both_permit(a in authority(), b in authority(), calls in prop::collection::vec(asked(), 10)) {
        let met = a.meet(&b);
        for asked in calls {
            let both = a.permits(&asked.call()).is_ok() && b.permits(&asked.call()).is_ok();
            // A budget of nothing is no permission: the two may each leave a call, and their meet none.
            prop_assert_eq!(met.permits(&asked.call()).is_ok(), both, "{:?}", asked);
        }
    }

    #[test]
    fn the_canonical_form_reads_back_and_says_the_same(raw in details(), calls in prop::collection::vec(asked(), 5)) {
        let read_once = read(&raw);
        let again = Authority::parse(&read_once.to_value()).unwrap();
        prop_assert_eq!(&again, &read_once);
        prop_assert_eq!(again.digest(), read_once.digest());
        let text = serde_json::to_string(&read_once).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Authority>(&text).unwrap(), &read_once);
        for Asked { location, action, now, .. } in calls {
            let could = read_once.could_call(location, action, remit_model::UnixTime(now));
            prop_assert!(!could || read_once.actions_at(location).contains(action));
        }
    }

    #[test]
    fn the_canonical_form_does_not_depend_on_order_or_repetition(raw in details(), turn in 0..4_usize) {
        let mut shuffled = raw.clone();
        shuffled.extend(raw.clone());
        shuffled.rotate_left(turn.min(raw.len()));
        shuffled.reverse();
        for detail in &mut shuffled {
            reverse_members(detail);
        }
        prop_assert_eq!(read(&shuffled), read(&raw));
        let narrowed = read(&raw).meet(&read(&shuffled));
        prop_assert_eq!(Authority::from_grants(narrowed.grants().iter().cloned().rev()), read(&raw));
    }

    #[test]
    fn narrowing_helpers_only_narrow(a in authority(), end in prop::sample::select(vec![-5_i64, 0, 10, 25, i64::MAX])) {
        let until = a.until(remit_model::UnixTime(end));
        prop_assert!(below(&until, &a));
        prop_assert!(until.grants().iter().all(|grant| grant.not_after().is_some_and(|t| t.0 <= end)));
        let here = a.at_location("https://gw.example/mcp/a");
        prop_assert!(below(&here, &a));
        prop_assert!(here.actions_at("https://gw.example/mcp/b").is_empty());
        let delegate = remit_model::Principal::local("https://gw.example", "agent:a");
        if let Ok(handed) = a.delegable_to(&delegate) {
            prop_assert!(below(&handed, &a));
        }
    }

    #[test]
    fn every_refusal_to_widen_names_a_dimension((a, b, _) in related()) {
        if let Err(no) = a.within(&b) {
            prop_assert!(no.code.as_str().starts_with("widens_"), "{no}");
            prop_assert!(!no.reason.is_empty());
            prop_assert!(no.code != Code::WidensScope || no.reason.contains("asks for") || no.reason.contains("nothing"));
        }
    }
}

fn reverse_members(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let mut reversed: Vec<_> = std::mem::take(members).into_iter().collect();
            reversed.reverse();
            for (name, mut member) in reversed {
                if name != "type" {
                    reverse_members(&mut member);
                }
                members.insert(name, member);
            }
        }
        Value::Array(items) => items.reverse(),
        _ => {}
    }
}
