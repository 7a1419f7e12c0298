//! Which test holds which rule: `cargo xtask conformance`.
//!
//! `xtask/rules.tsv` lists the rules that the authorization server, its tokens and its clients follow: id, level (`M` must, `S`
//! should, `L` later) and what each demands; ids that begin with `N-` are negative tests. A test belongs to a rule if its name holds
//! the id (`n_dc_01_…`), if a comment on it says `SPEC: DC-01`, or if a comment or a message in it has the id; the head of a test
//! file speaks for the whole file.
//! From that `docs/conformance.md` is written. `xtask/uncovered.txt` lists the rules of level `M` that no test holds; a rule that
//! joins or leaves it without a change of the file fails the check, so that nothing is lost in silence.
//!
//! It reads text, not syntax, and says nothing about how good a test is.

use crate::{
    generated::{self, Mode},
    run,
    sizes::is_test,
};
use anyhow::{Context, Result, bail};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

const RULES: &str = "xtask/rules.tsv";
const UNCOVERED: &str = "xtask/uncovered.txt";
const PAGE: &str = "docs/conformance.md";

/// A rule as `rules.tsv` states it.
struct Rule {
    id: String,
    level: String,
    demand: String,
}

/// The tests of each rule, by id.
type Held = BTreeMap<String, BTreeSet<String>>;

pub(crate) fn run(mode: Mode) -> Result<()> {
    let rules = rules()?;
    let mut held = Held::new();
    for file in run::committed()? {
        if file.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(run::root().join(&file)).with_context(|| format!("{}", file.display()))?;
            scan(&file, &text, &mut held);
        }
    }
    let page = page(&rules, &held);
    let uncovered = missing(&rules, &held).fold(String::new(), |list, id| list + id + "\n");
    generated::current("conformance", &[(PAGE, page), (UNCOVERED, uncovered)], mode)?;
    let (must, without) = (rules.iter().filter(|rule| rule.level == "M").count(), missing(&rules, &held).count());
    println!("conformance: {} of {must} rules of level M have a test ({} rules in all)", must - without, rules.len());
    Ok(())
}

fn rules() -> Result<Vec<Rule>> {
    let text = fs::read_to_string(run::root().join(RULES)).context(RULES)?;
    let rule = |line: &str| match line.split('\t').collect::<Vec<_>>().as_slice() {
        [id, level, demand] => Ok(Rule { id: (*id).to_owned(), level: (*level).to_owned(), demand: (*demand).to_owned() }),
        _ => bail!("{RULES}: not three columns: {line}"),
    };
    text.lines().map(rule).collect()
}

/// The ids of the rules of level M that no test holds.
fn missing<'a>(rules: &'a [Rule], held: &'a Held) -> impl Iterator<Item = &'a str> {
    rules.iter().filter(|rule| rule.level == "M" && !held.contains_key(&rule.id)).map(|rule| rule.id.as_str())
}

/// Adds the tests of one file.
fn scan(file: &Path, text: &str, held: &mut Held) {
    let start = match (is_test(file), text.find("#[cfg(test)]\nmod tests")) {
        (true, _) => 0,
        (false, Some(start)) => start,
        (false, None) => return,
    };
    let place = file.display().to_string();
    let tests = text.get(start..).unwrap_or_default();
    let mut about = String::new();
    // The test that the line is in: its label, and how far its first line is indented.
    let mut within: Option<(String, usize)> = None;
    for line in tests.lines() {
        let trimmed = line.trim();
        let indent = line.len() - line.trim_start().len();
        if trimmed.starts_with("//!") {
            note(held, &ids(spec(trimmed)), &place);
        } else if let Some((label, _)) = within.as_ref().filter(|(_, outer)| indent > *outer) {
            note(held, &ids(trimmed), label);
        }
        if trimmed.starts_with("//") || trimmed.starts_with("#[") {
            about.push_str(trimmed);
            about.push('\n');
        } else if let Some(name) = function(trimmed) {
            let is_test = about.contains("#[test]") || about.contains("#[tokio::test") || in_macro(line, &about);
            within = is_test.then(|| (format!("{place} {name}"), indent));
            if let Some((label, _)) = &within {
                note(held, &named(name), label);
                about.lines().for_each(|line| note(held, &ids(spec(line)), label));
            }
            about.clear();
        } else if !trimmed.is_empty() {
            about.clear();
        }
    }
}

/// Whether a function is one of a `proptest!` block: indented, with arguments drawn by `in`.
fn in_macro(line: &str, about: &str) -> bool {
    line.starts_with(' ') && line.contains(" in ") && !about.contains("#[cfg")
}

fn note(held: &mut Held, ids: &[String], test: &str) {
    for id in ids {
        held.entry(id.clone()).or_default().insert(test.to_owned());
    }
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let rest =
        ["fn ", "async fn ", "pub(crate) fn ", "pub(crate) async fn "].iter().find_map(|start| line.strip_prefix(start))?;
    rest.split(['(', '<']).next()
}

/// What a comment says after `SPEC:`.
fn spec(line: &str) -> &str {
    line.split_once("SPEC:").filter(|(before, _)| before.contains("//")).map_or("", |(_, after)| after)
}

/// The ids in a comment: `TX-03`, `N-DC-01`, and what lies between the two of `F-01 to F-07`.
fn ids(text: &str) -> Vec<String> {
    let words: Vec<&str> =
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some((family, number)) = id(word) else { continue };
        let before = |back: usize| at.checked_sub(back).and_then(|at| words.get(at)).copied();
        let from = before(2).filter(|_| before(1) == Some("to")).and_then(id).filter(|(other, _)| *other == family);
        let first = from.map_or(number, |(_, from)| from.saturating_add(1));
        found.extend((first..=number).map(|number| format!("{family}-{number:02}")));
    }
    found
}

/// The family and number of an id.
fn id(word: &str) -> Option<(&str, u8)> {
    let (family, number) = word.rsplit_once('-')?;
    let letters = family.strip_prefix("N-").unwrap_or(family);
    let proper = (1..=3).contains(&letters.len()) && letters.bytes().all(|b| b.is_ascii_uppercase()) && number.len() == 2;
    number.parse().ok().filter(|_| proper).map(|number| (family, number))
}

/// The ids in the name of a test: `n_dc_01_a_splice_is_refused` holds N-DC-01.
fn named(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split('_').collect();
    let numbered = |at: &usize| words.get(*at).is_some_and(|word| word.len() == 2 && word.bytes().all(|b| b.is_ascii_digit()));
    let family = |at: usize| {
        // Further numbers of one family may follow the first: `n_pr_01_02_03_…`.
        let first = (0..=at).rev().find(|earlier| !numbered(earlier)).map_or(0, |before| before + 1);
        let letters = words.get(first.checked_sub(1)?)?;
        let proper = (1..=3).contains(&letters.len()) && letters.bytes().all(|b| b.is_ascii_lowercase());
        let negative = first.checked_sub(2).and_then(|at| words.get(at)) == Some(&"n");
        let sign = if negative { "N-" } else { "" };
        proper.then(|| format!("{sign}{}-{}", letters.to_ascii_uppercase(), words.get(at).copied().unwrap_or_default()))
    };
    (0..words.len()).filter(numbered).filter_map(family).collect()
}

fn page(rules: &[Rule], held: &Held) -> String {
    let mut page = String::from(
        "# Conformance\n\nThe rules that the authorization server, its tokens and its clients follow, and the tests that hold each. `cargo xtask conformance`\nwrites this page from the tests; CI checks that it is current. Level M is a must, S a should, L comes later. Ids that begin with `N-`\nare negative tests: what must be refused.\n\n",
    );
    let must = rules.iter().filter(|rule| rule.level == "M").count();
    let without: Vec<&str> = missing(rules, held).collect();
    let _ = writeln!(page, "{} of {must} rules of level M have a test.", must - without.len());
    if !without.is_empty() {
        let _ = writeln!(page, "Without one: {}.", without.join(", "));
    }
    let mut family = "";
    for rule in rules {
        let (its, _) = rule.id.trim_start_matches("N-").split_once('-').unwrap_or_default();
        if its != family {
            family = its;
            let _ = write!(page, "\n## {family}\n\n| Rule | Level | Demands | Tests |\n|---|---|---|---|\n");
        }
        let tests = held
            .get(&rule.id)
            .map_or_else(|| "none".to_owned(), |tests| tests.iter().map(|test| shown(test)).collect::<Vec<_>>().join("<br>"));
        let _ = writeln!(page, "| {} | {} | {} | {tests} |", rule.id, rule.level, rule.demand);
    }
    page
}

/// A test as the page shows it: its name, linked to its file.
fn shown(test: &str) -> String {
    let (file, name) = test.split_once(' ').unwrap_or((test, ""));
    let short = file.trim_start_matches("crates/").replace("/tests/it/", "/").replace("/src/", "/");
    let label = if name.is_empty() { format!("all of {short}") } else { name.to_owned() };
    format!("[{label}](../{file})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_comments_and_names() {
        assert_eq!(ids(" F-01 to F-03, N-DC-18: and RFC 6749 §2.3"), ["F-01", "F-02", "F-03", "N-DC-18"]);
        assert_eq!(ids(" X-1, x-01, ABCD-01"), Vec::<String>::new());
        assert_eq!(named("n_dc_01_a_splice"), ["N-DC-01"]);
        assert_eq!(named("n_pr_01_02_metadata"), ["N-PR-01", "N-PR-02"]);
        assert_eq!(named("tk_04_n_tk_02_and_more"), ["TK-04", "N-TK-02"]);
        assert_eq!(named("at_10_seconds"), ["AT-10"], "harmless: no such rule is listed");
    }

    #[test]
    fn a_test_belongs_to_the_rules_in_its_name_above_it_and_in_it() {
        let text = "//! SPEC: X-10\n\n/// SPEC: TK-01\n#[test]\nfn n_tk_01_two() {\n    // SPEC: J-09\n    a();\n}\n\n/// SPEC: TK-02\nfn helper() {\n    // SPEC: TK-03\n}\n";
        let mut held = Held::new();
        scan(Path::new("crates/a/tests/it/b.rs"), text, &mut held);
        assert_eq!(held.keys().collect::<Vec<_>>(), ["J-09", "N-TK-01", "TK-01", "X-10"]);
        scan(Path::new("crates/a/src/b.rs"), "/// SPEC: TK-02\nfn product() {}\n", &mut held);
        assert_eq!(held.len(), 4, "only tests count");
    }
}
