//! The helpdesk: a small, real upstream to put behind Remit – support tickets, customers with personal data, refunds.
//!
//! It speaks MCP over streamable HTTP (revisions 2026-07-28, 2025-11-25 and 2025-06-18) at `/mcp` and a REST API at
//! `/api`, over an embedded SQLite database whose contents are the same on every start. It knows nothing of Remit and
//! asks for no token: only a gateway in front of it keeps `admin_purge` from being called. It counts every request that
//! reached it ([`Desk::received`]), so a test can prove that a refused call had no effect here.
//!
//! ```
//! use remit_helpdesk::{Desk, TicketFilter};
//!
//! let desk = Desk::seeded()?;
//! let tickets = desk.tickets(&TicketFilter { status: Some("open".to_owned()), ..TicketFilter::default() })?;
//! assert!(!tickets.is_empty());
//! assert_eq!(desk.calls_of("admin_purge"), 0);
//! # Ok::<(), remit_helpdesk::DeskError>(())
//! ```

mod data;
mod desk;
mod error;
mod mcp;
mod progress;
mod rest;
mod seed;
mod tools;

pub use data::{Customer, Message, Refund, RefundOrder, Ticket, TicketChange, TicketFilter};
pub use desk::{Desk, Received};
pub use error::DeskError;
pub use tools::{Tool, tools};

use axum::{
    Router,
    routing::{get, post},
};

/// The desk's whole HTTP face: `/mcp`, `/api/…` and `/healthz`.
pub fn router(desk: Desk) -> Router {
    Router::new()
        .route("/mcp", post(mcp::post))
        .route("/api/tickets", get(rest::list_tickets))
        .route("/api/tickets/{id}", get(rest::read_ticket).patch(rest::update_ticket))
        .route("/api/customers/{id}", get(rest::read_customer))
        .route("/api/refunds", get(rest::list_refunds).post(rest::create_refund))
        .route("/healthz", get(async || "ok\n"))
        .with_state(desk)
}
