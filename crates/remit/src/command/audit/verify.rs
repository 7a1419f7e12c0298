//! `remit audit verify`: the log, the chain of custody, and every decision, from a folder alone.

use super::{keys::at_hand, replay::replay_lines, source::say};
use crate::{bounded_read, config::witnesses, stdout::print_json};
use anyhow::Result;
use clap::Args;
use remit_clock::Ambient;
use remit_insight::{CustodyReport, PINNED_LIMIT, PinnedKeys, ReplayReport, custody_with, replay};
use remit_ledger::{Against, Keyring, Reader, Report, Trust, note::NOTE_LIMIT, verify, verify::verify_log};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Args)]
pub(crate) struct Verify {
    /// The ledger folder
    dir: PathBuf,
    /// The log's verifier key (C2SP vkey), from a source you trust
    #[arg(long, value_name = "VKEY")]
    vkey: Option<String>,
    /// Read sealed values with the keys of this disclosure file (default: the configuration's own, for its own ledger)
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Configuration file, read only to find its own keys
    #[arg(short, long, default_value = "remit.yaml", value_name = "FILE")]
    config: PathBuf,
    /// Require the witnesses of this C2SP tlog-policy file to have cosigned the checkpoint
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Keys of identity providers and other issuers, from a source you trust: a JSON object of issuers, each with its JWK set.
    /// Evidence by any other key fails
    #[arg(long, value_name = "FILE")]
    pinned_keys: Option<PathBuf>,
    /// A checkpoint of this log seen before: the log must extend it
    #[arg(long, value_name = "NOTE")]
    earlier: Option<PathBuf>,
    /// Another party's copy of this log, a checkpoint or a folder: one must extend the other
    #[arg(long, value_name = "NOTE|DIR")]
    against: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Verify, ambient: &Ambient) -> Result<bool> {
    let keys = at_hand(&args.dir, args.keys.as_deref(), &args.config)?;
    let proof = prove_with(&args.dir, &trust(args, ambient)?, keys, pinned(args)?.as_ref());
    if args.json {
        print_json(&proof.to_value())?;
    } else {
        say(&proof.lines());
    }
    Ok(proof.holds())
}

/// What the command line brings to judge the log by.
fn trust(args: &Verify, ambient: &Ambient) -> Result<Trust> {
    let against = match &args.against {
        Some(dir) if dir.is_dir() => Some(Against::Folder(dir.clone())),
        Some(file) => Some(Against::Note(bounded_read::read(file, NOTE_LIMIT)?)),
        None => None,
    };
    Ok(Trust {
        vkey: args.vkey.clone(),
        earlier: args.earlier.as_deref().map(|file| bounded_read::read(file, NOTE_LIMIT)).transpose()?,
        policy: args.policy.as_deref().map(witnesses::read).transpose()?,
        now: u64::try_from(ambient.clock.unix().0).ok(),
        against,
    })
}

/// The keys of other issuers that the command line brings.
fn pinned(args: &Verify) -> Result<Option<PinnedKeys>> {
    let Some(path) = &args.pinned_keys else { return Ok(None) };
    let file = bounded_read::read(path, PINNED_LIMIT)?;
    let keys = PinnedKeys::parse(&file).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
    Ok(Some(keys))
}

/// Everything that can be said about a ledger folder from itself.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) log: Report,
    pub(crate) custody: Option<CustodyReport>,
    pub(crate) replay: Option<ReplayReport>,
}

/// Verifies a folder: the log, then the chain of custody, then every decision.
pub(crate) fn prove(dir: &Path, trust: &Trust, keys: Option<Keyring>) -> Proof {
    prove_with(dir, trust, keys, None)
}

/// The same, and the keys of other issuers have to be among those that are pinned.
fn prove_with(dir: &Path, trust: &Trust, keys: Option<Keyring>, pinned: Option<&PinnedKeys>) -> Proof {
    let reader = Reader::open(dir).ok().map(|reader| match keys {
        Some(keys) => reader.with_keys(keys),
        None => reader,
    });
    // A log that cannot be opened has no custody to check; the report already says why.
    let log = reader.as_ref().map_or_else(|| verify(dir, trust), |reader| verify_log(reader, trust));
    Proof { custody: reader.as_ref().map(|reader| custody_with(reader, pinned)), replay: reader.as_ref().map(replay), log }
}

impl Proof {
    pub(crate) fn holds(&self) -> bool {
        self.log.ok()
            && self.custody.as_ref().is_some_and(CustodyReport::ok)
            && self.replay.as_ref().is_some_and(ReplayReport::ok)
    }

    pub(crate) fn to_value(&self) -> Value {
        json!({"ok": self.holds(), "disclosed": self.custody.as_ref().is_some_and(|report| report.undisclosed == 0) && self.replay.as_ref().is_some_and(|report| report.undisclosed == 0), "log": self.log, "custody": self.custody, "replay": self.replay})
    }

    /// One line for each check that holds or fails, then what is worth knowing.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for check in &self.log.checks {
            let place = check.index.map(|index| format!(" at record {index}")).unwrap_or_default();
            lines.push(format!("{} {}{place}: {}", if check.ok { "ok  " } else { "FAIL" }, check.name, check.detail));
        }
        if let Some(custody) = &self.custody {
            lines.extend(custody_lines(custody));
        }
        if let Some(replay) = &self.replay {
            lines.extend(replay_lines(replay));
        }
        if !self.log.unknown_outcomes.is_empty() {
            lines.push(format!(
                "note an intent has no effect record, so its outcome is unknown: records {:?}",
                self.log.unknown_outcomes
            ));
        }
        for (at, head) in self.log.evidence.iter().enumerate() {
            lines.push(format!("evidence {}: a signed head that excludes the other", at + 1));
            lines.extend(head.trim_end().lines().map(str::to_owned));
        }
        lines.extend(self.log.notes.iter().map(|note| format!("note {note}")));
        if !self.log.independent {
            lines.push("note the log's key was taken from the log itself: this shows that it is whole, not whose it is; give --vkey from a source you trust".to_owned());
        }
        let root = self.log.root.map(|root| format!(", root {root}")).unwrap_or_default();
        let hidden = self.custody.as_ref().map_or(0, |report| report.undisclosed)
            + self.replay.as_ref().map_or(0, |report| report.undisclosed);
        let verdict = match (self.holds(), hidden) {
            (true, 0) => "VERIFIED",
            (true, _) => "VERIFIED as far as this copy discloses (see the undisclosed custody and decisions above)",
            (false, _) => "NOT VERIFIED",
        };
        lines.push(format!("{verdict}: {} records{root}", self.log.records));
        lines
    }
}

fn custody_lines(report: &CustodyReport) -> Vec<String> {
    let mut lines: Vec<String> =
        report.failures.iter().map(|failure| format!("FAIL custody at record {}: {}", failure.index, failure.detail)).collect();
    lines.push(format!(
        "{} custody: {} chains, {} hops re-checked by the delegators' signatures, {} roots signed with a passkey, {} undisclosed",
        if report.ok() { "ok  " } else { "FAIL" },
        report.chains,
        report.hops,
        report.signed_roots,
        report.undisclosed
    ));
    lines.extend(report.root_lines());
    lines.extend(report.notes.iter().map(|(note, count)| format!("note {note} ({count} hops)")));
    lines
}
