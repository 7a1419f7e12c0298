//! What would have been enough: the smallest change under which a refused request would not have been refused.
//!
//! Nothing is guessed. A change is named only after it was tried: the grant or the policies were asked again with that
//! one value changed, and permitted it. Where no single change was found, or the values are not with this copy, the text says so.

use crate::record_json::{array, member, short};
use remit_model::{Authority, Call, Chain, Code, Grant, authority::EXACT};
use remit_policy::{Action, Bundle, Effect, Question};
use serde_json::{Number, Value, json};

/// Deepest and most numbers among the arguments that are tried.
const DEPTH: usize = 6;
const TRIED: usize = 32;
/// Most alternatives that are named at one place.
const ALTERNATIVES: usize = 4;
/// The longest age of a sign-in that is tried, in seconds: ten years.
const OLDEST: i64 = 315_360_000;

/// The code a record was refused with; `None` when it was not refused.
pub(crate) fn refused(decision: &Value) -> Option<&str> {
    let refused = matches!(member(decision, "/result"), "deny" | "step_up" | "quota" | "error_fail_closed");
    refused.then(|| decision.get("reason_code").and_then(Value::as_str)).flatten()
}

/// For codes that no value of the request decided.
pub(crate) fn in_general(code: &str) -> Option<&'static str> {
    let is = |known: Code| known.as_str() == code;
    let line = if is(Code::LimitExhausted) {
        "This would have been enough: a grant whose limit is not used up, or a new delegation. How much was left is not in the record."
    } else if is(Code::TokenExpired) {
        "This would have been enough: a token that has not expired."
    } else if is(Code::TokenRevoked)
        || is(Code::AgentQuarantined)
        || is(Code::AgentRetired)
        || is(Code::HumanDisabled)
        || is(Code::HumanUnknown)
    {
        "No change of the request would have been enough: the caller had lost its standing."
    } else if is(Code::DelegationNotAllowed) || is(Code::DelegateNotNamed) {
        "This would have been enough: an authority that may be delegated to this agent."
    } else if code.starts_with("widens_") {
        "This would have been enough: a request for no more than the delegator holds, as stated above."
    } else {
        return None;
    };
    Some(line)
}

/// Where an authority was handed on or narrowed, and whether it covers the call. `token` is what the token carries, where
/// that is less than its last hop.
pub(crate) fn by_authority(chain: &Chain, token: Option<&Authority>, call: &Call<'_>) -> Vec<String> {
    let hops = (1..)
        .zip(&chain.hops)
        .map(|(number, hop)| (format!("at hop {number}, {} to {}", hop.delegator.sub, hop.delegate.sub), &hop.authority));
    let token = token.map(|authority| (format!("in the token itself, which {} holds", chain.holder().sub), authority));
    hops.chain(token).filter_map(|(whose, authority)| lacking(&whose, authority, call)).collect()
}

/// What would have to be different for this authority to cover the call; `None` when it does.
fn lacking(whose: &str, authority: &Authority, call: &Call<'_>) -> Option<String> {
    let refusal = authority.permits(call).err()?;
    let lacking = match refusal.code {
        Code::ToolNotGranted => format!("a grant of `{}` at `{}`", call.action, call.location),
        Code::GrantExpired => format!("a grant of `{}` that ends after {}", call.action, call.now.utc()),
        _ => match alternatives(authority, call) {
            found if found.is_empty() => {
                return Some(format!("No other argument was found that would have been enough {whose}: {}.", refusal.reason));
            }
            found => found.join("; or "),
        },
    };
    Some(format!("This would have been enough, {whose}: {lacking}."))
}

/// Other arguments with which the call would be covered.
struct Alternative {
    /// How many arguments differ, and by how much where they are numbers.
    distance: (usize, f64),
    words: String,
}

/// Every change of the arguments that was found, the smallest first; each was tried.
fn alternatives(authority: &Authority, call: &Call<'_>) -> Vec<String> {
    let mut found: Vec<Alternative> = authority.grants().iter().flat_map(|grant| changes(grant, call)).collect();
    found.sort_by(|a, b| a.distance.0.cmp(&b.distance.0).then(a.distance.1.total_cmp(&b.distance.1)));
    let more = found.len().saturating_sub(ALTERNATIVES);
    let mut words: Vec<String> = found.into_iter().take(ALTERNATIVES).map(|alternative| alternative.words).collect();
    if more > 0 {
        words.push(format!("one of {more} more"));
    }
    words
}

/// The changes with which this grant covers the call: of each argument that fails, a value that its constraint states.
fn changes(grant: &Grant, call: &Call<'_>) -> Vec<Alternative> {
    let alone = Authority::from_grants([grant.clone()]);
    let failing: Vec<(String, Vec<Value>)> = grant_arguments(grant)
        .into_iter()
        .filter(|(pointer, constraint)| !admits(grant, pointer, constraint, call))
        .map(|(pointer, constraint)| (pointer, within(&constraint)))
        .collect();
    // One argument: each of its values is an alternative. Several: the first value of each, together.
    let sets: Vec<Vec<(&str, &Value)>> = match failing.as_slice() {
        [(pointer, values)] => values.iter().map(|value| vec![(pointer.as_str(), value)]).collect(),
        several => {
            several.iter().map(|(at, values)| Some((at.as_str(), values.first()?))).collect::<Option<_>>().into_iter().collect()
        }
    };
    let tried = sets.into_iter().filter(|set| !set.is_empty()).filter_map(|set| {
        let changed = set.iter().try_fold(call.arguments.clone(), |all, (at, value)| with(&all, at, (*value).clone()))?;
        alone.permits(&Call { arguments: &changed, ..call.clone() }).ok()?;
        let was = |at: &str| call.arguments.pointer(at);
        let told = |(at, value): &(&str, &Value)| {
            format!("`{at}` {value} instead of {}", was(at).map_or_else(|| "none".to_owned(), Value::to_string))
        };
        let by = |(at, value): &(&str, &Value)| match (was(at).and_then(Value::as_f64), value.as_f64()) {
            (Some(was), Some(value)) => (was - value).abs(),
            _ => 0.0,
        };
        let words = set.iter().map(told).collect::<Vec<_>>().join(" and ");
        let words = format!("{words} (tried: grant {} then covers the call)", short(&grant.digest()));
        Some(Alternative { distance: (set.len(), set.iter().map(by).sum()), words })
    });
    tried.collect()
}

/// Whether this one constraint admits the call's arguments.
fn admits(grant: &Grant, pointer: &str, constraint: &Value, call: &Call<'_>) -> bool {
    let mut wire = Authority::from_grants([grant.clone()]).to_value();
    if let Some(arguments) = wire.pointer_mut("/0/arguments") {
        *arguments = json!({ pointer: constraint });
    }
    Authority::parse(&wire).is_ok_and(|alone| alone.permits(call).is_ok())
}

fn grant_arguments(grant: &Grant) -> Vec<(String, Value)> {
    let value = Authority::from_grants([grant.clone()]).to_value();
    let arguments = value.pointer("/0/arguments").and_then(Value::as_object);
    arguments.into_iter().flatten().map(|(pointer, constraint)| (pointer.clone(), constraint.clone())).collect()
}

/// Values that the constraint states itself.
fn within(constraint: &Value) -> Vec<Value> {
    let stated = ["max", "min", "eq"].into_iter().filter_map(|name| constraint.get(name).cloned());
    stated.chain(array(constraint, "/in").iter().cloned()).collect()
}

/// The arguments with another value at one place; `None` when there is no such place to put it.
fn with(arguments: &Value, pointer: &str, value: Value) -> Option<Value> {
    let mut changed = arguments.clone();
    if let Some(place) = changed.pointer_mut(pointer) {
        *place = value;
        return Some(changed);
    }
    let (above, name) = pointer.rsplit_once('/')?;
    let members = changed.pointer_mut(above)?.as_object_mut()?;
    members.insert(name.replace("~1", "/").replace("~0", "~"), value);
    Some(changed)
}

/// What of a question the policies would have had to be asked instead; each change is tried alone.
pub(crate) fn by_policies(bundle: &Bundle, question: &Question) -> Vec<String> {
    let decision = bundle.decide(question);
    if let Some(error) = decision.errors.first() {
        let mended = bundle.decide_without(question, &decision.errors.iter().map(|error| error.id.as_str()).collect::<Vec<_>>());
        let then =
            if mended.permits() { "without it the others permit this" } else { "without it the others refuse this as well" };
        return vec![format!("This would have been enough: a policy `{}` that can be evaluated ({then}).", error.id)];
    }
    let mut lines = rules(bundle, question, &decision);
    let changes: Vec<String> = [signed_in(bundle, question), handed_less(bundle, question), nearer(bundle, question)]
        .into_iter()
        .flatten()
        .chain(numbers(bundle, question))
        .collect();
    lines.extend(changes.iter().map(|change| format!("This would have been enough: {change}.")));
    if changes.is_empty() {
        lines.push("No single value of the question was found that would have been enough.".to_owned());
    }
    lines
}

/// Which rule stood in the way, by leaving each out in turn.
fn rules(bundle: &Bundle, question: &Question, decision: &remit_policy::Decision) -> Vec<String> {
    let ids: Vec<&str> = decision.policies.iter().map(|policy| policy.id.as_str()).collect();
    match ids.as_slice() {
        [] => vec!["This would have been enough: a policy that permits it; none does, and none forbids it.".to_owned()],
        [only] => {
            let without = bundle.decide_without(question, &[only]);
            let then = if without.permits() { "nothing else stood in the way" } else { "without it no policy permits this" };
            vec![format!("The condition of `{only}` decided: {then}.")]
        }
        many => {
            let without = bundle.decide_without(question, many);
            let then =
                if without.permits() { "each alone is enough to refuse it" } else { "even without them no policy permits this" };
            vec![format!(
                "The conditions of {} decided: {then}.",
                many.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(" and ")
            )]
        }
    }
}

fn permits(bundle: &Bundle, question: &Question) -> bool {
    bundle.decide(question).effect == Effect::Permit
}

fn signed_in(bundle: &Bundle, question: &Question) -> Option<String> {
    let age = |age: i64| permits(bundle, &Question { auth_age: Some(age), ..question.clone() });
    let bound = highest(0, question.auth_age.unwrap_or(OLDEST), &age)?;
    Some(format!("a sign-in at most {bound} seconds before (tried: {bound} is permitted, {} is not)", bound + 1))
}

fn handed_less(bundle: &Bundle, question: &Question) -> Option<String> {
    let Action::Delegate { to, depth, lifetime } = &question.action else { return None };
    let asked = |lifetime: i64| {
        let action = Action::Delegate { to: to.clone(), depth: *depth, lifetime };
        permits(bundle, &Question { action, ..question.clone() })
    };
    let bound = highest(1, *lifetime, &asked)?;
    Some(format!("a lifetime of at most {bound} seconds (tried: {bound} is permitted, {} is not)", bound + 1))
}

fn nearer(bundle: &Bundle, question: &Question) -> Option<String> {
    let [.., last] = question.chain.as_slice() else { return None };
    let first = Question { chain: vec![last.clone()], ..question.clone() };
    let hops = question.chain.len();
    (hops > 1 && permits(bundle, &first))
        .then(|| format!("the same call by {last} one hop from its origin instead of {hops} (tried)"))
}

/// For every number among the arguments: the highest value up to the given one that is permitted, if there is one.
fn numbers(bundle: &Bundle, question: &Question) -> Vec<String> {
    let mut places = Vec::new();
    collect(&question.arguments, &mut String::new(), 0, &mut places);
    let mut found = Vec::new();
    for (pointer, number) in places.into_iter().take(TRIED) {
        // Whole numbers in ones, others in hundredths: in integers, so that a bound is exact.
        let (scale, most) = match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) if (1..EXACT).contains(&whole) => (1, whole),
            (None, Some(float)) if (0.01..1e12).contains(&float) => (100, hundredths(float)),
            _ => continue,
        };
        let value = |units: i64| scaled(units, scale);
        let asked = |units: i64| {
            let arguments = with(&question.arguments, &pointer, value(units));
            arguments.is_some_and(|arguments| permits(bundle, &Question { arguments, ..question.clone() }))
        };
        // Zero may be refused by a rule of its own.
        let least = i64::from(!asked(0));
        if let Some(bound) = highest(least, most, &asked) {
            let next = if bound + 1 > most { number.to_string() } else { value(bound + 1).to_string() };
            found.push(format!("`{pointer}` of at most {} (tried: that is permitted, {next} is not)", value(bound)));
        }
    }
    found
}

#[expect(clippy::cast_possible_truncation, reason = "below 1e14")]
fn hundredths(float: f64) -> i64 {
    (float * 100.0).floor() as i64
}

#[expect(clippy::cast_precision_loss, reason = "below 1e14")]
fn scaled(units: i64, scale: i64) -> Value {
    if scale == 1 || units % scale == 0 {
        return json!(units / scale);
    }
    Number::from_f64(units as f64 / scale as f64).map_or(Value::Null, Value::Number)
}

/// The value up to `most` that is allowed although the next one is not, by halving; `None` when `least` is not allowed or
/// when nothing up to `most` is refused.
fn highest(least: i64, most: i64, allowed: &impl Fn(i64) -> bool) -> Option<i64> {
    let most = most.max(least);
    if !allowed(least) {
        return None;
    }
    if allowed(most) {
        // What was asked lies above `most` only by rounding: a fraction of a unit.
        return (!allowed(most.saturating_add(1))).then_some(most);
    }
    let (mut low, mut high) = (least, most);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if allowed(middle) { low = middle } else { high = middle }
    }
    Some(low)
}

fn collect(value: &Value, pointer: &mut String, depth: usize, places: &mut Vec<(String, Number)>) {
    if depth > DEPTH {
        return;
    }
    let length = pointer.len();
    let mut below = |step: &str, child: &Value, pointer: &mut String| {
        pointer.push('/');
        pointer.push_str(step);
        collect(child, pointer, depth + 1, places);
        pointer.truncate(length);
    };
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, child)| below(&name.replace('~', "~0").replace('/', "~1"), child, pointer));
        }
        Value::Array(items) => (0_usize..).zip(items).for_each(|(at, child)| below(&at.to_string(), child, pointer)),
        Value::Number(number) => places.push((pointer.clone(), number.clone())),
        _ => {}
    }
}
