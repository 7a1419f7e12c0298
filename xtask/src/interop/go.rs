//! Go programs, built from their modules in a module of our own, at the lowest priority and one package at a time.

use crate::run;
use anyhow::{Result, bail, ensure};
use std::{fs, path::Path};

/// Programs of one module.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) version: &'static str,
    /// The file of each program, and its package.
    pub(crate) programs: &'static [(&'static str, &'static str)],
    /// Modules to take in place of others. Those that the module itself names count only when it is the main one.
    pub(crate) replace: &'static [(&'static str, &'static str)],
    pub(crate) tags: &'static str,
}

impl Module {
    /// Fetches, builds, and asks each program whether it runs.
    pub(crate) fn make(&self, folder: &Path) -> Result<()> {
        ensure!(run::output("go", &["version"]).is_ok(), "it needs Go 1.24 or newer: install it, then run this again");
        let (module, programs) = (folder.join("module"), folder.join("bin"));
        fs::create_dir_all(&module)?;
        fs::create_dir_all(&programs)?;
        // The checksum database of the Go toolchain vouches for what is fetched.
        fs::write(module.join("go.mod"), "module parts\n\ngo 1.24\n")?;
        let go = |arguments: &[&str]| {
            let arguments = [&["-n", "19", "go"], arguments].concat();
            run::run_in(&module, "nice", &arguments, &[("GOFLAGS", "-buildvcs=false")])
        };
        if !self.replace.is_empty() {
            let replace: Vec<String> = self.replace.iter().map(|(old, new)| format!("-replace={old}={new}")).collect();
            let words: Vec<&str> = ["mod", "edit"].into_iter().chain(replace.iter().map(String::as_str)).collect();
            go(&words)?;
        }
        let wanted: Vec<String> = self.programs.iter().map(|(_, package)| format!("{package}@v{}", self.version)).collect();
        let words: Vec<&str> = ["get", "-tool"].into_iter().chain(wanted.iter().map(String::as_str)).collect();
        go(&words)?;
        for (file, package) in self.programs {
            let to = programs.join(file).display().to_string();
            go(&["build", "-p", "1", "-tags", self.tags, "-o", &to, package])?;
            runs(&to)?;
        }
        Ok(())
    }
}

/// Programs of this kind answer to `--version` or to `version`; kubectl asks a server for the latter.
fn runs(program: &str) -> Result<()> {
    for question in ["--version", "version", "help"] {
        if run::output(program, &[question]).is_ok() {
            return Ok(());
        }
    }
    bail!("{program} was built and does not run")
}

/// Kubernetes names its parts by folders of its own repository, which its published module does not have.
pub(crate) const KUBERNETES_STAGING: [(&str, &str); 29] = [
    ("k8s.io/api", "k8s.io/api@v0.34.4"),
    ("k8s.io/apiextensions-apiserver", "k8s.io/apiextensions-apiserver@v0.34.4"),
    ("k8s.io/apimachinery", "k8s.io/apimachinery@v0.34.4"),
    ("k8s.io/apiserver", "k8s.io/apiserver@v0.34.4"),
    ("k8s.io/cli-runtime", "k8s.io/cli-runtime@v0.34.4"),
    ("k8s.io/client-go", "k8s.io/client-go@v0.34.4"),
    ("k8s.io/cloud-provider", "k8s.io/cloud-provider@v0.34.4"),
    ("k8s.io/cluster-bootstrap", "k8s.io/cluster-bootstrap@v0.34.4"),
    ("k8s.io/code-generator", "k8s.io/code-generator@v0.34.4"),
    ("k8s.io/component-base", "k8s.io/component-base@v0.34.4"),
    ("k8s.io/component-helpers", "k8s.io/component-helpers@v0.34.4"),
    ("k8s.io/controller-manager", "k8s.io/controller-manager@v0.34.4"),
    ("k8s.io/cri-api", "k8s.io/cri-api@v0.34.4"),
    ("k8s.io/cri-client", "k8s.io/cri-client@v0.34.4"),
    ("k8s.io/csi-translation-lib", "k8s.io/csi-translation-lib@v0.34.4"),
    ("k8s.io/dynamic-resource-allocation", "k8s.io/dynamic-resource-allocation@v0.34.4"),
    ("k8s.io/endpointslice", "k8s.io/endpointslice@v0.34.4"),
    ("k8s.io/externaljwt", "k8s.io/externaljwt@v0.34.4"),
    ("k8s.io/kms", "k8s.io/kms@v0.34.4"),
    ("k8s.io/kube-aggregator", "k8s.io/kube-aggregator@v0.34.4"),
    ("k8s.io/kube-controller-manager", "k8s.io/kube-controller-manager@v0.34.4"),
    ("k8s.io/kube-proxy", "k8s.io/kube-proxy@v0.34.4"),
    ("k8s.io/kube-scheduler", "k8s.io/kube-scheduler@v0.34.4"),
    ("k8s.io/kubectl", "k8s.io/kubectl@v0.34.4"),
    ("k8s.io/kubelet", "k8s.io/kubelet@v0.34.4"),
    ("k8s.io/metrics", "k8s.io/metrics@v0.34.4"),
    ("k8s.io/mount-utils", "k8s.io/mount-utils@v0.34.4"),
    ("k8s.io/pod-security-admission", "k8s.io/pod-security-admission@v0.34.4"),
    ("k8s.io/sample-apiserver", "k8s.io/sample-apiserver@v0.34.4"),
];
