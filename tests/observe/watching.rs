//! What the thread of `observe::watch` reports, and what `log` and `tracing` make of it. Each case
//! is a process of its own, whose SIGPIPE has its default action before the library comes: a write
//! to a broken pipe raises it indeed.

#[path = "../support/mod.rs"]
mod support;

use sigward::observe::{Unreported, Watch, log_events, trace_events, watch};
use sigward::{Counters, Event};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use support::lives;

const HOUR: Duration = Duration::from_secs(3600);
/// So that three events are there when they are looked at.
const HALF: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_millis(1);
/// For what comes at once, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

// ---- signals ----

fn ward() {
    // SAFETY: no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    sigward::init().unwrap();
}

fn broken_pipe() -> OwnedFd {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn write_here(fd: i32) -> std::io::Error {
    // SAFETY: one byte that is there.
    assert_eq!(unsafe { libc::write(fd, [0_u8].as_ptr().cast(), 1) }, -1);
    std::io::Error::last_os_error()
}

/// As a library does that writes on a thread of its own.
fn write_on_a_thread(fd: i32) {
    let thread = std::thread::Builder::new().name("foreign".into());
    let error = thread.spawn(move || write_here(fd)).unwrap().join().unwrap();
    assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(SOON);
    }
}

// ---- reports ----

/// All that a watch has reported.
#[derive(Debug, Default)]
struct Reports {
    events: Vec<Event>,
    missed: u64,
    suppressed: u64,
}

/// A watch that keeps what it reports, and does something more for each event.
fn keep(
    interval: Duration,
    mut more: impl FnMut() + Send + 'static,
) -> (Watch, Arc<Mutex<Reports>>) {
    let kept = Arc::<Mutex<Reports>>::default();
    let into = kept.clone();
    let watch = watch(interval, move |event, left: Unreported| {
        {
            let mut reports = into.lock().unwrap();
            reports.missed += left.missed;
            reports.suppressed += left.suppressed;
            reports.events.extend(event);
        }
        if event.is_some() {
            more();
        }
    });
    (watch.unwrap(), kept)
}

fn count(kept: &Mutex<Reports>) -> usize {
    kept.lock().unwrap().events.len()
}

#[test]
fn all_of_before_the_end_is_reported_and_nothing_of_before_the_start() {
    fn case(_: &Path) {
        ward();
        let fd = broken_pipe();
        (0..3).for_each(|_| write_on_a_thread(fd.as_raw_fd()));
        let ((one, first), (two, second)) = (keep(HOUR, || {}), keep(HOUR, || {}));
        (0..40).for_each(|_| write_on_a_thread(fd.as_raw_fd()));
        assert_eq!((count(&first), count(&second)), (0, 0), "an hour is not over");
        drop(one);
        write_on_a_thread(fd.as_raw_fd());
        drop(two);
        write_on_a_thread(fd.as_raw_fd());
        assert_eq!((count(&first), count(&second)), (40, 41));
        let numbers: Vec<u64> =
            first.lock().unwrap().events.iter().map(|event| event.number).collect();
        assert_eq!(numbers, (4..44).collect::<Vec<_>>());
    }
    lives("all_of_before_the_end_is_reported_and_nothing_of_before_the_start", case);
}

#[test]
fn what_is_lost_is_counted() {
    fn case(_: &Path) {
        ward();
        let fd = broken_pipe();
        let (watch, kept) = keep(HOUR, || {});
        (0..700).for_each(|_| drop(write_here(fd.as_raw_fd())));
        drop(watch);
        let kept = kept.lock().unwrap();
        assert!(kept.missed >= 700 - 512, "{}", kept.missed);
        assert_eq!(kept.events.len() as u64 + kept.missed + kept.suppressed, 700);
    }
    lives("what_is_lost_is_counted", case);
}

/// A logger whose own peer has gone. Bare, each look finds what the one before has written.
#[test]
fn a_logger_does_not_report_itself() {
    fn case(_: &Path) {
        ward();
        let broken = broken_pipe();
        let fd = broken.as_raw_fd();
        write_on_a_thread(fd);
        let (mut cursor, mut events) = (0, [Event::default(); 16]);
        for _ in 0..100 {
            assert_eq!(
                sigward::read_events(&mut cursor, &mut events),
                1,
                "the loop ends by itself"
            );
            write_here(fd);
        }

        // Two of them: neither reports the other.
        let before = Counters::read().swallowed;
        let ((one, first), (two, second)) =
            (keep(SOON, move || drop(write_here(fd))), keep(SOON, move || drop(write_here(fd))));
        for written in 1..=3 {
            write_on_a_thread(fd);
            until("a report", || count(&first) >= written && count(&second) >= written);
        }
        drop((one, two));
        assert_eq!((count(&first), count(&second), Counters::read().swallowed), (3, 3, before + 3));
    }
    lives("a_logger_does_not_report_itself", case);
}

/// One that makes two events of each, on threads that nobody can tell from others.
#[test]
fn a_logger_of_other_threads_is_cut() {
    fn case(_: &Path) {
        ward();
        let broken = broken_pipe();
        let fd = broken.as_raw_fd();
        // Not started by the report: such threads have SIGPIPE blocked as the report has.
        let (sender, jobs) = mpsc::channel::<mpsc::Sender<()>>();
        std::thread::spawn(move || {
            for done in jobs {
                (0..2).for_each(|_| drop(write_here(fd)));
                done.send(()).unwrap();
            }
        });
        let began = Instant::now();
        let (watch, kept) = keep(SOON, move || {
            let (done, wait) = mpsc::channel();
            sender.send(done).unwrap();
            wait.recv().unwrap();
        });
        write_on_a_thread(fd);
        until("a loop", || count(&kept) >= 512);
        let most = || 513 + began.elapsed().as_secs() as usize * 10 + 10;
        until("a cut", || {
            write_on_a_thread(fd); // what is cut may have ended the loop
            kept.lock().unwrap().suppressed > 0 || count(&kept) > most()
        });
        drop(watch);
        assert!(count(&kept) <= most(), "{} and more than {}", count(&kept), most());
    }
    lives("a_logger_of_other_threads_is_cut", case);
}

#[test]
fn a_forked_child_reports_nothing_until_it_asks() {
    fn case(_: &Path) {
        ward();
        let broken = broken_pipe();
        let fd = broken.as_raw_fd();
        let (watch, kept) = keep(HOUR, || {});
        write_on_a_thread(fd);
        // SAFETY: the child uses what the parent's other thread cannot hold: no lock of theirs.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop(watch); // waits for nobody
            let (own, reports) = keep(HOUR, || {});
            write_here(fd);
            drop(own);
            let right = count(&kept) == 0 && count(&reports) == 1;
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!right)) };
        }
        let mut status = 0;
        // SAFETY: room for a number.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0);
        write_on_a_thread(fd);
        drop(watch);
        assert_eq!(count(&kept), 2);
    }
    lives("a_forked_child_reports_nothing_until_it_asks", case);
}

/// The thread that forked is the child's only one, and goes on there where it was: in the report.
#[test]
fn a_report_that_forks_has_no_child_that_reports() {
    fn case(_: &Path) {
        ward();
        let broken = broken_pipe();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (parent, mut child) = (std::process::id(), 0);
        let watching = watch(HOUR, move |_, _| {
            if std::process::id() != parent {
                std::io::Write::write_all(&mut &writer, b"reported").unwrap();
            } else if child == 0 {
                // SAFETY: the child returns from here, and ends with this thread.
                child = unsafe { libc::fork() };
            } else {
                // SAFETY: no status is wanted.
                unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            }
        });
        (0..3).for_each(|_| write_on_a_thread(broken.as_raw_fd()));
        drop(watching);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut reader, &mut said).unwrap();
        assert_eq!(said, "");
    }
    lives("a_report_that_forks_has_no_child_that_reports", case);
}

#[test]
fn a_report_may_end_its_own_watch_or_panic() {
    fn case(_: &Path) {
        ward();
        let broken = broken_pipe();
        let (hand, own) = mpsc::channel::<Watch>();
        let (end, ended) = mpsc::channel();
        let watching = watch(HALF, move |_, _| {
            drop(own.recv().unwrap());
            end.send(()).unwrap();
        });
        (0..3).for_each(|_| write_on_a_thread(broken.as_raw_fd()));
        hand.send(watching.unwrap()).unwrap();
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(()));
        // The thread has ended, and what it reported by.
        assert_eq!(
            ended.recv_timeout(PATIENCE),
            Err(mpsc::RecvTimeoutError::Disconnected),
            "one more"
        );

        let panicking = watch(SOON, |_, _| panic!("as it is told to")).unwrap();
        write_on_a_thread(broken.as_raw_fd());
        drop(panicking);
    }
    lives("a_report_may_end_its_own_watch_or_panic", case);
}

// ---- log and tracing ----

/// One record: its keys, and its level, target and message.
type Record = BTreeMap<String, String>;

static RECORDS: Mutex<Vec<Record>> = Mutex::new(Vec::new());

fn records() -> Vec<Record> {
    std::mem::take(&mut *RECORDS.lock().unwrap())
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        struct Keys(Record);
        impl<'kvs> log::kv::VisitSource<'kvs> for Keys {
            fn visit_pair(
                &mut self,
                key: log::kv::Key<'kvs>,
                value: log::kv::Value<'kvs>,
            ) -> Result<(), log::kv::Error> {
                assert!(self.0.insert(key.to_string(), value.to_string()).is_none(), "{key} twice");
                Ok(())
            }
        }
        let mut keys = Keys(Record::new());
        record.key_values().visit(&mut keys).unwrap();
        keys.0.insert("message".into(), record.args().to_string());
        keys.0.insert("level".into(), record.level().to_string());
        keys.0.insert("target".into(), record.target().into());
        RECORDS.lock().unwrap().push(keys.0);
    }

    fn flush(&self) {}
}

struct Subscriber;

impl tracing::Subscriber for Subscriber {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(Record);
        impl tracing::field::Visit for Fields {
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                self.0.insert(field.name().into(), value.into());
            }

            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.insert(field.name().into(), format!("{value:?}"));
            }
        }
        let mut fields = Fields(Record::new());
        event.record(&mut fields);
        fields.0.insert("level".into(), event.metadata().level().to_string());
        fields.0.insert("target".into(), event.metadata().target().into());
        RECORDS.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Writes to a broken socket and a broken pipe, and reads a page that a file no longer has.
fn happen(folder: &Path) -> (u16, Vec<Event>) {
    let mut cursor = 0;
    let mut events = [Event::default(); 16];
    while sigward::read_events(&mut cursor, &mut events) > 0 {}
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connection = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.shutdown(std::net::Shutdown::Write).unwrap();
    write_on_a_thread(connection.as_raw_fd());
    write_on_a_thread(broken_pipe().as_raw_fd());
    let path = folder.join("data");
    std::fs::write(&path, vec![1; 1 << 15]).unwrap();
    let map = sigward::mapping::Map::open(&path).unwrap();
    std::fs::File::create(&path).unwrap();
    assert!(map.read_at(0, &mut [0; 1]).is_err());
    let count = sigward::read_events(&mut cursor, &mut events);
    (port, events[..count].to_vec())
}

/// What three events come to, as `log` and `tracing` are to tell it.
fn told(folder: &Path, port: u16, events: &[Event]) -> Vec<Record> {
    let program = std::env::current_exe().unwrap();
    let program = program.file_name().unwrap().to_str().unwrap();
    let data = folder.join("data").display().to_string();
    let more = [
        format!(
            "sigward.signal=SIGPIPE error.type=EPIPE sigward.call=write sigward.kind=socket \
             network.type=ipv4 network.peer.address=127.0.0.1 network.peer.port={port} \
             sigward.inode={} thread.name=foreign",
            events[0].inode
        ),
        format!(
            "sigward.signal=SIGPIPE error.type=EPIPE sigward.call=write sigward.kind=pipe \
             network.transport=pipe sigward.inode={} thread.name=foreign",
            events[1].inode
        ),
        format!(
            "sigward.signal=SIGBUS error.type=truncated file.path={data} file.inode={} file.size=0 \
             sigward.access=read sigward.offset=0 thread.name={}",
            events[2].inode,
            events[2].thread_name()
        ),
    ];
    let one = |(event, more): (&Event, &String)| {
        let all = format!(
            "{more} level=WARN target=sigward process.pid={} thread.id={} sigward.event={} \
             sigward.time_ns={} sigward.fd={} sigward.library={program}",
            std::process::id(),
            event.tid,
            event.number,
            event.time_ns,
            event.fd
        );
        let pairs = all.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        let mut record: Record = pairs.map(|(key, value)| (key.into(), value.into())).collect();
        record.insert("message".into(), event.to_string());
        record
    };
    events.iter().zip(&more).map(one).collect()
}

fn is_told(folder: &Path, start: fn(Duration) -> std::io::Result<Watch>) {
    ward();
    // Nobody has asked: nothing is told.
    let (_, events) = happen(folder);
    assert_eq!((events.len(), records()), (3, Vec::new()));

    let watch = start(HOUR).unwrap();
    let (port, events) = happen(folder);
    drop(watch);
    assert_eq!(events.len(), 3);
    assert_eq!(records(), told(folder, port, &events));

    let watch = start(HOUR).unwrap();
    let broken = broken_pipe();
    (0..700).for_each(|_| drop(write_here(broken.as_raw_fd())));
    drop(watch);
    let records = records();
    let number =
        |record: &Record, key| record.get(key).map_or(0, |text: &String| text.parse().unwrap());
    let lost =
        |record| -> u64 { number(record, "sigward.missed") + number(record, "sigward.suppressed") };
    let told = records.iter().filter(|record| record.contains_key("sigward.event")).count();
    assert_eq!(told as u64 + records.iter().map(lost).sum::<u64>(), 700);
    assert!(number(&records[0], "sigward.missed") >= 700 - 512);
}

#[test]
fn log_has_each_event_with_its_keys() {
    lives("log_has_each_event_with_its_keys", |folder| {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
        is_told(folder, log_events);
    });
}

#[test]
fn tracing_has_each_event_with_its_fields() {
    lives("tracing_has_each_event_with_its_fields", |folder| {
        tracing::subscriber::set_global_default(Subscriber).unwrap();
        is_told(folder, trace_events);
    });
}
