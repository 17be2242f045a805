//! Ships events to the collector, over plain TCP or TLS, and keeps each until it is acknowledged.
//!
//! Wire format, lines both ways: `17 {"order":"…"}` goes out, `17` comes back and means "number 17
//! and all before it are stored". After a broken connection the shipper connects again and sends
//! from the oldest unacknowledged event on; the collector knows what it has and drops the rest.
//!
//! Several events are fed and flushed once, as `FramedWrite` is meant to be used. `tokio-util`
//! flushes with `poll_write_vectored` and rustls writes its records so too: on a `TcpStream` that
//! is a bare `writev`, and after the collector went away it raises SIGPIPE on this thread.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec, LinesCodecError};

use crate::backlog::Backlog;
use crate::counters::COUNTERS;

/// Events fed before one flush.
const BATCH: usize = 64;
/// A silent connection is probed this often, with an empty line.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Pause before the next attempt to connect.
const RETRY: Duration = Duration::from_millis(20);

/// Where events go.
pub struct Collector {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Collector {
    /// The collector at `address`; with the PEM file `certificate`, over TLS and only to the holder
    /// of its key.
    pub fn new(address: SocketAddr, certificate: Option<&Path>) -> io::Result<Self> {
        let tls = certificate.map(connector).transpose()?;
        Ok(Self { address, tls })
    }
}

fn connector(certificate: &Path) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?)
        .map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Ships for ever: connects, converses, counts why it ended, and starts again.
pub async fn ship(collector: Collector, backlog: &'static Backlog) {
    let mut sent = 0;
    loop {
        if let Err(error) = connect_and_converse(&collector, backlog, &mut sent).await {
            COUNTERS.count_error(&error);
        }
        sleep(RETRY).await;
    }
}

/// `sent` is the highest number that ever went out, on any connection.
async fn connect_and_converse(
    collector: &Collector,
    backlog: &'static Backlog,
    sent: &mut u64,
) -> io::Result<()> {
    let stream = TcpStream::connect(collector.address).await?;
    match &collector.tls {
        None => converse(stream, backlog, sent).await,
        Some(tls) => {
            let name = ServerName::from(collector.address.ip());
            converse(tls.connect(name, stream).await?, backlog, sent).await
        }
    }
}

/// One connection, until a write fails. Acknowledgements are read by a task of their own; when
/// that meets the end first, the next flush or heartbeat tells, and there is one place for errors.
async fn converse<S>(stream: S, backlog: &'static Backlog, sent: &mut u64) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    COUNTERS.connections.fetch_add(1, Relaxed);
    let (reader, writer) = tokio::io::split(stream);
    let acknowledgements = tokio::spawn(read_acknowledgements(reader, backlog));
    let result = write_events(FramedWrite::new(writer, LinesCodec::new()), backlog, sent).await;
    acknowledgements.abort();
    result
}

async fn write_events<W: AsyncWrite + Unpin>(
    mut lines: FramedWrite<W, LinesCodec>,
    backlog: &Backlog,
    sent: &mut u64,
) -> io::Result<()> {
    let mut next = backlog.first();
    loop {
        let batch = backlog.batch(next, BATCH);
        if batch.is_empty() && timeout(HEARTBEAT, backlog.arrived()).await.is_ok() {
            continue;
        }
        for (sequence, event) in &batch {
            lines.feed(format!("{sequence} {event}")).await.map_err(io_error)?;
            if *sequence <= *sent {
                COUNTERS.resent.fetch_add(1, Relaxed);
            }
            *sent = (*sent).max(*sequence);
            next = sequence + 1;
        }
        if batch.is_empty() {
            lines.feed("").await.map_err(io_error)?;
        }
        SinkExt::<&str>::flush(&mut lines).await.map_err(io_error)?;
    }
}

async fn read_acknowledgements<S: AsyncRead>(reader: ReadHalf<S>, backlog: &'static Backlog) {
    let mut lines = FramedRead::new(reader, LinesCodec::new_with_max_length(32));
    while let Some(Ok(line)) = lines.next().await {
        let Ok(sequence) = line.parse() else { return };
        COUNTERS.acknowledged.fetch_add(backlog.acknowledge(sequence), Relaxed);
    }
}

/// The codec wraps what the stream said and hides it from `source`.
fn io_error(error: LinesCodecError) -> io::Error {
    match error {
        LinesCodecError::Io(error) => error,
        LinesCodecError::MaxLineLengthExceeded => io::Error::other(error),
    }
}
