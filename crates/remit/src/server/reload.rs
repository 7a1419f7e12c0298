//! Hot reload of the policy folder: a changed set is parsed and validated whole, and replaces the old one only if it is
//! good. The last good set stays otherwise, and its age and the error stay visible.

use crate::bounded_read;
use anyhow::{Context as _, Result};
use remit_policy::{Bundle, Known, Live, PolicyError};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// How long a set that could not be recorded waits before it is read and validated again.
const RETRY: Duration = Duration::from_secs(5);
/// So many looks long the files are read after the folder changed, and then no more: a second change within the same tick
/// of the file system's clock shows in no time stamp, and some clocks tick every two seconds.
const RESTLESS: u32 = 6;
/// Largest policy file, in bytes, and most files of a folder.
const FILE_LIMIT: u64 = 1 << 20;
const FILES_LIMIT: usize = 4096;

/// Reads every `*.cedar` file of a folder, sorted by name.
pub(crate) fn files(dir: &Path) -> Result<Vec<(String, String)>> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    paths(dir)?
        .iter()
        .map(|path| {
            let bytes = bounded_read::read(path, usize::try_from(FILE_LIMIT)?)?;
            Ok((name(path), String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", path.display()))?))
        })
        .collect()
}

fn paths(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read the policy folder {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cedar") {
            anyhow::ensure!(fs::metadata(&path)?.len() <= FILE_LIMIT, "{} is over {FILE_LIMIT} bytes", path.display());
            paths.push(path);
        }
        anyhow::ensure!(paths.len() <= FILES_LIMIT, "{} holds over {FILES_LIMIT} policy files", dir.display());
    }
    paths.sort();
    Ok(paths)
}

/// Reads and validates the folder's policies.
///
/// # Errors
/// Every mistake with its file and line.
pub(crate) fn read(dir: &Path, known: &Known) -> Result<Bundle> {
    Bundle::parse_knowing(&files(dir)?, known).map_err(|errors| anyhow::anyhow!("{}", listed(&errors)))
}

/// What a folder looks like from outside, by file: a file that was written to has another length, time or inode.
type Look = Vec<(PathBuf, u64, [i64; 4], u64)>;

fn look(dir: &Path) -> Result<Look> {
    let mut look = Look::new();
    for path in paths(dir)? {
        let meta = fs::metadata(&path)?;
        look.push((path, meta.len(), [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()], meta.ino()));
    }
    Ok(look)
}

/// The folder as the watch last saw it.
#[derive(Default)]
struct Seen {
    look: Look,
    /// Looks for which the files are still read although nothing seems to have changed.
    restless: u32,
    /// Digest of what was last tried, whether it was taken or refused.
    tried: Option<[u8; 32]>,
}

impl Seen {
    /// Whether the files should be read: the folder changed, or did so a moment ago.
    fn is_restless(&mut self, now: Look) -> bool {
        if now == self.look {
            self.restless = self.restless.saturating_sub(1);
        } else {
            (self.look, self.restless) = (now, RESTLESS);
        }
        self.restless > 0
    }
}

/// Reads the folder and, unless it holds what was last `tried`, validates what is not in force already.
fn read_again(dir: &Path, tried: Option<[u8; 32]>, live: &Live) -> Result<Option<([u8; 32], Checked)>> {
    let files = files(dir)?;
    let digest = remit_model::json::sha256(&serde_json::to_vec(&files)?);
    if tried == Some(digest) {
        return Ok(None);
    }
    Ok(Some((digest, Bundle::parse_knowing(&files, &live.current().to_known()))))
}

type Checked = Result<Bundle, Vec<PolicyError>>;

/// Watches the folder until the task is dropped; `changed` is told of each new set before it decides anything.
pub(crate) async fn watch<F, Told>(dir: PathBuf, live: Arc<Live>, clock: remit_clock::Clock, changed: F)
where
    F: Fn(Bundle) -> Told,
    Told: Future<Output = Result<Bundle>>,
{
    let mut seen = Seen::default();
    loop {
        tokio::time::sleep(EVERY).await;
        if look(&dir).is_ok_and(|now| !seen.is_restless(now)) {
            continue;
        }
        // Off the threads that serve: a large set takes its time.
        let (folder, tried, current) = (dir.clone(), seen.tried, Arc::clone(&live));
        let read = tokio::task::spawn_blocking(move || read_again(&folder, tried, &current)).await;
        let refuse = |message: String| {
            let error = PolicyError { file: dir.display().to_string(), line: 0, message };
            live.replace(Err(vec![error]), clock.unix());
        };
        match read.map_err(anyhow::Error::from).flatten() {
            Ok(None) => {}
            Ok(Some((digest, checked))) => {
                if let Err(error) = put(checked, &live, &clock, &changed).await {
                    // Nothing may decide that is not recorded, so this set is tried again, but not in a loop that takes a core.
                    tracing::error!("the new policies are not in force: {error:#}");
                    refuse(format!("{error:#}"));
                    seen = Seen::default();
                    tokio::time::sleep(RETRY).await;
                } else {
                    seen.tried = Some(digest);
                }
            }
            Err(error) => {
                refuse(format!("{error:#}"));
                seen = Seen::default();
            }
        }
    }
}

/// Puts a checked set in force, or says what is wrong with it.
///
/// # Errors
/// It could not be recorded.
async fn put<F, Told>(checked: Checked, live: &Live, clock: &remit_clock::Clock, changed: &F) -> Result<()>
where
    F: Fn(Bundle) -> Told,
    Told: Future<Output = Result<Bundle>>,
{
    match checked {
        // What is in force is recorded already.
        Ok(bundle) if bundle.digest() == live.status().digest => {
            live.replace(Ok(bundle), clock.unix());
        }
        Ok(bundle) => {
            let bundle = changed(bundle).await?;
            tracing::info!(digest = bundle.digest(), "policies reloaded");
            live.replace(Ok(bundle), clock.unix());
        }
        Err(errors) => {
            tracing::error!("the changed policies have mistakes; the last good ones stay in force:\n{}", listed(&errors));
            live.replace(Err(errors), clock.unix());
        }
    }
    Ok(())
}

fn listed(errors: &[PolicyError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
