//! What a decision was asked, and by which policies it was answered: the committed question and the pinned objects.

use crate::side_values::opened;
use remit_ledger::{Hash, Reader, Record};
use remit_policy::{Bundle, Question};
use serde_json::Value;
use std::{collections::HashMap, rc::Rc};

/// Action of the record of an AuthZEN evaluation. Its tool is what the question is about; it was not called.
pub(crate) const EVALUATION: &str = "authzen:evaluation";
/// Where the question is committed.
pub(crate) const INPUT: &str = "/decision/input";

/// Member of `ext` that states what the policies said of the classified fields of an answer.
pub(crate) const READ_FIELD: &str = "read_field";

/// Why a decision could not be repeated, as opposed to: came out differently.
#[derive(Debug)]
pub(crate) enum Stop {
    Undisclosed,
    Alarm(String),
}

/// The committed question, checked against the record.
pub(crate) fn question(reader: &Reader, index: u64, record: &Record, recorded: &Value) -> Result<Question, Stop> {
    let side = opened(reader, index, record).map_err(|why| Stop::Alarm(why.to_string()))?.ok_or(Stop::Undisclosed)?;
    let leaf = side.leaf(INPUT).map(|leaf| leaf.to_string());
    if leaf.is_none() || leaf.as_deref() != recorded.get("input_hash").and_then(Value::as_str) {
        return Err(Stop::Alarm("the record's input_hash is not the committed question's".to_owned()));
    }
    let value = side.value(INPUT).ok_or(Stop::Undisclosed)?;
    Question::read(value).map_err(|error| Stop::Alarm(error.to_string()))
}

/// The pinned policy sets of a log, each parsed once.
pub(crate) struct Pins<'r> {
    reader: &'r Reader,
    /// By digests of policy set and schema.
    bundles: HashMap<(String, String), Result<Rc<Bundle>, String>>,
}

impl<'r> Pins<'r> {
    pub(crate) fn new(reader: &'r Reader) -> Self {
        Self { reader, bundles: HashMap::new() }
    }

    /// The policies that a recorded decision names.
    pub(crate) fn bundle(&mut self, recorded: &Value) -> Result<Rc<Bundle>, String> {
        let text = |name: &str| recorded.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let digests = (text("policy_set_digest"), text("schema_digest"));
        if let Some(known) = self.bundles.get(&digests) {
            return known.clone();
        }
        let loaded = self.load(&digests.0, &digests.1).map(Rc::new);
        self.bundles.insert(digests, loaded.clone());
        loaded
    }

    fn load(&self, policies: &str, schema: &str) -> Result<Bundle, String> {
        let policies = self.object("policy set", policies)?;
        let schema = self.object("schema", schema)?;
        Bundle::from_pinned(&policies, &schema).map_err(|errors| {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            format!("the pinned policies are not valid: {first}")
        })
    }

    fn object(&self, what: &str, digest: &str) -> Result<Vec<u8>, String> {
        let hash = Hash::parse(digest).ok_or_else(|| format!("the {what} digest `{digest}` is malformed"))?;
        let found = self.reader.object(&hash).map_err(|error| error.to_string())?;
        found.ok_or_else(|| format!("the pinned {what} {digest} is not with this copy"))
    }
}
