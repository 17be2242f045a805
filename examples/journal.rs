//! Appends records that survive the process, and reads them back.

use sigward::log::{Log, Reader};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("sigward-journal-{}", std::process::id()));
    let log = Log::open(&path)?;
    log.append(b"order 1")?; // a full disk is an error here; earlier records are safe
    log.flush()?; // flushed records survive the machine

    let mut reader = Reader::open(&path)?;
    let mut record = Vec::new();
    while reader.next(&mut record)?.is_some() {
        println!("{}", String::from_utf8_lossy(&record));
    }
    drop(log);
    std::fs::remove_file(&path)?;
    Ok(())
}
