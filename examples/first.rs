//! Arms the process and prints the events. For a library that another language's `main` calls.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    sigward::init()?;
    let (reader, mut writer) = std::io::pipe()?;
    drop(reader);
    println!("write: {}", writer.write_all(b"x").unwrap_err());

    let mut events = [sigward::Event::default(); 16];
    let count = sigward::read_events(&mut 0, &mut events);
    events[..count].iter().for_each(|event| eprintln!("{event}"));
    Ok(())
}
