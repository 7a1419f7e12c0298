//! `docs/clients.md`: each test writes one part of it, so that the part of a test that was not run stays.

use super::{Outcome, Row};
use crate::harness::root;
use std::{env, fmt::Write as _, fs};

/// Compares the part of the page that this test writes with what the clients got; with `REMIT_WRITE_DOCS` it writes the part.
pub(super) fn holds(test: &str, rows: &[Row]) {
    let mut words = Vec::new();
    let mut table = String::from("| Client | How | `binding: dpop` | `binding: danger_bearer` |\n|---|---|---|---|\n");
    for Row { client, mode, bound, bearer } in rows {
        let [bound, bearer] = [bound, bearer].map(|outcome| cell(outcome, &mut words));
        writeln!(table, "| {client} | {mode} | {bound} | {bearer} |").unwrap();
    }
    for (number, words) in words.iter().enumerate() {
        let apart = if number == 0 { "\n" } else { "" };
        writeln!(table, "{apart}{}. {words}", number + 1).unwrap();
    }
    part("docs/clients.md", test, &table);
}

/// The same for any part of a document.
pub(super) fn part(document: &str, test: &str, text: &str) {
    let file = root().join(document);
    // Tests of one run may write at the same time.
    let lock = fs::File::open(&file).unwrap();
    lock.lock().unwrap();
    let page = fs::read_to_string(&file).unwrap();
    let (begin, end) = (format!("<!-- written by the test `{test}` -->\n"), "<!-- end -->\n");
    let (head, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("{document} has no {begin:?}"));
    let (before, tail) = rest.split_once(end).unwrap();
    if env::var_os("REMIT_WRITE_DOCS").is_some() {
        fs::write(&file, format!("{head}{begin}{text}{end}{tail}")).unwrap();
        return;
    }
    assert_eq!(before, text, "{document} is not what the clients get now; run this test with REMIT_WRITE_DOCS=1");
}

/// `works`, or the number of the words below the table.
fn cell(outcome: &Outcome, words: &mut Vec<String>) -> String {
    let Outcome::Refused(said) = outcome else { return "works".to_owned() };
    let number = words.iter().position(|known| known == said).unwrap_or_else(|| {
        words.push(said.clone());
        words.len() - 1
    });
    format!("refused ({})", number + 1)
}

/// What a client said, on one line and without what is another one in every run: records, and the names of clients.
pub(super) fn without_names(words: &str) -> String {
    let words = words.split_once(",\"remit_record\"").map_or_else(|| words.to_owned(), |(before, _)| format!("{before}}}"));
    let words = words.split_once(", record ").map_or(words.as_str(), |(before, _)| before);
    let mut parts = words.split("`agent:");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| format!("`agent:…{}", part.find('`').map_or(part, |end| part.split_at(end).1)));
    (first + &rest.collect::<String>()).split_whitespace().collect::<Vec<_>>().join(" ")
}
