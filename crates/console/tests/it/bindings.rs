//! What the access tokens of an agent are bound to, as an operator registers it; and whether it acts alone.

use super::{World, registration};
use http::StatusCode;
use serde_json::{Value, json};

fn with(members: &Value) -> Value {
    let mut asked = registration("planner");
    asked.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    asked
}

async fn record(world: &World, answer: &Value) -> Value {
    let path = format!("/admin/v1/records/{}", answer.get("record").and_then(Value::as_str).unwrap());
    let (_, shown) = world.admin("GET", &path, &Value::Null).await;
    shown.get("record").unwrap().clone()
}

#[tokio::test]
async fn a_new_agent_acts_for_people_only_unless_the_registration_says_more() {
    let world = World::new().await;
    for (asked, acts) in [(registration("planner"), "on_behalf"), (registration("monitor"), "either")] {
        let mut asked = asked;
        if acts == "either" {
            asked["acts"] = json!("either");
        }
        let (status, answer) = world.admin("POST", "/admin/v1/agents", &asked).await;
        assert_eq!((status, answer["agent"]["acts"].as_str()), (StatusCode::CREATED, Some(acts)), "{answer}");
    }
}

#[tokio::test]
async fn a_bearer_agent_is_registered_only_where_the_configuration_allows_it() {
    let world = World::new().await;
    for (asked, named) in [
        (json!({"binding": "danger_bearer"}), "agents.danger_bearer: allowed"),
        (json!({"binding": "mtls"}), "server.tls.client_certificates"),
        (json!({"credentials": [{"type": "certificate", "thumbprint": THUMBPRINT}]}), "server.tls.client_certificates"),
        (json!({"binding": "none"}), "unknown variant"),
        (json!({"danger_bearer_writes": true}), "belongs to `binding: danger_bearer`"),
    ] {
        let (status, answer) = world.admin("POST", "/admin/v1/agents", &with(&asked)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer.to_string().contains(named), "{named}: {answer}");
    }
    world.admin("POST", "/admin/v1/agents", &registration("planner")).await;
    let (status, answer) = world.admin("PATCH", "/admin/v1/agents/planner", &json!({"binding": "danger_bearer"})).await;
    assert_eq!((status, answer["error"].as_str()), (StatusCode::BAD_REQUEST, Some("request_malformed")), "{answer}");
}

const THUMBPRINT: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

#[tokio::test]
async fn rfc_8705_an_agent_is_registered_with_a_certificate_by_its_thumbprint() {
    let world = World::with_bearers().await;
    for wrong in [
        "",
        "x",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuF",
        &format!("{THUMBPRINT}="),
    ] {
        let asked = with(&json!({"credentials": [{"type": "certificate", "thumbprint": wrong}]}));
        let (status, answer) = world.admin("POST", "/admin/v1/agents", &asked).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}: {answer}");
        assert!(answer.to_string().contains("x5t#S256"), "{answer}");
    }
    let listed = json!([{"type": "certificate", "thumbprint": THUMBPRINT}]);
    let asked = with(&json!({"binding": "mtls", "credentials": listed, "keys": []}));
    let (status, answer) = world.admin("POST", "/admin/v1/agents", &asked).await;
    assert_eq!((status, &answer["agent"]["binding"]), (StatusCode::CREATED, &json!("mtls")), "{answer}");
    assert_eq!(answer["agent"]["standing_risks"], json!([]), "a copy of its token is worth nothing");
    let client = record(&world, &answer).await["ext"]["config"]["client"].clone();
    assert_eq!((&client["binding"], &client["credentials"]), (&json!("mtls"), &listed), "{client}");
}

#[tokio::test]
async fn a_bearer_agent_is_a_standing_risk_wherever_it_is_shown_and_its_record_says_so() {
    let world = World::with_bearers().await;
    let (status, answer) = world.admin("POST", "/admin/v1/agents", &with(&json!({"binding": "danger_bearer"}))).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(record(&world, &answer).await["ext"]["config"]["client"]["binding"], "danger_bearer");
    let (_, list) = world.admin("GET", "/admin/v1/agents", &Value::Null).await;
    for agent in [&answer["agent"], &list["agents"][0]] {
        assert_eq!(agent["binding"], "danger_bearer");
        assert!(agent["standing_risks"][0].as_str().unwrap().contains("bound to no key"), "{agent}");
    }
    let (_, answer) = world.admin("PATCH", "/admin/v1/agents/planner", &json!({"danger_bearer_writes": true})).await;
    assert!(answer["agent"]["standing_risks"][0].as_str().unwrap().contains("change"), "{answer}");
    let (_, answer) = world.admin("PATCH", "/admin/v1/agents/planner", &json!({"binding": "dpop"})).await;
    assert_eq!(answer["agent"]["standing_risks"], json!([]), "{answer}");
    assert_eq!(answer["agent"]["danger_bearer_writes"], false, "what was allowed for bearer tokens ends with them");
    let config = record(&world, &answer).await["ext"]["config"].clone();
    assert_eq!(
        (&config["client"]["binding"], &config["changed"]),
        (&json!("dpop"), &json!(["binding", "danger_bearer_writes"])),
        "{config}"
    );
    world.admin("POST", "/admin/v1/agents", &registration("other")).await;
    let (_, other) = world.admin("GET", "/admin/v1/agents/other", &Value::Null).await;
    assert_eq!((&other["agent"]["binding"], &other["agent"]["standing_risks"]), (&json!("dpop"), &json!([])));
}
