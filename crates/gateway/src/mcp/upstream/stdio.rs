//! A link to a child process that speaks MCP line by line on its standard input and output.
//!
//! SPEC: MCP "stdio"; MG-17: the child gets the configured environment and nothing of ours. The child's process group ends
//! with its link.

use super::{
    message::{About, BACKLOG, ExchangeEvent, LinkFailure, Listening, Outgoing, arrival, limits, own_progress},
    process_group::{Pipes, ProcessGroup, ProcessGroups},
};
use crate::{
    mcp::{
        envelope::{self, Incoming, Message, Notification, Request, Response, RpcError},
        revision::{self, ClientProfile, Era, Revision},
    },
    settings::Settings,
};
use remit_model::{display, refusal::Refusal};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout},
    runtime::Handle,
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
};

/// How long a child may take to answer the question which era it speaks; older ones may not answer at all.
const PROBE: Duration = Duration::from_secs(5);
/// How long a child may leave its standard input unread before the link is given up.
pub(crate) const WRITE_WAIT: Duration = Duration::from_secs(30);
/// Longest line of the child's standard error that is logged.
const LOG_LIMIT: u64 = 4096;
/// Longest part of a skipped line of standard output that is logged.
const SKIPPED_LIMIT: usize = 200;
/// Skipped lines of one child that are logged one by one; of the others every thousandth is, with the count.
const SKIPPED_LOGGED: u64 = 10;

/// How to start the child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spawn<'a> {
    /// The server's name in the configuration, for the log.
    pub(crate) name: &'a str,
    pub(crate) groups: &'a ProcessGroups,
    pub(crate) command: &'a Path,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) cwd: Option<&'a Path>,
}

/// A running child.
#[derive(Debug)]
pub(crate) struct StdioLink {
    inner: Arc<Inner>,
    modern: bool,
    about: About,
}

#[derive(Debug)]
struct Inner {
    name: String,
    /// `None` once the child is being ended.
    stdin: AsyncMutex<Option<ChildStdin>>,
    /// Taken by the one who ends it.
    group: Mutex<Option<ProcessGroup>>,
    waiting: Mutex<HashMap<u64, Waiting>>,
    listener: Mutex<Option<mpsc::Sender<Incoming>>>,
    open: AtomicBool,
    next: AtomicU64,
}

/// One request under way, fed by the task that reads the child's output. Dropping it cancels the request.
#[derive(Debug)]
pub(crate) struct StdioExchange {
    id: u64,
    inner: Arc<Inner>,
    arrivals: mpsc::Receiver<ExchangeEvent>,
    _stop: oneshot::Sender<()>,
}

impl StdioExchange {
    pub(super) fn renew_progress(&mut self, token: Option<Value>) {
        if let Some(waiting) = self.inner.waiting().get_mut(&self.id) {
            waiting.progress = token;
        }
    }

    /// What comes next; a failure after the answer. Cancel-safe.
    pub(crate) async fn next(&mut self) -> ExchangeEvent {
        let event = self.arrivals.recv().await;
        event.unwrap_or_else(|| ExchangeEvent::Failed(LinkFailure::Unavailable("the connection ended".to_owned())))
    }
}

#[derive(Debug)]
struct Waiting {
    sender: mpsc::Sender<ExchangeEvent>,
    progress: Option<Value>,
}

impl StdioLink {
    /// Starts the child and speaks to it in the first of these eras that it knows.
    pub(crate) async fn open(
        spawn: &Spawn<'_>,
        settings: &Arc<Settings>,
        client: &ClientProfile,
        eras: &[Era],
    ) -> Result<Self, LinkFailure> {
        let mut link = Self::spawn(spawn, settings)?;
        let mut failure = LinkFailure::Malformed(format!("the child does not speak {}", Revision::V2026July.as_str()));
        for era in eras {
            if !link.is_open() {
                // Some servers exit on a first message of the other era.
                link = Self::spawn(spawn, settings)?;
            }
            match era {
                Era::Stateless => {
                    if let Some(about) = link.discover().await {
                        link.modern = true;
                        link.about = about;
                        return Ok(link);
                    }
                }
                Era::Session => match link.initialize(client).await {
                    Ok(about) => {
                        link.about = about;
                        return Ok(link);
                    }
                    Err(broken) => failure = broken,
                },
            }
        }
        // A child that starts slowly reads `server/discover` too late, and then serves only the revision of that message.
        if eras.first() == Some(&Era::Stateless)
            && link.is_open()
            && let Some(about) = link.discover().await
        {
            link.modern = true;
            link.about = about;
            return Ok(link);
        }
        Err(failure)
    }

    fn spawn(spawn: &Spawn<'_>, settings: &Arc<Settings>) -> Result<Self, LinkFailure> {
        let mut command = Command::new(spawn.command);
        command.args(spawn.args).env_clear().envs(spawn.env);
        if let Some(cwd) = spawn.cwd {
            command.current_dir(cwd);
        }
        let (group, Pipes { stdin, stdout, stderr }) = spawn.groups.spawn(&mut command)?;
        tokio::spawn(log(stderr, spawn.name.to_owned()));
        let inner = Arc::new(Inner {
            name: spawn.name.to_owned(),
            stdin: AsyncMutex::new(Some(stdin)),
            group: Mutex::new(Some(group)),
            waiting: Mutex::default(),
            listener: Mutex::default(),
            open: AtomicBool::new(true),
            next: AtomicU64::new(1),
        });
        tokio::spawn(pump(Arc::clone(&inner), stdout, Arc::clone(settings)));
        Ok(Self { inner, modern: false, about: About::default() })
    }

    async fn discover(&mut self) -> Option<About> {
        self.modern = true;
        let answer = tokio::time::timeout(PROBE, self.ask(Outgoing::bare("server/discover", Map::new()))).await;
        self.modern = false;
        let result = answer.ok()?.ok()?;
        let versions = result.get("supportedVersions")?.as_array()?;
        versions.iter().any(|version| version == Revision::V2026July.as_str()).then(|| About::read(&result))
    }

    async fn initialize(&self, client: &ClientProfile) -> Result<About, LinkFailure> {
        let capabilities = if client.capabilities.is_object() { client.capabilities.clone() } else { json!({}) };
        let params = json!({"protocolVersion": Revision::LEGACY_LATEST.as_str(), "capabilities": capabilities,
            "clientInfo": revision::implementation()});
        let Value::Object(params) = params else { return Err(LinkFailure::Malformed(String::new())) };
        let hello = Outgoing { client: Some(client), ..Outgoing::bare("initialize", params) };
        let result = self.ask(hello).await?;
        let version = result.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        if version >= Revision::V2026July.as_str() {
            return Err(LinkFailure::Malformed(format!("`initialize` agreed on version {version}")));
        }
        let ready = Notification { method: "notifications/initialized".to_owned(), params: Map::new() };
        self.write(&ready.to_value()).await?;
        Ok(About::read(&result))
    }

    async fn ask(&self, message: Outgoing<'_>) -> Result<Value, LinkFailure> {
        let mut exchange = self.send(message).await?;
        loop {
            match exchange.next().await {
                ExchangeEvent::Answer(answer) => {
                    return answer.map_err(|error| LinkFailure::Unavailable(format!("the child refused: {}", error.message)));
                }
                ExchangeEvent::Failed(broken) => return Err(broken),
                ExchangeEvent::Message(_) => {}
            }
        }
    }

    pub(crate) fn is_modern(&self) -> bool {
        self.modern
    }

    pub(crate) fn is_open(&self) -> bool {
        self.inner.open.load(Ordering::Relaxed)
    }

    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    pub(crate) async fn send(&self, message: Outgoing<'_>) -> Result<StdioExchange, LinkFailure> {
        let Outgoing { method, mut params, arguments, client, .. } = message;
        params.extend(arguments.map(|arguments| ("arguments".to_owned(), arguments.clone())));
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let progress = own_progress(&mut params, id);
        if self.modern {
            revision::add_envelope(&mut params, client);
        }
        let (sender, arrivals) = mpsc::channel(BACKLOG);
        self.inner.waiting().insert(id, Waiting { sender, progress });
        let (stop, stopped) = oneshot::channel::<()>();
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            // Resolves when the exchange is dropped. Unanswered by then means cancelled.
            let _ = stopped.await;
            let unanswered = inner.waiting().remove(&id).is_some();
            if unanswered {
                let _ = inner
                    .write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}))
                    .await;
            }
        });
        self.write(&envelope::rpc([("id", id.into()), ("method", method.into()), ("params", Value::Object(params))])).await?;
        Ok(StdioExchange { id, inner: Arc::clone(&self.inner), arrivals, _stop: stop })
    }

    pub(crate) async fn write(&self, message: &Value) -> Result<(), LinkFailure> {
        self.inner.write(message).await
    }

    /// Messages outside any exchange. A new listener takes the place of an earlier one.
    pub(crate) fn listen(&self) -> Listening {
        let (sender, messages) = mpsc::channel(BACKLOG);
        *self.inner.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Listening { messages, _stop: None }
    }
}

impl Drop for StdioLink {
    fn drop(&mut self) {
        self.inner.open.store(false, Ordering::Relaxed);
        // Outside a runtime the process is at its end; dropping the group kills it.
        if let Ok(runtime) = Handle::try_current() {
            let inner = Arc::clone(&self.inner);
            runtime.spawn(async move { inner.end().await });
        } else {
            drop(self.inner.take_group());
        }
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, message: &Value) -> Result<(), LinkFailure> {
        let line = format!("{message}\n");
        let writing = async {
            let mut stdin = self.stdin.lock().await;
            let stdin = stdin.as_mut().ok_or_else(|| "the child was ended".to_owned())?;
            stdin.write_all(line.as_bytes()).await.map_err(|error| error.to_string())?;
            stdin.flush().await.map_err(|error| error.to_string())
        };
        let written = tokio::time::timeout(WRITE_WAIT, writing).await;
        written.unwrap_or_else(|_| Err(format!("nothing was read for {} s", WRITE_WAIT.as_secs()))).map_err(|error| {
            self.open.store(false, Ordering::Relaxed);
            LinkFailure::Unavailable(format!("the child reads no more: {error}"))
        })
    }

    fn take_group(&self) -> Option<ProcessGroup> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends the child and everything that it started.
    async fn end(&self) {
        let Some(group) = self.take_group() else { return };
        // A write that the child does not read holds the lock; SIGTERM comes in any case.
        if let Ok(mut stdin) = tokio::time::timeout(Duration::from_secs(1), self.stdin.lock()).await {
            stdin.take();
        }
        group.end().await;
    }

    /// Hands a message to the exchange it belongs to, or to the listener.
    fn dispatch(self: &Arc<Self>, message: Message) {
        let id = match &message {
            Message::Response(response) => response.id.as_u64(),
            Message::Notification(note) if note.method == "notifications/progress" => {
                note.params.get("progressToken").and_then(Value::as_u64)
            }
            Message::Notification(_) | Message::Request(_) => None,
        };
        let Some(id) = id else {
            return self.unsolicited(message);
        };
        let found = {
            let mut waiting = self.waiting();
            if matches!(message, Message::Response(_)) {
                waiting.remove(&id)
            } else {
                waiting.get(&id).map(|entry| Waiting { sender: entry.sender.clone(), progress: entry.progress.clone() })
            }
        };
        if let Some(Waiting { sender, progress }) = found
            && let Some(arrived) = arrival(message, id, progress.as_ref())
        {
            // A caller that does not keep up loses messages on the way; the last place is kept for its answer, so that no
            // other caller of this child waits for it.
            if matches!(arrived, ExchangeEvent::Answer(_)) || sender.capacity() > 1 {
                let _ = sender.try_send(arrived);
            }
        }
    }

    /// Without a listener, or with one that does not keep up, a message without a caller is dropped. A question without a listener is
    /// part of the one request under way: the child does not say to which it belongs.
    fn unsolicited(self: &Arc<Self>, message: Message) {
        let incoming = match message {
            Message::Notification(note) => Incoming::Notification(note),
            Message::Request(request) => Incoming::Request(request),
            Message::Response(_) => return,
        };
        let listener =
            self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|listener| !listener.is_closed());
        match listener {
            Some(listener) => drop(listener.try_send(incoming)),
            None => {
                if let Incoming::Request(request) = incoming {
                    self.question(request);
                }
            }
        }
    }

    /// Hands a question of the child to the one request under way. Among several, the one to ask is unknown.
    fn question(self: &Arc<Self>, request: Request) {
        let refused = {
            let waiting = self.waiting();
            let mut all = waiting.values();
            match (all.next(), all.next()) {
                (Some(only), None) if only.sender.capacity() > 1 => {
                    let _ = only.sender.try_send(ExchangeEvent::Message(Incoming::Request(request)));
                    return;
                }
                _ => Response { id: request.id, outcome: Err(RpcError::new(-32601, "no caller can be asked this")) },
            }
        };
        let inner = Arc::clone(self);
        tokio::spawn(async move { inner.write(&refused.to_value()).await });
    }

    fn broke(&self, broken: &LinkFailure) {
        self.open.store(false, Ordering::Relaxed);
        for (_, waiting) in self.waiting().drain() {
            let _ = waiting.sender.try_send(ExchangeEvent::Failed(broken.clone()));
        }
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Reads the child's messages until it ends; what is no message is skipped. Then ends what is left of its group.
async fn pump(inner: Arc<Inner>, stdout: ChildStdout, settings: Arc<Settings>) {
    let limits = limits(&settings);
    let most = u64::try_from(limits.bytes).unwrap_or(u64::MAX);
    let mut lines = BufReader::new(stdout);
    let mut skipped = 0;
    let broken = loop {
        let mut line = Vec::new();
        match (&mut lines).take(most).read_until(b'\n', &mut line).await {
            Ok(0) => break LinkFailure::Unavailable("the child ended".to_owned()),
            Ok(_) if line.last() != Some(&b'\n') && line.len() >= limits.bytes => {
                break LinkFailure::Malformed("a line is too long".to_owned());
            }
            Ok(_) => {}
            Err(error) => break LinkFailure::Unavailable(error.to_string()),
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match envelope::parse_incoming(text, &limits) {
            Ok(message) => inner.dispatch(message),
            Err(refusal) => {
                skipped += 1;
                log_skipped(&inner.name, text, &refusal, skipped);
            }
        }
    };
    inner.broke(&broken);
    inner.end().await;
}

/// Says that a line was skipped. SPEC: MCP "stdio" forbids anything but messages on standard output; servers and their
/// launchers print there nevertheless, and an error with `id: null` answers nothing that we asked.
fn log_skipped(server: &str, line: &[u8], refusal: &Refusal, count: u64) {
    if count <= SKIPPED_LOGGED || count.is_multiple_of(1_000) {
        let line = display::escape(&String::from_utf8_lossy(line.get(..SKIPPED_LIMIT).unwrap_or(line))).into_owned();
        tracing::warn!(server, count, line, reason = %refusal.reason, "a line of standard output is no message and was skipped");
    }
}

async fn log(stderr: ChildStderr, name: String) {
    let mut lines = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        match (&mut lines).take(LOG_LIMIT).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => tracing::debug!(server = name, "{}", display::excerpt(&String::from_utf8_lossy(line.trim_ascii()), 1024)),
        }
    }
}
