//! `cargo xtask bounds`: everything in the server that grows with what others send has a bound, and the table below names it.
//!
//! A listener, a reader of a body, a channel or a map that is new fails the check until it is in the table; a line of the
//! table that holds nothing any more fails it, too. The scan reads text: it finds what is written in the usual way, and a
//! reviewer finds the rest. Channels without a bound are not allowed at all. SPEC: X-10, MG-21.

use crate::run;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Something that grows.
struct Held {
    file: &'static str,
    /// Text of the line that declares it.
    what: &'static str,
    /// An identifier of the same crate, or a constant of `model/src/bounds.rs`, that bounds it.
    bound: &'static str,
}

const fn held(file: &'static str, what: &'static str, bound: &'static str) -> Held {
    Held { file, what, bound }
}

/// In the order of the files.
const TABLE: &[Held] = &[
    held("authority/src/clients/key_sets.rs", "parsed: Mutex<HashMap", "ROOM"),
    held("authority/src/clients/long_assertions.rs", "used: Mutex<HashMap", "LONG_ASSERTIONS"),
    held("authority/src/http/router.rs", "axum::body::to_bytes(body, form::", "BYTES_LIMIT"),
    held("authority/src/http/router.rs", "axum::body::to_bytes(body, register::", "BODY_LIMIT"),
    held("authority/src/offboarding/scim/endpoint.rs", "axum::body::to_bytes(body, most)", "SCIM_BODY"),
    held("authority/src/offboarding/signals/push.rs", "axum::body::to_bytes(body, most)", "SECURITY_EVENT"),
    // People of providers, until nothing of theirs can act: as many as have accounts here.
    held("authority/src/offboarding/schedule.rs", "people: HashMap", "forget_ended"),
    held("authority/src/offboarding/schedule.rs", "sessions: HashMap", "SESSIONS"),
    // As many as the operator configures.
    held("authority/src/offboarding/schedule.rs", "troubles: HashMap", "provider"),
    held("authority/src/offboarding/schedule.rs", "confirms: HashMap", "provider"),
    held("authority/src/offboarding/schedule.rs", "unconfigured: HashSet", "people"),
    held("authority/src/offboarding/signals/poll.rs", "idle: HashMap", "provider"),
    held("authority/src/offboarding/signals/poll.rs", "polled: HashMap", "provider"),
    held("authority/src/signin/devices.rs", "waiting: Mutex<HashMap", "MEMORY"),
    held("authority/src/signin/sessions.rs", "memory: Mutex<HashMap", "BROWSERS"),
    held("authority/src/signin/throttle.rs", "memory: Mutex<HashMap", "MEMORY"),
    // Keys that the records of earlier processes name, read once.
    held("console/src/console.rs", "earlier_keys: OnceLock<HashSet", "earlier_keys"),
    held("gateway/src/gateway.rs", "mpsc::channel(settings.sessions", "sessions"),
    held("gateway/src/gateway.rs", "mounts: HashMap", "routes"),
    held("gateway/src/mcp/request_state.rs", "used: Mutex<HashMap", "CAPACITY"),
    held("gateway/src/mcp/session.rs", "running: Mutex<HashMap", "REQUESTS"),
    held("gateway/src/mcp/session.rs", "asked: Mutex<HashMap", "ASKED_LIMIT"),
    held("gateway/src/mcp/session.rs", "map: Mutex<HashMap", "sessions"),
    held("gateway/src/mcp/suspended.rs", "map: Mutex<HashMap", "HOLDER_LIMIT"),
    held("gateway/src/mcp/upstream/guard.rs", "groups: HashSet", "links"),
    held("gateway/src/mcp/upstream/http.rs", "mpsc::channel(BACKLOG)", "BACKLOG"),
    held("gateway/src/mcp/upstream/http_exchange.rs", "waiting: VecDeque", "response_bytes"),
    held("gateway/src/mcp/upstream/http_exchange.rs", "Limited::new(response.into_body()", "response_bytes"),
    held("gateway/src/mcp/upstream/pool.rs", "slots: Mutex<HashMap", "links"),
    held("gateway/src/mcp/upstream/stdio.rs", "waiting: Mutex<HashMap", "REQUESTS"),
    held("gateway/src/mcp/upstream/stdio.rs", "(sender, arrivals) = mpsc::channel(BACKLOG)", "BACKLOG"),
    held("gateway/src/mcp/upstream/stdio.rs", "(sender, messages) = mpsc::channel(BACKLOG)", "BACKLOG"),
    held("gateway/src/mount.rs", "declared: Mutex<HashMap", "DECLARED_LIMIT"),
    held("gateway/src/mount.rs", "described: Mutex<HashMap", "DECLARED_LIMIT"),
    held("gateway/src/mount.rs", "findings: Mutex<BTreeSet", "DECLARED_LIMIT"),
    held("gateway/src/mount.rs", "tools: HashMap", "DECLARED_LIMIT"),
    held("gateway/src/mount.rs", "unrecorded: Mutex<Vec<Draft>>", "DECLARED_LIMIT"),
    held("gateway/src/road/admit.rs", "Limited::new(body, most).collect()", "request_bytes"),
    held("gateway/src/road/reply.rs", "mpsc::channel(BACKLOG)", "BACKLOG"),
    held("ledger/src/record/key.rs", "references: HashMap", "REMEMBERED"),
    // One for each grant of an authority.
    held("model/src/authority/mod.rs", "digests: Vec<OnceLock", "digests"),
    held("model/src/rate_limit.rs", "due_ns: Mutex<HashMap", "RATE_CLIENTS"),
    held("outbound/src/client.rs", "Limited::new(body, limit.0)", "limit"),
    held("outbound/src/documents.rs", "kept: Mutex<HashMap", "ROOM"),
    // As many as there are key files, which only an administrator adds.
    held("token/src/issuer.rs", "keys: RwLock<BTreeMap", "folder"),
    // As many as the operator's policies name.
    held("policy/src/index.rs", "by_principal: HashMap", "by_principal"),
    held("remit/src/server/listener/bodies.rs", "Limited::new(rest, bounds::UNREAD_BYTES.size())", "UNREAD_BYTES"),
    held("remit/src/server/listener/mod.rs", "listener.accept()", "CONNECTIONS"),
    held("remit/src/server/listener/registry.rs", "type Addresses = HashMap", "CONNECTIONS"),
    held("remit/src/witness/server.rs", "to_bytes(body, REQUEST_LIMIT)", "REQUEST_LIMIT"),
    // One for each log that the operator named.
    held("remit/src/witness/store.rs", "held: HashMap", "held"),
    held("store/src/commit/session_counts.rs", "sessions: HashTrieMapSync", "sessions"),
    held("store/src/commit/session_counts.rs", "written: HashTrieSetSync", "sessions"),
    held("store/src/db/readers.rs", "idle: Mutex<Vec", "idle"),
    held("store/src/store.rs", "threads: Mutex<Vec", "threads"),
    held("store/src/store.rs", "mpsc::channel(config.queue", "queue"),
    held("store/src/store.rs", "sync_channel(ORDERS)", "ORDERS"),
    // One row of the database each.
    held("store/src/vault/mod.rs", "by_ref: HashMap", "by_ref"),
    held("store/src/vault/mod.rs", "by_id: HashMap", "by_id"),
    held("store/src/world/snapshot.rs", "agents: HashTrieMapSync", "agents"),
    held("store/src/world/snapshot.rs", "endpoints: HashTrieMapSync", "endpoints"),
    held("store/src/world/snapshot.rs", "humans: HashTrieMapSync", "humans"),
    held("store/src/world/snapshot.rs", "passkeys: HashTrieMapSync", "passkeys"),
    // Written by administrators, and removed when no token is left that it could end.
    held("store/src/world/snapshot.rs", "issued: HashTrieMapSync", "until"),
    held("store/src/unproven.rs", "kinds: Vec<Kind>", "UNPROVEN_KINDS"),
    held("token/src/dpop/replay.rs", "shards: Vec<Mutex", "SHARDS"),
    held("token/src/dpop/replay.rs", "slots: BTreeMap", "capacity"),
];

/// What the server is made of. Commands that read files of one's own, and the clients of a server, wait for no stranger.
const SERVER: [&str; 11] = [
    "authority/src",
    "console/src",
    "decide/src",
    "gateway/src",
    "ledger/src/record",
    "model/src",
    "outbound/src",
    "policy/src",
    "remit/src/server",
    "remit/src/witness",
    "store/src",
];
const ALSO: [&str; 1] = ["token/src"];

pub(crate) fn check() -> Result<()> {
    let crates = run::root().join("crates");
    let mut problems = Vec::new();
    let mut used = vec![false; TABLE.len()];
    let mut looked_at = 0;
    for part in SERVER.iter().chain(&ALSO) {
        for path in files(&crates.join(part))? {
            let name = path.strip_prefix(&crates)?.display().to_string();
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
            looked_at += 1;
            for (number, line) in product_lines(&text).filter(|(_, line)| grows(line)) {
                let known = TABLE.iter().position(|held| held.file == name && line.contains(held.what));
                match (is_unbounded(line), known) {
                    (true, _) => problems.push(format!("{name}:{number}: a channel without a bound: {}", line.trim())),
                    (false, Some(at)) => used.iter_mut().skip(at).take(1).for_each(|used| *used = true),
                    (false, None) => problems.push(format!("{name}:{number}: no bound in xtask/src/bounds.rs: {}", line.trim())),
                }
            }
        }
    }
    let all = fs::read_to_string(crates.join("model/src/bounds.rs"))?;
    for (held, used) in TABLE.iter().zip(used) {
        if !used {
            problems.push(format!("xtask/src/bounds.rs: {} has no line with `{}`", held.file, held.what));
        }
        if !all.contains(&format!("pub const {}:", held.bound)) && !named_in_crate(&crates, held)? {
            problems.push(format!("xtask/src/bounds.rs: nothing is called {} where {} could use it", held.bound, held.file));
        }
    }
    if !problems.is_empty() {
        bail!("what others can make grow needs a bound:\n  {}", problems.join("\n  "));
    }
    println!("bounds: {looked_at} files hold {} things that grow, each with a bound", TABLE.len());
    Ok(())
}

/// The lines before a file's tests, without comments, with their numbers.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let product = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    (1..).zip(product).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a line declares something that grows with what others send.
fn grows(line: &str) -> bool {
    const CALLS: [&str; 8] = [
        "mpsc::channel(",
        "sync_channel(",
        "broadcast::channel(",
        ".accept()",
        "body::to_bytes(",
        " to_bytes(body",
        "Limited::new(",
        "into_body().collect()",
    ];
    CALLS.iter().any(|call| line.contains(call)) || is_unbounded(line) || is_growing_field(line)
}

fn is_unbounded(line: &str) -> bool {
    ["unbounded_channel", "Unbounded", "blocking::channel()", "mpsc::channel()"].iter().any(|call| line.contains(call))
}

/// A field that holds a map, or any collection that several threads change.
fn is_growing_field(line: &str) -> bool {
    const MAPS: [&str; 6] =
        ["HashMap<", "HashSet<", "VecDeque<", "HashTrieMapSync<", "HashTrieSetSync<", "BTreeMap<i64, HashSet<"];
    const SHARED: [&str; 3] = ["Mutex<", "RwLock<", "OnceLock<"];
    const COLLECTIONS: [&str; 5] = ["BTreeMap<", "BTreeSet<", "Vec<", "Box<[", "HashSet<"];
    let Some((name, kind)) = line.trim().trim_end_matches(',').split_once(": ") else { return is_growing_alias(line) };
    let name = name.rsplit(' ').next().unwrap_or_default();
    let is_field = line.starts_with("    ")
        && line.trim_end().ends_with(',')
        && !line.contains(['=', '&'])
        && !line.contains("fn ")
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let holds = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    is_field && (holds(&MAPS) || (holds(&SHARED) && holds(&COLLECTIONS)) || kind == "Vec<Kind>")
}

fn is_growing_alias(line: &str) -> bool {
    line.starts_with("type ") && line.contains("HashMap<")
}

/// Whether the crate of a file has this identifier.
fn named_in_crate(crates: &Path, held: &Held) -> Result<bool> {
    let of = held.file.split('/').next().unwrap_or_default();
    for path in files(&crates.join(of).join("src"))? {
        if fs::read_to_string(&path)?.contains(held.bound) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let is_test = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("tests.rs"));
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_found_however_it_is_written() {
        for line in [
            "    seen: Mutex<HashMap<String, u64>>,",
            "    pub(crate) seen: HashMap<String, u64>,",
            "    backlog: VecDeque<Event>,",
            "    known: RwLock<Vec<Entry>>,",
            "type Addresses = HashMap<Address, u64>;",
            "        let (sender, receiver) = mpsc::channel(8);",
            "        let (sender, receiver) = mpsc::unbounded_channel();",
            "        let (socket, peer) = listener.accept().await?;",
            "        let bytes = axum::body::to_bytes(body, 9).await;",
            "        let body = answer.into_body().collect().await;",
        ] {
            assert!(grows(line), "{line}");
        }
        for line in
            ["    names: Vec<String>,", "    fn of(map: &HashMap<String, u64>) -> Self {", "        let map: HashMap<_, _> = x;"]
        {
            assert!(!grows(line), "{line}");
        }
    }

    #[test]
    fn tests_and_comments_hold_nothing() {
        let text = "a: HashMap<A, B>,\n// b: HashMap<A, B>,\n#[cfg(test)]\nc: HashMap<A, B>,\n";
        assert_eq!(product_lines(text).collect::<Vec<_>>(), [(1, "a: HashMap<A, B>,")]);
    }

    #[test]
    fn x_10_everything_that_grows_has_a_bound() {
        check().unwrap();
    }
}
