//! A guard process that ends the process groups of stdio servers when the gateway dies without doing so itself.
//!
//! It is a second run of the same program that reads its standard input: `+ID` names a process group, `-ID` says that the
//! group has ended. The end of the input means that the gateway is gone, killed or crashed; then the guard ends what is
//! left and exits. It holds no key, opens no file and talks to nothing.

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::{
    collections::HashSet,
    io::{BufRead, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread::sleep,
    time::Duration,
};

/// How long the groups may take to end after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// Pause between two looks at them.
const LOOK: Duration = Duration::from_millis(20);

/// The gateway's end.
#[derive(Debug)]
pub(crate) struct Guard {
    program: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    process: Option<Child>,
    groups: HashSet<Pid>,
}

impl Guard {
    /// A guard that is started with the first group.
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { program, state: Mutex::default() }
    }

    /// Has this group ended when the gateway dies.
    pub(crate) fn watch(&self, group: Pid) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.groups.insert(group);
        self.tell(&mut state, '+', group);
    }

    /// Forgets a group that has ended, before its number can be another's.
    pub(crate) fn release(&self, group: Pid) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.groups.remove(&group);
        self.tell(&mut state, '-', group);
    }

    /// A guard that is not there any more is replaced by one that is told of every group.
    fn tell(&self, state: &mut State, sign: char, group: Pid) {
        if state.write(&format!("{sign}{}\n", group.as_raw_nonzero())).is_some() {
            return;
        }
        if let Some(mut old) = state.process.take() {
            let _ = old.kill();
            let _ = old.wait();
        }
        let mut command = Command::new(&self.program);
        // A name and a process group of its own: what ends the gateway by name or by terminal leaves the guard to its work.
        command.arg0("remit-guard").arg("guard").env_clear().process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(process) => {
                state.process = Some(process);
                let all: Vec<_> = state.groups.iter().map(|group| format!("+{}\n", group.as_raw_nonzero())).collect();
                if state.write(&all.concat()).is_none() {
                    tracing::error!("the guard of the stdio servers ended at once");
                }
            }
            Err(error) => tracing::error!(%error, "the guard of the stdio servers cannot be started"),
        }
    }
}

impl State {
    fn write(&mut self, text: &str) -> Option<()> {
        let stdin = self.process.as_mut()?.stdin.as_mut()?;
        stdin.write_all(text.as_bytes()).ok()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut process) = state.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

/// The guard itself: reads until the end of the input, then ends every group that is left.
pub fn run(input: impl BufRead) {
    // Tools show this name; a signal that is sent to every process named after the program misses the guard.
    let _ = rustix::thread::set_name(c"remit-guard");
    let mut groups = HashSet::new();
    for line in input.lines().map_while(Result::ok) {
        let Some((sign, id)) = line.split_at_checked(1) else { continue };
        let Some(id) = id.parse().ok().and_then(Pid::from_raw) else { continue };
        if sign == "+" {
            groups.insert(id)
        } else {
            groups.remove(&id)
        };
    }
    // The end of the gateway closed the standard input of every group as well.
    for group in &groups {
        let _ = kill_process_group(*group, Signal::TERM);
    }
    for _ in 0..TERM_GRACE.as_millis() / LOOK.as_millis() {
        groups.retain(|group| test_kill_process_group(*group).is_ok());
        if groups.is_empty() {
            return;
        }
        sleep(LOOK);
    }
    for group in groups {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn the_end_of_the_input_ends_the_groups_that_were_not_released() {
        let spawn = || Command::new("sh").args(["-c", "trap '' TERM; sleep 60; sleep 60"]).process_group(0).spawn().unwrap();
        let (mut watched, mut released) = (spawn(), spawn());
        run(format!("+{}\n+{}\nnonsense\n-{}\n", watched.id(), released.id(), released.id()).as_bytes());
        // By SIGTERM when it came before the trap was set.
        assert!(matches!(watched.wait().unwrap().signal(), Some(9 | 15)));
        assert_eq!(released.try_wait().unwrap(), None);
        kill_process_group(Pid::from_child(&released), Signal::KILL).unwrap();
        released.wait().unwrap();
    }
}
