//! The store as its callers see it.

use crate::{
    batch::{
        Applied, ApplyError, Batch, Change, JtiKind, KeyedHash, ReadError, StoredCode, StoredProviderSession, StoredRecord,
        StoredRefresh, StoredToken,
    },
    commit::{
        command::Command, group_commit::GroupCommit, heartbeat::Left, outage::Outage, seal::Sealing,
        session_counts::SessionCounts, writer::Writer,
    },
    config::{Config, Secret, StoreError},
    db::{readers::Readers, sqlite::Db},
    handles::{Handles, Stats},
    log::{
        publisher::{Publisher, PublisherCommand, WriterHandle},
        witness::Witnessing,
    },
    private::Lock,
    reads, recovery,
    vault::Vault,
    world::snapshot::Snapshot,
};
use aws_lc_rs::hmac;
use remit_clock::Clock;
use remit_ledger::{
    Record, Sealer,
    record::{Draft, Environment, Identity, Pepper, ProducerKind, RecordKey},
};
use remit_model::{Code, Refusal, UnixTime, id::TenantId};
use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering, mpsc as blocking},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait for the publisher; each comes from a command or a stop.
const ORDERS: usize = 64;

/// Durable state of one tenant: one database, one log. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    tenant: TenantId,
    ledger_dir: PathBuf,
    log_origin: String,
    pepper: hmac::Key,
    pub(crate) handles: Arc<Handles>,
    pub(crate) vault: Vault,
    pub(crate) readers: Readers,
    pub(crate) clock: Clock,
    pub(crate) queue: mpsc::Sender<Command>,
    queue_wait: Duration,
    continued: bool,
    orders: blocking::SyncSender<PublisherCommand>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Opens or creates the store, checks the ledger directory against the database, and writes the start record.
    /// Blocks; call it before the server serves.
    ///
    /// # Errors
    /// The directory is held by another process, a file cannot be read or belongs to another log, or the database and the
    /// ledger directory contradict each other. Nothing was signed.
    pub fn open(config: Config) -> Result<Self, StoreError> {
        Self::open_witnessed(config, Witnessing::default())
    }

    /// The same, with witnesses: what they saw is compared with the database before anything is sealed or signed, and
    /// every new head is shown to them before it is published.
    ///
    /// # Errors
    /// As [`Store::open`]; also when a witness saw another history, or more of it, than the database holds.
    pub fn open_witnessed(config: Config, witnessing: Witnessing) -> Result<Self, StoreError> {
        let lock = Arc::new(Lock::take(&config.data_dir)?);
        let mut db = Db::open(&config.data_dir, &config.tenant)?;
        recovery::bind(&db, &config)?;
        let vault = recovery::vault(&db, &config)?;
        let snapshot = recovery::snapshot(&db, &config)?;
        let spool = recovery::spool(&mut db, &config)?;
        let (head, last) = recovery::tail(&db)?;
        let counts = SessionCounts::load(&db)?;
        let source = db.source();
        // LG-17: the ledger directory is compared with the database before anything is sealed or signed.
        let (publisher, published) = Publisher::open(&source, &config, vault.clone(), head.next_index, witnessing)?;

        let handles = Arc::new(Handles::new(snapshot, head.next_index, &config.clock.now()));
        handles.published.store(published, Ordering::Release);
        let sealer = sealer(&config, vault.pepper().clone(), last.as_ref())?;
        let start = start(&config, &handles.snapshot.load(), sealer.key(), publisher.vkey())?;
        let ambient = (config.entropy.clone(), config.clock.clone());
        let sealing = Sealing::new(sealer, vault.clone(), ambient, config.retention.clone(), (head.next_index, counts));
        let mut writer = Writer::new(GroupCommit::new(db, handles.clone(), sealing, spool, head), config.heartbeat);
        begin(&mut writer, start)?;

        let (queue, commands) = mpsc::channel(config.queue.max(1));
        let (orders, inbox) = blocking::sync_channel(ORDERS);
        let (writer_lock, handle) = (lock.clone(), WriterHandle { handles: handles.clone(), commands: queue.clone() });
        let threads = vec![
            spawn("store-writer", move || {
                writer.run(commands);
                drop(writer_lock);
            })?,
            spawn("store-publisher", move || {
                publisher.run(&handle, &inbox, config.publish_every);
                drop(lock);
            })?,
        ];
        Ok(Self(Arc::new(Inner {
            readers: Readers::new(source),
            vault,
            clock: config.clock,
            tenant: config.tenant,
            ledger_dir: config.ledger_dir,
            log_origin: config.log_origin,
            pepper: hmac::Key::new(hmac::HMAC_SHA256, config.pepper.expose()),
            handles,
            queue,
            queue_wait: config.queue_wait,
            continued: head.next_index > 0,
            orders,
            threads: Mutex::new(threads),
        })))
    }

    /// Commits a batch whole or not at all. Resolves only after the commit is on disk; the snapshot shows it by then.
    /// Dropping the future does not undo a batch that was already queued.
    ///
    /// # Errors
    /// A requirement did not hold, the batch can never commit, or nothing can be made durable now. Nothing of it happened.
    pub async fn apply(&self, batch: Batch) -> Result<Applied, ApplyError> {
        let issued: Vec<_> = batch.changes.iter().filter_map(Change::issued).cloned().collect();
        let erases = batch.changes.iter().any(|change| matches!(change, Change::Erase(_)));
        let applied = self.submit(|answer| Command::Apply(batch, answer)).await?;
        for token in &issued {
            self.0.handles.tokens.put(token, || self.snapshot());
        }
        if erases {
            self.0.handles.forget();
        }
        Ok(applied)
    }

    /// Has `forget` called after every erasure with the world as it is then, before it is answered. Parts that keep facts about
    /// people in memory forget them there. What is remembered afterwards must be of the snapshot of that moment.
    pub fn when_erased(&self, forget: impl Fn(&Snapshot) + Send + Sync + 'static) {
        self.0.handles.forgetting.add(forget);
    }

    /// What is true now; never older than any batch whose `apply` has resolved.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.handles.snapshot.load_full()
    }

    /// The tenant whose log this is.
    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    /// How many transactions, batches and records there were since the start.
    pub fn stats(&self) -> Stats {
        self.0.handles.counts.stats()
    }

    /// The gravest thing that keeps actions from being recorded now, if any.
    pub fn outage(&self) -> Option<Outage> {
        self.0.handles.conditions.outage()
    }

    /// Counts an action that is refused because of this outage before the store was asked for anything, and gives the refusal.
    /// The record of the outage's end says how many there were; what [`Store::apply`] refuses is counted there.
    pub fn refuse(&self, outage: &Outage) -> Refusal {
        self.0.handles.conditions.count_refused(outage.code());
        outage.refusal()
    }

    /// Whether the refusal of a caller that proved nothing, or asks too often, may have a record of its own. Otherwise it is counted here, and a
    /// record of the store sums up what was counted (`refusals.summarised`). One budget for the whole process; see
    /// [`remit_model::bounds::UNPROVEN_RECORDS`]. The action is the name that the refusal's own record would have.
    pub fn records_refusal(&self, action: &str, code: Code, address: Option<IpAddr>) -> bool {
        self.0.handles.unproven.take(action, code, address, &self.0.clock)
    }

    /// Says whether enough witnesses sign; while they do not, actions are refused.
    pub fn set_witnesses(&self, ok: bool) {
        self.0.handles.conditions.set_witnesses(!ok);
    }

    /// Says why the keys of the side values cannot be used, or that they can.
    pub fn set_side_store(&self, fault: Option<String>) {
        self.0.handles.conditions.set_side(fault);
    }

    /// Where the published ledger is.
    pub fn ledger_dir(&self) -> &Path {
        &self.0.ledger_dir
    }

    /// The log's name in its checkpoints.
    pub fn log_origin(&self) -> &str {
        &self.0.log_origin
    }

    /// HMAC-SHA-256 of a secret under the pepper, for one purpose (`code`, `refresh`, …).
    pub fn keyed_hash(&self, purpose: &str, secret: &[u8]) -> KeyedHash {
        keyed(&self.0.pepper, purpose, secret)
    }

    /// Counts a public request that changes nothing and has no record of its own: a read of the log, a registration that waits
    /// for a person. The next heartbeat states how many there were.
    pub fn count_public_read(&self, what: &'static str) {
        self.0.handles.reads.count(what);
    }

    /// Looks after heartbeats, alarms and the spool now; the publisher does so every round.
    pub async fn tend(&self) {
        let (answer, done) = oneshot::channel();
        if self.0.queue.send(Command::Tend { sweep: false, done: Some(answer) }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Number of committed records: the next index.
    pub fn len(&self) -> u64 {
        self.0.handles.committed.load(Ordering::Acquire)
    }

    /// Whether an earlier process wrote to this store.
    pub fn is_continued(&self) -> bool {
        self.0.continued
    }

    /// Whether no record has been committed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of records the last published checkpoint covers.
    pub fn published(&self) -> u64 {
        self.0.handles.published.load(Ordering::Acquire)
    }

    /// The code, used or not, until it is swept after its expiry.
    ///
    /// # Errors
    /// When the database cannot be read, or a row in it.
    pub async fn code(&self, hash: KeyedHash) -> Result<Option<StoredCode>, ReadError> {
        let vault = self.0.vault.clone();
        self.0.readers.read(move |reader| reads::code(reader, &hash, &vault)).await
    }

    /// The refresh token, current or not.
    ///
    /// # Errors
    /// When the database cannot be read, or a row in it.
    pub async fn refresh(&self, hash: KeyedHash) -> Result<Option<StoredRefresh>, ReadError> {
        let vault = self.0.vault.clone();
        self.0.readers.read(move |reader| reads::refresh(reader, &hash, &vault)).await
    }

    /// What a person's identity provider can be asked with.
    ///
    /// # Errors
    /// When the database cannot be read, or a row in it.
    pub async fn provider_session(&self, human: &str) -> Result<Option<StoredProviderSession>, ReadError> {
        let (human, vault) = (human.to_owned(), self.0.vault.clone());
        self.0.readers.read(move |reader| reads::provider_session(reader, &human, &vault)).await
    }

    /// Every one that has not ended at `now`, each with whether something that its person handed out can still act.
    ///
    /// # Errors
    /// When the database cannot be read, or a row in it.
    pub async fn provider_sessions(&self, now: UnixTime) -> Result<Vec<(StoredProviderSession, bool)>, ReadError> {
        let vault = self.0.vault.clone();
        self.0.readers.read(move |reader| reads::provider_sessions(reader, now, &vault)).await
    }

    /// The token as it was issued, until it is swept after its expiry or its origin is erased. Whether it was revoked since
    /// is for the snapshot to say.
    ///
    /// # Errors
    /// When the database cannot be read, or a row in it.
    pub async fn token(&self, jti: &str) -> Result<Option<Arc<StoredToken>>, ReadError> {
        let recent = &self.0.handles.tokens;
        if let Some(known) = recent.get(jti) {
            return Ok(Some(known));
        }
        let (jti, vault) = (jti.to_owned(), self.0.vault.clone());
        let found = self.0.readers.read(move |reader| reads::token(reader, &jti, &vault)).await?.map(Arc::new);
        if let Some(token) = &found {
            recent.put(token, || self.snapshot());
        }
        Ok(found)
    }

    /// As [`token`](Self::token) for each of these, in their order; what is not remembered is read at once.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tokens(&self, jtis: &[String]) -> Result<Vec<Option<Arc<StoredToken>>>, ReadError> {
        let recent = &self.0.handles.tokens;
        let mut found: Vec<Option<Arc<StoredToken>>> = jtis.iter().map(|jti| recent.get(jti)).collect();
        let missing: Vec<String> =
            jtis.iter().zip(&found).filter(|(_, known)| known.is_none()).map(|(jti, _)| jti.clone()).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let vault = self.0.vault.clone();
        let read = self.0.readers.read(move |reader| reads::tokens(reader, &missing, &vault)).await?;
        for token in read.into_iter().map(Arc::new) {
            recent.put(&token, || self.snapshot());
            if let Some((_, place)) = jtis.iter().zip(&mut found).find(|(jti, _)| **jti == token.jti) {
                *place = Some(token);
            }
        }
        Ok(found)
    }

    /// Whether this identifier was used, as far as the commits up to now say.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn was_used(&self, kind: JtiKind, key: &str) -> Result<bool, ReadError> {
        let key = key.to_owned();
        self.0.readers.read(move |reader| Ok(reader.was_used(kind, &key)?)).await
    }

    /// What has been counted under a budget key.
    ///
    /// # Errors
    /// When the database cannot be read, or a row in it.
    pub async fn spent(&self, key: &str) -> Result<i64, ReadError> {
        let key = key.to_owned();
        self.0.readers.read(move |reader| Ok(reader.spent(&key)?)).await
    }

    ///
    /// # Errors
    /// When the database cannot be read, or a row in it.
    pub async fn record(&self, index: u64) -> Result<Option<StoredRecord>, ReadError> {
        let found = self.records(index, 1).await?;
        Ok(found.into_iter().find(|record| record.index == index))
    }

    ///
    /// # Errors
    /// When the database cannot be read, or a row in it.
    pub async fn record_by_id(&self, record_id: &str) -> Result<Option<StoredRecord>, ReadError> {
        let (id, vault) = (record_id.to_owned(), self.0.vault.clone());
        self.0.readers.read(move |reader| reads::record_by_id(reader, &id, &vault)).await
    }

    /// Records `from..from + limit`, as far as they exist; at most 1,000 at a time.
    ///
    /// # Errors
    /// When the database cannot be read, or a row in it.
    pub async fn records(&self, from: u64, limit: u32) -> Result<Vec<StoredRecord>, ReadError> {
        let vault = self.0.vault.clone();
        self.0.readers.read(move |reader| reads::records(reader, from, limit, &vault)).await
    }

    /// Bytes pinned by `PutObject`, by the hex SHA-256.
    ///
    /// # Errors
    /// When the database cannot be read, or a row in it.
    pub async fn object(&self, sha256_hex: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let name = sha256_hex.to_owned();
        self.0.readers.read(move |reader| Ok(reader.object(&name)?)).await
    }

    /// Publishes everything committed so far now: entries, tiles, side values, a signed checkpoint.
    ///
    /// # Errors
    /// The ledger directory cannot be written or is not a prefix of the database any more; commits go on.
    pub async fn publish(&self) -> Result<(), StoreError> {
        self.order(PublisherCommand::Now).await
    }

    /// Destroys the values whose time has come, as the background does by itself; gives back for how many records.
    ///
    /// # Errors
    /// The database or the ledger directory cannot be written. What was begun is done again by the next step.
    pub async fn retain(&self) -> Result<usize, StoreError> {
        let (answer, result) = oneshot::channel();
        self.hand_over(PublisherCommand::Retain(answer)).await?;
        result.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Writes the stop record and the final checkpoint, and stops both threads. Later calls answer `Unavailable`.
    ///
    /// # Errors
    /// The stop record or the last checkpoint could not be written.
    pub async fn close(&self) -> Result<(), StoreError> {
        let stop = Draft::stop(self.0.tenant.clone(), PRODUCER);
        let batch = Batch::new(self.0.tenant.clone()).note().record(stop);
        let stopped = self.submit(|answer| Command::Stop(batch, answer)).await;
        let published = self.order(PublisherCommand::Stop).await;
        let _ = self.0.queue.send(Command::End).await;
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            return Ok(());
        }
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok())).await;
        if !joined.unwrap_or(false) {
            tracing::error!("a thread of the store did not end well");
        }
        stopped.map_err(StoreError::Stop)?;
        published
    }

    async fn submit(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<Applied, ApplyError>>) -> Command,
    ) -> Result<Applied, ApplyError> {
        let (answer, result) = oneshot::channel();
        match self.0.queue.try_reserve() {
            Ok(place) => place.send(job(answer)),
            Err(_) => match tokio::time::timeout(self.0.queue_wait, self.0.queue.reserve()).await {
                Ok(Ok(place)) => place.send(job(answer)),
                Ok(Err(_)) => return Err(closed()),
                Err(_) => return Err(ApplyError::Unavailable(Outage::Busy)),
            },
        }
        result.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn order(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> PublisherCommand,
    ) -> Result<(), StoreError> {
        let (answer, result) = oneshot::channel();
        self.hand_over(order(answer)).await?;
        result.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Hands an order to the publisher; waits beside the runtime when too many others wait.
    async fn hand_over(&self, order: PublisherCommand) -> Result<(), StoreError> {
        match self.0.orders.try_send(order) {
            Ok(()) => Ok(()),
            Err(blocking::TrySendError::Disconnected(_)) => Err(StoreError::Closed),
            Err(blocking::TrySendError::Full(order)) => {
                let orders = self.0.orders.clone();
                let sent = tokio::task::spawn_blocking(move || orders.send(order)).await;
                sent.is_ok_and(|sent| sent.is_ok()).then_some(()).ok_or(StoreError::Closed)
            }
        }
    }

    #[cfg(test)]
    async fn limit_growth(&self, pages: i64) {
        let (answer, done) = oneshot::channel();
        self.0.queue.send(Command::LimitGrowth(pages, answer)).await.unwrap();
        done.await.unwrap();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("tenant", &self.0.tenant).field("records", &self.len()).finish_non_exhaustive()
    }
}

/// [`Store::keyed_hash`] for when no store is open yet.
pub fn keyed_hash(pepper: &Secret, purpose: &str, secret: &[u8]) -> KeyedHash {
    keyed(&hmac::Key::new(hmac::HMAC_SHA256, pepper.expose()), purpose, secret)
}

fn keyed(pepper: &hmac::Key, purpose: &str, secret: &[u8]) -> KeyedHash {
    let mut context = hmac::Context::with_key(pepper);
    context.update(b"remit keyed hash\0");
    context.update(purpose.as_bytes());
    context.update(b"\0");
    context.update(secret);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.sign().as_ref());
    hash
}

/// The start and stop records belong to the process; they are written in the name of its token service.
const PRODUCER: ProducerKind = ProducerKind::AuthzServer;

fn sealer(config: &Config, pepper: Pepper, last: Option<&Record>) -> Result<Sealer, StoreError> {
    let identity = Identity {
        producer_id: config.producer_id.clone(),
        version: config.version.clone(),
        build_digest: config.build_digest.clone(),
        env: Environment::Prod,
    };
    let key = RecordKey::from_seed(config.record_key.expose()).map_err(StoreError::ledger)?;
    Ok(Sealer::new(identity, key, pepper, last))
}

/// The start record, and the issuer's keys as they are from the start on.
fn start(config: &Config, world: &Snapshot, key: &RecordKey, vkey: &str) -> Result<Batch, StoreError> {
    let now = config.clock.unix();
    let at_hand = config.issuer_jwks.get("keys").and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice);
    let changes = world.issuer_keys().at_start(at_hand, now).ok_or(StoreError::IssuerKeyRevoked)?;
    let keys = changes.iter().cloned().fold(world.issuer_keys().clone(), |keys, key| keys.with(key)).facts(now);
    let every = serde_json::json!({"every_ns": config.heartbeat.as_nanos().to_string()});
    let mut draft =
        Draft::start(config.tenant.clone(), PRODUCER, &key.jwk(), vkey, keys.get("issuer").unwrap_or(&serde_json::Value::Null))
            .ext("heartbeat", every);
    let until = keys.get("issuer_until").cloned();
    if let (Some(members), Some(until)) = (draft.ext.get_mut("keys").and_then(serde_json::Value::as_object_mut), until) {
        members.insert("issuer_until".to_owned(), until);
    }
    let batch = Batch::new(config.tenant.clone()).record(draft);
    // What only notes the start is written as long as anything can be written.
    let batch = if changes.is_empty() { batch.note() } else { batch };
    Ok(changes.into_iter().map(Change::PutIssuerKey).fold(batch, Batch::change))
}

/// The first records: the start, the ends of sessions that the last process left open, erasures that it left half-way.
fn begin(writer: &mut Writer, start: Batch) -> Result<(), StoreError> {
    let tenant = start.tenant.clone();
    writer.single(start).map_err(StoreError::Start)?;
    writer.close_sessions(Left::Crash);
    for batch in recovery::unfinished_erasures(&writer.group.db, &tenant)? {
        writer.single(batch).map_err(StoreError::Start)?;
    }
    Ok(())
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(StoreError::io(name))
}

fn closed() -> ApplyError {
    ApplyError::Unavailable(Outage::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::{JtiKind, Revocation},
        config::Secret,
    };
    use remit_clock::Entropy;
    use remit_ledger::{Trust, record::RecordType, verify};
    use remit_model::time::{Moment, UnixTime};

    fn config(dir: &Path) -> Config {
        Config {
            data_dir: dir.join("data"),
            ledger_dir: dir.join("ledger"),
            tenant: TenantId::main(),
            producer_id: "spiffe://remit.test/main/store".to_owned(),
            version: "0.0.0".to_owned(),
            build_digest: format!("sha-256:{}", "0".repeat(64)),
            record_key: Secret::new([1; 32]),
            log_origin: "remit.test/main".to_owned(),
            log_key: Secret::new([2; 32]),
            pepper: Secret::new([3; 32]),
            vault: Secret::new([4; 32]),
            retention: Config::retention(),
            issuer_jwks: serde_json::json!({ "keys": [] }),
            clock: Clock::manual(Moment::at(1_800_000_000)),
            entropy: Entropy::seeded(1),
            publish_every: Config::PUBLISH_EVERY,
            queue: Config::QUEUE,
            queue_wait: Config::QUEUE_WAIT,
            heartbeat: Config::HEARTBEAT,
            spool_bytes: 64 << 10,
        }
    }

    fn fact(n: u32) -> Batch {
        let jti = format!("jti-{n}");
        Batch::new(TenantId::main())
            .once(JtiKind::Other, jti.clone(), UnixTime(1_800_000_060))
            .change(Change::Revoke { what: Revocation::Jti(jti), until: UnixTime(1_800_000_060) })
            .record(Draft::new(TenantId::main(), PRODUCER, RecordType::Token))
    }

    #[tokio::test]
    async fn a_full_disk_refuses_whole_batches_and_recovery_keeps_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(config(dir.path())).unwrap();
        store.limit_growth(4).await;
        let (mut n, mut before) = (0, store.len());
        let refused = loop {
            match store.apply(fact(n)).await {
                Ok(applied) => before = applied.receipts[0].index + 1,
                Err(error) => break error,
            }
            n += 1;
        };
        assert!(matches!(&refused, ApplyError::Unavailable(Outage::Disk(failure)) if failure.is_full()), "{refused}");
        assert!(matches!(store.apply(fact(n)).await, Err(ApplyError::Unavailable(_))), "still full");
        let jti = format!("jti-{n}");
        assert_eq!(store.len(), before, "nothing half-done: no record,");
        assert!(!store.snapshot().is_revoked(&jti, [], "-"), "no revocation,");
        assert_eq!(store.stats().failures, 2);
        assert_eq!(store.outage().map(|outage| outage.code()), Some(Code::LedgerFull));

        store.limit_growth(100_000).await;
        let applied = store.apply(fact(n)).await.expect("and no jti remembered");
        assert_eq!(applied.receipts[0].index, before + 2, "after the records that the outage began and is over");
        assert!(store.snapshot().is_revoked(&jti, [], "-"));
        store.close().await.unwrap();
        let report = verify(&dir.path().join("ledger"), &Trust::default());
        assert!(report.ok(), "{report}");
    }
}
