//! The suites: what each needs, what that costs, and which ignored tests of `remit-e2e` it runs.

use super::parts::{self, Part};
use crate::{run, setup};
use anyhow::Result;
use std::fs;

/// Tests with what they need.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    needs: Needs,
    /// What it takes, measured: why it is not part of every `cargo xtask test`.
    pub(crate) cost: &'static str,
    /// The beginnings of the names of the ignored tests of `remit-e2e` that it runs.
    pub(crate) tests: &'static [&'static str],
}

/// What a suite needs beside what `cargo xtask setup` installs.
enum Needs {
    /// Packages of `e2e/clients/interop/NAME.txt` in a virtual environment; the one that the suite is about.
    Python { package: &'static str },
    /// Packages of `e2e/clients/interop/NAME/package-lock.json` in a folder; the one that the suite is about.
    Node { package: &'static str },
    /// Programs that are fetched and built.
    Parts(&'static [Part]),
}

pub(crate) const SUITES: [Suite; 11] = [
    Suite {
        name: "google-adk",
        needs: Needs::Python { package: "google-adk" },
        cost: "156 MB of packages, two minutes",
        tests: &["frameworks::google_adk"],
    },
    Suite {
        name: "llama-index",
        needs: Needs::Python { package: "llama-index-tools-mcp" },
        cost: "300 MB of packages, two minutes",
        tests: &["frameworks::llama_index"],
    },
    Suite {
        name: "strands",
        needs: Needs::Python { package: "strands-agents" },
        cost: "127 MB of packages, two minutes",
        tests: &["frameworks::strands"],
    },
    Suite {
        name: "langchain-js",
        needs: Needs::Node { package: "@langchain/core" },
        cost: "89 MB of packages, one minute",
        tests: &["libraries::langchain_tools"],
    },
    Suite {
        name: "codex",
        needs: Needs::Node { package: "@openai/codex" },
        cost: "424 MB of packages, two minutes",
        tests: &["doors::codex"],
    },
    Suite {
        name: "inspector",
        needs: Needs::Node { package: "@modelcontextprotocol/inspector" },
        cost: "235 MB of packages with a Node of their own, two minutes",
        tests: &["doors::inspector"],
    },
    Suite {
        name: "mcp-conformance",
        needs: Needs::Node { package: "@modelcontextprotocol/conformance" },
        cost: "241 MB of packages with a Node of their own, three minutes",
        tests: &["doors::conformance::"],
    },
    Suite {
        name: "keycloak",
        needs: Needs::Parts(&[parts::KEYCLOAK]),
        cost: "180 MB, Java 21, five minutes",
        tests: &["providers::keycloak::"],
    },
    Suite {
        name: "hydra",
        needs: Needs::Parts(&[parts::HYDRA]),
        cost: "a build of five minutes with Go",
        tests: &["providers::hydra::"],
    },
    Suite {
        name: "spire",
        needs: Needs::Parts(&[parts::SPIRE]),
        cost: "310 MB, a build of twelve minutes with Go",
        tests: &["workload::spire::"],
    },
    Suite {
        name: "kubernetes",
        needs: Needs::Parts(&[parts::KUBE_APISERVER, parts::KUBECTL, parts::ETCD]),
        cost: "200 MB, a build of eight minutes with Go",
        tests: &["workload::kubernetes::"],
    },
];

impl Suite {
    /// Its name and the versions of what it is about.
    pub(crate) fn title(&self) -> String {
        match &self.needs {
            Needs::Parts(parts) => {
                let versions: Vec<String> = parts.iter().map(|part| format!("{} {}", part.name, part.version())).collect();
                versions.join(" and ")
            }
            Needs::Python { package } => {
                let list = run::root().join("e2e/clients").join(self.python_list());
                let list = fs::read_to_string(list).unwrap_or_default();
                titled(package, list.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix("==")))
            }
            Needs::Node { package } => {
                let list = run::root().join("e2e/clients").join(self.place()).join("package.json");
                let list: serde_json::Value =
                    fs::read_to_string(list).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
                let version = list.get("dependencies").and_then(|all| all.get(package)?.as_str());
                titled(package, version)
            }
        }
    }

    /// Whether everything is installed.
    pub(crate) fn there(&self) -> bool {
        match &self.needs {
            Needs::Python { .. } => setup::python_is_there(&self.place(), &self.python_list()),
            Needs::Node { .. } => setup::node_is_there(&self.place()),
            Needs::Parts(parts) => parts.iter().all(Part::there),
        }
    }

    /// Installs what is missing.
    pub(crate) fn make(&self) -> Result<()> {
        match &self.needs {
            Needs::Python { .. } => setup::python_environment(&self.place(), &self.python_list()).map(drop),
            Needs::Node { .. } => setup::node_folder(&self.place()).map(drop),
            Needs::Parts(parts) => parts.iter().try_for_each(Part::make),
        }
    }

    /// The variables that tell the tests where everything is.
    pub(crate) fn variables(&self) -> Result<Vec<(&'static str, String)>> {
        Ok(match &self.needs {
            Needs::Python { .. } => {
                let python = setup::python_environment(&self.place(), &self.python_list())?;
                vec![("REMIT_E2E_INTEROP_PYTHON", python.display().to_string())]
            }
            Needs::Node { .. } => {
                vec![("REMIT_E2E_INTEROP_NODE", run::target().join(self.place()).display().to_string())]
            }
            Needs::Parts(parts) => {
                let mut variables = Vec::new();
                for part in *parts {
                    variables.extend(part.variables()?);
                }
                variables
            }
        })
    }

    fn place(&self) -> String {
        format!("interop/{}", self.name)
    }

    fn python_list(&self) -> String {
        format!("interop/{}.txt", self.name)
    }
}

fn titled(package: &str, version: Option<&str>) -> String {
    format!("{package} {}", version.unwrap_or("of an unknown version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_knows_the_version_of_what_it_is_about() {
        for suite in &SUITES {
            assert!(suite.title().contains(|letter: char| letter.is_ascii_digit()), "{}", suite.title());
        }
    }
}
