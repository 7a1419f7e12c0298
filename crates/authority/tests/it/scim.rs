//! People whom an identity provider provisions by SCIM: who may sign in, what ends, and what no provider gets at.

use crate::{
    flow::*,
    provider::{corp, local_name, offer, records, rules},
    security_events::{acts, handed_out, named},
    stand_in::StandIn,
    world::*,
};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use remit_authority::provider::{BearerSecret, ProviderSettings, ScimSettings, ScimSubject};
use remit_insight::{custody, replay};
use remit_model::{Human, HumanStatus};
use remit_store::Change;
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-the-provisioner";
const SUBJECT: &str = "248289761001";
const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

fn provisioning(stand_in: &StandIn, secret: &str) -> ProviderSettings {
    let scim = ScimSettings { credential: BearerSecret::of(secret), subject: ScimSubject::ExternalId };
    ProviderSettings { scim: Some(scim), ..stand_in.settings(rules()) }
}

async fn provisioned() -> (World, StandIn) {
    let (world, corp) = corp().await;
    offer(&world, vec![provisioning(&corp, SECRET)]);
    (world, corp)
}

async fn ask(world: &World, method: Method, path: &str, secret: &str, body: Option<&Value>) -> Reply {
    let request = Request::builder().method(method).uri(format!("/scim/v2/{path}"));
    let request = request.header("authorization", format!("Bearer {secret}")).header("content-type", "application/scim+json");
    world.send(request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).unwrap()).await
}

async fn get(world: &World, path: &str) -> Reply {
    ask(world, Method::GET, path, SECRET, None).await
}

async fn create(world: &World, user: &Value) -> Reply {
    ask(world, Method::POST, "corp/Users", SECRET, Some(user)).await
}

async fn patch(world: &World, id: &str, operations: Value) -> Reply {
    let body = json!({"schemas": [PATCH], "Operations": operations});
    ask(world, Method::PATCH, &format!("corp/Users/{id}"), SECRET, Some(&body)).await
}

async fn set_active(world: &World, id: &str, active: Value) -> Reply {
    patch(world, id, json!([{"op": "Replace", "path": "active", "value": active}])).await
}

fn alice() -> Value {
    json!({
        "schemas": [USER], "userName": "alice@corp.example", "externalId": SUBJECT, "active": true, "displayName": "Alice E.",
        "name": {"givenName": "Alice", "familyName": "Example"}, "emails": [{"value": "alice@corp.example", "primary": true}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "it"},
    })
}

fn bad(reply: &Reply, status: StatusCode, scim_type: &str) {
    assert_eq!((reply.status, reply.body["scimType"].as_str().unwrap_or("")), (status, scim_type), "{}", reply.text);
    assert_eq!(reply.headers["content-type"], "application/scim+json");
    assert_eq!(reply.body["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
    assert_eq!(reply.body["status"], status.as_str());
    assert!(text(&reply.body, "detail").contains(", record "), "{}", reply.text);
}

#[tokio::test]
async fn a_deactivated_person_is_refused_what_they_handed_out_ends_and_stays_dead_when_they_come_back() {
    let (world, corp) = provisioned().await;
    let created = create(&world, &alice()).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let id = text(&created.body, "id").to_owned();
    assert_eq!(id, local_name(&corp, SUBJECT));
    assert_eq!(created.headers["location"], text(&created.body["meta"], "location"));
    assert!(created.body.get("emails").is_none(), "what is not needed is not kept");
    let mut body = handed_out(&world, &corp).await;
    assert!(acts(&world, &mut body).await);
    world.advance(100);
    let off = set_active(&world, &id, json!("False")).await;
    assert_eq!((off.status, &off.body["active"]), (StatusCode::OK, &json!(false)), "{}", off.text);
    let dead = world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await;
    assert!(["human_disabled", "sign_in_ended"].contains(&text(&dead.body, "remit_code")), "{}", dead.text);
    corp.behaviour().age = 0;
    let reply = Browser::default().through(&world, &corp, &request()).await;
    assert!(reply.text.contains("human_disabled") && !is_consent(&reply), "{}", reply.text);
    world.advance(100);
    assert_eq!(set_active(&world, &id, json!(true)).await.body["active"], true);
    assert!(!acts(&world, &mut body).await, "what died stays dead");
    let mut anew = handed_out(&world, &corp).await;
    assert!(acts(&world, &mut anew).await, "a new sign-in counts");

    let changes: Vec<Value> =
        named(&world, "account.provision").await.iter().map(|record| record["ext"]["account"]["change"].clone()).collect();
    assert_eq!(changes, ["created", "deactivated", "reactivated"]);
    let ended = named(&world, "account.end_sign_ins").await;
    assert_eq!((ended.len(), &ended[0]["ext"]["sign_in"]["cause"]), (1, &json!("scim")));
    let all = records(&world).await;
    assert!(!all.iter().any(|record| ["alice@", "Alice", SUBJECT].iter().any(|name| record.to_string().contains(name))));
}

#[tokio::test]
async fn who_is_deactivated_or_deleted_before_the_first_sign_in_never_gets_in() {
    for delete in [false, true] {
        let (world, corp) = provisioned().await;
        let mut user = alice();
        user["active"] = json!(delete);
        let id = text(&create(&world, &user).await.body, "id").to_owned();
        if delete {
            let reply = ask(&world, Method::DELETE, &format!("corp/Users/{id}"), SECRET, None).await;
            assert_eq!((reply.status, reply.text.as_str()), (StatusCode::NO_CONTENT, ""));
            assert_eq!(get(&world, &format!("corp/Users/{id}")).await.status, StatusCode::NOT_FOUND);
            assert_eq!(get(&world, "corp/Users").await.body["totalResults"], 0);
            let again = ask(&world, Method::DELETE, &format!("corp/Users/{id}"), SECRET, None).await;
            assert_eq!(again.status, StatusCode::NOT_FOUND);
        }
        world.advance(100);
        corp.behaviour().age = 0;
        let reply = Browser::default().through(&world, &corp, &request()).await;
        assert!(reply.text.contains("human_disabled") && !is_consent(&reply), "{}", reply.text);
        // Provisioned again, the person comes back.
        if delete {
            assert_eq!(create(&world, &alice()).await.status, StatusCode::CREATED);
        } else {
            assert_eq!(set_active(&world, &id, json!(true)).await.status, StatusCode::OK);
        }
        world.advance(10);
        let mut body = handed_out(&world, &corp).await;
        assert!(acts(&world, &mut body).await);
    }
}

#[tokio::test]
async fn a_person_who_signed_in_before_is_taken_over_and_one_whom_an_administrator_disabled_stays_so() {
    let (world, corp) = provisioned().await;
    let mut body = handed_out(&world, &corp).await;
    let id = text(&create(&world, &alice()).await.body, "id").to_owned();
    assert!(acts(&world, &mut body).await, "being provisioned ends nothing");
    let entitlements = world.store.snapshot().human(&id).unwrap().entitlements.clone();
    assert_eq!(entitlements, grants(&crate::world::entitlements()), "what the person may do comes from the sign-in");
    let known = Human::clone(world.store.snapshot().human(&id).unwrap());
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..known })).await;
    for active in [false, true] {
        assert_eq!(set_active(&world, &id, json!(active)).await.body["active"], active);
    }
    assert_eq!(world.store.snapshot().human(&id).unwrap().status, HumanStatus::Disabled);
}

#[tokio::test]
async fn users_are_found_and_listed_in_pages_and_repeated_requests_change_nothing() {
    let (world, _corp) = provisioned().await;
    for n in 0..5 {
        let user = json!({"schemas": [USER], "userName": format!("User{n}"), "externalId": format!("id-{n}")});
        assert_eq!(create(&world, &user).await.status, StatusCode::CREATED);
    }
    let list = get(&world, "corp/Users?startIndex=2&count=2").await.body;
    assert_eq!((&list["totalResults"], &list["startIndex"], &list["itemsPerPage"]), (&json!(5), &json!(2), &json!(2)));
    let found = get(&world, "corp/Users?filter=userName%20eq%20%22USER3%22").await.body;
    assert_eq!((&found["totalResults"], &found["Resources"][0]["externalId"]), (&json!(1), &json!("id-3")));
    let id = text(&found["Resources"][0], "id").to_owned();
    assert_eq!(get(&world, "corp/Users?filter=externalId+eq+%22id-3%22").await.body["Resources"][0]["id"], id);
    assert_eq!(get(&world, "corp/Users?filter=externalId+eq+%22ID-3%22").await.body["totalResults"], 0);
    assert_eq!(get(&world, "corp/Users?count=0").await.body["Resources"], json!([]));
    assert_eq!(get(&world, "corp/Users?startIndex=99").await.body["Resources"], json!([]));
    let cut = get(&world, &format!("corp/Users/{id}?attributes=userName")).await.body;
    assert_eq!(cut.as_object().unwrap().keys().collect::<Vec<_>>().len(), 3, "{cut}");
    let before = records(&world).await.len();
    for _ in 0..3 {
        assert_eq!(set_active(&world, &id, json!(true)).await.status, StatusCode::OK);
    }
    assert_eq!(records(&world).await.len(), before, "nothing changed, and nothing is recorded");
}

#[tokio::test]
async fn a_provider_needs_its_own_secret_and_sees_its_own_people_alone() {
    let world = World::new().await;
    let corp = StandIn::start("corp", "", &world.clock).await;
    let other = StandIn::start("other", "", &world.clock).await;
    let deaf = StandIn::start("deaf", "", &world.clock).await;
    offer(&world, vec![provisioning(&corp, SECRET), provisioning(&other, "the-secret-of-the-other"), deaf.settings(rules())]);
    let id = text(&create(&world, &alice()).await.body, "id").to_owned();
    for secret in ["wrong", "", "the-secret-of-the-other"] {
        let reply = ask(&world, Method::GET, &format!("corp/Users/{id}"), secret, None).await;
        bad(&reply, StatusCode::UNAUTHORIZED, "");
        assert!(reply.headers.contains_key("www-authenticate"));
        bad(&ask(&world, Method::GET, "corp/ServiceProviderConfig", secret, None).await, StatusCode::UNAUTHORIZED, "");
    }
    let off = json!({"schemas": [PATCH], "Operations": [{"op": "replace", "value": {"active": false}}]});
    let at_other = |method: Method, body: Option<Value>| {
        let path = format!("other/Users/{id}");
        let world = &world;
        async move { ask(world, method, &path, "the-secret-of-the-other", body.as_ref()).await }
    };
    for (method, body) in [(Method::GET, None), (Method::DELETE, None), (Method::PATCH, Some(off)), (Method::PUT, Some(alice()))]
    {
        bad(&at_other(method, body).await, StatusCode::NOT_FOUND, "");
    }
    let listed = ask(&world, Method::GET, "other/Users", "the-secret-of-the-other", None).await;
    assert_eq!(listed.body["totalResults"], 0);
    // The same `sub` at the other provider is another person.
    let theirs = ask(&world, Method::POST, "other/Users", "the-secret-of-the-other", Some(&alice())).await;
    assert_eq!(theirs.status, StatusCode::CREATED);
    ask(&world, Method::DELETE, &format!("other/Users/{}", text(&theirs.body, "id")), "the-secret-of-the-other", None).await;
    assert_eq!(get(&world, &format!("corp/Users/{id}")).await.body["active"], true);
    for path in [
        "deaf/Users",
        "nobody/Users",
        "corp/Groups",
        "corp/Users/alice",
        "corp/Users/agent:planner",
        "corp/Bulk",
        "corp/ResourceTypes/Group",
        "corp/x/y/z",
    ] {
        bad(&get(&world, path).await, StatusCode::NOT_FOUND, "");
    }
    bad(&ask(&world, Method::DELETE, "corp/Users", SECRET, None).await, StatusCode::METHOD_NOT_ALLOWED, "");
}

#[tokio::test]
async fn no_request_makes_one_user_another_or_touches_a_local_account() {
    let (world, _corp) = provisioned().await;
    let id = text(&create(&world, &alice()).await.body, "id").to_owned();
    let user = json!({"schemas": [USER], "userName": "bob@corp.example", "externalId": "bob"});
    let bob = text(&create(&world, &user).await.body, "id").to_owned();
    for operation in [
        json!({"op": "replace", "value": {"id": bob, "active": false}}),
        json!({"op": "replace", "path": "id", "value": bob}),
        json!({"op": "replace", "path": "externalId", "value": "bob"}),
        json!({"op": "replace", "value": {"active": false, "externalId": "somebody"}}),
    ] {
        bad(&patch(&world, &id, json!([operation])).await, StatusCode::BAD_REQUEST, "mutability");
    }
    bad(&patch(&world, &id, json!([{"op": "remove", "path": "externalId"}])).await, StatusCode::BAD_REQUEST, "invalidValue");
    bad(&patch(&world, &id, json!([{"op": "remove", "path": "userName"}])).await, StatusCode::BAD_REQUEST, "invalidValue");
    let named_as_bob = json!([{"op": "replace", "path": "userName", "value": "BOB@corp.example"}]);
    bad(&patch(&world, &id, named_as_bob).await, StatusCode::CONFLICT, "uniqueness");
    let mut other = alice();
    other["externalId"] = json!("bob");
    bad(
        &ask(&world, Method::PUT, &format!("corp/Users/{id}"), SECRET, Some(&other)).await,
        StatusCode::BAD_REQUEST,
        "mutability",
    );
    let mut other = alice();
    other["id"] = json!(bob);
    bad(
        &ask(&world, Method::PUT, &format!("corp/Users/{id}"), SECRET, Some(&other)).await,
        StatusCode::BAD_REQUEST,
        "mutability",
    );
    bad(&create(&world, &alice()).await, StatusCode::CONFLICT, "uniqueness");
    for local in ["alice", "bob"] {
        bad(&set_active(&world, local, json!(false)).await, StatusCode::NOT_FOUND, "");
        assert_eq!(world.store.snapshot().human(local).unwrap().status, HumanStatus::Active);
    }
    for user in [&id, &bob] {
        assert_eq!(get(&world, &format!("corp/Users/{user}")).await.body["active"], true);
    }
}

#[tokio::test]
async fn what_the_core_schema_names_is_never_left_aside_in_silence() {
    let (world, _corp) = provisioned().await;
    let id = text(&create(&world, &alice()).await.body, "id").to_owned();
    for operation in [
        json!({"op": "replace", "path": USER, "value": {"active": false}}),
        json!({"op": "replace", "value": {USER: {"active": false}}}),
        json!({"op": "replace", "path": format!("{USER}.active"), "value": false}),
    ] {
        assert_eq!(patch(&world, &id, json!([operation])).await.status, 400, "{operation}");
    }
    let mut twice = alice();
    twice["active"] = json!(false);
    twice[format!("{USER}:active")] = json!(true);
    let refused = ask(&world, Method::PUT, &format!("corp/Users/{id}"), SECRET, Some(&twice)).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let one = json!([{"op": "replace", "path": format!("{USER}:active"), "value": false}]);
    assert_eq!(patch(&world, &id, one).await.body["active"], false, "with a colon it is the attribute");
}

#[tokio::test]
async fn who_was_deactivated_stays_so_when_the_provider_gets_another_name_here() {
    let (world, mut corp) = provisioned().await;
    let mut user = alice();
    user["active"] = json!(false);
    assert_eq!(create(&world, &user).await.status, StatusCode::CREATED);
    corp.name = "staff";
    offer(&world, vec![provisioning(&corp, SECRET)]);
    world.advance(100);
    corp.behaviour().age = 0;
    let reply = Browser::default().through(&world, &corp, &request()).await;
    assert!(reply.text.contains("human_disabled") && !is_consent(&reply), "{}", reply.text);
    // Another person of that provider is not kept out.
    corp.behaviour().claims["sub"] = json!("another");
    let reply = Browser::default().through(&world, &corp, &request()).await;
    assert!(is_consent(&reply), "{}", reply.text);
}

#[tokio::test]
async fn what_is_not_scim_or_too_large_is_refused_with_its_error() {
    let (world, _corp) = provisioned().await;
    let id = text(&create(&world, &alice()).await.body, "id").to_owned();
    let status = StatusCode::BAD_REQUEST;
    for filter in [
        "userName+eq+%22a%22+or+userName+eq+%22b%22",
        "userName+sw+%22a%22",
        "not+(active+eq+true)",
        "password+eq+%22a%22",
        &format!("userName+eq+%22{}%22", "x".repeat(512)),
    ] {
        bad(&get(&world, &format!("corp/Users?filter={filter}")).await, status, "invalidFilter");
    }
    bad(&get(&world, "corp/Users?count=many").await, status, "invalidValue");
    bad(&get(&world, "corp/Users?count=1&count=2").await, status, "");
    for (change, scim_type) in [
        (json!({"schemas": []}), "invalidSyntax"),
        (json!({"schemas": null}), "invalidSyntax"),
        (json!({"userName": null}), "invalidValue"),
        (json!({"externalId": null}), "invalidValue"),
        (json!({"userName": 7}), "invalidValue"),
        (json!({"displayName": "a\u{202e}b"}), "invalidValue"),
        (json!({"externalId": "x".repeat(256)}), "invalidValue"),
        (json!({"active": "maybe"}), "invalidValue"),
        (json!({"USERNAME": "twice"}), "invalidSyntax"),
        (json!({"status": "active"}), "invalidPath"),
        (json!({"entitlement": "all"}), "invalidPath"),
    ] {
        let mut user = json!({"schemas": [USER], "userName": "carol", "externalId": "carol"});
        user.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        bad(&create(&world, &user).await, status, scim_type);
    }
    let send = |media: &'static str, body: String| {
        let request = Request::post("/scim/v2/corp/Users").header("authorization", format!("Bearer {SECRET}"));
        let world = &world;
        async move { world.send(request.header("content-type", media).body(Body::from(body)).unwrap()).await }
    };
    bad(&send("text/plain", alice().to_string()).await, StatusCode::UNSUPPORTED_MEDIA_TYPE, "");
    bad(&send("application/scim+json", "{".to_owned()).await, status, "invalidSyntax");
    bad(&send("application/scim+json", r#"{"userName":"a","userName":"b"}"#.to_owned()).await, status, "invalidSyntax");
    bad(&send("application/scim+json", " ".repeat((64 << 10) + 1)).await, StatusCode::PAYLOAD_TOO_LARGE, "");
    let many: Vec<Value> = (0..65).map(|_| json!({"op": "replace", "path": "active", "value": false})).collect();
    bad(&patch(&world, &id, json!(many)).await, status, "invalidSyntax");
    assert_eq!(get(&world, "corp/Users").await.body["totalResults"], 1);
    assert_eq!(
        send("application/json", json!({"schemas": [USER], "userName": "dora", "externalId": "dora"}).to_string()).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn what_there_is_is_described() {
    let (world, _corp) = provisioned().await;
    let service = get(&world, "corp/ServiceProviderConfig").await;
    assert_eq!((service.status, &service.body["patch"]["supported"]), (StatusCode::OK, &json!(true)));
    assert_eq!(service.headers["content-type"], "application/scim+json");
    assert_eq!(get(&world, "corp/ResourceTypes").await.body["Resources"][0]["endpoint"], "/Users");
    let schemas = get(&world, "corp/Schemas").await.body;
    let id = text(&schemas["Resources"][0], "id").to_owned();
    assert_eq!(get(&world, &format!("corp/Schemas/{id}")).await.body, schemas["Resources"][0]);
    bad(&get(&world, "corp/Schemas/urn:other").await, StatusCode::NOT_FOUND, "");
}

#[tokio::test]
async fn the_ledger_of_provisioning_is_good_for_an_auditor() {
    let (world, corp) = provisioned().await;
    world.record_registrations().await;
    let id = text(&create(&world, &alice()).await.body, "id").to_owned();
    handed_out(&world, &corp).await;
    world.advance(100);
    set_active(&world, &id, json!(false)).await;
    set_active(&world, &id, json!(true)).await;
    ask(&world, Method::DELETE, &format!("corp/Users/{id}"), SECRET, None).await;
    let kept = world.store.snapshot().human(&id).cloned().unwrap();
    assert!(!serde_json::to_string(&*kept).unwrap().contains("alice@"), "a deleted user's names are not kept");
    let reader = world.audited().await;
    let report = custody(&reader);
    assert!(report.ok(), "{report:?}");
    let report = replay(&reader);
    assert!(report.ok(), "{report:?}");
}
