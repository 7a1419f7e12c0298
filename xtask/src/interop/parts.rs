//! The programs that suites run beside the server, each at an exact version.
//!
//! A part lies in `target/interop/NAME-VERSION`, and is complete when its marker holds the recipe that it was made by: one that
//! was interrupted, or made by another recipe, is made again.

use super::{go, java};
use crate::{run, setup};
use anyhow::{Context, Result};
use std::{fs, path::PathBuf};

/// A program.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    recipe: Recipe,
    /// The variable that tells the tests where it is.
    variable: &'static str,
}

#[derive(Debug)]
enum Recipe {
    Java(java::Distribution),
    Go(go::Module),
    /// A package of the machine with a program, whose version is the machine's.
    Debian {
        package: &'static str,
        program: &'static str,
    },
}

/// An identity provider, a Java program.
pub(crate) const KEYCLOAK: Part = Part {
    name: "keycloak",
    recipe: Recipe::Java(java::Distribution {
        artifact: "org.keycloak:keycloak-quarkus-dist",
        version: "26.7.3",
        sha256: "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f",
        build: &["build", "--db=dev-file", "--health-enabled=true"],
        java: 21,
    }),
    variable: "REMIT_E2E_KEYCLOAK",
};

/// An OpenID Connect provider without people: who signs in is for another program to say.
pub(crate) const HYDRA: Part = Part {
    name: "hydra",
    recipe: Recipe::Go(go::Module {
        version: "2.3.0",
        programs: &[("hydra", "github.com/ory/hydra/v2")],
        // Hydra needs Ory's fork, and the replacements of a dependency do not count.
        replace: &[("github.com/gobuffalo/pop/v6", "github.com/ory/pop/v6@v6.2.1-0.20241121111754-e5dfc0f3344b")],
        tags: "sqlite",
    }),
    variable: "REMIT_E2E_HYDRA",
};

/// A workload identity issuer: its server and its agent.
pub(crate) const SPIRE: Part = Part {
    name: "spire",
    recipe: Recipe::Go(go::Module {
        version: "1.13.3",
        programs: &[
            ("spire-server", "github.com/spiffe/spire/cmd/spire-server"),
            ("spire-agent", "github.com/spiffe/spire/cmd/spire-agent"),
        ],
        replace: &[],
        tags: "",
    }),
    variable: "REMIT_E2E_SPIRE",
};

/// A Kubernetes API server, which keeps its state in etcd.
pub(crate) const KUBE_APISERVER: Part = Part {
    name: "kube-apiserver",
    recipe: Recipe::Go(go::Module {
        version: "1.34.4",
        programs: &[("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver")],
        replace: &go::KUBERNETES_STAGING,
        tags: "",
    }),
    variable: "REMIT_E2E_KUBE_APISERVER",
};

/// Its command-line client.
pub(crate) const KUBECTL: Part = Part {
    name: "kubectl",
    recipe: Recipe::Go(go::Module {
        version: "1.34.4",
        programs: &[("kubectl", "k8s.io/kubernetes/cmd/kubectl")],
        replace: &go::KUBERNETES_STAGING,
        tags: "",
    }),
    variable: "REMIT_E2E_KUBECTL",
};

/// The store of a Kubernetes API server.
pub(crate) const ETCD: Part =
    Part { name: "etcd", recipe: Recipe::Debian { package: "etcd-server", program: "etcd" }, variable: "REMIT_E2E_ETCD" };

impl Part {
    pub(crate) fn version(&self) -> String {
        match &self.recipe {
            Recipe::Java(distribution) => distribution.version.to_owned(),
            Recipe::Go(module) => module.version.to_owned(),
            // The first line: `etcd Version: 3.4.23`.
            Recipe::Debian { program, .. } => run::output(program, &["--version"])
                .ok()
                .and_then(|said| Some(said.lines().next()?.rsplit(' ').next()?.to_owned()))
                .unwrap_or_else(|| "of Debian".to_owned()),
        }
    }

    pub(crate) fn there(&self) -> bool {
        match &self.recipe {
            Recipe::Debian { program, .. } => run::answers(program),
            Recipe::Java(distribution) if distribution.java_home().is_err() => false,
            _ => fs::read_to_string(self.marker()).is_ok_and(|made_by| made_by == self.made_by()),
        }
    }

    /// Fetches and builds it, unless it is there.
    pub(crate) fn make(&self) -> Result<()> {
        if self.there() {
            println!("interop: {} {} is there", self.name, self.version());
            return Ok(());
        }
        let folder = self.folder();
        match &self.recipe {
            Recipe::Debian { package, .. } => return setup::debian("the Kubernetes suite", &[package]),
            Recipe::Java(distribution) => distribution.make(&folder),
            Recipe::Go(module) => module.make(&folder),
        }
        .with_context(|| format!("{} {} cannot be made here", self.name, self.version()))?;
        Ok(fs::write(self.marker(), self.made_by())?)
    }

    /// What tells the tests where it is: the folder of a distribution, or that of the programs.
    pub(crate) fn variables(&self) -> Result<Vec<(&'static str, String)>> {
        Ok(match &self.recipe {
            Recipe::Debian { program, .. } => vec![(self.variable, (*program).to_owned())],
            Recipe::Go(_) => vec![(self.variable, self.folder().join("bin").display().to_string())],
            Recipe::Java(distribution) => vec![
                (self.variable, distribution.home(&self.folder()).display().to_string()),
                ("REMIT_E2E_JAVA_HOME", distribution.java_home()?.display().to_string()),
            ],
        })
    }

    fn folder(&self) -> PathBuf {
        run::target().join("interop").join(format!("{}-{}", self.name, self.version()))
    }

    fn marker(&self) -> PathBuf {
        self.folder().join("complete")
    }

    fn made_by(&self) -> String {
        format!("{:#?}\n", self.recipe)
    }
}
