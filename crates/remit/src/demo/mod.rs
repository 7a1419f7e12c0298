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
use std::path::PathBuf;
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
        outln!(
            "Look again:  remit audit explain RECORD --dir {0}/ledger    remit audit verify {0}/ledger --vkey '{1}'",
            dir.display(),
            world.running.vkey
        );
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

/// A new folder below the system's temporary one.
fn fresh(ambient: &Ambient) -> Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("remit-demo-{}", ambient.entropy.token(6)));
    keys::private_folder(&dir)?;
    Ok(dir)
}
