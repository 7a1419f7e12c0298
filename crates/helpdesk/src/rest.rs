//! The REST face of the same desk; errors are RFC 9457 problem documents.

use crate::{
    Desk,
    data::{Customer, Refund, RefundOrder, Ticket, TicketChange, TicketFilter},
    error::DeskError,
};
use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

pub(crate) async fn list_tickets(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Query(filter): Query<TicketFilter>,
) -> Result<Json<Value>, Problem> {
    desk.note("GET /api/tickets", &headers);
    Ok(Json(json!({ "tickets": desk.tickets(&filter)? })))
}

pub(crate) async fn read_ticket(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Ticket>, Problem> {
    desk.note("GET /api/tickets/{id}", &headers);
    Ok(Json(desk.ticket(&id)?))
}

pub(crate) async fn update_ticket(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(change): Json<TicketChange>,
) -> Result<Json<Ticket>, Problem> {
    desk.note("PATCH /api/tickets/{id}", &headers);
    Ok(Json(desk.update_ticket(&id, &change)?))
}

pub(crate) async fn read_customer(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Customer>, Problem> {
    desk.note("GET /api/customers/{id}", &headers);
    Ok(Json(desk.customer(&id)?))
}

pub(crate) async fn list_refunds(State(desk): State<Desk>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    desk.note("GET /api/refunds", &headers);
    Ok(Json(json!({ "refunds": desk.refunds()? })))
}

pub(crate) async fn create_refund(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Json(order): Json<RefundOrder>,
) -> Result<(StatusCode, Json<Refund>), Problem> {
    desk.note("POST /api/refunds", &headers);
    Ok((StatusCode::CREATED, Json(desk.refund(&order)?)))
}

pub(crate) struct Problem(DeskError);

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            DeskError::NotFound { .. } => StatusCode::NOT_FOUND,
            DeskError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            DeskError::Conflict(_) => StatusCode::CONFLICT,
            DeskError::Storage(cause) => {
                tracing::error!(%cause, "the helpdesk database failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let body = json!({ "title": status.canonical_reason(), "status": status.as_u16(), "detail": self.0.to_string() });
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}
