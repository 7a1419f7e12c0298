//! The wire: who asks, what for, and how it is answered. SPEC: RFC 7644 §3
//!
//! Every request needs the provider's secret, also for what says how this server works.

use super::{change::Door, directory, error::ScimError, filter::Filter, schema, user};
use crate::{
    Server,
    grants::{attempt::Attempt, outcome::Facts},
    http::{
        bearer,
        error::{At, json_response, printable},
        form::Form,
        origin::{RequestOrigin, network},
    },
    signin::provider::{ProviderSettings, ScimSettings},
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts},
};
use remit_model::{
    Code, Refusal, bounds,
    json::{self, Limits, Numbers},
};
use serde_json::{Value, json};

const MEDIA_TYPE: &str = "application/scim+json";
const LIMITS: Limits = Limits { bytes: bounds::SCIM_BODY.size(), depth: 16, members: 2_048, numbers: Numbers::Doubles };
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The base of a provider's SCIM endpoints.
pub fn path(provider: &str) -> String {
    format!("/scim/v2/{provider}")
}

/// Answers one request below a provider's base.
pub(crate) async fn serve(server: &Server, name: &str, rest: &str, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let origin = RequestOrigin::of(&parts);
    // The name is a stranger's word until it is one of ours.
    let provider = server.sign_in_methods().provider(name);
    let answered = match provider.as_ref().and_then(|provider| Some((provider, provider.scim.as_ref()?))) {
        Some((provider, scim)) => {
            let door = Door { server, provider, scim, origin: &origin };
            match admitted(server, scim, &parts.headers, &origin) {
                Ok(()) => answer(&door, rest, &parts, body).await,
                Err(refusal) => Err(refusal.into()),
            }
        }
        None => Err(Refusal::new(Code::NotFound, "no identity provider of this name provisions people here").into()),
    };
    match answered {
        Ok(response) => response,
        Err(error) => refused(server, origin.clone(), provider.as_deref(), error).await,
    }
}

fn admitted(server: &Server, scim: &ScimSettings, headers: &HeaderMap, origin: &RequestOrigin) -> Result<(), Refusal> {
    bearer::check(headers, &scim.credential).or_else(|refusal| {
        // INVARIANT: only what is not the provider's is counted. Strangers behind its address cannot hold it back.
        let from = origin.peer.map(network).unwrap_or_default();
        server.provider_calls.take(&from, server.clock.now().mono_ns).map_err(|over| over.refusal())?;
        Err(refusal)
    })
}

async fn answer(door: &Door<'_>, rest: &str, parts: &Parts, body: Body) -> Result<Response<Body>, ScimError> {
    let Door { server, provider, scim, .. } = *door;
    let base = server.url(&path(&provider.name));
    let segments: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
    match (&parts.method, segments.as_slice()) {
        (&Method::GET, ["ServiceProviderConfig"]) => Ok(reply(StatusCode::OK, &schema::service(&base))),
        (&Method::GET, ["ResourceTypes"]) => Ok(reply(StatusCode::OK, &whole(&[schema::resource_type(&base)]))),
        (&Method::GET, ["ResourceTypes", "User"]) => Ok(reply(StatusCode::OK, &schema::resource_type(&base))),
        (&Method::GET, ["ResourceTypes", _]) => Err(ScimError::absent("there is no such resource type")),
        (&Method::GET, ["Schemas"]) => Ok(reply(StatusCode::OK, &whole(&schema::schemas(&base, scim.subject)))),
        (&Method::GET, ["Schemas", id]) => {
            let schemas = schema::schemas(&base, scim.subject);
            let found = schemas.into_iter().find(|schema| schema.get("id").and_then(Value::as_str) == Some(*id));
            found.map(|schema| reply(StatusCode::OK, &schema)).ok_or_else(|| ScimError::absent("there is no such schema"))
        }
        (&Method::GET, ["Users"]) => listed(door, parts.uri.query().unwrap_or_default()),
        (&Method::GET, ["Users", id]) => {
            let snapshot = server.store.snapshot();
            let found = directory::by_id(&snapshot, provider, id).and_then(|human| user::view(server, &provider.name, human));
            let attributes = Attributes::of(&Form::parse(parts.uri.query().unwrap_or_default().as_bytes())?);
            found.map(|user| reply(StatusCode::OK, &attributes.cut(user))).ok_or_else(ScimError::no_user)
        }
        (&Method::POST, ["Users"]) => {
            let created = door.create(&read(&parts.headers, body).await?).await?;
            let location = created
                .pointer("/meta/location")
                .and_then(Value::as_str)
                .and_then(|location| HeaderValue::from_str(location).ok());
            let mut response = reply(StatusCode::CREATED, &created);
            response.headers_mut().extend(location.map(|location| (header::LOCATION, location)));
            Ok(response)
        }
        (&Method::PUT, ["Users", id]) => Ok(reply(StatusCode::OK, &door.replace(id, &read(&parts.headers, body).await?).await?)),
        (&Method::PATCH, ["Users", id]) => Ok(reply(StatusCode::OK, &door.patch(id, &read(&parts.headers, body).await?).await?)),
        (&Method::DELETE, ["Users", id]) => {
            door.delete(id).await?;
            let mut response = reply(StatusCode::NO_CONTENT, &Value::Null);
            response.headers_mut().remove(header::CONTENT_TYPE);
            *response.body_mut() = Body::empty();
            Ok(response)
        }
        // SPEC: §3.12, 501
        (&Method::POST, [".search" | "Bulk"] | ["Users", ".search"]) => Err(ScimError::not_built()),
        (_, ["Users" | "ServiceProviderConfig" | "ResourceTypes" | "Schemas"] | ["Users" | "ResourceTypes" | "Schemas", _]) => {
            Err(Refusal::new(Code::MethodNotAllowed, "this method is not there for this resource").into())
        }
        _ => Err(Refusal::new(Code::NotFound, "there is no such endpoint; there are users, and no groups").into()),
    }
}

/// GET of the collection, in pages. SPEC: RFC 7644 §3.4.2
fn listed(door: &Door<'_>, query: &str) -> Result<Response<Body>, ScimError> {
    let Door { server, provider, .. } = *door;
    let form = Form::parse(query.as_bytes())?;
    let filter = form.one("filter").map(Filter::parse).transpose()?;
    let number = |name: &str| {
        let number = form.one(name).map(str::parse::<i64>).transpose();
        number.map_err(|_| ScimError::bad("invalidValue", format!("`{name}` must be a whole number")))
    };
    // SPEC: §3.4.2.4: less than 1 is 1, less than 0 is 0.
    let start = usize::try_from(number("startIndex")?.unwrap_or(1).max(1)).unwrap_or(usize::MAX);
    let most = bounds::SCIM_PAGE.size();
    let count = number("count")?.map_or(most, |count| usize::try_from(count.max(0)).unwrap_or(most)).min(most);
    let attributes = Attributes::of(&form);
    let found = directory::search(&server.store.snapshot(), provider, filter.as_ref());
    let page = found.iter().skip(start.saturating_sub(1)).take(count);
    let users: Vec<Value> =
        page.filter_map(|human| user::view(server, &provider.name, human)).map(|user| attributes.cut(user)).collect();
    Ok(reply(
        StatusCode::OK,
        &json!({
            "schemas": [LIST], "totalResults": found.len(), "startIndex": start, "itemsPerPage": users.len(), "Resources": users,
        }),
    ))
}

/// Which attributes of a user are asked for. SPEC: RFC 7644 §3.9
struct Attributes {
    only: Vec<String>,
    without: Vec<String>,
}

impl Attributes {
    fn of(form: &Form) -> Self {
        let names = |name: &str| {
            let listed = form.one(name).unwrap_or_default().split(',').map(|one| user::unqualified(one.trim()));
            listed.filter(|one| !one.is_empty()).map(str::to_ascii_lowercase).collect()
        };
        Self { only: names("attributes"), without: names("excludedAttributes") }
    }

    /// `schemas` and `id` are always there.
    fn cut(&self, user: Value) -> Value {
        let Value::Object(mut members) = user else { return user };
        let named = |list: &[String], name: &str| {
            list.iter().any(|one| one.split('.').next().is_some_and(|base| base.eq_ignore_ascii_case(name)))
        };
        members.retain(|name, _| {
            let always = matches!(name.as_str(), "schemas" | "id");
            let wanted = self.only.is_empty() || named(&self.only, name);
            let excluded = self.without.iter().any(|one| one.eq_ignore_ascii_case(name));
            always || (wanted && !excluded)
        });
        if let Some(Value::Object(name)) = members.get_mut("name") {
            let whole = |list: &[String]| list.iter().any(|one| one == "name");
            let part = |list: &[String], part: &str| list.iter().any(|one| *one == format!("name.{}", part.to_ascii_lowercase()));
            name.retain(|one, _| {
                (self.only.is_empty() || whole(&self.only) || part(&self.only, one)) && !part(&self.without, one)
            });
        }
        Value::Object(members)
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Value, ScimError> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != MEDIA_TYPE && essence != "application/json" {
        return Err(Refusal::new(Code::MediaTypeUnsupported, format!("the body must be {MEDIA_TYPE}")).into());
    }
    let most = bounds::SCIM_BODY.size();
    let bytes = axum::body::to_bytes(body, most).await.map_err(|error| bounds::body_refusal(&error, most))?;
    json::parse(&bytes, &LIMITS).map_err(|refusal| match refusal.code {
        Code::RequestTooLarge => refusal.into(),
        _ => ScimError::bad("invalidSyntax", refusal.reason),
    })
}

/// Everything of a short list.
fn whole(all: &[Value]) -> Value {
    json!({"schemas": [LIST], "totalResults": all.len(), "startIndex": 1, "itemsPerPage": all.len(), "Resources": all})
}

fn reply(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = json_response(status, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

/// SPEC: RFC 7644 §3.12
async fn refused(
    server: &Server,
    origin: RequestOrigin,
    provider: Option<&ProviderSettings>,
    error: ScimError,
) -> Response<Body> {
    let attempt = Attempt::new(At::Scim, origin);
    let facts = provider.map_or_else(Facts::default, |provider| Facts::default().fact("provider", provider.name.clone()));
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
    let ScimError { rejection, scim_type, .. } = &error;
    let stated = match rejection {
        crate::http::error::Rejection::Refusal(refusal) => refusal.clone(),
        _ => Refusal::new(Code::Internal, "internal error; the server's log has the details"),
    };
    let scim_type = *scim_type;
    let status = error.status(&stated);
    let refusal = error.rejection.into_refusal();
    let (refusal, record) = issue::record_refusal(server, entry, Vec::new(), refusal).await;
    // An error of SCIM has no other members, and strict clients refuse one that does: our code and the record are in its words.
    let record = record.map(|record| format!(", record {record}")).unwrap_or_default();
    let detail = format!("{} ({}{record})", printable(&refusal.reason), refusal.code);
    let mut body = json!({"schemas": [ERROR], "status": status.as_str(), "detail": detail});
    if let Some(members) = body.as_object_mut() {
        members.extend(scim_type.map(|scim_type| ("scimType".to_owned(), json!(scim_type))));
    }
    let mut response = reply(status, &body);
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(refusal.retry_after_s.unwrap_or(5)));
        }
        _ => {}
    }
    response
}
