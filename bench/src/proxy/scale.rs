//! What the number of Services and of endpoints costs.

use std::path::Path;

use super::Options;
use super::changes::{header, measure};
use super::ground::{Ground, Shape};
use super::subject::Subject;
use crate::figures::Sample;

/// How many times few and many Services are measured, in turn.
const ROUNDS: usize = 3;

/// Measures and prints.
pub(super) fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    let subject = Subject { name: "portolan", mode: "nftables", program };
    let grounds = [1000, 30_000].map(|services| Ground::new(program, Shape { services, endpoints: 3 }));
    let [few, many] = grounds;
    let (few, many) = (few?, many?);
    header();
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let versions = || round * options.changes + 1..=(round + 1) * options.changes;
        let least = measure(&few, subject, versions())?;
        let most = measure(&many, subject, versions())?;
        ratios.push(most / least);
        few.cleanup()?;
        many.cleanup()?;
    }
    println!(
        "a change among 30,000 Services beside 1,000: {}x",
        ratios.into_iter().collect::<Sample>().spread(2)
    );
    drop((few, many));
    let large = Ground::new(program, Shape { services: 8000, endpoints: 30 })?;
    header();
    for round in 0..ROUNDS {
        measure(&large, subject, round * options.changes + 1..=(round + 1) * options.changes)?;
        large.cleanup()?;
    }
    Ok(())
}
