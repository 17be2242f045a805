//! A row of the table that `benches/run` prints: name, unit, ours, peer, ratio, its 95 % interval,
//! target.

#![allow(clippy::cast_precision_loss, reason = "nanoseconds and counts far below 2^52")]

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints a row from pairs of nanoseconds, ours and the peer's, that were measured one after the
/// other.
pub fn row(name: &str, pairs: &[(f64, f64)], target: &str) {
    let mut ours: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
    let mut peer: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let mut ratios: Vec<f64> = pairs.iter().map(|pair| pair.0 / pair.1).collect();
    let ratio = median(&mut ratios);
    // The order statistics around the median that hold it with 95 % probability.
    let reach = (ratios.len() as f64).sqrt() as usize;
    let (low, high) = (ratios[ratios.len() / 2 - reach], ratios[ratios.len() / 2 + reach]);
    println!(
        "{name}\tns\t{:.1}\t{:.1}\t{ratio}\t{low}\t{high}\t{target}",
        median(&mut ours),
        median(&mut peer)
    );
}
