//! From a question to what Cedar evaluates: whom and what it is about, for the scopes of policies; and, for their
//! conditions, the request and the few entities it can reach, already flattened.

use crate::{
    question::{Action, Party, Question},
    unanswerable::Unanswerable,
};
use arc_swap::ArcSwapOption;
use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};
use remit_model::{agent::Binding, decimal::Decimal, id::PrincipalKind, time::UnixTime};
use serde_json::{Number, Value};
use std::{collections::HashMap, str::FromStr, sync::Arc};

/// Arguments nested deeper than this are refused rather than walked.
const DEPTH: usize = 64;

/// Largest whole number a Cedar decimal holds.
const DECIMAL_LIMIT: u64 = 922_337_203_685_477;
/// Decimal places of a Cedar `decimal`.
const DECIMAL_PLACES: usize = 4;

type Attributes = Vec<(String, RestrictedExpression)>;

/// Whom and what a question is about, as entities: what the scopes of policies are compared with.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) principal: EntityUid,
    pub(crate) principal_in: Vec<EntityUid>,
    pub(crate) action: EntityUid,
    pub(crate) resource: EntityUid,
    pub(crate) resource_in: Vec<EntityUid>,
}

/// What the conditions of policies are evaluated with.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
}

/// The schema's entity types, parsed once.
#[derive(Debug)]
pub(crate) struct Types {
    action: EntityTypeName,
    agent: EntityTypeName,
    group: EntityTypeName,
    human: EntityTypeName,
    input: EntityTypeName,
    server: EntityTypeName,
    task: EntityTypeName,
    tool: EntityTypeName,
    /// The second that was asked about last, as the engine takes it: to write one parses the name of the constructor.
    second: ArcSwapOption<(UnixTime, RestrictedExpression)>,
}

impl Types {
    pub(crate) fn new() -> Result<Self, Unanswerable> {
        let name = |text| EntityTypeName::from_str(text).map_err(Unanswerable::engine);
        Ok(Self {
            action: name("Action")?,
            agent: name("Agent")?,
            group: name("Group")?,
            human: name("Human")?,
            input: name("Input")?,
            server: name("Server")?,
            task: name("Task")?,
            tool: name("Tool")?,
            second: ArcSwapOption::empty(),
        })
    }

    fn date_time(&self, time: UnixTime) -> Result<RestrictedExpression, Unanswerable> {
        if let Some(last) = self.second.load().as_deref().filter(|(at, _)| *at == time) {
            return Ok(last.1.clone());
        }
        let expression = RestrictedExpression::new_datetime(date_time(time)?);
        self.second.store(Some(Arc::new((time, expression.clone()))));
        Ok(expression)
    }
}

impl Slice {
    /// # Errors
    /// [`Unanswerable`] for an argument or a time that Cedar cannot hold, or a missing tool. Then nothing may be decided, not
    /// even what no condition would look at.
    pub(crate) fn new(types: &Types, question: &Question) -> Result<Self, Unanswerable> {
        let (resource, resource_in) = resource(types, question)?;
        in_range(question.now)?;
        if question.action == Action::Call {
            shallow(&question.arguments, 0)?;
        }
        Ok(Self {
            principal: party_uid(types, question, &question.principal),
            principal_in: groups(types, &question.principal),
            action: uid(&types.action, question.action.as_str()),
            resource,
            resource_in,
        })
    }
}

impl Facts {
    /// # Errors
    /// As for [`Slice::new`]; a value that the engine does not take.
    pub(crate) fn new(types: &Types, question: &Question, slice: &Slice) -> Result<Self, Unanswerable> {
        let mut entities = resource_entities(types, question, slice)?;
        let mut context = custody(types, question)?;
        entities.push(party(types, question, &question.principal)?);
        if question.on_behalf_of.kind == PrincipalKind::Human {
            let human = party_uid(types, question, &question.on_behalf_of);
            context.push(("on_behalf_of".to_owned(), RestrictedExpression::new_entity_uid(human.clone())));
            if human != slice.principal {
                entities.push(party(types, question, &question.on_behalf_of)?);
            }
        }
        if let Some(txn) = &question.txn {
            let task = uid(&types.task, txn);
            context.push(("task".to_owned(), RestrictedExpression::new_entity_uid(task.clone())));
            let purpose = question.purpose.clone().map(|purpose| ("purpose".to_owned(), text(purpose)));
            entities.push(entity(task, purpose, [])?);
        }
        context.extend(particulars(types, question, &mut entities)?);

        let context = Context::from_pairs(context).map_err(Unanswerable::engine)?;
        let request = Request::new(slice.principal.clone(), slice.action.clone(), slice.resource.clone(), context, None)
            .map_err(Unanswerable::engine)?;
        let entities = Entities::from_entities(entities, None).map_err(Unanswerable::engine)?;
        Ok(Self { request, entities })
    }
}

/// The part of the context that every action has.
fn custody(types: &Types, question: &Question) -> Result<Attributes, Unanswerable> {
    let chain = question.chain.iter().cloned().map(RestrictedExpression::new_string);
    let depth = i64::try_from(question.chain.len()).map_err(|_| Unanswerable::ChainTooLong)?;
    let mut context = vec![
        ("tenant".to_owned(), text(question.tenant.as_str())),
        ("chain".to_owned(), RestrictedExpression::new_set(chain)),
        ("depth".to_owned(), RestrictedExpression::new_long(depth)),
        ("now".to_owned(), types.date_time(question.now)?),
        ("authority".to_owned(), text(question.authority_digest.as_str())),
    ];
    if let Some(purpose) = &question.purpose {
        context.push(("purpose".to_owned(), text(purpose.as_str())));
    }
    if let Some(acr) = &question.acr {
        context.push(("acr".to_owned(), text(acr.as_str())));
    }
    if !question.amr.is_empty() {
        let methods = question.amr.iter().cloned().map(RestrictedExpression::new_string);
        context.push(("amr".to_owned(), RestrictedExpression::new_set(methods)));
    }
    context.push(("root_signed".to_owned(), RestrictedExpression::new_bool(question.root_signed)));
    if let Some(age) = question.auth_age {
        context.push(("auth_age".to_owned(), RestrictedExpression::new_long(age)));
    }
    Ok(context)
}

/// The part of the context that only this action has.
fn particulars(types: &Types, question: &Question, entities: &mut Vec<Entity>) -> Result<Attributes, Unanswerable> {
    Ok(match &question.action {
        Action::List => Vec::new(),
        Action::Call => {
            let input = uid(&types.input, "arguments");
            entities.push(input_entity(input.clone(), &question.arguments)?);
            vec![("input".to_owned(), RestrictedExpression::new_entity_uid(input))]
        }
        Action::ReadField { class } => vec![("class".to_owned(), text(class.as_str()))],
        Action::Delegate { depth, lifetime, .. } => {
            let mut context = vec![
                ("further".to_owned(), RestrictedExpression::new_long(i64::from(*depth))),
                ("lifetime".to_owned(), RestrictedExpression::new_long(*lifetime)),
            ];
            if let Some(server) = &question.server {
                let server = uid(&types.server, server.as_str());
                context.push(("server".to_owned(), RestrictedExpression::new_entity_uid(server.clone())));
                entities.push(entity(server, [], [])?);
            }
            context
        }
    })
}

/// The resource of a request and its ancestors.
fn resource(types: &Types, question: &Question) -> Result<(EntityUid, Vec<EntityUid>), Unanswerable> {
    let server = || question.server.as_ref().ok_or(Unanswerable::NoServer);
    match &question.action {
        Action::Delegate { to, .. } => Ok((uid(&types.agent, local_name(PrincipalKind::Agent, to)), Vec::new())),
        Action::List => Ok((uid(&types.server, server()?.as_str()), Vec::new())),
        Action::Call | Action::ReadField { .. } => {
            let tool = question.tool.as_ref().ok_or(Unanswerable::NoTool)?;
            let server = server()?.as_str();
            Ok((uid(&types.tool, &format!("{server}/{}", tool.name)), vec![uid(&types.server, server)]))
        }
    }
}

/// The resource and what it refers to, as far as the principal does not describe it already.
fn resource_entities(types: &Types, question: &Question, slice: &Slice) -> Result<Vec<Entity>, Unanswerable> {
    let resource = slice.resource.clone();
    match &question.action {
        Action::Delegate { .. } if resource == slice.principal => Ok(Vec::new()),
        Action::Delegate { to, .. } => {
            let attributes = [("sub".to_owned(), text(to.as_str())), ("iss".to_owned(), text(question.issuer.as_str()))];
            Ok(vec![entity(resource, attributes, [])?])
        }
        Action::List => Ok(vec![entity(resource, [], [])?]),
        Action::Call | Action::ReadField { .. } => {
            let tool = question.tool.as_ref().ok_or(Unanswerable::NoTool)?;
            let server = question.server.as_ref().ok_or(Unanswerable::NoServer)?;
            let server = uid(&types.server, server.as_str());
            let mut attributes = vec![
                ("name".to_owned(), text(tool.name.as_str())),
                ("server".to_owned(), RestrictedExpression::new_entity_uid(server.clone())),
                ("class".to_owned(), text(tool.class.as_str())),
            ];
            if let Some(classification) = &tool.classification {
                attributes.push(("classification".to_owned(), text(classification.as_str())));
            }
            Ok(vec![entity(resource, attributes, [server.clone()])?, entity(server, [], [])?])
        }
    }
}

fn party(types: &Types, question: &Question, party: &Party) -> Result<Entity, Unanswerable> {
    let mut attributes = vec![("sub".to_owned(), text(party.sub.as_str())), ("iss".to_owned(), text(party.iss.as_str()))];
    if let (PrincipalKind::Agent, Some(owner)) = (party.kind, &party.owner) {
        let owner = uid(&types.human, local_name(PrincipalKind::Human, owner));
        attributes.push(("owner".to_owned(), RestrictedExpression::new_entity_uid(owner)));
    }
    // Left out where tokens are bound as usual, so that a decision of an older build is asked again under its own schema.
    if party.binding != Binding::default() {
        attributes.push(("binding".to_owned(), text(party.binding.as_str())));
    }
    entity(party_uid(types, question, party), attributes, groups(types, party))
}

fn party_uid(types: &Types, question: &Question, party: &Party) -> EntityUid {
    let kind = match party.kind {
        PrincipalKind::Human => &types.human,
        PrincipalKind::Agent => &types.agent,
    };
    if party.iss == question.issuer {
        uid(kind, local_name(party.kind, &party.sub))
    } else {
        // `|` is in no local name, so a foreign party can never be taken for a local one (N-DC-15).
        uid(kind, &format!("{}|{}", party.iss, party.sub))
    }
}

fn local_name(kind: PrincipalKind, subject: &str) -> &str {
    kind.name_in(subject).unwrap_or(subject)
}

fn groups(types: &Types, party: &Party) -> Vec<EntityUid> {
    party.labels.iter().map(|(key, value)| uid(&types.group, &format!("{key}={value}"))).collect()
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn text(value: impl Into<String>) -> RestrictedExpression {
    RestrictedExpression::new_string(value.into())
}

fn entity(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (String, RestrictedExpression)>,
    parents: impl IntoIterator<Item = EntityUid>,
) -> Result<Entity, Unanswerable> {
    let attributes: HashMap<_, _> = attributes.into_iter().collect();
    Entity::new(uid, attributes, parents.into_iter().collect()).map_err(Unanswerable::engine)
}

/// The call's arguments as tags by JSON Pointer. The arguments object itself has no tag.
fn input_entity(uid: EntityUid, arguments: &Value) -> Result<Entity, Unanswerable> {
    let mut tags = Attributes::new();
    walk(arguments, &mut String::new(), 0, &mut tags)?;
    Entity::new_with_tags(uid, [], [], tags).map_err(Unanswerable::engine)
}

/// Whether the arguments are no deeper than is walked.
fn shallow(value: &Value, depth: usize) -> Result<(), Unanswerable> {
    if depth > DEPTH {
        return Err(Unanswerable::TooDeep(DEPTH));
    }
    match value {
        Value::Object(members) => members.values().try_for_each(|member| shallow(member, depth + 1)),
        Value::Array(items) => items.iter().try_for_each(|item| shallow(item, depth + 1)),
        _ => Ok(()),
    }
}

fn walk(value: &Value, pointer: &mut String, depth: usize, tags: &mut Attributes) -> Result<(), Unanswerable> {
    if depth > DEPTH {
        return Err(Unanswerable::TooDeep(DEPTH));
    }
    if depth > 0 {
        let record = RestrictedExpression::new_record(describe(value)).map_err(Unanswerable::engine)?;
        tags.push((pointer.clone(), record));
    }
    let length = pointer.len();
    let mut descend = |step: &str, child: &Value, pointer: &mut String| {
        pointer.push('/');
        pointer.push_str(step);
        let walked = walk(child, pointer, depth + 1, tags);
        pointer.truncate(length);
        walked
    };
    match value {
        Value::Object(members) => {
            members.iter().try_for_each(|(name, child)| descend(&name.replace('~', "~0").replace('/', "~1"), child, pointer))
        }
        Value::Array(items) => (0_usize..).zip(items).try_for_each(|(at, child)| descend(&at.to_string(), child, pointer)),
        _ => Ok(()),
    }
}

/// One argument as the schema's `Value` record.
fn describe(value: &Value) -> Attributes {
    let sized = |size: usize| ("size".to_owned(), RestrictedExpression::new_long(i64::try_from(size).unwrap_or(i64::MAX)));
    let (kind, mut record) = match value {
        Value::Null => ("null", Vec::new()),
        Value::Bool(bool) => ("boolean", vec![("bool".to_owned(), RestrictedExpression::new_bool(*bool))]),
        Value::String(string) => ("string", vec![("text".to_owned(), text(string.as_str()))]),
        Value::Number(number) => ("number", describe_number(number)),
        Value::Array(items) => ("array", vec![sized(items.len())]),
        Value::Object(members) => ("object", vec![sized(members.len())]),
    };
    record.push(("kind".to_owned(), text(kind)));
    record
}

/// A number as `long` and `decimal` where those hold it exactly, and always as `text`, in the form that a record keeps.
fn describe_number(number: &Number) -> Attributes {
    let Some(exact) = Decimal::of(number) else { return vec![("text".to_owned(), text(number.as_str()))] };
    let mut record = vec![("text".to_owned(), text(exact.to_string()))];
    if let Some(long) = exact.whole() {
        record.push(("long".to_owned(), RestrictedExpression::new_long(long)));
    }
    let whole_part = |shown: &String| shown.trim_start_matches('-').split('.').next().and_then(|part| part.parse().ok());
    if let Some(decimal) =
        exact.with_places(DECIMAL_PLACES).filter(|shown| whole_part(shown).is_some_and(|whole: u64| whole < DECIMAL_LIMIT))
    {
        record.push(("decimal".to_owned(), RestrictedExpression::new_decimal(decimal)));
    }
    record
}

fn in_range(UnixTime(seconds): UnixTime) -> Result<(), Unanswerable> {
    let held = (0..=253_402_300_799).contains(&seconds);
    if held { Ok(()) } else { Err(Unanswerable::Time) }
}

/// RFC 3339 in UTC, which is how Cedar reads a `datetime`.
fn date_time(time: UnixTime) -> Result<String, Unanswerable> {
    in_range(time)?;
    let UnixTime(seconds) = time;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    Ok(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// The proleptic Gregorian date of a day number, 0 being 1970-01-01. Years run from March, so that the leap day
/// comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bundle::SCHEMA;
    use crate::question::ToolFacts;
    use cedar_policy::Schema;
    use proptest::prelude::*;
    use remit_model::{
        id::{ServerId, TenantId},
        resource::ToolClass,
    };
    use serde_json::json;
    use std::collections::BTreeMap;

    const ISSUER: &str = "http://127.0.0.1:8420";

    pub(crate) fn question(action: Action) -> Question {
        let party = |kind, sub: &str, owner: Option<&str>| Party {
            kind,
            sub: sub.to_owned(),
            iss: ISSUER.to_owned(),
            owner: owner.map(str::to_owned),
            labels: BTreeMap::from([("team".to_owned(), "support".to_owned())]),
            binding: Binding::default(),
        };
        Question {
            tenant: TenantId::main(),
            issuer: ISSUER.to_owned(),
            principal: party(PrincipalKind::Agent, "agent:planner", Some("user:alice")),
            on_behalf_of: party(PrincipalKind::Human, "user:alice", None),
            chain: vec!["agent:planner".to_owned()],
            txn: Some("01HZX".to_owned()),
            action,
            server: Some(ServerId::parse("helpdesk").unwrap()),
            tool: Some(ToolFacts {
                name: "refund_create".to_owned(),
                class: ToolClass::Payment,
                classification: Some("confidential".to_owned()),
            }),
            arguments: json!({ "amount": 49.5, "lines": [{ "a/b": true }, null] }),
            authority_digest: "sha-256:00".to_owned(),
            purpose: Some("close ticket T-1".to_owned()),
            now: UnixTime(1_795_321_800),
            auth_age: Some(60),
            acr: None,
            amr: Vec::new(),
            root_signed: false,
        }
    }

    #[track_caller]
    fn assert_number(text: &str, long: Option<&str>, decimal: Option<&str>) {
        let Value::Number(number) = serde_json::from_str(text).unwrap() else { panic!("not a number") };
        let entity = Entity::new(
            "Input::\"x\"".parse().unwrap(),
            describe_number(&number).into_iter().collect(),
            std::collections::HashSet::new(),
        )
        .unwrap();
        let found = |key| entity.attr(key).map(|value| value.unwrap().to_string());
        assert_eq!(found("long").as_deref(), long, "long of {text}");
        assert_eq!(found("decimal"), decimal.map(|shown| format!("decimal(\"{shown}\")")), "decimal of {text}");
        assert!(found("text").is_some());
    }

    #[test]
    fn numbers_are_typed_only_where_they_are_exact() {
        assert_number("50", Some("50"), Some("50.0000"));
        assert_number("50.0", Some("50"), Some("50.0000"));
        assert_number("-0.0", Some("0"), Some("0.0000"));
        assert_number("49.99", None, Some("49.9900"));
        assert_number("0.12345", None, None);
        assert_number("1e16", Some("10000000000000000"), None);
        assert_number("9223372036854775807", Some("9223372036854775807"), None);
        assert_number("-9223372036854775808", Some("-9223372036854775808"), None);
        assert_number("9223372036854775808", None, None);
        assert_number("49.99000000000000000001", None, None);
        assert_number("0.0001e4", Some("1"), Some("1.0000"));
        assert_number("-0.5", None, Some("-0.5000"));
        assert_number("1e300", None, None);
        assert_number("922337203685476", Some("922337203685476"), Some("922337203685476.0000"));
        assert_number("922337203685477", Some("922337203685477"), None);
    }

    #[test]
    fn dates_follow_the_calendar() {
        let shown = |seconds| date_time(UnixTime(seconds)).unwrap();
        assert_eq!(shown(0), "1970-01-01T00:00:00Z");
        assert_eq!(shown(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(shown(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(shown(1_795_321_800), "2026-11-22T04:30:00Z");
        assert_eq!(shown(253_402_300_799), "9999-12-31T23:59:59Z");
        assert!(date_time(UnixTime(-1)).is_err());
    }

    #[test]
    fn n_dc_15_a_foreign_namesake_is_another_entity() {
        let types = Types::new().unwrap();
        let mut question = question(Action::Call);
        let local = Slice::new(&types, &question).unwrap().principal;
        question.principal.iss = "https://elsewhere.example".to_owned();
        let foreign = Slice::new(&types, &question).unwrap().principal;
        assert_eq!(local.to_string(), "Agent::\"planner\"");
        assert_eq!(foreign.to_string(), "Agent::\"https://elsewhere.example|agent:planner\"");
    }

    #[test]
    fn n_dc_15_a_federated_person_is_a_human_whatever_the_subject() {
        let types = Types::new().unwrap();
        let mut question = question(Action::Call);
        let federated = |sub: &str| Party {
            kind: PrincipalKind::Human,
            sub: sub.to_owned(),
            iss: "https://idp.example".to_owned(),
            owner: None,
            labels: BTreeMap::new(),
            binding: Binding::default(),
        };
        for sub in ["00u1f9xk", "agent:planner", "user:alice"] {
            question.principal = federated(sub);
            let principal = Slice::new(&types, &question).unwrap().principal;
            assert_eq!(principal.to_string(), format!("Human::\"https://idp.example|{sub}\""));
        }
    }

    #[test]
    fn a_question_survives_storage_with_every_digit() {
        let mut question = question(Action::Call);
        question.arguments = json!({ "id": 9_007_199_254_740_993_i64, "big": u64::MAX, "x": 0.1 });
        let stored = remit_model::json::canonical(&serde_json::to_value(&question).unwrap());
        assert_eq!(serde_json::from_slice::<Question>(&stored).unwrap(), question);
    }

    fn argument() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (-100_000_i32..100_000).prop_map(|cents| Value::from(f64::from(cents) / 100.0)),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z/~]{0,3}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Validated policies are only sound for requests and entities that conform to the schema.
        #[test]
        fn every_slice_conforms_to_the_schema(arguments in argument(), which in 0_usize..4, bare: bool) {
            let actions = [
                Action::Call,
                Action::List,
                Action::ReadField { class: "pii".to_owned() },
                Action::Delegate { to: "agent:summarizer".to_owned(), depth: 2, lifetime: 3600 },
            ];
            let mut question = question(actions[which].clone());
            question.arguments = arguments;
            if bare {
                question.on_behalf_of = question.principal.clone();
                question.principal.owner = None;
                (question.txn, question.purpose, question.auth_age) = (None, None, None);
                if let Some(tool) = &mut question.tool {
                    tool.classification = None;
                }
            }
            let stored = serde_json::to_vec(&question).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Question>(&stored).unwrap(), &question);
            let (schema, _) = Schema::from_cedarschema_str(SCHEMA).unwrap();
            let types = Types::new().unwrap();
            let slice = Slice::new(&types, &question).unwrap();
            let facts = Facts::new(&types, &question, &slice).unwrap();
            let context = facts.request.context().unwrap().clone();
            prop_assert!(
                Request::new(slice.principal, slice.action, slice.resource, context, Some(&schema)).is_ok()
            );
            let checked = Entities::from_entities(facts.entities.iter().cloned(), Some(&schema));
            prop_assert!(checked.is_ok(), "{:?}", checked.err());
        }
    }
}
