//! What can be asked of the desk's database, in its own words; both faces (MCP and REST) go through here.
//!
//! Every statement runs under one lock on one connection: this is a sample with a few dozen rows, not a help desk for
//! a thousand people.

use crate::{desk::Desk, error::DeskError};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Number;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Customer {
    pub id: String,
    pub name: String,
    pub email: String,
    pub phone: String,
    pub iban: String,
    pub plan: String,
}

/// What a ticket shows of its customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contact {
    pub id: String,
    pub name: String,
    pub email: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    pub author: String,
    pub body: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ticket {
    pub id: String,
    pub subject: String,
    pub status: String,
    pub priority: String,
    pub opened: String,
    pub revision: i64,
    pub customer: Contact,
    /// Present when one ticket is read, absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<Message>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refund {
    pub id: String,
    pub ticket_id: String,
    pub amount: Number,
    pub currency: String,
    pub reason: String,
    pub idempotency_key: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketFilter {
    pub status: Option<String>,
    pub customer_id: Option<String>,
    /// At most 100; 20 when not given.
    pub limit: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketChange {
    pub status: Option<String>,
    pub priority: Option<String>,
    /// Appended to the conversation as a message of the support team.
    pub note: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundOrder {
    pub ticket_id: String,
    pub amount: Number,
    pub currency: String,
    #[serde(default)]
    pub reason: String,
    /// The same key with the same order is the same refund, however often it is sent.
    pub idempotency_key: String,
}

const STATUSES: [&str; 3] = ["open", "pending", "closed"];
const PRIORITIES: [&str; 3] = ["low", "normal", "high"];
pub(crate) const CURRENCIES: [&str; 3] = ["EUR", "GBP", "USD"];

const TICKET: &str = "SELECT t.id, t.subject, t.status, t.priority, t.opened, t.revision, c.id, c.name, c.email
    FROM ticket t JOIN customer c ON c.id = t.customer";

const REFUND_BY_KEY: &str =
    "SELECT number, ticket, cents, currency, reason, idempotency_key FROM refund WHERE idempotency_key = ?1";
const REUSED: &str = "this idempotency_key was used for another refund";

impl Desk {
    /// Tickets by number, at most 100.
    ///
    /// # Errors
    /// [`DeskError::Invalid`] for an unknown status; [`DeskError::Storage`].
    pub fn tickets(&self, filter: &TicketFilter) -> Result<Vec<Ticket>, DeskError> {
        one_of("status", filter.status.as_deref(), &STATUSES)?;
        let limit = filter.limit.unwrap_or(20).min(100);
        self.with(|database| {
            let sql =
                format!("{TICKET} WHERE (?1 IS NULL OR t.status = ?1) AND (?2 IS NULL OR c.id = ?2) ORDER BY t.id LIMIT ?3");
            let mut statement = database.prepare_cached(&sql)?;
            let rows = statement.query_map(params![filter.status, filter.customer_id, limit], ticket_of)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// One ticket with its messages.
    ///
    /// # Errors
    /// [`DeskError::NotFound`], [`DeskError::Storage`].
    pub fn ticket(&self, id: &str) -> Result<Ticket, DeskError> {
        self.with(|database| read_ticket(database, id))
    }

    /// Changes status or priority, or adds a message.
    ///
    /// # Errors
    /// [`DeskError::Invalid`], [`DeskError::NotFound`], [`DeskError::Storage`].
    pub fn update_ticket(&self, id: &str, change: &TicketChange) -> Result<Ticket, DeskError> {
        one_of("status", change.status.as_deref(), &STATUSES)?;
        one_of("priority", change.priority.as_deref(), &PRIORITIES)?;
        self.with(|database| {
            let work = database.unchecked_transaction()?;
            work.execute(
                "UPDATE ticket SET status = coalesce(?2, status), priority = coalesce(?3, priority), revision = revision + 1
                 WHERE id = ?1",
                params![id, change.status, change.priority],
            )?;
            if let Some(note) = &change.note {
                work.execute(
                    "INSERT INTO message SELECT id, (SELECT count(*) + 1 FROM message WHERE ticket = ?1), 'support', ?2
                     FROM ticket WHERE id = ?1",
                    params![id, note],
                )?;
            }
            let ticket = read_ticket(&work, id)?;
            work.commit()?;
            Ok(ticket)
        })
    }

    /// One customer with all personal data.
    ///
    /// # Errors
    /// [`DeskError::NotFound`], [`DeskError::Storage`].
    pub fn customer(&self, id: &str) -> Result<Customer, DeskError> {
        self.with(|database| {
            let sql = "SELECT id, name, email, phone, iban, plan FROM customer WHERE id = ?1";
            let customer = database.query_row(sql, [id], |row| {
                Ok(Customer {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    email: row.get(2)?,
                    phone: row.get(3)?,
                    iban: row.get(4)?,
                    plan: row.get(5)?,
                })
            });
            customer.optional()?.ok_or_else(|| DeskError::NotFound { kind: "customer", id: id.to_owned() })
        })
    }

    /// Every refund ever made, in order.
    ///
    /// # Errors
    /// [`DeskError::Storage`].
    pub fn refunds(&self) -> Result<Vec<Refund>, DeskError> {
        self.with(|database| {
            let mut statement = database
                .prepare_cached("SELECT number, ticket, cents, currency, reason, idempotency_key FROM refund ORDER BY number")?;
            let rows = statement.query_map([], refund_of)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Pays money back, once for each idempotency key.
    ///
    /// # Errors
    /// [`DeskError::Invalid`], [`DeskError::NotFound`]; [`DeskError::Conflict`] for a key that was used for another refund;
    /// [`DeskError::Storage`].
    pub fn refund(&self, order: &RefundOrder) -> Result<Refund, DeskError> {
        let cents = cents_of(&order.amount)?;
        one_of("currency", Some(&order.currency), &CURRENCIES)?;
        if order.idempotency_key.is_empty() {
            return Err(DeskError::Invalid("idempotency_key must not be empty".to_owned()));
        }
        self.with(|database| {
            let ticket = read_ticket(database, &order.ticket_id)?;
            let known = database.query_row(REFUND_BY_KEY, [&order.idempotency_key], refund_of).optional()?;
            if let Some(known) = known {
                let same = known.ticket_id == ticket.id && known.currency == order.currency && cents_of(&known.amount)? == cents;
                return if same { Ok(known) } else { Err(DeskError::Conflict(REUSED.to_owned())) };
            }
            database.execute(
                "INSERT INTO refund (ticket, cents, currency, reason, idempotency_key) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![ticket.id, cents, order.currency, order.reason, order.idempotency_key],
            )?;
            Ok(database.query_row(REFUND_BY_KEY, [&order.idempotency_key], refund_of)?)
        })
    }

    /// Deletes every ticket, message and customer; refunds stay. Returns how many rows went.
    ///
    /// # Errors
    /// [`DeskError::Storage`].
    pub fn purge(&self) -> Result<usize, DeskError> {
        self.with(|database| {
            let work = database.unchecked_transaction()?;
            let mut gone = 0;
            for table in ["message", "ticket", "customer"] {
                gone += work.execute(&format!("DELETE FROM {table}"), [])?;
            }
            work.commit()?;
            Ok(gone)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, DeskError>) -> Result<T, DeskError> {
        work(&self.database())
    }
}

fn read_ticket(database: &Connection, id: &str) -> Result<Ticket, DeskError> {
    let mut ticket = database
        .query_row(&format!("{TICKET} WHERE t.id = ?1"), [id], ticket_of)
        .optional()?
        .ok_or_else(|| DeskError::NotFound { kind: "ticket", id: id.to_owned() })?;
    let mut statement = database.prepare_cached("SELECT author, body FROM message WHERE ticket = ?1 ORDER BY position")?;
    let messages = statement.query_map([id], |row| Ok(Message { author: row.get(0)?, body: row.get(1)? }))?;
    ticket.messages = Some(messages.collect::<Result<_, _>>()?);
    Ok(ticket)
}

fn ticket_of(row: &Row<'_>) -> rusqlite::Result<Ticket> {
    Ok(Ticket {
        id: row.get(0)?,
        subject: row.get(1)?,
        status: row.get(2)?,
        priority: row.get(3)?,
        opened: row.get(4)?,
        revision: row.get(5)?,
        customer: Contact { id: row.get(6)?, name: row.get(7)?, email: row.get(8)? },
        messages: None,
    })
}

fn refund_of(row: &Row<'_>) -> rusqlite::Result<Refund> {
    let number: i64 = row.get(0)?;
    Ok(Refund {
        id: format!("R-{number}"),
        ticket_id: row.get(1)?,
        amount: amount_of(row.get(2)?),
        currency: row.get(3)?,
        reason: row.get(4)?,
        idempotency_key: row.get(5)?,
    })
}

fn one_of(name: &str, value: Option<&str>, known: &[&str]) -> Result<(), DeskError> {
    match value {
        Some(value) if !known.contains(&value) => {
            Err(DeskError::Invalid(format!("{name} must be one of {}, not {value:?}", known.join(", "))))
        }
        _ => Ok(()),
    }
}

/// An amount of money in hundredths, from the decimal text of the number; more than two decimals are refused.
fn cents_of(amount: &Number) -> Result<i64, DeskError> {
    let wrong =
        || DeskError::Invalid(format!("amount must be positive, at most 1000000, with at most two decimals, not {amount}"));
    // The shortest text of the double: `25.00` and `2.5e1` are 25.
    let text = amount.as_f64().ok_or_else(wrong)?.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    if part.len() > 2 || whole.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    let cents = format!("{whole}{part:0<2}").parse::<i64>().map_err(|_| wrong())?;
    if (1..=100_000_000).contains(&cents) { Ok(cents) } else { Err(wrong()) }
}

fn amount_of(cents: i64) -> Number {
    if cents % 100 == 0 {
        return (cents / 100).into();
    }
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    text.trim_end_matches('0').parse().unwrap_or_else(|_| cents.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(amount: &str, key: &str) -> RefundOrder {
        RefundOrder {
            ticket_id: "T-1001".to_owned(),
            amount: amount.parse().unwrap(),
            currency: "EUR".to_owned(),
            reason: String::new(),
            idempotency_key: key.to_owned(),
        }
    }

    #[test]
    fn one_key_is_one_refund() {
        let desk = Desk::seeded().unwrap();
        let first = desk.refund(&order("19.9", "a")).unwrap();
        assert_eq!(desk.refund(&order("19.90", "a")).unwrap(), first);
        assert!(matches!(desk.refund(&order("20", "a")), Err(DeskError::Conflict(_))));
        assert_eq!(desk.refund(&order("20", "b")).unwrap().id, "R-2");
        assert_eq!(desk.refunds().unwrap().len(), 2);
    }

    #[test]
    fn money_has_two_decimals_and_a_bound() {
        for (text, cents) in [("1", 100), ("0.01", 1), ("19.9", 1990), ("1000000", 100_000_000)] {
            assert_eq!(cents_of(&text.parse().unwrap()).unwrap(), cents);
            assert_eq!(cents_of(&amount_of(cents)).unwrap(), cents);
        }
        for text in ["0", "-1", "1.001", "1e-3", "1000000.01", "99999999999999999999"] {
            assert!(cents_of(&text.parse().unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ticket_changes_and_keeps_its_conversation() {
        let desk = Desk::seeded().unwrap();
        let change = TicketChange { status: Some("closed".to_owned()), note: Some("Done.".to_owned()), ..Default::default() };
        let ticket = desk.update_ticket("T-1002", &change).unwrap();
        assert_eq!((ticket.status.as_str(), ticket.revision, ticket.messages.unwrap().len()), ("closed", 2, 3));
        assert!(matches!(desk.update_ticket("T-9", &change), Err(DeskError::NotFound { .. })));
        let wrong = TicketChange { status: Some("gone".to_owned()), ..Default::default() };
        assert!(matches!(desk.update_ticket("T-1002", &wrong), Err(DeskError::Invalid(_))));
    }

    #[test]
    fn purge_leaves_the_refunds() {
        let desk = Desk::seeded().unwrap();
        desk.refund(&order("5", "a")).unwrap();
        assert!(desk.purge().unwrap() > 24);
        assert_eq!((desk.tickets(&TicketFilter::default()).unwrap().len(), desk.refunds().unwrap().len()), (0, 1));
    }
}
