//! Emits what was caught as events of the `tracing` crate, here to a subscriber that prints them.

use sigward::mapping::Map;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let watch = sigward::observe::trace_events(Duration::from_secs(1))?;

    let path = std::env::temp_dir().join(format!("sigward-trace-{}", std::process::id()));
    std::fs::write(&path, vec![7; 1 << 16])?;
    let map = Map::open(&path)?;
    std::fs::File::options().write(true).open(&path)?.set_len(0)?; // another process does this
    assert!(map.read_at(1 << 15, &mut [0; 16]).is_err());
    drop(watch); // all is told
    std::fs::remove_file(&path)?;
    Ok(())
}
