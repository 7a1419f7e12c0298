//! Retention: destroys values past their period. Their records stay, and every proof holds. SPEC: LG-11.
//!
//! Crash points: after the record nothing else may have happened yet; after the rows are closed the files may still hold
//! sealed values. Either way the rows keep their `until_s`, and the next step does it all again.

use super::publisher::{Publisher, WriterHandle};
use crate::{
    commit::command::{Command, DueValues, SideBodies},
    config::StoreError,
    db::group::Task,
};
use remit_ledger::Side;
use remit_model::time::UnixTime;

/// Records whose values one step destroys at most.
const STEP: u32 = 256;

impl Publisher {
    /// One step; gives back how many records lost their values. Blocks; runs on the publisher's thread.
    pub(crate) fn retain(&mut self, writer: &WriterHandle) -> Result<usize, StoreError> {
        if self.ledger.is_none() {
            // The directory could not be written a moment ago: nothing is announced that cannot be done.
            return Ok(0);
        }
        let now = self.clock.unix();
        let due = self.due(now)?;
        if due.is_empty() {
            return Ok(0);
        }
        // One command for all of it: no hold can come between the last look at the holds and the destruction.
        let closed = writer.ask(|answer| Command::DestroyValues { due, now, answer })?;
        if closed.is_empty() {
            return Ok(0);
        }
        // CRASH: the rows are closed and the files may still hold sealed values. The rows are due again at the next step.
        let count = closed.len();
        self.rewrite(&closed)?;
        writer.aside(Task::SidesDone(closed.into_keys().collect()))?;
        if let Err(error) = writer.ask(Command::Compact) {
            tracing::warn!(%error, "the database's write-ahead log could not be emptied after values were destroyed");
        }
        Ok(count)
    }

    /// What is due.
    fn due(&self, now: UnixTime) -> Result<Vec<DueValues>, StoreError> {
        let mut due = Vec::new();
        for (index, body) in self.reader.due_sides(now, STEP)? {
            let mut side = Side::parse(&body).map_err(|error| StoreError::Corrupt(format!("side {index}: {error}")))?;
            let owners = self.vault.owners(side.key_ids())?;
            side.close();
            due.push(DueValues { index, owners, closed: side.to_bytes() });
        }
        Ok(due)
    }

    /// The files of what is published already; the rest is published closed.
    fn rewrite(&mut self, due: &SideBodies) -> Result<(), StoreError> {
        let Some(ledger) = &mut self.ledger else { return Err(StoreError::ledger("the directory is not open")) };
        let size = ledger.size();
        let published: SideBodies = due.range(..size).map(|(index, body)| (*index, body.clone())).collect();
        ledger.replace_sides(&published).map_err(StoreError::ledger)
    }
}
