//! Java programs, as distributions that Maven fetches.

use crate::run;
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The Maven plugin that copies an artefact to where it is wanted.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy";

/// A zip archive with a Quarkus program, which is built once for its options.
#[derive(Debug)]
pub(crate) struct Distribution {
    /// Its group and name.
    pub(crate) artifact: &'static str,
    pub(crate) version: &'static str,
    /// Of the archive.
    pub(crate) sha256: &'static str,
    /// The command that builds it.
    pub(crate) build: &'static [&'static str],
    /// The oldest Java that runs it.
    pub(crate) java: u32,
}

impl Distribution {
    pub(crate) fn make(&self, folder: &Path) -> Result<()> {
        let java = self.java_home()?;
        ensure!(run::answers("mvn"), "it needs Maven to fetch it: install it (Debian: maven), then run this again");
        let home = self.home(folder);
        if home.is_dir() {
            fs::remove_dir_all(&home)?;
        }
        fs::create_dir_all(folder)?;
        let (artifact, to) =
            (format!("-Dartifact={}:{}:zip", self.artifact, self.version), format!("-DoutputDirectory={}", folder.display()));
        run::run_in(folder, "mvn", &["--quiet", "--batch-mode", COPY, &artifact, &to, "-Dmdep.useBaseVersion=true"], &[])?;
        let (_, name) = self.artifact.split_once(':').context("an artefact has a group and a name")?;
        let archive = folder.join(format!("{name}-{}.zip", self.version));
        let sum = run::output("sha256sum", &[&archive.display().to_string()])?;
        ensure!(sum.starts_with(self.sha256), "{} has another SHA-256 than it must have: {sum}", archive.display());
        run::run_in(folder, "python3", &["-m", "zipfile", "-e", &archive.display().to_string(), "."], &[])?;
        fs::remove_file(archive)?;
        let build = [&["-n", "19", "sh", "bin/kc.sh"], self.build].concat();
        run::run_in(&home, "nice", &build, &[("JAVA_HOME", &java.display().to_string())])
    }

    /// Where the archive's one folder lies.
    pub(crate) fn home(&self, folder: &Path) -> PathBuf {
        folder.join(format!("keycloak-{}", self.version))
    }

    /// The home of a Java that is new enough: the one that `JAVA_HOME` names, else the newest of the machine.
    pub(crate) fn java_home(&self) -> Result<PathBuf> {
        let named = run::variable("JAVA_HOME").map(PathBuf::from);
        let installed = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten().map(|entry| entry.path());
        let good = |home: &PathBuf| version(home).is_some_and(|version| version >= self.java);
        if let Some(home) = named.filter(good).or_else(|| installed.filter(good).max_by_key(|home| version(home))) {
            return Ok(home);
        }
        bail!("it needs Java {} or newer: install one, set JAVA_HOME, then run this again", self.java)
    }
}

/// The major version of the Java in a folder, by its `release` file.
fn version(home: &Path) -> Option<u32> {
    let release = fs::read_to_string(home.join("release")).ok()?;
    major(release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?)
}

fn major(version: &str) -> Option<u32> {
    version.trim_matches('"').split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn the_major_version_of_a_java_is_read() {
        assert_eq!(major("\"25.0.1\""), Some(25));
        assert_eq!(major("\"17.0.15\""), Some(17));
        assert_eq!(major("\"24-ea\""), Some(24));
        assert_eq!(major("\"\""), None);
    }
}
