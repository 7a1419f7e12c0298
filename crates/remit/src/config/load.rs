//! Reading `remit.yaml`: every problem in one go, each with its line and a reason a person can act on.

use super::{
    capture_rules::captures,
    clients::BindTo,
    fields, names,
    network::Network,
    programs, provider_rules as providers,
    provider_rules::entitlements,
    sections::{Account, Config, DangerBearer, McpServer, TlsSection, schema_value},
    shape::lists_for_mappings,
    subject,
    tree::Node,
    workload,
};
use crate::tls_files::TlsFiles;
use remit_gateway::{AUTHZEN, Authzen, UpstreamHeaders};
use remit_ledger::dir::read_file;
use remit_model::{Authority, Server, ServerId, TenantId, UnixTime, display, token_bounds};
use remit_token::webauthn::RelyingParty;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

/// Largest configuration file that is read, in bytes.
pub(crate) const SIZE_LIMIT: usize = 1 << 20;

/// One thing wrong with the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) file: PathBuf,
    pub(crate) line: Option<u64>,
    pub(crate) reason: String,
}

impl Problem {
    /// The problem for a program.
    pub(crate) fn to_json(&self) -> Value {
        json!({"file": self.file, "line": self.line, "reason": self.reason})
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.reason),
            None => write!(f, "{}: {}", self.file.display(), self.reason),
        }
    }
}

/// A configuration without problems, and the folder its paths are relative to.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) file: PathBuf,
    pub(crate) config: Config,
    /// The file as one value, to compare with another.
    pub(crate) document: Value,
    pub(crate) base: PathBuf,
    /// `sha-256:…` of the file's bytes.
    pub(crate) digest: String,
    /// What keeps a part from working, but not the server from starting.
    pub(crate) missing: Vec<Problem>,
    /// The tenant whose state and log this server keeps: always `main`, because a configuration cannot name another one yet.
    pub(crate) tenant: TenantId,
}

impl Loaded {
    /// `path` as seen from the configuration file's folder.
    pub(crate) fn at(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// The resources this configuration registers, in name order.
    pub(crate) fn servers(&self) -> Vec<Server> {
        registered(&self.config)
    }

    /// The files of the listener's certificate.
    pub(crate) fn tls_files(&self, section: &TlsSection) -> TlsFiles {
        tls_files(&self.base, section)
    }

    /// What works, but not as well as it could.
    pub(crate) fn warnings(&self, now: UnixTime) -> Vec<String> {
        let servers = self.config.mcp_servers.iter();
        let named = servers.flat_map(|(name, server)| {
            names::warnings(&server.tools).map(move |warning| format!("mcp_servers.{name}.{warning}"))
        });
        let certificate = self.config.server.tls.as_ref().and_then(|tls| {
            let warning = self.tls_files(tls).read().ok()?.warning(&tls.certificate_file, now)?;
            Some(format!("server.tls: {warning}"))
        });
        named.chain(certificate).collect()
    }
}

/// Reads and checks a configuration file.
///
/// # Errors
/// Every problem found, in the file's order as far as it has one.
pub(crate) fn load(file: &Path) -> Result<Loaded, Vec<Problem>> {
    let problem = |reason: String| vec![Problem { file: file.to_owned(), line: None, reason }];
    let cannot = |error: &dyn fmt::Display| problem(format!("cannot read it: {error}"));
    let bytes = read_file(file, SIZE_LIMIT).map_err(|error| cannot(&error))?;
    let bytes = bytes.ok_or_else(|| problem("it does not exist; `remit init` writes one".to_owned()))?;
    let text = String::from_utf8(bytes).map_err(|error| cannot(&error))?;
    let root = Node::parse(&text).map_err(problem)?;
    let base = match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut check = Check { file, base: &base, problems: Vec::new(), missing: Vec::new(), broken: Vec::new() };
    let config = check.sections(&root);
    if check.problems.is_empty() {
        for (line, reason) in lists_for_mappings(&root, &schema_value()) {
            check.complain(Some(line), reason);
        }
    }
    check.meaning(&config, &root);
    if check.problems.is_empty() {
        Ok(Loaded {
            file: file.to_owned(),
            document: root.to_value(),
            digest: remit_model::json::sha256_label(text.as_bytes()),
            tenant: TenantId::main(),
            missing: check.missing,
            config,
            base,
        })
    } else {
        check.problems.append(&mut check.missing);
        Err(check.problems)
    }
}

fn tls_files(base: &Path, section: &TlsSection) -> TlsFiles {
    TlsFiles { certificate: base.join(&section.certificate_file), key: base.join(&section.key_file) }
}

/// The line of a key of a section, or else the section's.
fn line(root: &Node, section: &str, key: &str) -> Option<u64> {
    root.member(section).and_then(|node| node.line_of(key).or(Some(node.line)))
}

/// The line of what a problem is about: of the key that it names below `path`, or else of the settings at `path`.
fn place(root: &Node, path: &[&str], problem: &str) -> Option<u64> {
    let settings = path.iter().try_fold(root, |node, key| node.member(key))?;
    let named = problem.strip_prefix(&path.join(".")).and_then(|rest| rest.strip_prefix('.'));
    let key = named.and_then(|rest| rest.split([':', '.']).next());
    key.and_then(|key| settings.member(key)).map_or(Some(settings.line), |node| Some(node.line))
}

/// Every resource of a configuration: its upstreams, and the decision point if it has one.
fn registered(config: &Config) -> Vec<Server> {
    let url = &config.server.public_url;
    let mut servers: Vec<Server> = config.mcp_servers.iter().filter_map(|(name, server)| register(url, name, server)).collect();
    servers.extend(config.authzen.enabled.then(|| Authzen::resource(url).ok()).flatten());
    servers
}

/// The resource a configured upstream is: `PUBLIC_URL/mcp/NAME`.
fn register(public_url: &str, name: &str, server: &McpServer) -> Option<Server> {
    let id = ServerId::parse(name).ok()?;
    let title = server.title.clone().unwrap_or_else(|| name.to_owned());
    let tools = server.tools.iter().map(|(tool, rule)| (tool.clone(), rule.rule())).collect();
    Some(Server { location: format!("{public_url}/mcp/{id}"), id, title, tools })
}

struct Check<'a> {
    file: &'a Path,
    base: &'a Path,
    problems: Vec<Problem>,
    missing: Vec<Problem>,
    /// Servers whose settings cannot be read. They are complained of once, not again wherever they are named.
    broken: Vec<String>,
}

impl Check<'_> {
    /// Shape: each section, each server and each account on its own, so that one mistake does not hide the next.
    fn sections(&mut self, root: &Node) -> Config {
        if !root.is_mapping() && !root.is_null() {
            self.complain(Some(root.line), "the configuration must be a mapping of sections, such as `server:`".to_owned());
        }
        let mut config = Config {
            server: self.section(root, "server"),
            storage: self.section(root, "storage"),
            ledger: self.section(root, "ledger"),
            identity_providers: Vec::new(),
            agents: self.section(root, "agents"),
            mcp_servers: BTreeMap::new(),
            policies: self.section(root, "policies"),
            authzen: self.section(root, "authzen"),
            outbound: self.section(root, "outbound"),
            workload_issuers: BTreeMap::new(),
            spiffe: self.section(root, "spiffe"),
            clients: self.section(root, "clients"),
            trusted_issuers: BTreeMap::new(),
            assertion_audiences: BTreeMap::new(),
            id_jag: self.section(root, "id_jag"),
            observe: self.section(root, "observe"),
        };
        for (key, node) in root.members() {
            match key.as_str() {
                "server" | "storage" | "ledger" | "agents" | "policies" | "authzen" | "outbound" | "clients" | "id_jag" | "spiffe"
                | "observe" => {}
                "identity_providers" if !node.is_list() && !node.is_null() => {
                    self.complain(Some(node.line), "identity_providers: must be a list of providers".to_owned());
                }
                "assertion_audiences" => config.assertion_audiences = self.named(node, key),
                "trusted_issuers" => config.trusted_issuers = self.named(node, key),
                "workload_issuers" => config.workload_issuers = self.named(node, key),
                "identity_providers" => config.identity_providers = node.items().iter().filter_map(|item| self.part(item, key)).collect(),
                "mcp_servers" => config.mcp_servers = self.servers(node),
                unknown => self.complain(
                    Some(node.line),
                    format!("unknown section `{unknown}`; there are server, storage, ledger, identity_providers, agents, mcp_servers, policies, authzen, outbound, trusted_issuers, id_jag, assertion_audiences, workload_issuers, spiffe, clients and observe"),
                ),
            }
        }
        config
    }

    /// A mapping from names to settings of one kind.
    fn named<T: DeserializeOwned>(&mut self, node: &Node, section: &str) -> BTreeMap<String, T> {
        if !node.is_mapping() && !node.is_null() {
            self.complain(Some(node.line), format!("{section}: must be a mapping from each one's name to its settings"));
        }
        let part = |(name, item): &(String, Node)| Some((name.clone(), self.part(item, &format!("{section}.{name}"))?));
        node.members().iter().filter_map(part).collect()
    }

    fn servers(&mut self, node: &Node) -> BTreeMap<String, McpServer> {
        if !node.is_mapping() && !node.is_null() {
            self.complain(Some(node.line), "mcp_servers: must be a mapping from each server's name to its settings".to_owned());
        }
        let mut servers = BTreeMap::new();
        for (name, item) in node.members() {
            match self.part(item, &format!("mcp_servers.{name}")) {
                Some(server) => drop(servers.insert(name.clone(), server)),
                None => self.broken.push(name.clone()),
            }
        }
        servers
    }

    fn section<T: DeserializeOwned + Default>(&mut self, root: &Node, key: &str) -> T {
        root.member(key).and_then(|node| self.part(node, key)).unwrap_or_default()
    }

    fn part<T: DeserializeOwned>(&mut self, node: &Node, path: &str) -> Option<T> {
        match serde_json::from_value(node.to_value()) {
            Ok(part) => Some(part),
            Err(error) => {
                let reason = error.to_string();
                let named = reason
                    .strip_prefix("unknown field `")
                    .and_then(|rest| rest.split('`').next())
                    .and_then(|key| node.line_of(key));
                self.complain(Some(named.unwrap_or(node.line)), format!("{path}: {reason}"));
                None
            }
        }
    }

    /// Meaning: what the shape cannot say.
    fn meaning(&mut self, config: &Config, root: &Node) {
        self.listener(config, root);
        self.agents(config, root);
        let line = |section: &str, key: &str| line(root, section, key);
        if !(10..=10_000).contains(&config.ledger.publish_every_ms) {
            self.complain(line("ledger", "publish_every_ms"), "ledger.publish_every_ms: must be 10 to 10000".into());
        }
        if let Some(complaint) = config.ledger.witnesses.as_ref().and_then(|witnesses| witnesses.complaint(self.base)) {
            self.complain(line("ledger", "witnesses"), complaint);
        }
        for (name, problem) in workload::issuer_problems(&config.workload_issuers) {
            self.complain(place(root, &["workload_issuers", &name], &problem), problem);
        }
        for (name, problem) in workload::domain_problems(&config.spiffe) {
            self.complain(place(root, &["spiffe", "trust_domains", &name], &problem), problem);
        }
        self.server_blocks(config, root);
        if config.authzen.enabled && config.mcp_servers.contains_key(AUTHZEN) {
            let complaint = format!("mcp_servers.{AUTHZEN}: the name is taken by the decision point (authzen.enabled)");
            self.complain(line("mcp_servers", AUTHZEN), complaint);
        }
        let mut servers = registered(config);
        let url = &config.server.public_url;
        servers.extend(self.broken.iter().filter_map(|name| register(url, name, &McpServer::default())));
        let servers: Vec<&Server> = servers.iter().collect();
        self.issuers(config, root, &servers);
        self.people(config, root, &servers);
    }

    /// The server's own names and addresses, and what it logs.
    fn listener(&mut self, config: &Config, root: &Node) {
        let line = |section: &str, key: &str| line(root, section, key);
        if let Err(reason) = public_url(&config.server.public_url) {
            self.complain(line("server", "public_url"), format!("server.public_url: {reason}"));
        }
        if let Some(tls) = &config.server.tls {
            if !config.server.public_url.starts_with("https://") {
                let reason = "server.public_url: must be https while `server.tls` is set";
                self.complain(line("server", "public_url"), reason.into());
            }
            if let Err(error) = tls_files(self.base, tls).read() {
                self.complain(line("server", "tls"), format!("server.tls: {error:#}"));
            }
        }
        if config.server.client_certificate_header && config.server.trusted_proxies.addresses.is_empty() {
            let reason = "server.client_certificate_header: needs `server.trusted_proxies.addresses`: from anyone else the header says nothing";
            self.complain(line("server", "client_certificate_header"), reason.into());
        }
        if let Some(Err(reason)) = config.server.admin_url.as_deref().map(public_url) {
            self.complain(line("server", "admin_url"), format!("server.admin_url: {reason}"));
        }
        if let Err(error) = EnvFilter::try_new(&config.observe.log) {
            self.complain(line("observe", "log"), format!("observe.log: `{}` is not a log filter: {error}", config.observe.log));
        }
        for text in &config.server.trusted_proxies.addresses {
            if Network::parse(text).is_none() {
                let reason =
                    format!("server.trusted_proxies.addresses: `{text}` is neither an address nor a range such as 10.0.0.0/8");
                self.complain(line("server", "trusted_proxies"), reason);
            }
        }
        if let Err(error) = config.server.listen.parse::<SocketAddr>() {
            self.complain(
                line("server", "listen"),
                format!("server.listen: `{}` is not ADDRESS:PORT ({error})", config.server.listen),
            );
        }
    }

    /// Limits of agents, and what their tokens are bound to.
    fn agents(&mut self, config: &Config, root: &Node) {
        let line = |section: &str, key: &str| line(root, section, key);
        let agents = &config.agents;
        for (key, seconds) in
            [("access_token_lifetime", agents.access_token_lifetime), ("danger_bearer_lifetime", agents.danger_bearer_lifetime)]
        {
            if !(60..=3600).contains(&seconds) {
                self.complain(line("agents", key), format!("agents.{key}: must be 60 to 3600 seconds"));
            }
        }
        if config.clients.binding == BindTo::DangerBearer && agents.danger_bearer == DangerBearer::Refused {
            let problem = "clients.binding: `danger_bearer` needs `agents.danger_bearer: allowed`";
            self.complain(line("clients", "binding"), problem.into());
        }
        if config.clients.binding == BindTo::Mtls && !config.server.sees_client_certificates() {
            let problem =
                "clients.binding: `mtls` needs `server.tls.client_certificates: optional` or `server.client_certificate_header`";
            self.complain(line("clients", "binding"), problem.into());
        }
        let limits = &config.agents.rate_limits;
        for (name, limit) in [("tokens", &limits.tokens), ("calls", &limits.calls)] {
            if limit.burst == 0 {
                let problem = format!("agents.rate_limits.{name}.burst: must be at least 1; `per_second: 0` sets no limit");
                self.complain(line("agents", "rate_limits"), problem);
            }
        }
        if !(1..=8).contains(&config.agents.chain_depth) {
            self.complain(line("agents", "chain_depth"), "agents.chain_depth: must be 1 to 8".into());
        }
    }

    /// Clients that register themselves, and issuers that are trusted.
    fn issuers(&mut self, config: &Config, root: &Node, servers: &[&Server]) {
        let line = |section: &str, key: &str| line(root, section, key);
        let url = &config.server.public_url;
        for (key, problem) in config.clients.problems(servers) {
            self.complain(line("clients", key), format!("clients.{key}: {problem}"));
        }
        for (name, audience) in &config.assertion_audiences {
            for problem in audience.problems(url, config.id_jag.is_some()) {
                let problem = format!("assertion_audiences.{name}.{problem}");
                self.complain(place(root, &["assertion_audiences", name], &problem), problem);
            }
        }
        for (name, issuer) in &config.trusted_issuers {
            for problem in issuer.problems(servers, config.id_jag.is_some()) {
                let problem = format!("trusted_issuers.{name}.{problem}");
                self.complain(place(root, &["trusted_issuers", name], &problem), problem);
            }
        }
    }

    /// Accounts and identity providers.
    fn people(&mut self, config: &Config, root: &Node, servers: &[&Server]) {
        let line = |section: &str, key: &str| line(root, section, key);
        let url = &config.server.public_url;
        for account in providers::accounts(&config.identity_providers) {
            self.account(account, servers, root.line_of("accounts"));
            if account.second_factor.is_some() && RelyingParty::of(url).is_none() {
                let complaint =
                    "second_factor: passkeys need a `server.public_url` that names a host (https, or http://localhost)";
                self.complain(root.line_of("accounts"), format!("account {}: {complaint}", account.name));
            }
        }
        for problem in providers::problems(&config.identity_providers, servers) {
            self.complain(line("identity_providers", "issuer"), problem);
        }
        for provider in providers::oidc(&config.identity_providers) {
            let events = provider.events.as_ref();
            let push = events.and_then(|events| events.push_token_file.clone());
            let poll = events.and_then(|events| events.poll_token_file.clone());
            let scim = provider.scim.as_ref().map(|scim| scim.token_file.clone());
            let files = [
                ("client_secret_file", &provider.client_secret_file),
                ("client_key_file", &provider.client_key_file),
                ("events.push_token_file", &push),
                ("events.poll_token_file", &poll),
                ("scim.token_file", &scim),
            ];
            for (key, file) in files.into_iter().filter_map(|(key, file)| Some((key, file.as_ref()?))) {
                self.readable(file, line("identity_providers", key), &format!("identity_providers: {}: {key}", provider.name));
            }
        }
    }

    /// What the blocks of `mcp_servers` mean, beyond their shape.
    fn server_blocks(&mut self, config: &Config, root: &Node) {
        for (name, server) in &config.mcp_servers {
            let line = root.member("mcp_servers").and_then(|node| node.member(name)).map(|node| node.line);
            self.server(name, server, line);
            for problem in captures(server, &config.ledger).err().into_iter().flatten() {
                self.complain(line, format!("mcp_servers.{name}.{problem}"));
            }
            let classes = server.tools.iter().map(|(name, tool)| (name, tool.classification.as_deref(), &tool.fields));
            for problem in fields::problems(classes) {
                self.complain(line, format!("mcp_servers.{name}.{problem}"));
            }
            for problem in subject::problems(server.tools.iter().filter_map(|(name, tool)| Some((name, tool.subject.as_ref()?))))
            {
                self.complain(line, format!("mcp_servers.{name}.{problem}"));
            }
        }
    }

    fn server(&mut self, name: &str, server: &McpServer, line: Option<u64>) {
        if let Err(refusal) = ServerId::parse(name) {
            self.complain(line, format!("mcp_servers: {}", refusal.reason));
        }
        let upstreams = [server.url.is_some(), server.command.is_some(), server.sample.is_some()];
        if upstreams.into_iter().filter(|given| *given).count() != 1 {
            self.complain(line, format!("mcp_servers.{name}: give exactly one of `url`, `command` and `sample`"));
        }
        if let Some(url) = &server.url
            && !Url::parse(url)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.username().is_empty())
        {
            self.complain(line, format!("mcp_servers.{name}.url: `{url}` is not an http or https URL"));
        }
        let titles = server.tools.iter().filter_map(|(tool, rule)| Some((format!("tools.{tool}.title"), rule.title.as_ref()?)));
        for (what, title) in server.title.iter().map(|title| ("title".to_owned(), title)).chain(titles) {
            if let Err(refusal) = display::check_name(&what, title) {
                self.complain(line, format!("mcp_servers.{name}.{}", refusal.reason));
            }
        }
        for tool in server.tools.keys().filter(|tool| !display::is_name(tool)) {
            let tool = display::excerpt(tool, 64);
            self.complain(line, format!("mcp_servers.{name}.tools: `{tool}` is not the name of a tool that can be displayed"));
        }
        for problem in names::problems(&server.tools) {
            self.complain(line, format!("mcp_servers.{name}.{problem}"));
        }
        match server.command.as_deref().map(<[String]>::split_first) {
            Some(None) => self.complain(line, format!("mcp_servers.{name}.command: name a program")),
            Some(Some((program, _))) => self.program(name, server, program, line),
            None => {}
        }
        if let Some(sample) = server.sample.as_deref().filter(|sample| *sample != "helpdesk") {
            self.complain(line, format!("mcp_servers.{name}.sample: there is no sample `{sample}`; there is `helpdesk`"));
        }
        for (header, file) in &server.header_files {
            if let Err(reason) = UpstreamHeaders::parse(&[(header.clone(), String::new())]) {
                self.complain(line, format!("mcp_servers.{name}.header_files: {reason}"));
            }
            self.readable(file, line, &format!("mcp_servers.{name}.header_files"));
        }
    }

    fn program(&mut self, name: &str, server: &McpServer, program: &str, line: Option<u64>) {
        let cwd = server.cwd.as_ref().map_or_else(|| PathBuf::from("."), |dir| self.base.join(dir));
        #[expect(clippy::disallowed_methods, reason = "where the child will be looked for")]
        let path = server.env.get("PATH").cloned().or_else(|| std::env::var("PATH").ok());
        if !programs::is_there(program, &cwd, path.as_deref().map(OsStr::new)) {
            let reason = format!("mcp_servers.{name}.command: there is no program `{}`", display::excerpt(program, 256));
            self.missing.push(Problem { file: self.file.to_owned(), line, reason });
        }
    }

    fn account(&mut self, account: &Account, servers: &[&Server], line: Option<u64>) {
        if let Err(refusal) = remit_model::AgentId::parse(&account.name) {
            self.complain(line, format!("identity_providers: account {}", refusal.reason));
        }
        if let Some(Err(refusal)) = account.display_name.as_ref().map(|name| display::check_name("display_name", name)) {
            self.complain(line, format!("account {}: {}", account.name, refusal.reason));
        }
        self.readable(&account.password_hash_file, line, &format!("account {}: password_hash_file", account.name));
        let fits = |authority: Authority| token_bounds::check_authority(&authority, servers);
        if let Err(refusal) = entitlements(account, servers).and_then(fits) {
            self.complain(line, format!("account {}: {refusal}", account.name));
        }
    }

    fn readable(&mut self, file: &Path, line: Option<u64>, what: &str) {
        if let Err(error) = std::fs::File::open(self.base.join(file)) {
            self.complain(line, format!("{what}: cannot read `{}`: {error}", file.display()));
        }
    }

    fn complain(&mut self, line: Option<u64>, reason: String) {
        self.problems.push(Problem { file: self.file.to_owned(), line, reason });
    }
}

/// SPEC: C-01 (issuer form), X-01 (https, or loopback for development).
pub(crate) fn public_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => return Err("it has no host".into()),
    };
    if !(url.scheme() == "https" || (url.scheme() == "http" && loopback)) {
        return Err("must be https, or http on a loopback address".into());
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || text.ends_with('/') || url.path() != "/"
    {
        return Err("must be a scheme, host and port alone, without a trailing slash".into());
    }
    if url.as_str().trim_end_matches('/') != text {
        return Err(format!("write it in canonical form: {}", url.as_str().trim_end_matches('/')));
    }
    Ok(())
}

/// The problems of a configuration as one error, a line each.
pub(crate) fn report(problems: &[Problem]) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow::anyhow!(
        "the configuration has {} problem{}:\n{}",
        lines.len(),
        if lines.len() == 1 { "" } else { "s" },
        lines.join("\n")
    )
}

/// The log's default name: where the server is reached, without a scheme (LG-13).
pub(crate) fn log_origin(authority: &str) -> String {
    format!("{authority}/log")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(yaml: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("remit.yaml");
        std::fs::write(&file, yaml).unwrap();
        match load(&file) {
            Ok(_) => Vec::new(),
            Err(problems) => {
                problems.iter().map(|problem| format!("{}: {}", problem.line.unwrap_or(0), problem.reason)).collect()
            }
        }
    }

    #[test]
    fn an_empty_mapping_is_a_configuration() {
        assert_eq!(complaints("{}\n"), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_reported_at_once_with_its_line() {
        let found = complaints(
            "server:\n  listen: nowhere\n  public_url: http://example.com\n  lisen: typo\nagents:\n  chain_depth: 9\nmcp_servers:\n  desk:\n    url: ftp://x\n  Bad Name:\n    url: http://127.0.0.1:1\n  two:\n    url: http://127.0.0.1:1\n    command: [x]\nnonsense: 1\n",
        );
        assert!(found.iter().any(|text| text.starts_with("4: server: unknown field `lisen`")), "{found:?}");
        assert!(found.iter().any(|text| text.starts_with("15: unknown section `nonsense`")), "{found:?}");
        assert!(found.iter().any(|text| text.starts_with("6: agents.chain_depth")), "{found:?}");
        assert!(found.iter().any(|text| text.contains("mcp_servers.desk.url")), "{found:?}");
        assert!(found.iter().any(|text| text.contains("Bad Name")), "{found:?}");
        assert!(found.iter().any(|text| text.contains("mcp_servers.two: give exactly one")), "{found:?}");
    }

    #[test]
    fn x_01_plain_http_is_for_loopback_alone() {
        for (url, fine) in [
            ("http://127.0.0.1:8420", true),
            ("http://localhost:8420", true),
            ("http://[::1]:8420", true),
            ("https://remit.example", true),
            ("http://remit.example", false),
            ("http://10.0.0.1:8420", false),
            ("https://remit.example/", false),
            ("https://remit.example/t", false),
            ("https://REMIT.example", false),
            ("https://remit.example?x", false),
            ("https://u@remit.example", false),
            ("ftp://localhost", false),
        ] {
            assert_eq!(public_url(url).is_ok(), fine, "{url}");
        }
    }

    #[test]
    fn the_decision_point_is_a_resource_where_it_is_switched_on() {
        let server = "mcp_servers:\n  access:\n    url: http://127.0.0.1:1\n";
        assert_eq!(complaints(server), Vec::<String>::new());
        assert_eq!(complaints("authzen:\n  enabled: true\n"), Vec::<String>::new());
        let both = complaints(&format!("authzen:\n  enabled: true\n{server}"));
        assert!(both.iter().any(|text| text.starts_with("5: mcp_servers.access: the name is taken")), "{both:?}");
        assert!(complaints("authzen:\n  enable: true\n").iter().any(|text| text.contains("unknown field `enable`")));
    }

    #[test]
    fn titles_and_names_can_be_displayed() {
        let server = |member: &str| format!("mcp_servers:\n  desk:\n    url: http://127.0.0.1:1\n    {member}\n");
        for (text, what) in [
            (server(r#"title: "a\u202Eb""#), "mcp_servers.desk.title"),
            (server(r#"title: """#), "mcp_servers.desk.title"),
            (server(r#"tools: {refund: {title: "a\u200Bb"}}"#), "mcp_servers.desk.tools.refund.title"),
            (server(r#"tools: {"a\eb": {class: read}}"#), "mcp_servers.desk.tools"),
        ] {
            let found = complaints(&text);
            assert!(found.iter().any(|text| text.contains(what)), "{text} {found:?}");
        }
        assert_eq!(complaints(&server("title: Hilfé デスク")), Vec::<String>::new());
        let account = "identity_providers:\n  - type: local\n    accounts:\n      - name: alice\n        display_name: \"a\\nb\"\n        password_hash_file: nothing\n        entitlements: []\n";
        assert!(complaints(account).iter().any(|text| text.contains("account alice: display_name")));
    }

    #[test]
    fn a_broken_server_is_complained_of_once_and_not_where_it_is_named() {
        let account = "identity_providers:\n  - type: local\n    accounts:\n      - name: alice\n        password_hash_file: remit.yaml\n        entitlements: ['desk:*', 'desk:read']\n";
        let found = complaints(&format!("mcp_servers:\n  desk:\n    ulr: http://127.0.0.1:1\n{account}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("unknown field `ulr`"), "{found:?}");
        let found = complaints(&account.replace("desk:read", "dsk:read"));
        assert!(found.iter().any(|text| text.contains("scope_unknown")), "a server that is nowhere still is: {found:?}");
    }

    #[test]
    fn a_program_that_is_not_there_is_a_warning_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("remit.yaml");
        std::fs::write(&file, "mcp_servers:\n  one:\n    command: [no-such-program-here]\n  two:\n    command: [sh, -c, x]\n")
            .unwrap();
        let loaded = load(&file).unwrap();
        assert_eq!(loaded.missing.len(), 1, "{:?}", loaded.missing);
        assert!(loaded.missing[0].line.is_some() && loaded.missing[0].reason.contains("no-such-program-here"));
    }

    #[test]
    fn a_log_filter_and_an_admin_url_that_mean_nothing_are_refused() {
        assert!(complaints("observe:\n  log: 'info,=='\n").iter().any(|text| text.contains("observe.log")));
        assert!(complaints("server:\n  admin_url: http://admin.example\n").iter().any(|text| text.contains("server.admin_url")));
    }

    #[test]
    fn duplicate_keys_are_refused() {
        assert!(!complaints("server:\n  listen: 127.0.0.1:1\nserver:\n  listen: 127.0.0.1:2\n").is_empty());
    }

    #[test]
    fn an_account_needs_its_hash_file_and_known_scopes() {
        let found = complaints(
            "identity_providers:\n  - type: local\n    accounts:\n      - name: alice\n        password_hash_file: nothing\n        entitlements: ['nowhere:*']\n",
        );
        assert!(found.iter().any(|text| text.contains("cannot read `nothing`")), "{found:?}");
        assert!(found.iter().any(|text| text.contains("scope_unknown")), "{found:?}");
    }
}
