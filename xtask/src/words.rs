//! What must not be in a committed file: paths of one machine, and hosts of package registries.
//!
//! A clone must build wherever it lies, through whichever registry or mirror its owner has set up.

use crate::run;
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

pub(crate) fn check() -> Result<()> {
    let mut findings = Vec::new();
    let files = run::committed()?;
    for file in &files {
        let Ok(text) = fs::read_to_string(run::root().join(file)) else { continue };
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
}
