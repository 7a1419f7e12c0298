//! The dependency rule of ARCHITECTURE.md: strictly downwards, each layer free of what it must not contain, and no new
//! import circle between the files of a crate.

use crate::{circles, run};
use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

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

const BELOW_EDGES: &[&str] =
    &["cache", "model", "clock", "token", "policy", "ledger", "store", "insight", "decide", "broker", "outbound"];

/// Layer by layer; a new crate gets its line here before it builds.
const RULES: &[Rule] = &[
    Rule { name: "cache", may_import: &[], must_not_contain: &[ASYNC, HTTP, SQL, AMBIENT] },
    Rule { name: "model", may_import: &[], must_not_contain: &[ASYNC, HTTP, SQL, AMBIENT] },
    Rule { name: "clock", may_import: &["model"], must_not_contain: &[ASYNC, HTTP, SQL] },
    Rule { name: "token", may_import: &["cache", "model"], must_not_contain: &[ASYNC, HTTP, SQL] },
    Rule { name: "policy", may_import: &["model"], must_not_contain: &[ASYNC, HTTP, SQL] },
    Rule { name: "ledger", may_import: &["model"], must_not_contain: &[ASYNC, HTTP, SQL] },
    Rule { name: "store", may_import: &["cache", "model", "clock", "ledger"], must_not_contain: &[HTTP] },
    // The search index is a file of its own in SQLite; it holds nothing that a ledger does not.
    Rule { name: "insight", may_import: &["model", "token", "policy", "ledger"], must_not_contain: &[ASYNC, HTTP] },
    // Above the ledger and beside the store: it fetches, and knows nothing of what is fetched.
    Rule { name: "outbound", may_import: &["model", "clock"], must_not_contain: &[AXUM, SQL] },
    Rule { name: "decide", may_import: &["model", "policy", "ledger", "store"], must_not_contain: &[ASYNC, HTTP, SQL] },
    Rule { name: "broker", may_import: &["model", "clock", "store"], must_not_contain: &[AXUM] },
    Rule { name: "authority", may_import: BELOW_EDGES, must_not_contain: &[SQL] },
    Rule { name: "gateway", may_import: BELOW_EDGES, must_not_contain: &[SQL] },
    Rule {
        name: "sandbox",
        may_import: &[
            "model",
            "clock",
            "token",
            "policy",
            "ledger",
            "store",
            "insight",
            "decide",
            "broker",
            "authority",
            "gateway",
        ],
        must_not_contain: &[SQL],
    },
    Rule {
        name: "console",
        may_import: &[
            "model",
            "clock",
            "token",
            "policy",
            "ledger",
            "store",
            "insight",
            "decide",
            "broker",
            "authority",
            "gateway",
        ],
        must_not_contain: &[SQL],
    },
    // For tests alone: a rule that imports it would ship it.
    Rule {
        name: "testkit",
        may_import: &["model", "clock", "token", "policy", "ledger", "store"],
        must_not_contain: &[HTTP, SQL],
    },
    // The sample upstream stands outside: it knows nothing of Remit.
    Rule { name: "helpdesk", may_import: &[], must_not_contain: &[] },
];

/// Import circles that a crate still has; a crate that is not named has none. Numbers only go down.
// One crate a line, so that engineers who lower different numbers do not meet.
#[rustfmt::skip]
const CIRCLES: &[(&str, usize)] = &[
    ("bench", 2),
];

/// A folder of a crate that must not import its neighbours.
struct Room {
    member: &'static str,
    folder: &'static str,
    must_not_import: &'static [&'static str],
}

/// What every protocol shares knows none of them.
const ROOMS: &[Room] = &[Room { member: "remit-gateway", folder: "src/road", must_not_import: &["mcp", "authzen"] }];

impl Room {
    fn findings(&self, dirs: &BTreeMap<String, PathBuf>) -> Result<Vec<String>> {
        let folder = dirs.get(self.member).with_context(|| format!("no crate {}", self.member))?.join(self.folder);
        let mut findings = Vec::new();
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let file = entry?.path();
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            findings.extend(self.imports(&text).map(|room| format!("{} imports `{room}`, which is above it", file.display())));
        }
        Ok(findings)
    }

    /// Neighbours that the text of a file imports, as a path or in a group of `use crate::{…}`.
    fn imports(&self, text: &str) -> impl Iterator<Item = &'static str> {
        let imported = |room: &str| {
            let grouped = format!("    {room}::");
            text.contains(&format!("crate::{room}::")) || text.lines().any(|line| line.starts_with(&grouped))
        };
        let found: Vec<_> = self.must_not_import.iter().copied().filter(|room| imported(room)).collect();
        found.into_iter()
    }
}

/// The binary, the benchmarks, the fuzz targets and the end-to-end tests may import everything.
const TOP: [&str; 5] = ["remit", "remit-bench", "remit-e2e", "remit-fuzz", "xtask"];

/// Layers whose *whole* closure is free of an async runtime, HTTP servers and SQL, not just their own manifest.
const PURE: [&str; 6] = ["cache", "model", "clock", "token", "policy", "ledger"];

pub(crate) fn check() -> Result<()> {
    let metadata = metadata()?;
    let graph = Graph::of(&metadata)?;
    let mut findings = Vec::new();
    for (name, imports) in &graph.workspace {
        if name == "remit" && imports.contains("remit-testkit") {
            findings.push("remit ships testkit, which is for tests".to_owned());
        }
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
    for room in ROOMS {
        findings.extend(room.findings(&graph.dirs)?);
    }
    let counted = count_circles(&graph, &mut findings)?;
    run::verdict("layers", &format!("{} crates; import circles: {counted}", graph.workspace.len()), &findings)
}

/// Circles of every crate as text; a crate with more than its number in [`CIRCLES`] is a finding.
fn count_circles(graph: &Graph, findings: &mut Vec<String>) -> Result<String> {
    let mut counted = Vec::new();
    for (name, dir) in &graph.dirs {
        let short = name.trim_start_matches("remit-");
        let circles = circles::of_crate(&dir.join("src"))?;
        if !circles.is_empty() {
            counted.push(format!("{short} {}", circles.len()));
        }
        findings.extend(excess(short, &circles, CIRCLES));
    }
    Ok(if counted.is_empty() { "none".to_owned() } else { counted.join(", ") })
}

/// What is wrong with a crate's circles: more than the table allows, or fewer, which the table should then say.
fn excess(name: &str, circles: &[Vec<String>], table: &[(&str, usize)]) -> Option<String> {
    let allowed = table.iter().find(|(known, _)| *known == name).map_or(0, |(_, allowed)| *allowed);
    match circles.len() {
        found if found > allowed => {
            let each: Vec<String> = circles.iter().map(|circle| circle.join(" <-> ")).collect();
            Some(format!("{name} has {found} import circles, {allowed} are allowed:\n    {}", each.join("\n    ")))
        }
        found if found < allowed => Some(format!("{name} has {found} import circles: lower its number in xtask/src/layers.rs")),
        _ => None,
    }
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
    /// Crates of the workspace with the directory of their manifest.
    dirs: BTreeMap<String, PathBuf>,
    /// Package id to name.
    names: BTreeMap<String, String>,
    /// Package id to the ids it links, tests apart.
    links: BTreeMap<String, Vec<String>>,
}

impl Graph {
    fn of(metadata: &Value) -> Result<Self> {
        let members: BTreeSet<&str> = array(metadata, "workspace_members")?.iter().filter_map(Value::as_str).collect();
        let (mut workspace, mut dirs, mut names) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for package in array(metadata, "packages")? {
            let (id, name) = (text(package, "id")?, text(package, "name")?);
            names.insert(id.to_owned(), name.to_owned());
            if members.contains(id) {
                let normal = array(package, "dependencies")?.iter().filter(|import| is_shipped(import.get("kind")));
                let imports = normal.map(|import| Ok(text(import, "name")?.to_owned())).collect::<Result<_>>()?;
                workspace.insert(name.to_owned(), imports);
                let manifest = Path::new(text(package, "manifest_path")?);
                dirs.insert(name.to_owned(), manifest.parent().unwrap_or(manifest).to_owned());
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
        Ok(Self { workspace, dirs, names, links })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_road_imports_no_edge() {
        let room = &ROOMS[0];
        let imports = |text: &str| room.imports(text).collect::<Vec<_>>();
        assert_eq!(imports("use crate::mcp::act;"), ["mcp"]);
        assert_eq!(imports("use crate::{\n    authzen::point,\n    mcp::{act, call},\n};"), ["mcp", "authzen"]);
        assert_eq!(imports("use crate::road::act;\n// crate mcp is above"), Vec::<&str>::new());
    }

    #[test]
    fn a_crate_may_have_exactly_the_circles_of_the_table() {
        let circle = |n: usize| vec![vec!["a.rs".to_owned(), "b.rs".to_owned()]; n];
        assert_eq!(excess("store", &circle(2), &[("store", 2)]), None);
        assert_eq!(excess("model", &circle(0), &[("store", 2)]), None);
        assert!(excess("store", &circle(3), &[("store", 2)]).unwrap().contains("3 import circles, 2 are allowed"));
        assert!(excess("model", &circle(1), &[("store", 2)]).unwrap().contains("a.rs <-> b.rs"));
        assert!(excess("store", &circle(1), &[("store", 2)]).unwrap().contains("lower its number"));
    }
}
