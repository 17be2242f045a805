//! A mapped file that is cut while it is read.

use sigward::mapping::{Error, Map};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("sigward-map-{}", std::process::id()));
    std::fs::write(&path, vec![7; 1 << 16])?;
    let map = Map::open(&path)?;
    std::fs::File::options().write(true).open(&path)?.set_len(0)?; // another process does this

    let mut head = [0; 16];
    match map.read_at(1 << 15, &mut head) {
        Ok(count) => println!("{count} bytes"),
        Err(Error::Lost(fault)) => println!("lost: {:?}", fault.cause()),
        Err(other) => return Err(other.into()),
    }
    std::fs::remove_file(&path)?;
    Ok(())
}
