//! The machine: which core a thread runs on, what a process used, what the hypervisor took away.

use anyhow::{Context as _, Result, bail, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

/// The core of every server under test.
pub(crate) const SERVER: usize = 0;
/// The core of the load generator and of upstreams.
pub(crate) const LOAD: usize = 1;
/// `/proc` counts processor time in hundredths of a second on every Linux.
const TICKS: f64 = 100.0;

/// Pins the calling thread, and whatever it starts from now on. On a machine with one core there is nothing to choose.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("bench:   not pinned to core {core}: {error}");
    }
}

/// A program that runs beside us, and ends with us.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Kept open: a program that writes to a closed pipe would end.
    _out: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a program on one core and waits for the first line it prints.
    pub(crate) fn start(program: &Path, words: &[&str], core: usize, log: &Path) -> Result<(Self, String)> {
        let mut child = spawn(program, words, core, log, Stdio::piped())?;
        let mut out = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        let process = Self { child, _out: Some(out) };
        ensure!(
            !line.is_empty(),
            "{} {} did not start: {}",
            program.display(),
            words.join(" "),
            fs::read_to_string(log).unwrap_or_default()
        );
        Ok((process, line))
    }

    /// Starts a program on one core and waits until it listens on a port.
    pub(crate) fn listening(program: &Path, words: &[&str], core: usize, log: &Path, port: u16) -> Result<Self> {
        let mut process = Self { child: spawn(program, words, core, log, Stdio::null())?, _out: None };
        for _ in 0..300 {
            if TcpStream::connect(local(port)).is_ok() {
                return Ok(process);
            }
            ensure!(process.child.try_wait()?.is_none(), "{} ended", program.display());
            thread::sleep(Duration::from_millis(50));
        }
        bail!("{} does not listen on {port}: {}", program.display(), fs::read_to_string(log).unwrap_or_default())
    }

    /// Seconds of processor time so far, all threads together.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        cpu_of(&stat)
    }

    /// Resident memory in MiB.
    pub(crate) fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kib.unwrap_or(f64::NAN) / 1024.0
    }

    /// Asks the program to end, as an operator would, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &id]).status()?.success(), "cannot stop process {id}");
        for _ in 0..200 {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("process {id} does not end")
    }
}

/// A child inherits the affinity of the thread that starts it.
fn spawn(program: &Path, words: &[&str], core: usize, log: &Path, out: Stdio) -> Result<Child> {
    let errors = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(program);
    // A program in Go takes as many threads as the machine has cores, wherever it is pinned.
    command.args(words).env("GOMAXPROCS", "1").stdin(Stdio::null()).stdout(out).stderr(errors);
    let started = thread::scope(|scope| {
        let starter = scope.spawn(|| {
            pin(core);
            command.spawn()
        });
        starter.join()
    });
    let Ok(spawned) = started else { bail!("cannot start a thread") };
    spawned.with_context(|| format!("cannot start {}", program.display()))
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of a line of `/proc/PID/stat`, in seconds. The name of the program may hold anything.
fn cpu_of(stat: &str) -> f64 {
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: f64 = fields.split_ascii_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok()).sum();
    ticks / TICKS
}

/// Share of the time since the start of the machine that the hypervisor kept for itself: (stolen, all) in ticks.
pub(crate) fn stolen() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let all: Vec<f64> =
        stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    (all.get(7).copied().unwrap_or_default(), all.iter().take(8).sum())
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0";
        assert!((cpu_of(stat) - 2.0).abs() < 1e-9);
        assert!(cpu_of("").abs() < 1e-9);
    }
}
