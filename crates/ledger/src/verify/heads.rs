//! The log's head against what others say of it: its witnesses, a head seen earlier, another copy.

use super::{Against, Report, Trust};
use crate::{
    checkpoint::Checkpoint,
    compare::{Agreement, compare},
    dir::Reader,
    note::VerifyingKey,
    policy::Policy,
    tree::Frontier,
};
use std::path::Path;

/// Clocks of two parties may differ by so many seconds before a cosignature's time is not believed.
const LEEWAY_S: u64 = 300;

/// Heads that this log must extend; compared while its entries go by.
#[derive(Default)]
pub(super) struct Heads(Vec<Head>);

struct Head {
    check: &'static str,
    checkpoint: Checkpoint,
    note: Vec<u8>,
}

impl Heads {
    /// What the verifier brought, as far as it is signed by this log's key.
    pub(super) fn of(reader: &Reader, trust: &Trust, key: &VerifyingKey, report: &mut Report) -> Self {
        let mut heads = Self::default();
        if let Some(note) = &trust.earlier {
            heads.add("extension", note, key, reader, report);
        }
        match &trust.against {
            Some(Against::Note(note)) => heads.add("against", note, key, reader, report),
            Some(Against::Folder(dir)) => against_folder(dir, key, reader, report),
            None => {}
        }
        heads
    }

    fn add(&mut self, check: &'static str, note: &[u8], key: &VerifyingKey, reader: &Reader, report: &mut Report) {
        match Checkpoint::open(note, key) {
            Err(error) => report.fail(check, None, format!("the other checkpoint is not one of this log: {error}")),
            Ok(other) if other.size > reader.len() && check == "extension" => {
                let detail = format!("the log had {} entries before and has {} now", other.size, reader.len());
                report.fail(check, Some(reader.len()), detail);
            }
            Ok(other) if other.size > reader.len() => {
                let detail = format!(
                    "the other head has {} entries, this copy {}: bring the other folder, or verify that one against this checkpoint",
                    other.size,
                    reader.len()
                );
                report.fail(check, None, detail);
            }
            Ok(checkpoint) => self.0.push(Head { check, checkpoint, note: note.to_vec() }),
        }
    }

    /// Compares the heads that end where the entries read so far end.
    pub(super) fn compare(&self, reader: &Reader, frontier: &Frontier, report: &mut Report) {
        for head in self.0.iter().filter(|head| head.checkpoint.size == frontier.size()) {
            if head.checkpoint.root == frontier.root() {
                report.pass(head.check);
                continue;
            }
            let size = head.checkpoint.size;
            let detail = format!("the first {size} entries are not those of the other checkpoint: one of them differs");
            report.fail(head.check, None, detail);
            evidence(&head.note, reader, report);
        }
    }
}

/// A second copy: of the two logs, one must extend the other. SPEC: LG-17.
fn against_folder(dir: &Path, key: &VerifyingKey, reader: &Reader, report: &mut Report) {
    let other = match Reader::open(dir) {
        Ok(other) => other,
        Err(error) => return report.fail("against", None, format!("{}: {error}", dir.display())),
    };
    if let Err(error) = Checkpoint::open(other.checkpoint_note(), key) {
        return report.fail("against", None, format!("{} is not a copy of this log: {error}", dir.display()));
    }
    match compare(reader, &other) {
        Ok(Agreement::Same { size }) => report.pass_with("against", format!("the first {size} entries are the same")),
        Ok(Agreement::Parted { index }) => {
            let detail = "the first record that differs between two signed copies of this log";
            report.fail("against", Some(index), detail);
            evidence(other.checkpoint_note(), reader, report);
        }
        Err(error) => report.fail("against", None, error),
    }
}

fn evidence(other: &[u8], reader: &Reader, report: &mut Report) {
    for note in [reader.checkpoint_note(), other] {
        report.evidence.push(String::from_utf8_lossy(note).into_owned());
    }
}

/// The cosignatures of the checkpoint: each under its witness's key, at a time that can be, and together a quorum.
/// SPEC: LG-18, LG-22, N-LG-13.
pub(super) fn quorum(reader: &Reader, policy: &Policy, now: Option<u64>, report: &mut Report) {
    // A witness cannot have cosigned a record before it was made.
    let last = reader.len().checked_sub(1).and_then(|last| reader.record(last).ok());
    let newest = last.map_or(0, |record| record.wall_ns() / 1_000_000_000);
    let plausible = |at: u64| {
        if now.is_some_and(|now| at > now.saturating_add(LEEWAY_S)) {
            return Err(format!("its time {at} is in the future"));
        }
        if at.saturating_add(LEEWAY_S) < newest {
            return Err(format!("its time {at} is before the newest record's, {newest}"));
        }
        Ok(())
    };
    let judgement = match policy.judge(reader.checkpoint_note(), plausible) {
        Ok(judgement) => judgement,
        Err(error) => return report.fail("witnesses", None, error),
    };
    for (name, why) in &judgement.set_aside {
        report.note(format!("the cosignature of {name} is not counted: {why}"));
    }
    let names: Vec<&str> = judgement.cosigned.iter().map(|(name, _)| name.as_str()).collect();
    let by = if names.is_empty() { "no witness".to_owned() } else { names.join(", ") };
    if judgement.quorum {
        report.pass_with("witnesses", format!("the checkpoint is cosigned by {by}"));
    } else {
        report.fail("witnesses", None, format!("no quorum: the checkpoint is cosigned by {by}"));
    }
}
