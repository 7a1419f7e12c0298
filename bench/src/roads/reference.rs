//! How steady the machine was: a loop of fixed work between rounds, and the time the hypervisor kept.

use super::machine;
use crate::{
    rounds::{self, Figures},
    table::Table,
};
use aws_lc_rs::digest::{SHA256, digest};

/// A loop this far from its median marks a noisy round.
const NOISY: f64 = 0.15;
const BLOCK: usize = 1 << 20;
const BLOCKS: usize = 16;

#[derive(Debug)]
pub(crate) struct Reference {
    loops: Vec<f64>,
    block: Vec<u8>,
    stolen: (f64, f64),
}

impl Reference {
    pub(crate) fn start() -> Self {
        Self { loops: Vec::new(), block: vec![0x5a; BLOCK], stolen: machine::stolen() }
    }

    /// Some milliseconds of hashing.
    pub(crate) fn measure(&mut self) {
        let start = rounds::now();
        for _ in 0..BLOCKS {
            std::hint::black_box(digest(&SHA256, &self.block));
        }
        self.loops.push(start.elapsed().as_secs_f64());
    }

    pub(crate) fn tell(&self, table: &mut Table) {
        let mut noisy = Figures::default();
        noisy.push(noisy_share(&self.loops) * 100.0);
        table.alone("rounds in which a loop of fixed work was off by more than 15 %", "%", &noisy, None);
        let (stolen, all) = machine::stolen();
        let mut share = Figures::default();
        share.push((stolen - self.stolen.0) * 100.0 / (all - self.stolen.1).max(1.0));
        table.alone("time the hypervisor kept", "%", &share, None);
    }
}

/// Share of the loops that are far from the median.
fn noisy_share(loops: &[f64]) -> f64 {
    let median = loops.iter().copied().collect::<Figures>().median();
    let noisy = loops.iter().filter(|one| (*one / median - 1.0).abs() > NOISY).count();
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = noisy as f64 / loops.len().max(1) as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_far_from_the_median_is_noisy_and_one_near_it_is_not() {
        assert!((noisy_share(&[1.0, 1.1, 0.95, 1.5]) - 0.25).abs() < 1e-9);
        assert!(noisy_share(&[]).abs() < 1e-9);
    }
}
