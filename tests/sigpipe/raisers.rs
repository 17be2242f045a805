//! Which writes raise SIGPIPE when Rust is embedded: the table of docs/book/raisers.md, row by row.
//!
//! Each row runs in a process of its own with the signal at its default, as under a C or Go `main`:
//! this test starts itself again. A row that stops dying, or begins to, turns the test red.

#![cfg(target_os = "linux")]
#![allow(clippy::incompatible_msrv, reason = "std::io::pipe is newer than the crate needs")]

use std::io::{IoSlice, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

type Row = (&'static str, fn() -> std::io::Result<()>);

const QUIET: &[Row] = &[
    ("std TcpStream write", || tcp().write(b"x").map(drop)),
    ("std UnixStream write", || unix().write(b"x").map(drop)),
    ("tokio TcpStream write", || tokio(async { tokio_tcp().write(b"x").await.map(drop) })),
    ("tokio UnixStream write", || tokio(async { tokio_unix().write(b"x").await.map(drop) })),
    ("io_uring SEND", || {
        uring(&unix(), |fd| {
            opcode::Send::new(fd, b"x".as_ptr(), 1).flags(libc::MSG_NOSIGNAL).build()
        })
    }),
];

const RAISING: &[Row] = &[
    ("std TcpStream write_vectored", || tcp().write_vectored(&[IoSlice::new(b"x")]).map(drop)),
    ("std UnixStream write_vectored", || unix().write_vectored(&[IoSlice::new(b"x")]).map(drop)),
    ("tokio TcpStream write_vectored", || {
        tokio(async { tokio_tcp().write_vectored(&[IoSlice::new(b"x")]).await.map(drop) })
    }),
    ("tokio UnixStream write_vectored", || {
        tokio(async { tokio_unix().write_vectored(&[IoSlice::new(b"x")]).await.map(drop) })
    }),
    ("std PipeWriter", || pipe().write(b"x").map(drop)),
    ("std File on a pipe", || {
        std::fs::File::from(std::os::fd::OwnedFd::from(pipe())).write(b"x").map(drop)
    }),
    ("std ChildStdin", || {
        let mut child = Command::new("true").stdin(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().expect("piped");
        child.wait()?;
        stdin.write(b"x").map(drop)
    }),
    ("tokio ChildStdin", || {
        tokio(async {
            let mut child = tokio::process::Command::new("true").stdin(Stdio::piped()).spawn()?;
            let mut stdin = child.stdin.take().expect("piped");
            child.wait().await?;
            stdin.write(b"x").await.map(drop)
        })
    }),
    ("tokio pipe::Sender", || {
        tokio(async {
            let (mut sender, receiver) = tokio::net::unix::pipe::pipe()?;
            drop(receiver);
            sender.write(b"x").await.map(drop)
        })
    }),
    ("socket2 send", || socket2::Socket::from(unix()).send(b"x").map(drop)),
    ("socket2 send_vectored", || {
        socket2::Socket::from(unix()).send_vectored(&[IoSlice::new(b"x")]).map(drop)
    }),
    ("rustix write", || rustix::io::write(unix(), b"x").map(drop).map_err(Into::into)),
    ("sendfile", || {
        rustix::fs::sendfile(unix(), executable(), Some(&mut 0), 4).map(drop).map_err(Into::into)
    }),
    ("splice", || {
        let (reader, mut writer) = std::io::pipe()?;
        writer.write_all(b"x")?;
        rustix::pipe::splice(reader, None, unix(), None, 1, rustix::pipe::SpliceFlags::empty())?;
        Ok(())
    }),
    ("io_uring WRITE", || uring(&unix(), |fd| opcode::Write::new(fd, b"x".as_ptr(), 1).build())),
    ("io_uring WRITEV", || {
        let part = libc::iovec { iov_base: b"x".as_ptr().cast_mut().cast(), iov_len: 1 };
        uring(&unix(), |fd| opcode::Writev::new(fd, &raw const part, 1).build())
    }),
];

use io_uring::{opcode, types};
use tokio::io::AsyncWriteExt;

/// Our side of a connection that the peer has reset, after the one write that is told of the reset
/// itself.
fn tcp() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let mut ours = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
    let theirs = listener.accept().expect("connected").0;
    socket2::SockRef::from(&theirs).set_linger(Some(std::time::Duration::ZERO)).expect("SO_LINGER");
    drop(theirs);
    // A kernel that has much to do may bring the reset a moment after the close.
    let mut reset = libc::pollfd { fd: ours.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one struct, and our own descriptor.
    assert_eq!(unsafe { libc::poll(&raw mut reset, 1, 60_000) }, 1, "no reset");
    assert_eq!(
        ours.write(b"x").map_err(|error| error.kind()),
        Err(std::io::ErrorKind::ConnectionReset)
    );
    ours
}

fn unix() -> UnixStream {
    UnixStream::pair().expect("socketpair").0
}

fn pipe() -> std::io::PipeWriter {
    std::io::pipe().expect("pipe").1
}

fn executable() -> std::fs::File {
    std::fs::File::open("/proc/self/exe").expect("our own executable")
}

fn tokio(future: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

fn tokio_tcp() -> tokio::net::TcpStream {
    let stream = tcp();
    stream.set_nonblocking(true).expect("fcntl");
    tokio::net::TcpStream::from_std(stream).expect("a runtime is here")
}

fn tokio_unix() -> tokio::net::UnixStream {
    let stream = unix();
    stream.set_nonblocking(true).expect("fcntl");
    tokio::net::UnixStream::from_std(stream).expect("a runtime is here")
}

fn uring(
    fd: &impl AsFd,
    entry: impl FnOnce(types::Fd) -> io_uring::squeue::Entry,
) -> std::io::Result<()> {
    let mut ring = io_uring::IoUring::new(2)?;
    // SAFETY: what the entry points to lives until the completion is read below.
    unsafe { ring.submission().push(&entry(types::Fd(fd.as_fd().as_raw_fd()))) }
        .expect("room for one");
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().expect("waited for").result();
    if result < 0 { Err(std::io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

/// Those of these rows that this machine lets us have: many a container has no io_uring(7).
fn allowed(rows: &[Row]) -> impl Iterator<Item = &'static str> {
    let ring =
        io_uring::IoUring::new(2).map_err(|error| println!("SKIPPED: io_uring: {error}")).is_ok();
    rows.iter().map(|(row, _)| *row).filter(move |row| ring || !row.starts_with("io_uring"))
}

/// Runs one row in a process with SIGPIPE at its default: the signal that ended it, or its exit
/// code.
fn outcome(row: &str, warded: bool) -> Result<i32, i32> {
    let mut command = Command::new(std::env::current_exe().expect("a test has a path"));
    command.args(["--exact", "child", "--nocapture"]).env("SIGWARD_ROW", row);
    if warded {
        command.env("SIGWARD_WARDED", "yes");
    }
    // std resets SIGPIPE in children; Rust's `main` ignores it again, so `child` resets it once
    // more.
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("starts");
    status.signal().ok_or_else(|| status.code().expect("no signal"))
}

/// Not a test of its own: what the others start.
#[test]
fn child() {
    let Ok(row) = std::env::var("SIGWARD_ROW") else { return };
    // SAFETY: nobody else looks at SIGPIPE in this process.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    if std::env::var("SIGWARD_WARDED").is_ok() {
        sigward::init().expect("nothing forbids it");
    }
    let all = QUIET.iter().chain(RAISING);
    let (_, write) = all.copied().find(|(name, _)| *name == row).expect("a row");
    let error = write().expect_err("the other side is gone");
    assert_eq!(error.raw_os_error(), Some(libc::EPIPE), "{error}");
}

#[test]
fn these_return_the_error_and_nothing_else() {
    for row in allowed(QUIET) {
        assert_eq!(outcome(row, false), Err(0), "{row}");
    }
}

#[test]
fn these_raise_sigpipe() {
    for row in allowed(RAISING) {
        assert_eq!(outcome(row, false), Ok(libc::SIGPIPE), "{row}");
    }
}

#[test]
fn none_of_them_is_a_death_with_the_filter() {
    for row in allowed(QUIET).chain(allowed(RAISING)) {
        assert_eq!(outcome(row, true), Err(0), "{row}");
    }
}
