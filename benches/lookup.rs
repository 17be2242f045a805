//! What it costs to find out whether an address is guarded, among 60,000 maps and with one alone:
//! rows for `benches/run`.
//!
//! It is what every fault begins with, and what decides whether a foreign one is passed on. The two
//! sides are two processes that hold so many maps and take turns, one short batch each. A look-up
//! that found nothing, or found what is not there, ends the run.

#![allow(clippy::cast_precision_loss, reason = "nanoseconds and counts far below 2^52")]

mod table;

use sigward::mapping::{self, Map, MapOptions};
use std::hint::black_box;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;
use table::row;

/// The kernel allows few more mappings (`vm.max_map_count`).
const MANY: usize = 60_000;
const PAGE: usize = 4096;
const BATCH: usize = 20_000;
const ROUNDS: usize = 300;
/// Nanoseconds that a look-up may take.
const BUDGET: f64 = 30.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pin_to_core();
    // `cargo bench` has arguments of its own.
    if let Some(count) =
        std::env::args().find_map(|argument| argument.strip_prefix("maps=")?.parse().ok())
    {
        return Ok(serve(count)?);
    }
    let (mut many, mut one) = (Side::start(MANY)?, Side::start(1)?);
    let mut pairs = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        // Who goes first changes: the second finds warmer caches.
        if round % 2 == 0 {
            pairs.push((many.batch()?, one.batch()?));
        } else {
            let peer = one.batch()?;
            pairs.push((many.batch()?, peer));
        }
    }
    many.stop()?;
    one.stop()?;
    row("look-up among 60,000 maps / one map", &pairs, "4.0");
    let budget: Vec<(f64, f64)> = pairs.iter().map(|pair| (pair.0, BUDGET)).collect();
    row("look-up among 60,000 maps / 30 ns", &budget, "1.0");
    Ok(())
}

/// A process of its own that holds this many maps.
struct Side {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Side {
    fn start(maps: usize) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(format!("maps={maps}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("no pipe to a process of ours");
        let orders = child.stdin.take().ok_or_else(missing)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        Ok(Self { child, orders, answers })
    }

    /// Nanoseconds for one look-up, over a batch.
    fn batch(&mut self) -> io::Result<f64> {
        writeln!(self.orders, "go")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        answer.trim().parse().map_err(|_| io::Error::other("a process of ours has failed"))
    }

    fn stop(mut self) -> io::Result<()> {
        drop(self.orders);
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other("a process of ours has failed"))
        }
    }
}

/// Holds the maps and answers each line with the nanoseconds of a look-up.
fn serve(count: usize) -> io::Result<()> {
    let file = sparse(2 * count)?;
    // Every other page: neighbours that follow each other in the file would become one mapping.
    let open = |number: usize| {
        let options = MapOptions::new().offset((2 * number * PAGE) as u64).len(PAGE as u64);
        options.no_descriptor(true).map(&file)
    };
    let maps: Vec<Map> = (0..count).map(open).collect::<Result<_, _>>()?;
    if maps.len() != count || mapping::is_guarded(std::ptr::from_ref(&maps).cast()) {
        return Err(io::Error::other("addresses are guarded that nobody has registered"));
    }
    let addresses = shuffled(&maps);
    let mut next = addresses.iter().cycle();
    for line in io::stdin().lock().lines() {
        line?;
        let mut found = 0;
        let begin = Instant::now();
        for address in next.by_ref().take(BATCH) {
            found += usize::from(mapping::is_guarded(black_box(*address)));
        }
        let took = begin.elapsed();
        if found != BATCH {
            return Err(io::Error::other("a registered address was not found"));
        }
        println!("{}", took.as_nanos() as f64 / BATCH as f64);
    }
    Ok(())
}

/// Addresses in an order that no prefetcher knows; as many for one map, so that reading them costs
/// the same.
fn shuffled(maps: &[Map]) -> Vec<*const u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let address = |map: &Map, byte: usize| map.as_ptr().wrapping_add(byte % PAGE);
    (0..MANY)
        .filter_map(|_| maps.get(next() % maps.len()).map(|map| address(map, next())))
        .collect()
}

fn sparse(pages: usize) -> io::Result<std::fs::File> {
    // SAFETY: a C string.
    let fd = unsafe { libc::memfd_create(c"lookup".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, nobody else's.
    let file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.set_len((pages * PAGE) as u64)?;
    Ok(file)
}

/// The last core that we may use: the first ones serve most interrupts. The children inherit it.
fn pin_to_core() {
    // SAFETY: zeros are an empty set.
    let mut cores: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: room for one set; 0 is this thread.
    unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut cores) };
    // SAFETY: numbers below CPU_SETSIZE, a set that was filled.
    let last = (0..libc::CPU_SETSIZE as usize)
        .rev()
        .find(|core| unsafe { libc::CPU_ISSET(*core, &cores) });
    // SAFETY: zeros are an empty set.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a number below CPU_SETSIZE.
    unsafe { libc::CPU_SET(last.unwrap_or(0), &mut one) };
    // SAFETY: one set; 0 is this thread.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one) } != 0 {
        eprintln!("lookup: not pinned to a core, figures will scatter");
    }
}
