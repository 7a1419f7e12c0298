//! Hot reload of the policy folder: a changed set is parsed and validated whole, and replaces the old one only if it is
//! good. The last good set stays otherwise, and its age and the error stay visible.

use anyhow::{Context as _, Result};
use remit_policy::{Bundle, Live, PolicyError};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Largest policy file, in bytes, and most files of a folder.
const FILE_LIMIT: u64 = 1 << 20;
const FILES_LIMIT: usize = 4096;

/// Reads every `*.cedar` file of a folder, sorted by name.
pub(crate) fn files(dir: &Path) -> Result<Vec<(String, String)>> {
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
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    paths
        .iter()
        .map(|path| Ok((name(path), fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?)))
        .collect()
}

/// Reads and validates the folder's policies.
///
/// # Errors
/// Every mistake with its file and line.
pub(crate) fn read(dir: &Path) -> Result<Bundle> {
    Bundle::parse(&files(dir)?).map_err(|errors| anyhow::anyhow!("{}", listed(&errors)))
}

/// Watches the folder until the task is dropped; `changed` is told of each new set before it decides anything.
pub(crate) async fn watch<F, Told>(dir: PathBuf, live: Arc<Live>, clock: remit_store::rim::Clock, changed: F)
where
    F: Fn(Bundle) -> Told,
    Told: Future<Output = Result<Bundle>>,
{
    let mut seen = files(&dir).unwrap_or_default();
    let refuse = |message: String| {
        let error = PolicyError { file: dir.display().to_string(), line: 0, message };
        live.replace(Err(vec![error]), clock.unix());
    };
    loop {
        tokio::time::sleep(EVERY).await;
        let now = match files(&dir) {
            Ok(now) if now == seen => continue,
            Ok(now) => now,
            Err(error) => {
                refuse(format!("{error:#}"));
                continue;
            }
        };
        match Bundle::parse(&now) {
            Ok(bundle) => match changed(bundle).await {
                Ok(bundle) => {
                    tracing::info!(digest = bundle.digest(), "policies reloaded");
                    live.replace(Ok(bundle), clock.unix());
                }
                Err(error) => {
                    // Nothing may decide that is not recorded, so this set is tried again at the next look.
                    tracing::error!("the new policies are not in force: {error:#}");
                    refuse(format!("{error:#}"));
                    continue;
                }
            },
            Err(errors) => {
                tracing::error!("the changed policies have mistakes; the last good ones stay in force:\n{}", listed(&errors));
                live.replace(Err(errors), clock.unix());
            }
        }
        seen = now;
    }
}

fn listed(errors: &[PolicyError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
