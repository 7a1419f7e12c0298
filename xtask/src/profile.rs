//! `cargo xtask bench --profile`: where the time of the two main roads goes, as pictures for docs/performance.md.
//!
//! The release server runs in a world of its own; perf samples it, and nothing else, while requests of one road are sent.

use crate::{flame::Frame, run};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Road, what it is called, how many requests.
const ROADS: [(&str, &str, &str); 2] = [("exchange-1", "token exchange", "5000"), ("call", "tool call", "6000")];
/// Samples a second: not a divisor of anything that ticks.
const RATE: &str = "199";
/// Largest picture, in bytes.
const LIMIT: usize = 300_000;

pub(crate) fn run() -> Result<()> {
    ensure!(run::answers("perf"), "perf is missing: install it (Debian: linux-perf), then run this again");
    let cargo = run::cargo();
    run::run(&cargo, &["build", "--release", "--locked", "--package", "remit-bench", "--package", "remit"])?;
    let built = run::target().join("release");
    let (bench, remit) = (built.join("remit-bench").display().to_string(), built.join("remit"));
    let pages = run::root().join("docs").join("performance");
    fs::create_dir_all(&pages)?;
    for (road, title, requests) in ROADS {
        let place = run::target().join("profile").join(road);
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place)?;
        let world = place.join("world").display().to_string();
        run::run(&bench, &["world", "--dir", &world])?;
        let server = Server::start(&remit, Path::new(&world))?;
        let all = sample(&server, &place.join("perf.data"), &[&bench, "drive", "--road", road, "--dir", &world], requests)?;
        ensure!(all.samples() > 500, "perf took {} samples of {title}: too few", all.samples());
        let picture = all.svg(&format!("{title}: {} samples of the server's processor time", all.samples()));
        ensure!(picture.len() < LIMIT, "the picture of {title} has {} bytes, {LIMIT} is the most", picture.len());
        let file = pages.join(format!("{}.svg", title.replace(' ', "-")));
        fs::write(&file, picture)?;
        println!("profile: {title}: {}", file.display());
        for (kind, share) in all.shares() {
            println!("profile:   {:>5.1} %  {kind}", share * 100.0);
        }
    }
    Ok(())
}

/// Samples the server while a command sends it requests.
fn sample(server: &Server, file: &Path, drive: &[&str], requests: &str) -> Result<Frame> {
    let (file, pid) = (file.display().to_string(), server.0.id().to_string());
    // Agents are registered, tokens fetched and caches filled before anything is sampled.
    let (program, road) = drive.split_first().context("no command")?;
    run::run(program, &[road, &["--requests", "500", "--connections", "16"]].concat())?;
    let perf = ["record", "--quiet", "-e", "cpu-clock", "-F", RATE, "--call-graph", "dwarf,8192", "-p", &pid, "-o", &file, "--"];
    run::run("perf", &[&perf[..], drive, &["--requests", requests, "--connections", "16"]].concat())?;
    Ok(Frame::fold(&run::output("perf", &["script", "-i", &file, "-F", "comm,ip,sym", "--no-inline"])?))
}

/// A server that ends with this value.
struct Server(Child);

impl Server {
    fn start(remit: &Path, world: &Path) -> Result<Self> {
        let mut child = Command::new(remit)
            .args(["serve", "-c"])
            .arg(world.join("remit.yaml"))
            .arg("--json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(world.join("server.log"))?)
            .spawn()
            .with_context(|| format!("{} does not start", remit.display()))?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        if line.is_empty() {
            let _ = child.kill();
            bail!("the server did not start: {}", fs::read_to_string(world.join("server.log")).unwrap_or_default());
        }
        Ok(Self(child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
