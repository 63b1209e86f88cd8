//! Writes journals by the gateway's own library, as its engine does: statements that must be recorded first, and their
//! outcomes, which nobody waits for.
//!
//! In: words, by `cargo xtask bench audit`. Out: journals in a folder, and the numbers that were taken meanwhile, one on each
//! line. It must never write into a state directory of which it was not told, nor build a line in another way than the engine.

mod load;
mod measure;

use std::path::Path;

use anyhow::{Result, bail};

const USAGE: &str = "usage: journal-load rate DIR SECONDS | latency DIR process|disk SESSIONS SECONDS | sync DIR \
                     | session DIR EVENTS | requests DIR COUNT DISTINCT | pace DIR RATE SECONDS";

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = match words.as_slice() {
        ["rate", folder, seconds] => measure::rate(Path::new(folder), seconds.parse()?)?,
        ["latency", folder, durability, sessions, seconds] => {
            let durability = match *durability {
                "process" => gateway::audit::Durability::Process,
                "disk" => gateway::audit::Durability::Disk,
                other => bail!("`{other}` is no durability"),
            };
            measure::latency(Path::new(folder), durability, sessions.parse()?, seconds.parse()?)?
        }
        ["sync", folder] => measure::sync(Path::new(folder))?,
        ["session", folder, events] => load::session(Path::new(folder), events.parse()?)?,
        ["requests", folder, count, distinct] => load::requests(Path::new(folder), count.parse()?, distinct.parse()?)?,
        ["pace", folder, rate, seconds] => load::pace(Path::new(folder), rate.parse()?, seconds.parse()?)?,
        _ => bail!(USAGE),
    };
    print(&said);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what this program is for")]
fn print(said: &str) {
    println!("{said}");
}
