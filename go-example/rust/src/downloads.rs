//! The part of the API that Rust serves itself: `GET /export`, 8 MiB, with axum on hyper.
//!
//! A client that gives up in the middle is everyday life. hyper writes its queue with `writev`, so
//! each such client raises a SIGPIPE on a tokio worker; what hyper then reports is counted here.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::counters::COUNTERS;

/// One piece of the export: 1,024 lines of 64 bytes, as a table of orders would have.
static PIECE: LazyLock<Bytes> =
    LazyLock::new(|| Bytes::from(format!("{:.<63}\n", "order").repeat(1024)));
/// Pieces in one export: 8 MiB, more than the socket buffers take at once.
const PIECES: usize = 128;

/// Serves for ever.
pub async fn serve(listener: TcpListener) {
    let router = Router::new().route("/export", get(export));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, router.clone()))),
            // Out of descriptors, for example: let some connections end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// What `axum::serve` does for one connection, except that the error is looked at.
async fn converse(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    {
        COUNTERS.count_error(&error);
    }
}

async fn export() -> Response {
    COUNTERS.downloads.fetch_add(1, Relaxed);
    let pieces = (0..PIECES).map(|_| Ok::<_, Infallible>(PIECE.clone()));
    let headers = [
        (CONTENT_TYPE, "text/plain".to_owned()),
        (CONTENT_LENGTH, (PIECES * PIECE.len()).to_string()),
    ];
    (headers, Body::from_stream(stream::iter(pieces))).into_response()
}
