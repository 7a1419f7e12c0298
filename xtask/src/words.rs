//! What must not be in a committed file: paths of one machine, hosts of package registries, and, in tests, pauses and ports
//! that make them fail on a busy machine.
//!
//! A clone must build wherever it lies, through whichever registry or mirror its owner has set up.

use crate::{prose, run, sizes};
use anyhow::Result;
use std::fs;

/// Written in halves, so that this file may be committed too.
const PATHS: [&str; 6] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("C:\\", "Users"),
    concat!(".car", "go/registry"),
];
const HOSTS: [&str; 10] = [
    concat!("registry.npm", "js.org"),
    concat!("npmm", "irror.com"),
    concat!("yarnpkg", ".com"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("static.crates", ".io"),
    concat!("index.crates", ".io"),
    concat!("deb.debian", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("repo.maven", ".apache.org"),
];

/// What opens the tests of a source file.
const TESTS_BEGIN: &str = "#[cfg(test)]";
/// The comment that explains a pause.
const PAUSE: &str = "PAUSE: ";
const SLEEP: &str = concat!("sle", "ep(");
const FREE_PORT: &str = concat!("free_", "port");

pub(crate) fn check() -> Result<()> {
    let mut findings = Vec::new();
    let files = run::committed()?;
    for file in &files {
        let Ok(text) = fs::read_to_string(run::root().join(file)) else { continue };
        if file.extension().is_some_and(|kind| kind == "rs") {
            findings.extend(races(&text, sizes::is_test(file)).map(|(line, what)| format!("{}:{line}: {what}", file.display())));
        }
        findings.extend(prose::pronouns(file, &text));
        for (number, line) in text.lines().enumerate() {
            let place = || format!("{}:{}", file.display(), number + 1);
            findings.extend(
                HOSTS.iter().filter(|host| line.contains(**host)).map(|host| format!("{}: registry host {host}", place())),
            );
            findings.extend(
                PATHS.iter().filter(|path| names_path(line, path)).map(|path| format!("{}: machine path {path}", place())),
            );
        }
    }
    run::verdict("words", &format!("{} files", files.len()), &findings)
}

/// Lines of a test that wait for a fixed time or let go of a port before it is used, with what to do instead. `whole` says that
/// the file has nothing but tests; otherwise they begin with the test module.
fn races(source: &str, whole: bool) -> impl Iterator<Item = (usize, &'static str)> {
    let mut test = whole;
    let mut explained = false;
    source.lines().enumerate().filter_map(move |(at, line)| {
        test |= line == TESTS_BEGIN;
        let code = line.trim_start();
        if code.starts_with("//") {
            explained |= code.contains(PAUSE);
            return None;
        }
        let was_explained = std::mem::take(&mut explained);
        let what = if test && code.contains(SLEEP) && !was_explained {
            "wait with `testkit::wait_until` or `eventually`, or say above why a pause is needed: `// PAUSE: …`"
        } else if code.contains(FREE_PORT) || (code.contains(":0\")") && code.contains(".port()")) {
            "take `testkit::port()`: another program can take a port that was only free a moment ago"
        } else {
            return None;
        };
        Some((at + 1, what))
    })
}

/// Whether the line names an absolute path: not a longer path or a URL in which the same letters occur.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        before.is_none_or(|letter| !(letter.is_alphanumeric() || "._-/}~*".contains(letter)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_are_found() {
        let (here, there) = (PATHS[0], PATHS[2]);
        assert!(names_path(&format!("see {here}x"), here) && names_path(&format!("\"{there}me\""), there));
        assert!(!names_path(&format!("https://gw.example{here}x"), here) && !names_path(&format!("net{here}"), here));
    }

    #[test]
    fn a_pause_in_a_test_needs_its_reason() {
        let lines = |source: &str, whole| races(source, whole).map(|(line, _)| line).collect::<Vec<_>>();
        let pause = format!("    thread::{SLEEP}SECOND);\n");
        assert_eq!(lines(&pause, true), [1]);
        assert_eq!(lines(&pause, false), [] as [usize; 0]);
        assert_eq!(lines(&format!("{pause}{TESTS_BEGIN}\nmod tests {{\n{pause}"), false), [4]);
        assert_eq!(lines(&format!("    // {PAUSE}a kill comes at any moment.\n{pause}{pause}"), true), [3]);
    }

    #[test]
    fn a_port_is_kept_until_it_is_used() {
        for line in [
            format!("let port = {FREE_PORT}();"),
            "TcpListener::bind(\"127.0.0.1:0\").unwrap().local_addr().unwrap().port()".into(),
        ] {
            assert_eq!(races(&line, false).count(), 1, "{line}");
        }
        assert_eq!(races("let listener = TcpListener::bind(\"127.0.0.1:0\").unwrap();", true).count(), 0);
    }
}
