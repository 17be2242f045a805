//! Requests per second of hyper (below axum) with the filter installed and without, and over
//! `NoSigpipe`: rows for `benches/run`. The sides take turns, one short batch each; the figure is
//! nanoseconds for one request.

#![allow(clippy::cast_precision_loss, reason = "nanoseconds and counts far below 2^52")]

mod table;

use axum::serve::Listener;
use sigward::io::NoSigpipe;
use std::time::Instant;
use table::row;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BATCH: u32 = 400;
const ROUNDS: usize = 150;

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

/// A server and one connection to it, which stays.
async fn serve(quiet: bool) -> std::io::Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello, world" }));
    if quiet {
        tokio::spawn(axum::serve(Quiet(listener), app).into_future());
    } else {
        tokio::spawn(axum::serve(listener, app).into_future());
    }
    let client = TcpStream::connect(address).await?;
    client.set_nodelay(true)?;
    Ok(client)
}

/// Nanoseconds for one request, over a batch.
async fn batch(client: &mut TcpStream) -> std::io::Result<f64> {
    let start = Instant::now();
    let mut response = [0; 1024];
    for _ in 0..BATCH {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        let mut length = 0;
        while !response[..length].ends_with(b"hello, world") {
            length += client.read(&mut response[length..]).await?;
        }
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(BATCH))
}

fn main() -> std::io::Result<()> {
    // Rust's `main` ignores SIGPIPE; embedded code has the default.
    // SAFETY: nobody else looks at SIGPIPE in this process.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut plain, mut quiet) = (serve(false).await?, serve(true).await?);
        let (mut filtered, mut adapted) = (Vec::new(), Vec::new());
        batch(&mut plain).await?;
        batch(&mut quiet).await?;
        for _ in 0..ROUNDS {
            sigward::init()?;
            let warded = batch(&mut plain).await?;
            sigward::sigpipe::restore()?;
            let bare = batch(&mut plain).await?;
            let over_adaptor = batch(&mut quiet).await?;
            filtered.push((warded, bare));
            adapted.push((over_adaptor, bare));
        }
        row("hyper request: filter / no handler", &filtered, "1.01");
        row("hyper request: NoSigpipe / TcpStream", &adapted, "1.01");
        Ok(())
    })
}
