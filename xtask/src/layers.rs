//! The dependency rule of ARCHITECTURE.md: strictly downwards, and each layer free of what it must not contain.

use crate::run;
use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A crate of the workspace: which crates of ours it may import, and which outside crates it must not.
struct Rule {
    name: &'static str,
    may_import: &'static [&'static str],
    must_not_contain: &'static [&'static [&'static str]],
}

const ASYNC: &[&str] = &["tokio", "tokio-stream", "async-std", "smol"];
const HTTP: &[&str] = &["http", "http-body", "hyper", "hyper-util", "hyper-rustls", "axum", "tower", "reqwest"];
const AXUM: &[&str] = &["axum"];
const SQL: &[&str] = &["rusqlite", "tokio-postgres", "sqlx"];
const AMBIENT: &[&str] = &["rand", "getrandom", "chrono", "jiff", "time"];

const BELOW_EDGES: &[&str] = &["model", "clock", "token", "policy", "ledger", "store", "insight", "broker"];

/// Layer by layer; a new crate gets its line here before it builds.
const RULES: &[Rule] = &[
    Rule { name: "model", may_import: &[], must_not_contain: &[ASYNC, HTTP, SQL, AMBIENT] },
    Rule { name: "clock", may_import: &["model"], must_not_contain: &[ASYNC, HTTP, SQL] },
    Rule { name: "token", may_import: &["model"], must_not_contain: &[ASYNC, HTTP, SQL] },
    Rule { name: "policy", may_import: &["model"], must_not_contain: &[ASYNC, HTTP, SQL] },
    Rule { name: "ledger", may_import: &["model"], must_not_contain: &[ASYNC, HTTP, SQL] },
    Rule { name: "store", may_import: &["model", "clock", "ledger"], must_not_contain: &[HTTP] },
    // The search index is a file of its own in SQLite; it holds nothing that a ledger does not.
    Rule { name: "insight", may_import: &["model", "token", "policy", "ledger"], must_not_contain: &[ASYNC, HTTP] },
    Rule { name: "broker", may_import: &["model", "clock", "store"], must_not_contain: &[AXUM] },
    Rule { name: "authority", may_import: BELOW_EDGES, must_not_contain: &[SQL] },
    Rule { name: "gateway", may_import: BELOW_EDGES, must_not_contain: &[SQL] },
    Rule {
        name: "sandbox",
        may_import: &["model", "clock", "token", "policy", "ledger", "store", "insight", "broker", "authority", "gateway"],
        must_not_contain: &[SQL],
    },
    Rule {
        name: "console",
        may_import: &["model", "clock", "token", "policy", "ledger", "store", "insight", "broker", "authority", "gateway"],
        must_not_contain: &[SQL],
    },
    // The sample upstream stands outside: it knows nothing of Remit.
    Rule { name: "helpdesk", may_import: &[], must_not_contain: &[] },
];

/// The binary, the benchmarks and the end-to-end tests may import everything.
const TOP: [&str; 4] = ["remit", "remit-bench", "remit-e2e", "xtask"];

/// Layers whose *whole* closure is free of an async runtime, HTTP servers and SQL, not just their own manifest.
const PURE: [&str; 5] = ["model", "clock", "token", "policy", "ledger"];

pub(crate) fn check() -> Result<()> {
    let metadata = metadata()?;
    let graph = Graph::of(&metadata)?;
    let mut findings = Vec::new();
    for (name, imports) in &graph.workspace {
        if TOP.contains(&name.as_str()) {
            continue;
        }
        let short = name.trim_start_matches("remit-");
        match RULES.iter().find(|rule| rule.name == short) {
            None => findings.push(format!("{name} has no rule: give it a layer in xtask/src/layers.rs and ARCHITECTURE.md")),
            Some(rule) => judge(rule, imports, &graph.workspace, &mut findings),
        }
        if PURE.contains(&short) {
            let closure = graph.closure(name);
            let banned = [ASYNC, HTTP, SQL].concat();
            for found in banned.iter().filter(|banned| closure.contains(**banned)) {
                findings.push(format!("{name} brings in {found} through a dependency"));
            }
        }
    }
    run::verdict("layers", &format!("{} crates", graph.workspace.len()), &findings)
}

fn judge(rule: &Rule, imports: &BTreeSet<String>, workspace: &BTreeMap<String, BTreeSet<String>>, findings: &mut Vec<String>) {
    for import in imports {
        if workspace.contains_key(import) {
            let short = import.trim_start_matches("remit-");
            if !rule.may_import.contains(&short) {
                findings.push(format!("{} imports {short}, which is not below it", rule.name));
            }
        } else if rule.must_not_contain.iter().any(|group| group.contains(&import.as_str())) {
            findings.push(format!("{} must not contain {import}", rule.name));
        }
    }
}

/// What `cargo metadata` says of this workspace, resolved for the features in use.
pub(crate) fn metadata() -> Result<Value> {
    let text = run::output(&run::cargo(), &["metadata", "--format-version", "1", "--locked"])?;
    serde_json::from_str(&text).context("cargo metadata is not JSON")
}

struct Graph {
    /// Crates of the workspace with what their manifests import, tests apart.
    workspace: BTreeMap<String, BTreeSet<String>>,
    /// Package id to name.
    names: BTreeMap<String, String>,
    /// Package id to the ids it links, tests apart.
    links: BTreeMap<String, Vec<String>>,
}

impl Graph {
    fn of(metadata: &Value) -> Result<Self> {
        let members: BTreeSet<&str> = array(metadata, "workspace_members")?.iter().filter_map(Value::as_str).collect();
        let (mut workspace, mut names) = (BTreeMap::new(), BTreeMap::new());
        for package in array(metadata, "packages")? {
            let (id, name) = (text(package, "id")?, text(package, "name")?);
            names.insert(id.to_owned(), name.to_owned());
            if members.contains(id) {
                let normal = array(package, "dependencies")?.iter().filter(|import| is_shipped(import.get("kind")));
                let imports = normal.map(|import| Ok(text(import, "name")?.to_owned())).collect::<Result<_>>()?;
                workspace.insert(name.to_owned(), imports);
            }
        }
        let mut links = BTreeMap::new();
        let resolve = metadata.get("resolve").ok_or_else(|| anyhow!("cargo metadata without resolve"))?;
        for node in array(resolve, "nodes")? {
            let deps = array(node, "deps")?.iter().filter(|dep| {
                let kinds = dep.get("dep_kinds").and_then(Value::as_array);
                kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind.get("kind").is_none_or(Value::is_null)))
            });
            let targets = deps.map(|dep| Ok(text(dep, "pkg")?.to_owned())).collect::<Result<Vec<_>>>()?;
            links.insert(text(node, "id")?.to_owned(), targets);
        }
        Ok(Self { workspace, names, links })
    }

    /// Names of everything that ends up in a crate's binary.
    fn closure(&self, name: &str) -> BTreeSet<&str> {
        let mut open: Vec<&str> = self.names.iter().filter(|(_, known)| *known == name).map(|(id, _)| id.as_str()).collect();
        let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                found.extend(self.names.get(id).map(String::as_str));
                open.extend(self.links.get(id).into_iter().flatten().map(String::as_str));
            }
        }
        found
    }
}

fn is_shipped(kind: Option<&Value>) -> bool {
    kind.is_none_or(|kind| kind.as_str() != Some("dev"))
}

pub(crate) fn array<'v>(value: &'v Value, name: &str) -> Result<&'v Vec<Value>> {
    value.get(name).and_then(Value::as_array).ok_or_else(|| anyhow!("cargo metadata without {name}"))
}

pub(crate) fn text<'v>(value: &'v Value, name: &str) -> Result<&'v str> {
    value.get(name).and_then(Value::as_str).ok_or_else(|| anyhow!("cargo metadata without {name}"))
}
