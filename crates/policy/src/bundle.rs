//! Policy files, parsed and strictly validated against the published schema, once. SPEC: CE-02, CE-04.
//!
//! Validation at level 1 guarantees that no policy reaches past the entities a request's slice contains.

use crate::{
    decide::{self, PolicySet},
    decision::Decision,
    error::PolicyError,
    index::{Candidate, Index, in_scope},
    known::Known,
    question::Question,
    rules::{Rule, Rules},
    slice::{Slice, Types},
    source::{self, Checked, Source},
    unanswerable::Unanswerable,
};
use cedar_policy::{Schema, Validator, ffi::DetailedError};
use remit_model::json;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashMap},
    num::NonZero,
    sync::Arc,
    thread,
};

/// The published schema that policies are validated against.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// What [`Bundle::pinned`] writes.
const PINNED_FORMAT: &str = "remit.policies.v1";

/// Files are checked side by side when they have so many bytes altogether.
const SIDE_BY_SIDE: usize = 64 << 10;

/// Valid policies, ready to decide.
#[derive(Debug)]
pub struct Bundle {
    sources: Vec<Source>,
    /// The number of each file's first policy.
    firsts: Vec<u32>,
    schema: String,
    digest: String,
    schema_digest: String,
    /// Files that were not known before.
    checked: usize,
    rules: Rules,
    index: Index,
    types: Types,
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
    ///
    /// # Errors
    /// Every finding in every file: syntax, unknown types and attributes, ids that occur twice.
    pub fn parse(files: &[(String, String)]) -> Result<Self, Vec<PolicyError>> {
        Self::load(files, SCHEMA, &Known::default())
    }

    /// The same, but files that are known to be valid are neither parsed nor validated again.
    ///
    /// # Errors
    /// As for [`Bundle::parse`], for the files that are not known.
    pub fn parse_knowing(files: &[(String, String)], known: &Known) -> Result<Self, Vec<PolicyError>> {
        Self::load(files, SCHEMA, known)
    }

    /// Reads the bytes [`Bundle::pinned`] wrote, against the schema that was pinned with them.
    ///
    /// # Errors
    /// Bytes that [`Bundle::pinned`] did not write, and what [`Bundle::parse`] finds in them.
    pub fn from_pinned(policies: &[u8], schema: &[u8]) -> Result<Self, Vec<PolicyError>> {
        let unreadable = |what: &str, why: String| vec![PolicyError::whole(what, why)];
        let pinned: Pinned =
            serde_json::from_slice(policies).map_err(|error| unreadable("pinned policies", error.to_string()))?;
        if pinned.format != PINNED_FORMAT {
            return Err(unreadable("pinned policies", format!("the format is not {PINNED_FORMAT}")));
        }
        let schema = std::str::from_utf8(schema).map_err(|error| unreadable("pinned schema", error.to_string()))?;
        Self::load(&pinned.files, schema, &Known::default())
    }

    fn load(files: &[(String, String)], schema_text: &str, known: &Known) -> Result<Self, Vec<PolicyError>> {
        let mut files: Vec<&(String, String)> = files.iter().collect();
        files.sort();
        let schema = read_schema(schema_text).map_err(|error| vec![error])?;
        let schema_digest = json::sha256_label(schema_text.as_bytes());
        let types = Types::new().map_err(|why| vec![PolicyError::whole("schema", why.to_string())])?;

        let mut errors = repeated_names(&files);
        let mut sources = Vec::with_capacity(files.len());
        let mut checked = 0;
        for (file, found) in files.iter().zip(check_all(&files, &Validator::new(schema), &schema_digest, known)) {
            checked += usize::from(found.anew);
            errors.extend(found.errors);
            sources.push(Source { name: file.0.clone(), text: file.1.clone(), checked: found.checked });
        }
        errors.extend(repeated_ids(&sources));
        if !errors.is_empty() {
            errors.sort();
            errors.dedup();
            return Err(errors);
        }
        let mut firsts = Vec::with_capacity(sources.len());
        let mut count = 0_usize;
        for source in &sources {
            firsts.push(u32::try_from(count).map_err(|_| vec![PolicyError::whole("policies", "too many".to_owned())])?);
            count = count.saturating_add(source.checked.places.len());
        }
        let index = Index::new(sources.iter().flat_map(|source| source.checked.places.iter().map(|place| place.scope)));
        let (schema, rules, digest) = (schema_text.to_owned(), Rules::new(count), String::new());
        let mut bundle = Self { sources, firsts, schema, digest, schema_digest, checked, rules, index, types };
        bundle.digest = json::sha256_label(&bundle.pinned());
        Ok(bundle)
    }

    /// The files as one canonical JSON document. Its SHA-256 is [`Bundle::digest`], so it can be kept by digest.
    pub fn pinned(&self) -> Vec<u8> {
        let files: Vec<_> = self.sources().collect();
        json::canonical(&serde_json::json!({ "format": PINNED_FORMAT, "files": files }))
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
    pub fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.iter().map(|source| (source.name.as_str(), source.text.as_str()))
    }

    /// Things that are probably not meant, such as a policy that can never apply. They do not stop a bundle.
    pub fn warnings(&self) -> impl Iterator<Item = &PolicyError> {
        self.sources.iter().flat_map(|source| &source.checked.warnings)
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no policy, so that every question is denied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many files had to be validated, because nothing was known of them.
    pub fn checked(&self) -> usize {
        self.checked
    }

    /// Answers one question. Pure: the same bundle and question give the same decision.
    pub fn decide(&self, question: &Question) -> Decision {
        self.decide_without(question, &[])
    }

    /// Answers as if the policies with these ids were not there; for explaining which of them decided.
    pub fn decide_without(&self, question: &Question, ids: &[&str]) -> Decision {
        let set = PolicySet { types: &self.types, digest: &self.digest, schema_digest: &self.schema_digest };
        decide::decide(&set, question, |slice| {
            let mut candidates = self.candidates(slice)?;
            candidates.retain(|(_, rule)| !ids.contains(&rule.id.as_str()));
            Ok(candidates)
        })
    }

    #[cfg(test)]
    pub(crate) fn types(&self) -> &Types {
        &self.types
    }

    /// What validation found of each file, for [`Bundle::parse_knowing`].
    pub fn to_known(&self) -> Known {
        Known::new(&self.schema_digest, self.sources.iter().map(|source| (source.name.clone(), Arc::clone(&source.checked))))
    }

    /// The policy with this number.
    ///
    /// # Errors
    /// [`Unanswerable::NoPolicy`] and as for a file that cannot be read; cannot happen for a number of this bundle.
    pub(crate) fn rule(&self, number: u32) -> Result<Arc<Rule>, Unanswerable> {
        self.rules.get(number, || {
            let lost = || Unanswerable::NoPolicy(number);
            let file = self.firsts.partition_point(|first| *first <= number).checked_sub(1).ok_or_else(lost)?;
            let (source, first) = self.sources.get(file).zip(self.firsts.get(file)).ok_or_else(lost)?;
            source.read(usize::try_from(number.saturating_sub(*first)).map_err(|_| lost())?)
        })
    }

    /// Exactly the policies whose scope matches, by ascending number.
    ///
    /// # Errors
    /// One of them cannot be read; then nothing may be decided without it.
    pub(crate) fn candidates(&self, slice: &Slice) -> Result<Vec<Candidate>, Unanswerable> {
        let mut found = Vec::new();
        for number in self.index.numbers(slice) {
            let rule = self.rule(number)?;
            if in_scope(&rule.policy, slice) {
                found.push((number, rule));
            }
        }
        Ok(found)
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

fn repeated_names(files: &[&(String, String)]) -> Vec<PolicyError> {
    let mut seen = BTreeSet::new();
    let repeated = files.iter().filter(|(name, _)| !seen.insert(name));
    repeated.map(|(name, _)| PolicyError::whole(name, "the file is given twice".to_owned())).collect()
}

fn repeated_ids(sources: &[Source]) -> Vec<PolicyError> {
    let mut first: HashMap<String, (&str, u32)> = HashMap::new();
    let mut errors = Vec::new();
    for source in sources {
        for (at, place) in source.checked.places.iter().enumerate() {
            let id = source.id(at, place);
            if let Some((file, line)) = first.get(&id) {
                let message = format!("the id `{id}` is already used at {file}:{line}");
                let line = usize::try_from(place.line).unwrap_or(usize::MAX);
                errors.push(PolicyError { file: source.name.clone(), line, message });
            } else {
                first.insert(id, (&source.name, place.line));
            }
        }
    }
    errors
}

/// What is found of one file.
struct Found {
    checked: Arc<Checked>,
    errors: Vec<PolicyError>,
    /// It was not known.
    anew: bool,
}

/// Checks every file that is not known, on all processors when there is much to do; in the order of the files.
fn check_all(files: &[&(String, String)], validator: &Validator, schema: &str, known: &Known) -> Vec<Found> {
    let one = |(name, text): &(String, String)| {
        if let Some(checked) = known.of_file(schema, name, text) {
            return Found { checked, errors: Vec::new(), anew: false };
        }
        let (checked, errors) = source::check(name, text, validator);
        Found { checked: Arc::new(checked), errors, anew: true }
    };
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    let workers = if bytes < SIDE_BY_SIDE { 1 } else { thread::available_parallelism().map_or(1, NonZero::get) };
    let share = |worker: usize| files.iter().skip(worker).step_by(workers).map(|file| one(file)).collect::<Vec<_>>();
    let mut shares: Vec<_> = thread::scope(|scope| {
        let others: Vec<_> =
            (1..workers).map(|worker| (worker, thread::Builder::new().spawn_scoped(scope, move || share(worker)))).collect();
        let mut shares = vec![share(0).into_iter()];
        for (worker, other) in others {
            // A thread that could not be had, or did not end well: the work is done here.
            let done = other.ok().and_then(|other| other.join().ok()).unwrap_or_else(|| share(worker));
            shares.push(done.into_iter());
        }
        shares
    });
    (0..files.len()).filter_map(|at| shares.get_mut(at % workers)?.next()).collect()
}
