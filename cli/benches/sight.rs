//! What the command costs, in the rows of `benches/run`: against a limit, or against a stop without
//! it. Arguments: the command, `libsigward.so`, and a folder for a core of 4 GiB with holes.

#[path = "../../benches/table/mod.rs"]
mod table;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const PAIRS: usize = 15;

/// A process of sight.c that is ready, and ends with the measurement.
struct Ready(Child);

impl Ready {
    fn start(program: &Path, arguments: &[&str]) -> Self {
        Self::of(Command::new(program).args(arguments).stdout(Stdio::piped()).spawn())
    }

    fn of(started: std::io::Result<Child>) -> Self {
        let mut child = started.expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("its pipe"))
            .read_line(&mut line)
            .expect("a line");
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Go service, asked by a program of its own.
struct Service {
    server: Ready,
    program: PathBuf,
    socket: PathBuf,
}

impl Service {
    /// None without Go.
    fn start(folder: &Path) -> Option<Self> {
        let (program, socket) = (folder.join("service"), folder.join("socket"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/victims/service.go");
        let built = Command::new("go").args(["build", "-o"]).arg(&program).arg(source).status();
        let server =
            Command::new(&program).arg("serve").arg(&socket).stdout(Stdio::piped()).spawn();
        let server =
            built.ok().filter(std::process::ExitStatus::success).map(|_| Ready::of(server))?;
        Some(Self { server, program, socket })
    }

    /// Nanoseconds of a processor for each of some thousand requests.
    fn request(&self) -> f64 {
        const REQUESTS: u32 = 5000;
        let before = self.used();
        let count = REQUESTS.to_string();
        let clients =
            Command::new(&self.program).arg("load").arg(&self.socket).arg(&count).output();
        let said = String::from_utf8_lossy(&clients.expect("clients").stdout).into_owned();
        assert_eq!(said, format!("{count} 0\n"), "none fails");
        (self.used() - before) / f64::from(REQUESTS)
    }

    /// The same while a watcher is there.
    fn watched(&self, mut watcher: Command) -> f64 {
        let pid = self.server.0.id();
        let quiet =
            watcher.args(["watch", &pid.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut watcher = quiet.spawn().expect("the command");
        let traced = format!("TracerPid:\t{}\n", watcher.id());
        while !std::fs::read_to_string(format!("/proc/{pid}/status"))
            .is_ok_and(|it| it.contains(&traced))
        {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let request = self.request();
        // SAFETY: a process of ours, not waited for.
        unsafe { libc::kill(watcher.id() as i32, libc::SIGINT) };
        assert!(watcher.wait().is_ok_and(|end| end.success()), "it was there to the end");
        request
    }

    /// Nanoseconds of a processor that the server has used.
    fn used(&self) -> f64 {
        let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
        // SAFETY: a number, and room for a clock's.
        let found = unsafe { libc::clock_getcpuclockid(self.server.0.id() as i32, &raw mut clock) };
        // SAFETY: a clock, and room for a time.
        assert_eq!((found, unsafe { libc::clock_gettime(clock, &raw mut time) }), (0, 0));
        let used = std::time::Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32);
        used.as_secs_f64() * 1e9
    }
}

/// Nanoseconds from start to end.
fn time(command: &mut Command) -> f64 {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    command.status().expect("it starts");
    start.elapsed().as_secs_f64() * 1e9
}

/// Against a limit in nanoseconds.
fn within(name: &str, limit: f64, mut once: impl FnMut() -> f64) {
    once();
    let pairs: Vec<_> = (0..PAIRS).map(|_| (once(), limit)).collect();
    table::row(name, &pairs, "1");
}

/// What a signal to itself takes a program under some tracer; none if that is not there.
fn stop(tracer: &[&str], program: &Path, how: &str, signal: i32) -> Option<f64> {
    let output = Command::new(tracer[0])
        .args(&tracer[1..])
        .arg(program)
        .args([how, "2000", &signal.to_string()])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.trim().parse().ok())
}

fn main() {
    let mut words = std::env::args_os().skip(1).filter(|word| word != "--bench").map(PathBuf::from);
    let mut next =
        || words.next().expect("sight COMMAND LIBRARY FOLDER").canonicalize().expect("it is there");
    let (command, library, folder) = (next(), next(), next());
    let program = folder.join("sight");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/sight.c");
    let cc = Command::new("cc").args(["-O2", "-pthread", "-o"]).arg(&program).arg(source).status();
    assert!(cc.is_ok_and(|status| status.success()));
    let sigward = || Command::new(&command);

    let large = Ready::start(&program, &["large", "10000"]);
    within("audit, 1,000 threads, 10,000 maps / 50 ms", 50e6, || {
        time(sigward().args(["audit", &large.0.id().to_string()]))
    });
    drop(large);
    let many: Vec<Ready> = (0..500).map(|_| Ready::start(&program, &[])).collect();
    within("audit --all, 500 processes / 1 s", 1e9, || time(sigward().args(["audit", "--all"])));
    drop(many);

    let die = |word: &str| {
        time(Command::new(&program).arg("pipe").env("LD_PRELOAD", &library).env("SIGWARD", word))
    };
    within("last words of a death / 200 us", 200e3, || (die("explain") - die("")).max(0.0));
    within("run - exec / 10 ms", 10e6, || {
        let run = time(sigward().args(["run", "--library"]).arg(&library).args(["--", "true"]));
        (run - time(&mut Command::new("true"))).max(0.0)
    });

    // Two switches of threads are the least that a stop costs any tracer. What ours adds is beside
    // that: SIGURG goes on at once, of SIGUSR1 it asks who has sent it.
    let ours = (&[command.to_str().expect("a path"), "watch", "--"][..], "signals");
    let strace = (&["strace", "-f", "-o", "/dev/null", "-e", "trace=none"][..], "signals");
    let all = "handle all nostop noprint pass";
    let gdb = (&["gdb", "-q", "-batch", "-ex", all, "-ex", "run", "--args"][..], "signals");
    let (least, bare) = ((&["env"][..], "followed"), (&["env"][..], "signals"));
    for (name, tracer, peer, signal, target) in [
        ("stop, SIGURG: watch / the least", ours, least, libc::SIGURG, "1.1"),
        ("stop, SIGUSR1: watch / the least", ours, least, libc::SIGUSR1, "1.1"),
        ("stop, SIGURG: the least / bare", least, bare, libc::SIGURG, "-"),
        ("stop, SIGURG: watch / bare", ours, bare, libc::SIGURG, "-"),
        ("stop, SIGURG: strace / bare", strace, bare, libc::SIGURG, "-"),
        ("stop, SIGURG: gdb / bare", gdb, bare, libc::SIGURG, "-"),
    ] {
        let stop = |(tracer, how)| stop(tracer, &program, how, signal);
        let pairs = (0..PAIRS).map(|_| Some((stop(tracer)?, stop(peer)?)));
        match pairs.collect::<Option<Vec<_>>>() {
            Some(pairs) => table::row(name, &pairs, target),
            None => eprintln!("not measured: {name}"),
        }
    }

    match Service::start(&folder) {
        Some(service) => {
            service.request();
            let turns = (0..PAIRS)
                .map(|_| [service.request(), service.watched(sigward()), service.request()]);
            let turns: Vec<_> = turns.collect();
            let pairs =
                |at: usize| turns.iter().map(|turn| (turn[at], turn[0])).collect::<Vec<_>>();
            table::row("Go service, CPU of a request: watched / not", &pairs(1), "1.05");
            table::row("Go service, CPU of a request: not / not", &pairs(2), "-");
        }
        None => eprintln!("not measured: a Go service"),
    }

    time(Command::new(&program).arg("core").current_dir(&folder));
    let mut cores =
        std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path());
    let is_core = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"core"))
    };
    match cores.find(is_core) {
        Some(core) => within("explain, core of 4 GiB, 500 threads / 20 ms", 20e6, || {
            time(sigward().arg("explain").arg(&core))
        }),
        None => eprintln!("not measured: explain: no core in the folder (core_pattern)"),
    }
}
