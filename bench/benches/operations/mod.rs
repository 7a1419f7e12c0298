//! Whole requests, one after the other, against a server in this process: what is counted of them depends on no clock.
//!
//! The authorization server and the gateway are the real ones with a real store; only the socket in front is left out.
//! The upstream is another process, so that nothing of it is counted.

pub(crate) mod upstream;
mod world;

use crate::fixtures::{Step, people, policy};
use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use std::rc::Rc;
use world::World;

/// All operations, in the order of the roads.
pub(crate) fn all() -> Vec<Step> {
    let world = Rc::new(World::new());
    vec![
        operation(&world, "token exchange", World::exchange, ""),
        operation(&world, "token exchange, fourth hop", World::exchange_deep, ""),
        operation(&world, "client credentials", World::credentials, ""),
        operation(&world, "introspection", World::introspection, "\"active\":true"),
        call(&world, "tool call, read", "kb_search", json!({"query": "lamp"}), "\"result\""),
        call(&world, "tool call, mutation", "voucher.create", voucher(), "\"result\""),
        call(&world, "tool call, masked", "tickets_search", json!({"query": "lamp"}), "Ann Onymous"),
        call(&world, "tool call, refused", "customers_read", json!({"id": "C-1"}), "tool_not_granted"),
        operation(&world, "evaluation", World::evaluation, "\"decision\":true"),
    ]
}

/// How many policies a decision looks at, with this many agents that are each named by one.
pub(crate) fn considered(agents: usize) -> usize {
    policy::bundle(agents).decide(&policy::question()).considered
}

fn voucher() -> Value {
    json!({"amount": 12.5, "currency": "EUR", "ticket": "T-4711"})
}

fn call(world: &Rc<World>, name: &'static str, tool: &'static str, arguments: Value, says: &'static str) -> Step {
    operation(world, name, move |world| world.call(tool, &arguments), says)
}

/// Requests that are made, with their proofs, before anything is counted, and whose answers say what they should.
fn operation(
    world: &Rc<World>,
    name: &'static str,
    request: impl Fn(&World) -> Request<Body> + 'static,
    says: &'static str,
) -> Step {
    let (making, sending) = (Rc::clone(world), Rc::clone(world));
    Step::new(
        name,
        move || request(&making),
        move |request| {
            let answer = sending.send(request);
            assert!(answer.contains(says), "{name}: {answer}");
            answer.len()
        },
    )
}

/// The reader's authority as the form field of an exchange.
fn details() -> String {
    people::handed().to_string()
}

/// What is left of it at the end of a long chain: vouchers go through two hands only.
fn details_deep() -> String {
    let mut left = people::handed();
    left.as_array_mut().unwrap().remove(1);
    left.to_string()
}
