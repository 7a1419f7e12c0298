//! Asking the witnesses: at start for what they have seen, then for a cosignature on every new head.

use crate::client::{Answer, HttpClient};
use anyhow::{Context as _, Result, anyhow, bail};
use http::{Method, StatusCode};
use remit_clock::Clock;
use remit_ledger::{
    Checkpoint, Reader,
    cosign::WitnessKey,
    note::{Note, Signature, SigningKey},
    policy::Policy,
    record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType},
    witness::{self, Request},
};
use remit_model::{ToolClass, display};
use remit_store::{Batch, Cosignatures, Sighting, Store, Witnesses};
use serde_json::json;
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch, task::JoinSet};

/// A cosignature's time may be off ours by so many seconds, no more.
const LEEWAY_S: u64 = 300;
/// Most times one head is put to one witness: each answer but the last named another size to prove from.
const TRIES: usize = 3;
/// A witness that failed is left alone for a while, twice as long each time up to this.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What the configuration says of witnesses.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    /// Longest wait for one witness's answer.
    pub(crate) timeout: Duration,
    /// How long acts go on without a quorum.
    pub(crate) grace: Duration,
    /// Whether a quorum must answer before the server starts.
    pub(crate) required_at_start: bool,
}

/// The witnesses of this log, as its publisher sees them.
#[derive(Debug)]
pub(crate) struct WitnessSet {
    settings: Settings,
    peers: Vec<Arc<Peer>>,
    clock: Clock,
    runtime: Handle,
    enough: watch::Sender<bool>,
}

/// One witness, and what we know of its state.
#[derive(Debug)]
struct Peer {
    /// Place in the policy.
    place: usize,
    key: WitnessKey,
    url: String,
    web: HttpClient,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Size of the head it cosigned last, as far as we know.
    size: u64,
    failures: u32,
    /// Not asked again before this much time since boot, in nanoseconds.
    rest_until_ns: u64,
}

impl WitnessSet {
    pub(crate) fn new(settings: Settings, clock: Clock) -> Result<Self> {
        let mut peers = Vec::new();
        for (place, witness) in settings.policy.witnesses().iter().enumerate() {
            let name = witness.key.name();
            let url = witness.url.as_deref().with_context(|| format!("witness {name} has no URL to ask it at"))?;
            peers.push(Arc::new(Peer {
                place,
                key: witness.key.clone(),
                url: url.trim_end_matches('/').to_owned(),
                web: HttpClient::new()?,
                timeout: settings.timeout,
                state: Mutex::default(),
            }));
        }
        Ok(Self { settings, peers, clock, runtime: Handle::current(), enough: watch::Sender::new(true) })
    }

    /// What each witness has seen of this log; asked before anything is signed. SPEC: LG-17, N-LG-04.
    ///
    /// # Errors
    /// Too few answer and the configuration requires a quorum at start.
    pub(crate) async fn seen(&self, key: &SigningKey, ledger: &Path) -> Result<Vec<Sighting>> {
        // What a witness is asked with when it shows no heads: ours as published, or the empty log, which every log extends.
        let published = fs::read(ledger.join("checkpoint")).ok().filter(|note| Checkpoint::open(note, key.public()).is_ok());
        let empty = Checkpoint { origin: key.public().name().to_owned(), size: 0, root: remit_ledger::tree::empty_root() };
        let probe = published.map_or_else(|| key.sign(&empty.to_text()), Ok)?;
        let mut asked = JoinSet::new();
        for peer in self.peers.iter().cloned() {
            let (log, probe) = (key.public().clone(), probe.clone());
            asked.spawn(async move { (peer.place, peer.sighting(&log, &probe).await, peer) });
        }
        let (mut seen, mut answered) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.join_next().await {
            match answer? {
                (place, Ok(sighting), peer) => {
                    answered.push(place);
                    peer.state.lock().unwrap_or_else(PoisonError::into_inner).size =
                        sighting.as_ref().map_or(0, |seen| seen.size);
                    seen.extend(sighting);
                }
                (_, Err(error), peer) => {
                    tracing::warn!(witness = peer.key.name(), "cannot learn what this witness has seen: {error:#}");
                }
            }
        }
        if !self.settings.policy.satisfied(|place| answered.contains(&place)) {
            if self.settings.required_at_start {
                bail!("too few witnesses answer to know whether this log is the one they have seen; nothing was signed");
            }
            tracing::warn!("too few witnesses answer: a restored old backup would not be noticed now");
        }
        Ok(seen)
    }

    /// Whether the newest head had its quorum.
    pub(crate) fn enough(&self) -> watch::Receiver<bool> {
        self.enough.subscribe()
    }

    pub(crate) fn grace(&self) -> Duration {
        self.settings.grace
    }

    async fn gather(&self, log: Arc<Reader>) -> Cosignatures {
        let now = self.clock.now();
        let mut asked = JoinSet::new();
        for peer in self.peers.iter().filter(|peer| !peer.rests(now.mono_ns)).cloned() {
            let (log, clock) = (Arc::clone(&log), self.clock.clone());
            asked.spawn(async move {
                let answer = match super::time::seconds(&clock) {
                    Some(now) => peer.cosign(&log, now).await,
                    None => Err(anyhow!("our own clock cannot be read, so its time cannot be judged")),
                };
                peer.remember(&answer, log.len(), clock.now().mono_ns);
                (peer.place, answer)
            });
        }
        let (mut lines, mut places) = (Vec::new(), Vec::new());
        while let Some(joined) = asked.join_next().await {
            if let Ok((place, Ok(line))) = joined {
                places.push(place);
                lines.push(line);
            }
        }
        lines.sort_by(|a: &Signature, b| a.name.cmp(&b.name));
        Cosignatures { lines, enough: self.settings.policy.satisfied(|place| places.contains(&place)) }
    }
}

impl Witnesses for WitnessSet {
    fn cosign(&self, log: Reader) -> Cosignatures {
        let said = self.runtime.block_on(self.gather(Arc::new(log)));
        self.enough.send_if_modified(|enough| std::mem::replace(enough, said.enough) != said.enough);
        said
    }
}

impl Peer {
    fn rests(&self, mono_ns: u64) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).rest_until_ns > mono_ns
    }

    fn remember(&self, answer: &Result<Signature>, size: u64, mono_ns: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(_) => *state = State { size, ..State::default() },
            Err(error) => {
                tracing::warn!(witness = self.key.name(), "no cosignature: {error:#}");
                state.failures = state.failures.saturating_add(1);
                // The first failure may be a hiccup; a row of them is not to hold up every head.
                let rest =
                    Duration::from_millis(500).saturating_mul(1 << state.failures.saturating_sub(1).min(8)).min(LONGEST_REST);
                state.rest_until_ns = mono_ns.saturating_add(u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX));
            }
        }
    }

    /// Puts a head to the witness, from whatever size it says it is at. SPEC: LG-20, N-LG-13.
    async fn cosign(&self, log: &Reader, now: u64) -> Result<Signature> {
        let mut old = self.state.lock().unwrap_or_else(PoisonError::into_inner).size;
        for _ in 0..TRIES {
            if old > log.len() {
                bail!("it has cosigned {old} records of this log, which has {}: another server signs this log", log.len());
            }
            let proof = if old == 0 { Vec::new() } else { log.consistency(old)? };
            let request = Request { old, proof, note: log.checkpoint_note().to_vec() };
            let answer = self.post(&request).await?;
            match answer.status {
                StatusCode::OK => return self.accept(&answer.body, log.checkpoint(), now),
                StatusCode::CONFLICT => match witness::parse_size(&answer.body).filter(|size| *size != old) {
                    Some(size) => old = size,
                    None => bail!("it holds another head of {old} records: this log was forked"),
                },
                StatusCode::UNPROCESSABLE_ENTITY => bail!("it says that this head does not extend the {old} records it has seen"),
                status => bail!("it answers {status}: {}", told(&answer)),
            }
        }
        bail!("it named another size {TRIES} times")
    }

    /// The witness's own line of its answer, if it is good and of now. Lines by other keys are ignored.
    fn accept(&self, body: &[u8], head: &Checkpoint, now: u64) -> Result<Signature> {
        let note = Note { text: head.to_text(), signatures: witness::parse_lines(body)? };
        let cosigned = self.key.cosigned(&note)?.context("its answer holds no signature by its key")?;
        if cosigned.at.abs_diff(now) > LEEWAY_S {
            bail!("its clock says {}, ours {now}: one of them is wrong", cosigned.at);
        }
        Ok(cosigned.line)
    }

    /// The head it holds of this log; `None` when it has seen none.
    async fn sighting(&self, log: &remit_ledger::note::VerifyingKey, probe: &[u8]) -> Result<Option<Sighting>> {
        let witness = self.key.name().to_owned();
        let url = format!("{}/{}", self.url, witness::head_path(log.name()));
        let answer = self.timely(self.web.send(Method::GET, &url, &[], Vec::new())).await?;
        if answer.status == StatusCode::OK {
            let head = Checkpoint::open(&answer.body, log).context("it shows a head that this log's key never signed")?;
            return Ok(Some(Sighting { witness, size: head.size, root: Some(head.root) }));
        }
        // It has none, or shows none: then its answer to a head we signed before says how far it is.
        let head = Checkpoint::open(probe, log)?;
        let answer = self.post(&Request { old: head.size, proof: Vec::new(), note: probe.to_vec() }).await?;
        match answer.status {
            StatusCode::OK if head.size == 0 => Ok(None),
            StatusCode::OK => Ok(Some(Sighting { witness, size: head.size, root: Some(head.root) })),
            StatusCode::CONFLICT => match witness::parse_size(&answer.body) {
                Some(0) => Ok(None),
                Some(size) => Ok(Some(Sighting { witness, size, root: None })),
                None => bail!("it answers a conflict without a size"),
            },
            status => bail!("it answers {status}: {}", told(&answer)),
        }
    }

    async fn post(&self, request: &Request) -> Result<Answer> {
        let url = format!("{}/add-checkpoint", self.url);
        let headers = [("content-type", "text/plain; charset=utf-8")];
        self.timely(self.web.send(Method::POST, &url, &headers, request.to_bytes())).await
    }

    async fn timely(&self, answer: impl Future<Output = Result<Answer>>) -> Result<Answer> {
        let Ok(answer) = tokio::time::timeout(self.timeout, answer).await else {
            bail!("no answer within {} ms", self.timeout.as_millis());
        };
        answer
    }
}

/// The beginning of an answer, fit for a log line.
fn told(answer: &Answer) -> String {
    display::excerpt(&String::from_utf8_lossy(&answer.body), 120)
}

/// Refuses acts once the quorum has been missing for the grace period, and allows them when it is back; both are recorded.
pub(crate) async fn watch(store: Store, mut enough: watch::Receiver<bool>, grace: Duration) {
    while enough.wait_for(|enough| !enough).await.is_ok() {
        match tokio::time::timeout(grace, enough.wait_for(|enough| *enough)).await {
            Ok(Ok(_)) => continue,
            Ok(Err(_)) => return,
            Err(_) => {}
        }
        store.set_witnesses(false);
        tracing::error!("the quorum of witnesses is lost: nothing that changes anything is done until it is back");
        record(&store, "witnesses.lost", OutcomeStatus::Failure).await;
        if enough.wait_for(|enough| *enough).await.is_err() {
            return;
        }
        store.set_witnesses(true);
        tracing::info!("the quorum of witnesses is back");
        record(&store, "witnesses.back", OutcomeStatus::Success).await;
    }
}

async fn record(store: &Store, action: &str, outcome: OutcomeStatus) {
    let draft = Draft::new(store.tenant().clone(), ProducerKind::AuthzServer, RecordType::LogControl)
        .action(action, ToolClass::Admin)
        .outcome(outcome, EffectConfirmed::Observed)
        .ext("witnesses", json!({"published": store.published().to_string()}));
    if let Err(error) = store.apply(Batch::new(store.tenant().clone()).note().record(draft)).await {
        tracing::error!(%error, action, "this could not be recorded");
    }
}
