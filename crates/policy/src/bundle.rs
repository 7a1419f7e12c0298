//! Policy files, parsed and strictly validated against the published schema, once. SPEC: CE-02, CE-04.
//!
//! Validation at level 1 guarantees that no policy reaches past the entities a request's slice contains.

use crate::{
    decide,
    decision::{Decision, RuleEffect},
    index::Index,
    question::Question,
    slice::Types,
};
use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator, ffi::DetailedError};
use remit_model::json;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The published schema that policies are validated against.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// What [`Bundle::pinned`] writes.
const PINNED_FORMAT: &str = "remit.policies.v1";

/// Longest `@id`: it is in every record of a decision the policy determines.
const ID_LIMIT: usize = 128;

/// How far a policy may follow attributes from the request: `principal.owner` is one step.
const DEREFERENCES: u32 = 1;

/// One thing wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyError {
    pub file: String,
    /// First line is 1; 0 when the error is about the file as a whole.
    pub line: usize,
    pub message: String,
}

/// Valid policies, ready to decide.
#[derive(Debug)]
pub struct Bundle {
    sources: Vec<(String, String)>,
    schema: String,
    digest: String,
    schema_digest: String,
    warnings: Vec<PolicyError>,
    rules: Vec<Rule>,
    index: Index,
    types: Types,
}

/// One policy with what a decision says about it.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) effect: RuleEffect,
    pub(crate) digest: String,
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) policy: Policy,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pinned {
    format: String,
    files: Vec<(String, String)>,
}

impl Bundle {
    /// Parses and validates policy files (name, text), and reports everything wrong with them at once.
    /// No files, or files without a policy, make a bundle that denies everything.
    pub fn parse(files: &[(String, String)]) -> Result<Self, Vec<PolicyError>> {
        Self::load(files, SCHEMA)
    }

    /// Reads the bytes [`Bundle::pinned`] wrote, against the schema that was pinned with them.
    pub fn from_pinned(policies: &[u8], schema: &[u8]) -> Result<Self, Vec<PolicyError>> {
        let unreadable = |what: &str, why: String| vec![PolicyError::whole(what, why)];
        let pinned: Pinned =
            serde_json::from_slice(policies).map_err(|error| unreadable("pinned policies", error.to_string()))?;
        if pinned.format != PINNED_FORMAT {
            return Err(unreadable("pinned policies", format!("the format is not {PINNED_FORMAT}")));
        }
        let schema = std::str::from_utf8(schema).map_err(|error| unreadable("pinned schema", error.to_string()))?;
        Self::load(&pinned.files, schema)
    }

    fn load(files: &[(String, String)], schema_text: &str) -> Result<Self, Vec<PolicyError>> {
        let mut sources = files.to_vec();
        sources.sort();
        let schema = read_schema(schema_text).map_err(|error| vec![error])?;
        let types = Types::new().map_err(|why| vec![PolicyError::whole("schema", why)])?;

        let mut errors = repeated_names(&sources);
        let mut rules = Vec::new();
        for (name, text) in &sources {
            match read_file(name, text) {
                Ok(read) => rules.extend(read),
                Err(wrong) => errors.extend(wrong),
            }
        }
        let repeated = repeated_ids(&rules);
        let mut warnings = Vec::new();
        if repeated.is_empty() {
            let (wrong, odd) = validate(schema, &rules, &sources);
            errors.extend(wrong);
            warnings = odd;
        }
        errors.extend(repeated);
        if !errors.is_empty() {
            errors.sort();
            errors.dedup();
            return Err(errors);
        }
        let index = Index::new(&rules);
        let mut bundle = Self {
            sources,
            schema: schema_text.to_owned(),
            digest: String::new(),
            schema_digest: json::sha256_label(schema_text.as_bytes()),
            warnings,
            rules,
            index,
            types,
        };
        bundle.digest = json::sha256_label(&bundle.pinned());
        Ok(bundle)
    }

    /// The files as one canonical JSON document. Its SHA-256 is [`Bundle::digest`], so it can be kept by digest.
    pub fn pinned(&self) -> Vec<u8> {
        json::canonical(&serde_json::json!({ "format": PINNED_FORMAT, "files": self.sources }))
    }

    /// `sha-256:…` of [`Bundle::pinned`].
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// `sha-256:…` of the schema's text.
    pub fn schema_digest(&self) -> &str {
        &self.schema_digest
    }

    /// The schema's text; pin it beside the policies.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// File names and texts, sorted by name.
    pub fn sources(&self) -> &[(String, String)] {
        &self.sources
    }

    /// Things that are probably not meant, such as a policy that can never apply. They do not stop a bundle.
    pub fn warnings(&self) -> &[PolicyError] {
        &self.warnings
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Answers one question. Pure: the same bundle and question give the same decision.
    pub fn decide(&self, question: &Question) -> Decision {
        decide::decide(self, question, &[])
    }

    /// Answers as if the policies with these ids were not there; for explaining which of them decided.
    pub fn decide_without(&self, question: &Question, ids: &[&str]) -> Decision {
        decide::decide(self, question, ids)
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn types(&self) -> &Types {
        &self.types
    }
}

impl PolicyError {
    fn whole(file: &str, message: String) -> Self {
        Self { file: file.to_owned(), line: 0, message }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)
        } else {
            write!(f, "{}:{}: {}", self.file, self.line, self.message)
        }
    }
}

fn read_schema(text: &str) -> Result<Schema, PolicyError> {
    let (schema, _) =
        Schema::from_cedarschema_str(text).map_err(|error| PolicyError::whole("schema", DetailedError::from(&error).message))?;
    // INVARIANT: no action groups, so an action is `in` another only when it is that action. The index and the
    // entity slice, which holds no action entities, rely on it.
    if schema.action_groups().next().is_some() {
        return Err(PolicyError::whole("schema", "action groups are not supported".to_owned()));
    }
    Ok(schema)
}

fn repeated_names(sources: &[(String, String)]) -> Vec<PolicyError> {
    let mut seen = BTreeSet::new();
    let repeated = sources.iter().filter(|(name, _)| !seen.insert(name));
    repeated.map(|(name, _)| PolicyError::whole(name, "the file is given twice".to_owned())).collect()
}

fn repeated_ids(rules: &[Rule]) -> Vec<PolicyError> {
    let mut first: BTreeMap<&str, &Rule> = BTreeMap::new();
    let mut errors = Vec::new();
    for rule in rules {
        if let Some(earlier) = first.get(rule.id.as_str()) {
            let message = format!("the id `{}` is already used at {}:{}", rule.id, earlier.file, earlier.line);
            errors.push(PolicyError { file: rule.file.clone(), line: rule.line, message });
        } else {
            first.insert(&rule.id, rule);
        }
    }
    errors
}

fn read_file(name: &str, text: &str) -> Result<Vec<Rule>, Vec<PolicyError>> {
    let set: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
        errors.iter().map(|error| located(name, text, 0, &DetailedError::from(error))).collect::<Vec<_>>()
    })?;
    if set.num_of_templates() > 0 {
        let why = "templates (`?principal`, `?resource`) are not supported; write the policy out".to_owned();
        return Err(vec![PolicyError::whole(name, why)]);
    }
    // Cedar numbers the policies of a text in order: policy0, policy1, …
    let mut policies: Vec<(usize, &Policy)> = set
        .policies()
        .map(|policy| (policy.id().to_string().trim_start_matches("policy").parse().unwrap_or(usize::MAX), policy))
        .collect();
    policies.sort_by_key(|(ordinal, _)| *ordinal);

    let mut from = 0;
    let mut rules = Vec::new();
    let mut errors = Vec::new();
    for (ordinal, policy) in policies {
        let source = policy.to_cedar().unwrap_or_default();
        let start = text.get(from..).and_then(|rest| rest.find(&source)).map_or(from, |at| from + at);
        from = start + source.len();
        match read_policy(name, line_at(text, start), ordinal, &source, policy) {
            Ok(rule) => rules.push(rule),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(rules) } else { Err(errors) }
}

fn read_policy(file: &str, line: usize, ordinal: usize, source: &str, policy: &Policy) -> Result<Rule, PolicyError> {
    let wrong = |message: String| PolicyError { file: file.to_owned(), line, message };
    let effect = match (policy.effect(), policy.annotation("effect")) {
        (Effect::Permit, None) => RuleEffect::Permit,
        (Effect::Forbid, None) => RuleEffect::Forbid,
        (Effect::Forbid, Some("step_up")) => RuleEffect::StepUp,
        (Effect::Forbid, Some(other)) => {
            return Err(wrong(format!("`@effect(\"{other}\")` is unknown; a forbid may have `@effect(\"step_up\")`")));
        }
        (Effect::Permit, Some(_)) => return Err(wrong("`@effect` belongs on a forbid".to_owned())),
    };
    let id = match policy.annotation("id") {
        Some(id) if id.is_empty() || id.len() > ID_LIMIT || id.contains(char::is_control) => {
            return Err(wrong(format!("`@id` is 1 to {ID_LIMIT} bytes of text on one line")));
        }
        Some(id) => id.to_owned(),
        None => format!("{file}#{}", ordinal + 1),
    };
    Ok(Rule {
        policy: policy.new_id(PolicyId::new(&id)),
        id,
        effect,
        digest: json::sha256_label(source.as_bytes()),
        file: file.to_owned(),
        line,
        annotations: policy.annotations().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    })
}

type Findings = (Vec<PolicyError>, Vec<PolicyError>);

/// Errors and warnings of the strict validation, each at its line.
fn validate(schema: Schema, rules: &[Rule], sources: &[(String, String)]) -> Findings {
    let set = match PolicySet::from_policies(rules.iter().map(|rule| rule.policy.clone())) {
        Ok(set) => set,
        Err(error) => return (vec![PolicyError::whole("policies", error.to_string())], Vec::new()),
    };
    let by_id: BTreeMap<&str, &Rule> = rules.iter().map(|rule| (rule.id.as_str(), rule)).collect();
    let text_of: BTreeMap<&str, &str> = sources.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let place = |policy: &PolicyId, detail: &DetailedError| {
        by_id.get(AsRef::<str>::as_ref(policy)).map_or_else(
            || PolicyError::whole("policies", detail.message.clone()),
            |rule| {
                let text = text_of.get(rule.file.as_str()).copied().unwrap_or_default();
                located(&rule.file, text, rule.line, detail)
            },
        )
    };
    let result = Validator::new(schema).validate_with_level(&set, ValidationMode::Strict, DEREFERENCES);
    let errors = result.validation_errors().map(|error| place(error.policy_id(), &DetailedError::from(error)));
    let warnings = result.validation_warnings().map(|warning| place(warning.policy_id(), &DetailedError::from(warning)));
    (errors.collect(), warnings.collect())
}

fn located(file: &str, text: &str, fallback: usize, detail: &DetailedError) -> PolicyError {
    let line = detail.source_locations.first().map_or(fallback, |label| line_at(text, label.loc.start));
    let help = detail.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    PolicyError { file: file.to_owned(), line, message: format!("{}{help}", detail.message) }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
