//! libpq, with a real server that is stopped at once. It writes with MSG_NOSIGNAL, so it lives
//! without us; its threads and those of others must go on with us, and its own blocking of SIGPIPE
//! must meet no surprise.

use crate::support::{Run, SIGPIPE, patience, run};
use crate::tools::{Made, Ward, build, first_line, need, text};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The folder of PostgreSQL's programs, and the flag that finds libpq's header.
fn installed() -> Option<(PathBuf, String)> {
    let found = first_line("pg_config", &["--includedir"]).and_then(|headers| {
        let bin = PathBuf::from(first_line("pg_config", &["--bindir"])?);
        let all = bin.join("initdb").exists() && Path::new(&headers).join("libpq-fe.h").exists();
        all.then(|| (bin, format!("-I{headers}")))
    });
    need("a PostgreSQL server with libpq's header", found)
}

/// A server in a folder of its own, run by a user without rights.
struct Server {
    bin: PathBuf,
    folder: PathBuf,
    user: Option<u32>,
    port: u16,
    process: Option<Child>,
}

impl Server {
    fn new(bin: &Path) -> Self {
        // The path of a socket has little room, and the user must be able to go there.
        let folder = std::env::temp_dir().join(format!("sigward-pg-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        // PostgreSQL refuses to run as root.
        let root = first_line("id", &["-u"]).as_deref() == Some("0");
        let user = root.then(|| first_line("id", &["-u", "nobody"])?.parse().ok()).flatten();
        if user.is_some() {
            chown(&folder, user, None).expect("root may");
        }
        let server = Self { bin: bin.to_path_buf(), folder, user, port: 0, process: None };
        let mut initdb = server.command("initdb");
        initdb.args([
            "--auth=trust",
            "--username=test",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]);
        let output = initdb.arg(server.data()).output().expect("initdb starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        if let Some(user) = self.user {
            command.uid(user);
        }
        command.current_dir(&self.folder);
        command
    }

    /// Whoever else takes the port before the server does ends it, and it gets another one.
    fn start(&mut self) -> u32 {
        self.stop();
        for _ in 0..20 {
            let free =
                std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
            self.port = free.expect("a free port").port();
            let mut process = self.spawn();
            // It comes when the port is taken.
            let socket = self.folder.join(format!(".s.PGSQL.{}", self.port));
            let began = Instant::now();
            while process.try_wait().expect("a child of ours").is_none() {
                if socket.exists() {
                    return self.process.insert(process).id();
                }
                assert!(began.elapsed() < patience(60), "the server does not start");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("the server ends at once");
    }

    fn spawn(&self) -> Child {
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).arg("-k").arg(&self.folder);
        postgres.args(["-F", "-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "max_connections=20", "shared_buffers=4MB"] {
            postgres.args(["-c", setting]);
        }
        postgres.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        postgres.spawn().expect("postgres starts")
    }

    /// Gone already, or stopped by SIGQUIT: it ends its children and itself.
    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // SAFETY: a child of ours that nobody has waited for.
            unsafe { libc::kill(process.id() as libc::pid_t, libc::SIGQUIT) };
            let _ = process.wait();
        }
    }

    fn run(&mut self, scenario: &str, ward: Ward, header: &str) -> Run {
        let host = build("postgres", Made::Program, ward, &[header, "-lpq"]);
        let process = self.start().to_string();
        let folder = self.folder.clone();
        let run = run(&host, &[scenario, text(&folder), &self.port.to_string(), &process]);
        self.stop();
        run
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_server_that_is_stopped_at_once_is_an_error_on_every_thread() {
    let Some((bin, header)) = installed() else { return };
    let mut server = Server::new(&bin);
    // libpq alone lives, until somebody else writes.
    let bare = server.run("quiet", Ward::Bare, &header);
    assert_eq!(bare.died_of(SIGPIPE).out, "6 errors\n");
    for scenario in ["writers", "blocked"] {
        server.run(scenario, Ward::Bare, &header).died_of(SIGPIPE);
        let warded = server.run(scenario, Ward::Archive, &header);
        assert_eq!(warded.lived().out, "6 errors\n");
    }
    // Where libpq blocks SIGPIPE itself.
    for ward in [Ward::Bare, Ward::Archive] {
        let run = server.run("pager", ward, &header);
        assert_eq!(
            (run.lived().out.as_str(), run.err.as_str()),
            ("paged\n", "pager\n"),
            "{run:#?}"
        );
    }
}
