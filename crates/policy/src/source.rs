//! One policy file: cut into policies, each parsed and strictly validated by itself. SPEC: CE-02, CE-04.
//!
//! A parsed policy takes kilobytes and its text a hundred bytes. So what stays of a valid file is its text and, for each
//! policy, where it stands and where the index files it; [`Source::read`] parses one again when a decision needs it.

use crate::{decision::RuleEffect, error::PolicyError, index::Scope, rules::Rule, unanswerable::Unanswerable};
use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, Validator, ffi::DetailedError};
use remit_model::{display, json};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ops::Range, sync::Arc};

/// Longest `@id`: it is in every record of a decision the policy determines.
const ID_LIMIT: usize = 128;
/// Longest `@acr_values`, in bytes.
const CLASSES_LIMIT: usize = 256;

/// How far a policy may follow attributes from the request: `principal.owner` is one step.
const DEREFERENCES: u32 = 1;

/// Policies validated at once: bounds how many are held in parsed form.
const CHUNK: usize = 256;

/// One policy file of a bundle.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) checked: Arc<Checked>,
}

/// What validation found of one text. A function of that text, the schema, the file's name and this program.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checked {
    /// SHA-256 of the text.
    pub(crate) text: [u8; 32],
    pub(crate) places: Vec<Place>,
    pub(crate) warnings: Vec<PolicyError>,
}

/// One policy of a text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// Offsets in the text, without the space and the comments around the policy.
    start: u32,
    end: u32,
    pub(crate) line: u32,
    /// Its `@id`; without one it is called `FILE#N`.
    id: Option<Box<str>>,
    pub(crate) scope: Scope,
}

impl Source {
    /// What the policy at `at` is called.
    pub(crate) fn id(&self, at: usize, place: &Place) -> String {
        place.id.as_deref().map_or_else(|| numbered(&self.name, at), str::to_owned)
    }

    /// Parses one policy of the file.
    ///
    /// # Errors
    /// [`Unanswerable::Lost`], [`Unanswerable::Rule`]; cannot happen for a text that was checked.
    pub(crate) fn read(&self, at: usize) -> Result<Rule, Unanswerable> {
        let lost = || Unanswerable::Lost { number: at.saturating_add(1), file: self.name.clone() };
        let place = self.checked.places.get(at).ok_or_else(lost)?;
        let text = usize::try_from(place.start).ok().zip(usize::try_from(place.end).ok());
        let text = text.and_then(|(start, end)| self.text.get(start..end)).ok_or_else(lost)?;
        let line = usize::try_from(place.line).unwrap_or(usize::MAX);
        let policy = Policy::parse(None, text).map_err(|_| lost())?;
        rule(&self.name, at, line, text, &policy).map_err(|error| Unanswerable::Rule(error.message))
    }
}

/// Checks a whole text. Nothing of what is found may be used when there is an error.
pub(crate) fn check(name: &str, text: &str, validator: &Validator) -> (Checked, Vec<PolicyError>) {
    let mut checked = Checked { text: json::sha256(text.as_bytes()), places: Vec::new(), warnings: Vec::new() };
    let Some(pieces) = pieces(text).filter(|_| u32::try_from(text.len()).is_ok()) else {
        return (checked, unreadable(name, text));
    };
    let mut errors = Vec::new();
    let (mut line, mut counted) = (1, 0);
    for (number, chunk) in pieces.chunks(CHUNK).enumerate() {
        let Some(policies) = parse(text, chunk) else { return (checked, unreadable(name, text)) };
        let mut rules = Vec::with_capacity(chunk.len());
        let mut part = None;
        for (within, (piece, policy)) in chunk.iter().zip(&policies).enumerate() {
            line += newlines(text.get(counted..piece.start).unwrap_or_default());
            counted = piece.start;
            part.get_or_insert((text.get(piece.start..).unwrap_or_default(), line));
            match rule(name, number * CHUNK + within, line, text.get(piece.clone()).unwrap_or_default(), policy) {
                Ok(rule) => {
                    checked.places.push(Place::new(piece, &rule));
                    rules.push(rule);
                }
                Err(error) => errors.push(error),
            }
        }
        let (wrong, odd) = validate(name, part.unwrap_or_default(), validator, &rules);
        errors.extend(wrong);
        checked.warnings.extend(odd);
    }
    (checked, errors)
}

impl Place {
    fn new(piece: &Range<usize>, rule: &Rule) -> Self {
        let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            start: small(piece.start),
            end: small(piece.end),
            line: small(rule.line),
            id: rule.policy.annotation("id").map(Box::from),
            scope: Scope::of(&rule.policy),
        }
    }
}

/// Where each policy of a text stands: from its first token to its semicolon. `None` when something follows the last.
///
/// Every piece is then parsed as exactly one policy, so a wrong cut can only make a text unreadable, never change its
/// meaning: pieces that end with a token of the language, one after the other, are the text.
fn pieces(text: &str) -> Option<Vec<Range<usize>>> {
    let mut pieces = Vec::new();
    let mut begun = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '/' if chars.next_if(|(_, next)| *next == '/').is_some() => {
                while chars.next_if(|(_, next)| !matches!(next, '\n' | '\r')).is_some() {}
            }
            ';' => pieces.push(begun.take().unwrap_or(at)..at + 1),
            '"' => {
                begun.get_or_insert(at);
                let mut escaped = false;
                for (_, inner) in chars.by_ref() {
                    if inner == '"' && !escaped {
                        break;
                    }
                    escaped = inner == '\\' && !escaped;
                }
            }
            _ if char.is_whitespace() => {}
            _ => {
                begun.get_or_insert(at);
            }
        }
    }
    begun.is_none().then_some(pieces)
}

/// The policies of some pieces of a text, in order. Parsed together: what a parser needs to begin costs more than a policy.
/// `None` unless each piece is exactly one.
fn parse(text: &str, pieces: &[Range<usize>]) -> Option<Vec<Policy>> {
    let (first, last) = pieces.first().zip(pieces.last())?;
    let set: PolicySet = text.get(first.start..last.end)?.parse().ok()?;
    // Cedar numbers the policies of a text in order: policy0, policy1, …
    let numbered = |number| set.policy(&PolicyId::new(format!("policy{number}"))).cloned();
    let policies = (0..pieces.len()).map(numbered).collect::<Option<Vec<Policy>>>()?;
    let mut both = policies.iter().zip(pieces);
    let alike = both.all(|(policy, piece)| policy.to_cedar().as_deref() == text.get(piece.clone()));
    (alike && set.num_of_policies() == pieces.len() && set.num_of_templates() == 0).then_some(policies)
}

/// Why a text as a whole cannot be parsed, at each line that is wrong.
fn unreadable(name: &str, text: &str) -> Vec<PolicyError> {
    match text.parse::<PolicySet>() {
        Err(errors) => errors.iter().map(|error| located(name, (text, 1), 1, &DetailedError::from(error))).collect(),
        Ok(set) if set.num_of_templates() > 0 => {
            let why = "templates (`?principal`, `?resource`) are not supported; write the policy out".to_owned();
            vec![PolicyError::whole(name, why)]
        }
        Ok(_) => vec![PolicyError::whole(name, "the file cannot be read policy by policy".to_owned())],
    }
}

fn numbered(file: &str, at: usize) -> String {
    format!("{file}#{}", at.saturating_add(1))
}

/// What a decision needs of one policy, or what it may not say.
fn rule(file: &str, at: usize, line: usize, text: &str, policy: &Policy) -> Result<Rule, PolicyError> {
    let wrong = |message: String| PolicyError { file: file.to_owned(), line, message };
    let effect = match (policy.effect(), policy.annotation("effect")) {
        (Effect::Permit, None) => RuleEffect::Permit,
        (Effect::Forbid, None) => RuleEffect::Forbid,
        (Effect::Forbid, Some("step_up")) => RuleEffect::StepUp,
        (Effect::Forbid, Some(other)) => {
            let why = format!("`@effect(\"{other}\")` is unknown; a forbid may have `@effect(\"step_up\")`");
            return Err(wrong(why));
        }
        (Effect::Permit, Some(_)) => return Err(wrong("`@effect` belongs on a forbid".to_owned())),
    };
    demand(effect, policy).map_err(wrong)?;
    let id = match policy.annotation("id") {
        Some(id) if id.is_empty() || id.len() > ID_LIMIT || id.contains(display::hides) => {
            return Err(wrong(format!("`@id` is 1 to {ID_LIMIT} bytes of text on one line")));
        }
        Some(id) => id.to_owned(),
        None => numbered(file, at),
    };
    let annotations = policy.annotations().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let policy = policy.new_id(PolicyId::new(&id));
    Ok(Rule::new(id, effect, json::sha256_label(text.as_bytes()), file.to_owned(), line, annotations, policy))
}

/// `@acr_values` and `@max_age` state the sign-in that a step-up asks for. SPEC: RFC 9470 §3, IJ-06
fn demand(effect: RuleEffect, policy: &Policy) -> Result<(), String> {
    let (classes, age) = (policy.annotation("acr_values"), policy.annotation("max_age"));
    for (name, value) in [("acr_values", classes), ("max_age", age)] {
        if value.is_some() && effect != RuleEffect::StepUp {
            return Err(format!("`@{name}` belongs on a forbid with `@effect(\"step_up\")`"));
        }
    }
    // What a quoted string of a challenge can hold.
    let readable =
        |text: &str| text.len() <= CLASSES_LIMIT && text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\');
    if classes.is_some_and(|classes| classes.trim().is_empty() || !readable(classes)) {
        return Err(format!("`@acr_values` is 1 to {CLASSES_LIMIT} bytes of ASCII: classes with spaces between them"));
    }
    if age.is_some_and(|age| age.parse::<u32>().is_err()) {
        return Err("`@max_age` is a whole number of seconds".to_owned());
    }
    Ok(())
}

/// Errors and warnings of the strict validation, each at its line. The rules were parsed from the beginning of `part`, whose
/// first line has that number.
fn validate(name: &str, part: (&str, usize), validator: &Validator, rules: &[Rule]) -> (Vec<PolicyError>, Vec<PolicyError>) {
    let by_id: HashMap<&str, &Rule> = rules.iter().map(|rule| (rule.id.as_str(), rule)).collect();
    if by_id.len() < rules.len() {
        // The repeated id is an error of its own, found where all files are known.
        return (Vec::new(), Vec::new());
    }
    let set = match PolicySet::from_policies(rules.iter().map(|rule| rule.policy.clone())) {
        Ok(set) => set,
        Err(error) => return (vec![PolicyError::whole(name, error.to_string())], Vec::new()),
    };
    let place = |policy: &PolicyId, detail: &DetailedError| {
        by_id
            .get(AsRef::<str>::as_ref(policy))
            .map_or_else(|| PolicyError::whole(name, detail.message.clone()), |rule| located(name, part, rule.line, detail))
    };
    let result = validator.validate_with_level(&set, ValidationMode::Strict, DEREFERENCES);
    let errors = result.validation_errors().map(|error| place(error.policy_id(), &DetailedError::from(error)));
    let warnings = result.validation_warnings().map(|warning| place(warning.policy_id(), &DetailedError::from(warning)));
    (errors.collect(), warnings.collect())
}

/// An error in a text whose first line has that number; one that says no place is at the line `otherwise`.
fn located(file: &str, (text, first): (&str, usize), otherwise: usize, detail: &DetailedError) -> PolicyError {
    let start = detail.source_locations.first().map(|label| label.loc.start);
    let line = start.map_or(otherwise, |start| first + newlines(text.get(..start).unwrap_or(text)));
    let help = detail.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    PolicyError { file: file.to_owned(), line, message: format!("{}{help}", detail.message) }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Bundle, SCHEMA};
    use cedar_policy::Schema;
    use proptest::{collection::vec, prelude::*, sample::select};

    /// Bits of policies, comments and strings, in which a cut is easily made at the wrong place.
    const BITS: &[&str] = &[
        "permit (principal, action, resource);",
        "forbid (principal, action, resource) when { context has purpose };",
        "@id(\"a;b\") permit (principal, action, resource);",
        "@title(\"say \\\"no\\\"; // or not\")\npermit (principal, action, resource);",
        "@title(\"back\\\\\") forbid (principal, action, resource);",
        "permit (principal == Agent::\"x;\\\"y\", action, resource);",
        "// permit (principal, action, resource);\n",
        "// half \" a string;\r",
        "permit (principal, /",
        "permit (principal, action, resource) // ;\n;",
        "permit (principal == ?principal, action, resource);",
        "\u{85}\u{2028}",
        "\n\n",
        " ",
        ";",
        "\"",
        "\\",
        "permit",
    ];

    fn validator() -> Validator {
        Validator::new(Schema::from_cedarschema_str(SCHEMA).unwrap().0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        /// The policies are those that Cedar finds in the whole text, with the same text; and what Cedar refuses is refused.
        #[test]
        fn a_text_is_cut_as_cedar_reads_it(bits in vec(select(BITS), 0..8)) {
            let text = bits.concat();
            let (checked, errors) = check("p", &text, &validator());
            let whole = text.parse::<PolicySet>();
            match whole {
                Ok(set) if set.num_of_templates() == 0 => {
                    prop_assert!(errors.is_empty() || !checked.places.is_empty(), "{text:?}: {errors:?}");
                    let mut expected: Vec<String> = set.policies().map(|policy| policy.to_cedar().unwrap()).collect();
                    let mut found: Vec<String> = checked
                        .places
                        .iter()
                        .map(|place| text.get(place.start as usize..place.end as usize).unwrap().to_owned())
                        .collect();
                    expected.sort();
                    found.sort();
                    prop_assert_eq!(found, expected);
                }
                _ => prop_assert!(!errors.is_empty(), "{:?} is not refused", text),
            }
        }
    }

    #[test]
    fn a_policy_is_at_its_own_line_not_at_that_of_a_comment_like_it() {
        let text = "// permit (principal, action, resource);\n\npermit (principal, action, resource);\n";
        let bundle = Bundle::parse(&[("p.cedar".to_owned(), text.to_owned())]).unwrap();
        assert_eq!(bundle.rule(0).unwrap().line, 3);
    }

    #[test]
    fn each_policy_reads_back_as_it_was_checked() {
        let text = "@id(\"é\") permit (principal, action, resource); // ü\n\nforbid (principal is Human, action, resource);";
        let (checked, errors) = check("p", text, &validator());
        assert_eq!(errors, []);
        let source = Source { name: "p".to_owned(), text: text.to_owned(), checked: Arc::new(checked) };
        for (at, id, line) in [(0, "é", 1), (1, "p#2", 3)] {
            let (rule, place) = (source.read(at).unwrap(), &source.checked.places[at]);
            assert_eq!((rule.id.as_str(), rule.line), (id, line));
            assert_eq!((source.id(at, place).as_str(), Scope::of(&rule.policy)), (id, place.scope));
        }
        assert!(source.read(2).is_err());
    }
}
