//! Logs what was caught with the `log` crate, here through env_logger.

use sigward::mapping::Map;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let watch = sigward::observe::log_events(Duration::from_secs(1))?;

    let path = std::env::temp_dir().join(format!("sigward-log-{}", std::process::id()));
    std::fs::write(&path, vec![7; 1 << 16])?;
    let map = Map::open(&path)?;
    std::fs::File::options().write(true).open(&path)?.set_len(0)?; // another process does this
    assert!(map.read_at(1 << 15, &mut [0; 16]).is_err());
    drop(watch); // all is logged
    std::fs::remove_file(&path)?;
    Ok(())
}
