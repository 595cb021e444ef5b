//! The server: listens on 127.0.0.1, passes requests to the store through `s3s`, which checks
//! signatures and parses S3's XML, and applies armed faults.

use std::{
    fs, io,
    net::TcpListener,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use s3s::{
    Body, StdError,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
    stream::{ByteStream, DynByteStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Runtime,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    arm::Order,
    fault::{Fault, Rules, Strike},
    google,
    operation::Operation,
    store::Store,
    tls::Certificates,
};

/// The access key that the server accepts.
pub const KEY: &str = "transload";
/// Its secret.
pub const SECRET: &str = "transload-secret";
/// The bucket that exists from the start.
pub const BUCKET: &str = "transload";

/// A server for one test; stopped and removed when dropped.
pub struct Server {
    endpoint: String,
    google: String,
    tls_port: Option<u16>,
    runtime: Option<Runtime>,
    _folder: tempfile::TempDir,
}

impl Server {
    /// An empty server.
    ///
    /// # Panics
    /// If a folder or a port is not available.
    pub fn start() -> Self {
        Self::made(None)
    }

    /// An empty server with an additional port for TLS, with one of the certificates.
    ///
    /// # Panics
    /// As [`Server::start`], and if there is no such certificate.
    pub fn start_with_tls(certificates: &Certificates, name: &str) -> Self {
        Self::made(Some((certificates, name)))
    }

    fn made(certificates: Option<(&Certificates, &str)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (runtime, listener) = (runtime(), listener());
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let stage = Arc::new(Stage::new(folder.path()));
        runtime.spawn(serve(listener, Way::Plain, stage.clone()));
        let listener = self::listener();
        let google = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(serve(listener, Way::Google, stage.clone()));
        let tls_port = certificates.map(|(certificates, name)| {
            let listener = self::listener();
            let port = listener.local_addr().expect("an address").port();
            runtime.spawn(serve(listener, Way::Tls(certificates.acceptor(name)), stage));
            port
        });
        Self { endpoint, google, tls_port, runtime: Some(runtime), _folder: folder }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// `http://127.0.0.1:PORT` of the same store in Google's dialect.
    pub fn google_endpoint(&self) -> &str {
        &self.google
    }

    /// `https://HOST:PORT`; the port is on 127.0.0.1, whatever the host.
    ///
    /// # Panics
    /// If the server has no TLS.
    pub fn tls_endpoint(&self, host: &str) -> String {
        format!("https://{host}:{}", self.tls_port.expect("a server that speaks TLS"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test may be asynchronous, where waiting for threads is not allowed.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// Serves `folder/data`, and writes the port into `folder/port`.
///
/// # Panics
/// If the folder cannot be written, or no port is available.
pub fn serve_forever(folder: &Path) {
    let data = folder.join("data");
    fs::create_dir_all(&data).expect("a folder");
    let (runtime, listener) = (runtime(), listener());
    let port = listener.local_addr().expect("an address").port();
    fs::write(folder.join("port.new"), port.to_string()).expect("a file");
    fs::rename(folder.join("port.new"), folder.join("port")).expect("a file");
    runtime.block_on(serve(listener, Way::Plain, Arc::new(Stage::new(&data))));
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("threads")
}

fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    listener
}

/// Processes requests.
struct Stage {
    service: S3Service,
    /// For requests that have been authorized already.
    unsigned: S3Service,
    store: Store,
    rules: Rules,
}

impl Stage {
    fn new(data: &Path) -> Self {
        fs::create_dir_all(data.join(BUCKET)).expect("a folder");
        let store = Store::new(data);
        let mut builder = S3ServiceBuilder::new(store.clone());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let unsigned = S3ServiceBuilder::new(store.clone()).build();
        Self { service: builder.build(), unsigned, store, rules: Rules::default() }
    }
}

/// The protocol of a port.
#[derive(Clone)]
enum Way {
    Plain,
    Tls(TlsAcceptor),
    Google,
}

async fn serve(listener: TcpListener, way: Way, stage: Arc<Stage>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    loop {
        // For example, no descriptor is free: others will be closed.
        let Ok((socket, _)) = listener.accept().await else { continue };
        // Responses are small, and the next request waits for them.
        let _ = socket.set_nodelay(true);
        let (stage, way) = (stage.clone(), way.clone());
        tokio::spawn(async move {
            match way {
                Way::Plain => talk(socket, stage, false).await,
                Way::Google => talk(socket, stage, true).await,
                // A client that rejects the certificate closes the connection.
                Way::Tls(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        talk(socket, stage, false).await;
                    }
                }
            }
        });
    }
}

async fn talk(socket: impl AsyncRead + AsyncWrite + Unpin, stage: Arc<Stage>, google: bool) {
    let answer = service_fn(move |request| answer(stage.clone(), request, google));
    // The client may close the connection at any time.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
}

async fn answer(
    stage: Arc<Stage>,
    request: Request<Incoming>,
    google: bool,
) -> Result<Response<Body>, StdError> {
    let mut request = request.map(Body::from);
    if request.uri().path().starts_with("/-/") {
        let body = request.body_mut().store_all_limited(1 << 20).await?;
        return Ok(obey(&stage, &body));
    }
    let mut operation = Operation::of(request.method(), request.uri(), request.headers());
    if operation.name == "DeleteObjects" {
        let body = request.body_mut().store_all_limited(1 << 24).await?;
        operation.key = String::from_utf8_lossy(&body).into_owned();
    }
    let range = request.headers().get("range").map(|value| value.to_str().unwrap_or("").to_owned());
    stage.rules.came(&operation, range);
    let visit = Visit { stage: stage.clone(), operation: operation.name };
    let strike = stage.rules.strike(&operation);
    // A request is processed completely, even if the client does not wait for the response.
    let acting = tokio::spawn(async move {
        if google && let Err((status, code)) = google::to_s3(&mut request, &operation, &stage.store)
        {
            drain(&mut request).await?;
            return Ok(refusal(status, code).into());
        }
        let service = if google { &stage.unsigned } else { &stage.service };
        let mut answer = match strike {
            Some(strike) => struck(service, request, strike).await?,
            None => Answer::from(service.call(request).await?),
        };
        if google {
            google::from_s3(&mut answer.response, &operation, &stage.store);
        }
        Ok::<_, StdError>(answer)
    });
    Ok(acting.await??.watched(visit))
}

/// A response, and the number of bytes after which its body is cut, or stops.
struct Answer {
    response: Response<Body>,
    left: u64,
    stalls: bool,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self { response, left: u64::MAX, stalls: false }
    }
}

impl Answer {
    /// The body of an object is sent while the visit lasts.
    fn watched(self, visit: Visit) -> Response<Body> {
        if visit.operation != "GetObject" && self.left == u64::MAX {
            return self.response;
        }
        let (left, stalls) = (self.left, self.stalls);
        let length = self.response.headers().get("content-length");
        let unsent = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let unsent = unsent.unwrap_or(u64::MAX);
        self.response.map(|body| {
            let visit = Some(visit);
            let stream: DynByteStream = Box::pin(Watched { body, left, stalls, unsent, visit });
            Body::from(stream)
        })
    }
}

async fn struck(
    service: &S3Service,
    mut request: Request<Body>,
    strike: Strike,
) -> Result<Answer, StdError> {
    let lost = || StdError::from(io::Error::other("a fault ends the connection"));
    match &strike.fault {
        Fault::Answer(status, code) => {
            drain(&mut request).await?;
            return Ok(refusal(*status, Fault::code(*status, code)).into());
        }
        Fault::ErrorInBody(code) => {
            drain(&mut request).await?;
            return Ok(refusal(200, Fault::code(500, code)).into());
        }
        Fault::Hang => {
            drain(&mut request).await?;
            return std::future::pending().await;
        }
        Fault::Reset => return Err(lost()),
        Fault::Slow(milliseconds) => {
            // Received completely by then, whatever the client does next.
            drain(&mut request).await?;
            tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
        }
        _ => {}
    }
    let fault = strike.fault.clone();
    request.extensions_mut().insert(strike);
    let response = service.call(request).await?;
    match fault {
        Fault::LoseReply => {
            // The store may still be working while it responds.
            let mut body = response.into_body();
            body.store_all_limited(usize::MAX).await?;
            Err(lost())
        }
        Fault::DoneButError => Ok(refusal(500, "InternalError").into()),
        Fault::CutBody(left) => Ok(Answer { response, left, stalls: false }),
        Fault::StallBody(left) => Ok(Answer { response, left, stalls: true }),
        _ => Ok(response.into()),
    }
}

/// Receives and keeps the whole body: a client that cannot send its body does not read the
/// response.
async fn drain(request: &mut Request<Body>) -> Result<(), StdError> {
    request.body_mut().store_all_limited(usize::MAX).await.map(drop)
}

/// An error in S3's form.
fn refusal(status: u16, code: &str) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>a fault of the tests</Message><RequestId>0</RequestId></Error>"
    );
    let builder = Response::builder().status(status).header("content-type", "application/xml");
    builder.body(Body::from(text)).expect("a response")
}

fn obey(stage: &Stage, body: &[u8]) -> Response<Body> {
    let told = |value: serde_json::Value| Response::new(Body::from(value.to_string()));
    let refused = |error: String| {
        Response::builder().status(400).body(Body::from(error)).expect("a response")
    };
    match serde_json::from_slice(body) {
        Ok(Order::Arm(rule, fault)) => {
            stage.rules.arm(rule, fault).map_or_else(refused, |number| told(number.into()))
        }
        Ok(Order::Disarm(number)) => {
            stage.rules.disarm(number);
            told(serde_json::Value::Null)
        }
        Ok(Order::Hits(number)) => told(serde_json::json!(stage.rules.hits(number))),
        Ok(Order::Seen(rule)) => told(serde_json::json!(stage.rules.seen(&rule))),
        Ok(Order::Uploads(prefix)) => told(serde_json::json!(stage.store.uploads(&prefix))),
        Err(error) => refused(error.to_string()),
    }
}

/// A request that is in progress until this is dropped.
struct Visit {
    stage: Arc<Stage>,
    operation: &'static str,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.stage.rules.gone(self.operation);
    }
}

/// A body that may be cut, or stop.
struct Watched {
    body: Body,
    left: u64,
    stalls: bool,
    unsent: u64,
    visit: Option<Visit>,
}

impl Stream for Watched {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 && self.stalls {
            // Nothing will wake it: the client ends it, or the server.
            return Poll::Pending;
        }
        if self.left == 0 {
            let error = io::Error::other("a fault cuts the body");
            return Poll::Ready(Some(Err(error.into())));
        }
        let polled = Pin::new(&mut self.body).poll_next(context);
        polled.map_ok(|mut bytes| {
            bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= bytes.len() as u64;
            self.unsent = self.unsent.saturating_sub(bytes.len() as u64);
            if self.unsent == 0 {
                // Before its last byte is sent, because the client may send its next request at
                // once.
                self.visit = None;
            }
            bytes
        })
    }
}

impl ByteStream for Watched {}
