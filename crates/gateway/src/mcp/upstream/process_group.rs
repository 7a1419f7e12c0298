//! Stdio servers as process groups: started in a group of their own and ended whole.
//!
//! A launcher (`npx`, `sh -c`, `uvx`) is the parent of the server that it starts, so ending the launcher alone leaves the
//! server running. SPEC: MCP "stdio", shutdown: close standard input, then SIGTERM, then SIGKILL; here each step is taken
//! for the whole group. A process that leaves its group on purpose (`setsid`) is not followed.

use super::{guard::Guard, message::LinkFailure};
use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid},
};
use std::{
    io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

/// Most process groups at once, over all stdio servers, those that are ending included.
pub(crate) const GROUPS: usize = 2_048;
/// How long a group may take to end by itself after its standard input was closed.
const EOF_GRACE: Duration = Duration::from_secs(2);
/// How long a group may take to end after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// First and longest pause between two looks at a group that is ending.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// Starts process groups, counts them, and has a guard end them when this process dies.
#[derive(Clone, Debug)]
pub(crate) struct ProcessGroups {
    room: Arc<Semaphore>,
    guard: Option<Arc<Guard>>,
}

impl ProcessGroups {
    /// `guard` is the program that is run as the guard, with the argument `guard`. Without one, a crash of this process
    /// leaves the groups to notice the end of their standard input.
    pub(crate) fn new(guard: Option<PathBuf>) -> Self {
        let guard = guard.map(|program| Arc::new(Guard::new(program)));
        Self { room: Arc::new(Semaphore::new(GROUPS)), guard }
    }

    /// Starts a program in a process group of its own, with pipes for all three standard streams.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<(ProcessGroup, Pipes), LinkFailure> {
        let cannot = |error: &io::Error| LinkFailure::Unavailable(format!("cannot start the child: {error}"));
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return Err(LinkFailure::Unavailable(format!("{GROUPS} stdio servers run already")));
        };
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| cannot(&error))?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| LinkFailure::Unavailable("the child has no process id".to_owned()))?;
        // CRASH: until the guard knows the group, killing this process leaves it with a closed standard input only.
        if let Some(guard) = &self.guard {
            guard.watch(id);
        }
        let group = ProcessGroup { id, guard: self.guard.clone(), _room: room, ended: false };
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(LinkFailure::Unavailable("the child has no pipes".to_owned()));
        };
        let pipes = || {
            Ok(Pipes {
                stdin: ChildStdin::from_std(stdin)?,
                stdout: ChildStdout::from_std(stdout)?,
                stderr: ChildStderr::from_std(stderr)?,
            })
        };
        // `child` is dropped: the group is waited for as a group, never through its leader alone.
        Ok((group, pipes().map_err(|error| cannot(&error))?))
    }

    /// Waits until every group has ended, for at most this long; whether they have.
    pub(crate) async fn all_ended(&self, limit: Duration) -> bool {
        let all = u32::try_from(GROUPS).unwrap_or(u32::MAX);
        tokio::time::timeout(limit, self.room.acquire_many(all)).await.is_ok()
    }

    /// How many groups run, those that are ending included.
    pub(crate) fn running(&self) -> usize {
        GROUPS.saturating_sub(self.room.available_permits())
    }
}

/// The three standard streams of a child.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

/// A running process group. Dropped without [`ProcessGroup::end`], it is killed at once.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    /// INVARIANT: names our group as long as `is_gone` has not been true: the kernel gives the number of a group to no
    /// new process while the group has a member, and an unreaped leader is one.
    id: Pid,
    guard: Option<Arc<Guard>>,
    _room: OwnedSemaphorePermit,
    ended: bool,
}

impl ProcessGroup {
    /// Ends the group; its standard input must be closed already. Waits for it, then sends SIGTERM, then SIGKILL.
    pub(crate) async fn end(mut self) {
        let steps = [(None, EOF_GRACE), (Some(Signal::TERM), TERM_GRACE), (Some(Signal::KILL), Duration::MAX)];
        for (signal, grace) in steps {
            if let Some(signal) = signal {
                let _ = kill_process_group(self.id, signal);
            }
            if self.is_gone_within(grace).await {
                break;
            }
        }
        self.released();
    }

    async fn is_gone_within(&self, grace: Duration) -> bool {
        let wait = async {
            let mut pause = LOOK.0;
            while !self.is_gone() {
                sleep(pause).await;
                pause = (pause * 2).min(LOOK.1);
            }
        };
        tokio::time::timeout(grace, wait).await.is_ok()
    }

    /// Reaps what has ended, and looks whether anything of the group is left.
    fn is_gone(&self) -> bool {
        loop {
            match waitpgid(self.id, WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                // Children of ours are left.
                Ok(None) => return false,
                // None is a child of ours; grandchildren may be left.
                Err(_) => return test_kill_process_group(self.id).is_err_and(|error| error == Errno::SRCH),
            }
        }
    }

    fn released(&mut self) {
        self.ended = true;
        if let Some(guard) = &self.guard {
            guard.release(self.id);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if !self.ended {
            let _ = kill_process_group(self.id, Signal::KILL);
            if self.is_gone() {
                self.released();
            }
        }
    }
}
