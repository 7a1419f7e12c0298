//! The budget of a source file: 600 lines, not counting its tests. (Functions are clippy's: `too_many_lines`.)

use crate::run;
use anyhow::{Context, Result};
use std::{fs, path::Path};

const BUDGET: usize = 600;

pub(crate) fn check() -> Result<()> {
    let mut findings = Vec::new();
    let mut sizes = Vec::new();
    for file in run::committed()? {
        if file.extension().is_none_or(|kind| kind != "rs") || is_test(&file) {
            continue;
        }
        let source = fs::read_to_string(run::root().join(&file)).with_context(|| format!("{}", file.display()))?;
        let lines = without_tests(&source);
        if lines > BUDGET {
            findings.push(format!("{} has {lines} lines, {BUDGET} is the most", file.display()));
        }
        sizes.push(lines);
    }
    let mean = sizes.iter().sum::<usize>() / sizes.len().max(1);
    let largest = sizes.iter().max().copied().unwrap_or(0);
    run::verdict("sizes", &format!("{} files, mean {mean} lines, largest {largest}", sizes.len()), &findings)
}

pub(crate) fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests") || file.file_name().is_some_and(|name| name == "tests.rs")
}

/// Lines before the test module, which by our rules is last.
fn without_tests(source: &str) -> usize {
    let mut lines = source.lines().peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.starts_with("mod ")) {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::without_tests;

    #[test]
    fn tests_at_the_end_do_not_count() {
        assert_eq!(without_tests("a\nb\n#[cfg(test)]\nuse c;\n#[cfg(test)]\nmod tests {\n}\n"), 4);
        assert_eq!(without_tests("a\nb\n"), 2);
    }
}
