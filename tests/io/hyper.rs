//! hyper over `NoSigpipe` makes no SIGPIPE at all, and over the plain stream it does: counted
//! delivery by delivery while clients hang up in the middle of large responses. And the adaptor is
//! a good stream otherwise.

#![cfg(all(target_os = "linux", feature = "tokio"))]
#![allow(clippy::incompatible_msrv, reason = "an async test needs no old compiler")]

use axum::serve::Listener;
use sigward::io::NoSigpipe;
use std::io::IoSlice;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

static DELIVERIES: AtomicU32 = AtomicU32::new(0);

struct Quiet(TcpListener);

impl Listener for Quiet {
    type Io = NoSigpipe<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (NoSigpipe::new(stream), address)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Serves large responses to clients that hang up at once; how many SIGPIPEs that made.
fn leavers(quiet: bool) -> u32 {
    extern "C" fn count(_: libc::c_int) {
        DELIVERIES.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: the handler adds to an atomic; nobody else looks at SIGPIPE in this process.
    unsafe { libc::signal(libc::SIGPIPE, count as *const () as libc::sighandler_t) };
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let body = || async { axum::body::Body::from(vec![b'x'; 8 << 20]) };
        let app = axum::Router::new().route("/", axum::routing::get(body));
        let server = if quiet {
            tokio::spawn(axum::serve(Quiet(listener), app).into_future())
        } else {
            tokio::spawn(axum::serve(listener, app).into_future())
        };
        for _ in 0..300 {
            let mut client = TcpStream::connect(address).await.expect("served");
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
            drop(client);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        // One that stays gets the whole of it.
        let mut client = TcpStream::connect(address).await.expect("served");
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .expect("sent");
        let mut response = Vec::new();
        client.read_to_end(&mut response).await.expect("served");
        assert!(response.len() > 8 << 20 && response.ends_with(b"xxxx"));
        server.abort();
    });
    DELIVERIES.load(Ordering::SeqCst)
}

/// Not a test of its own: what the others start.
#[test]
fn child() {
    let Ok(kind) = std::env::var("SIGWARD_SERVER") else { return };
    println!("\ndeliveries {}", leavers(kind == "quiet"));
}

fn deliveries(kind: &str) -> u32 {
    let mut command = Command::new(std::env::current_exe().expect("a test has a path"));
    command.args(["--exact", "child", "--nocapture"]).env("SIGWARD_SERVER", kind);
    let output = command.output().expect("starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("deliveries ")).expect("printed");
    line.parse().expect("a number")
}

#[test]
fn hyper_over_the_adaptor_makes_no_sigpipe_and_over_the_stream_it_does() {
    let (plain, quiet) = (deliveries("plain"), deliveries("quiet"));
    println!("300 leavers: {plain} SIGPIPEs over TcpStream, {quiet} over NoSigpipe<TcpStream>");
    assert!(plain > 0, "the bare twin must raise it");
    assert_eq!(quiet, 0);
}

#[test]
fn the_adaptor_is_a_stream_like_any() {
    runtime().block_on(async {
        let (ours, theirs) = UnixStream::pair().expect("socketpair");
        let (mut ours, mut theirs) = (NoSigpipe::new(ours), NoSigpipe::new(theirs));
        assert!(tokio::io::AsyncWrite::is_write_vectored(&ours));
        assert_eq!(
            ours.write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b"two")]).await.unwrap(),
            6
        );
        let mut six = [0; 6];
        theirs.read_exact(&mut six).await.unwrap();
        assert_eq!(&six, b"onetwo");
        // More than the socket holds: the task waits for the reader, and all of it comes.
        let sent: Vec<u8> = (0..4_000_000_u32).map(|number| (number % 251) as u8).collect();
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            ours.write_all(&copy).await.unwrap();
            ours.flush().await.unwrap();
            ours.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        writer.await.unwrap();
        assert!(got == sent);
        // A pipe.
        let (sender, receiver) = tokio::net::unix::pipe::pipe().unwrap();
        let (mut sender, mut receiver) = (NoSigpipe::new(sender), receiver);
        sender.write_all(b"through").await.unwrap();
        let mut seven = [0; 7];
        receiver.read_exact(&mut seven).await.unwrap();
        drop(receiver);
        assert_eq!(
            sender.write_all(b"x").await.unwrap_err().kind(),
            std::io::ErrorKind::BrokenPipe
        );
    });
}
