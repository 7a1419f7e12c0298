//! `remit demo`: the whole story on embedded defaults in one process, told so that a security reviewer can follow it, and
//! proved at the end from the ledger alone.

mod agents;
mod attacks;
mod human;
mod proof;
mod tell;
mod world;

use crate::{args::Demo, keys, server::serve};
use anyhow::{Context as _, Result};
use remit_clock::Ambient;
use std::path::{Path, PathBuf};
use tell::Teller;
use world::World;

/// How many steps the story has; the summary fails when one is missing.
const STEPS: usize = 27;

/// Runs the command; `false` when something did not hold.
pub(crate) async fn run(args: &Demo, ambient: &Ambient) -> Result<bool> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => fresh(ambient)?,
    };
    let mut tell = Teller::new(args.json, STEPS);
    if !args.json {
        outln!("Remit: one human, two agents, one helpdesk, and a ledger that proves what happened.");
        outln!("Everything below happens over HTTP against the server that `remit serve` runs. Kept in {}", dir.display());
    }
    let mut world =
        World::build(&dir, ambient).await.with_context(|| format!("cannot build the demo's world in {}", dir.display()))?;
    let tokens = agents::tell(&mut tell, &mut world).await?;
    attacks::tell(&mut tell, &world, &tokens).await?;
    proof::tell(&mut tell, &world, &dir).await?;
    tell.summary();
    let held = tell.all_held();
    if !args.json {
        outln!("\n{}", if held { "All of it held." } else { "Something did not hold; see the marks above." });
        for line in again(&program(), &dir, &world.running.vkey, tell.refused()) {
            outln!("{line}");
        }
    }
    if !args.once {
        outln!("\n{}  (Ctrl-C stops it)", serve::ready(&world.loaded, &world.running.vkey, false));
        let watching = tokio::spawn(serve::watch_policies(&world.running, &world.ambient));
        tokio::signal::ctrl_c().await?;
        watching.abort();
    }
    world.close().await?;
    Ok(held)
}

/// What to try next. The configuration beside the ledger has the keys, so `explain` shows names and arguments.
fn again(program: &str, dir: &Path, vkey: &str, record: Option<u64>) -> Vec<String> {
    let (dir, record) = (dir.display(), record.map_or_else(|| "NUMBER".to_owned(), |index| index.to_string()));
    vec![
        "Look again:".to_owned(),
        format!("  {program} audit explain {record} -c {dir}/remit.yaml"),
        format!("  {program} audit show -c {dir}/remit.yaml"),
        format!("  {program} audit verify {dir}/ledger --vkey '{vkey}'"),
    ]
}

/// This program as it was started, so that what is printed can be typed.
fn program() -> String {
    std::env::args_os().next().map_or_else(|| "remit".to_owned(), |program| program.to_string_lossy().into_owned())
}

/// A new folder below the system's temporary one.
fn fresh(ambient: &Ambient) -> Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("remit-demo-{}", ambient.entropy.token(6)));
    keys::private_folder(&dir)?;
    Ok(dir)
}
