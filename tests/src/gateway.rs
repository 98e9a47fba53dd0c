//! An HTTP proxy between a trader and its exchange. It relays calls and holds the one that a test waits for:
//! before the exchange receives it, or before the trader receives the response. The test can then kill the
//! trader at that instant, and forward or discard the call. Bytes of responses pass as they come, so that faults of
//! their delivery reach the trader. Entry point: [`Gateway`].

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::ports;

/// Longest request, in bytes.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// Bytes that are relayed at once.
const RELAYED_BYTES: usize = 16 * 1024;
/// Time for which the connection of a discarded call stays open: longer than any client waits.
const LOST_CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a call is held before or after the exchange executes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldPoint {
    /// The exchange has not received the call.
    BeforeExchange,
    /// The exchange has executed the call; its response is held.
    AfterExchange,
}

/// What happens to a held call on release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseAction {
    /// The call or its response is forwarded.
    Forward,
    /// The call or its response is discarded.
    Discard,
}

/// A call whose response was passed on to the trader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredCall {
    /// HTTP method, such as `POST`.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Time at which the call arrived.
    pub requested_at: Instant,
    /// Time at which the exchange had responded.
    pub answered_at: Instant,
}

struct CallTrap {
    method: &'static str,
    path: &'static str,
    /// Number of calls with this method and path that are forwarded first.
    skip: usize,
    hold_point: HoldPoint,
    caught: oneshot::Sender<()>,
    release: watch::Receiver<Option<ReleaseAction>>,
}

impl CallTrap {
    /// Reports to the test that the call is held, and waits for its release.
    async fn hold(mut self) -> ReleaseAction {
        let _ = self.caught.send(());
        match self.release.wait_for(Option::is_some).await {
            Ok(action) => action.unwrap_or(ReleaseAction::Discard),
            // The test has ended.
            Err(_) => ReleaseAction::Discard,
        }
    }
}

/// Handle of a call that will be held.
pub struct HeldCall {
    caught: oneshot::Receiver<()>,
    release: watch::Sender<Option<ReleaseAction>>,
}

impl HeldCall {
    /// Waits until the call is held.
    pub async fn wait_until_held(&mut self, within: Duration) {
        let caught = tokio::time::timeout(within, &mut self.caught).await;
        caught
            .unwrap_or_else(|_| panic!("no matching call within {within:?}"))
            .unwrap();
    }

    /// Forwards or discards the call.
    pub fn release(&self, action: ReleaseAction) {
        self.release.send_replace(Some(action));
    }
}

struct GatewayState {
    exchange: SocketAddr,
    traps: Mutex<Vec<CallTrap>>,
    answered: Mutex<Vec<AnsweredCall>>,
    /// Running calls. They outlive their client: the call of a killed trader still reaches the exchange.
    calls: Mutex<JoinSet<()>>,
}

/// A running proxy of an exchange's REST API.
pub struct Gateway {
    address: SocketAddr,
    state: Arc<GatewayState>,
    _serving: JoinSet<()>,
}

impl Gateway {
    /// Starts a proxy on a reserved port of the loopback interface.
    pub async fn start(exchange: SocketAddr) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()));
        let listener = TcpListener::bind(address).await.unwrap();
        let shared = Arc::new(GatewayState {
            exchange,
            traps: Mutex::default(),
            answered: Mutex::default(),
            calls: Mutex::default(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(accept_connections(listener, Arc::clone(&shared)));
        Self {
            address,
            state: shared,
            _serving: serving,
        }
    }

    /// Value for the trader's `BINANCE_REST_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls that were answered so far, in the order of their responses.
    pub fn answered_calls(&self) -> Vec<AnsweredCall> {
        self.state.answered.lock().unwrap().clone()
    }

    /// Holds the next call with this method and path after `skip` such calls.
    pub fn hold_call(
        &self,
        method: &'static str,
        path: &'static str,
        skip: usize,
        hold_point: HoldPoint,
    ) -> HeldCall {
        let (caught_sender, caught) = oneshot::channel();
        let (release_sender, release) = watch::channel(None);
        self.state.traps.lock().unwrap().push(CallTrap {
            method,
            path,
            skip,
            hold_point,
            caught: caught_sender,
            release,
        });
        HeldCall {
            caught,
            release: release_sender,
        }
    }
}

impl GatewayState {
    /// Takes the trap that holds this call. `None` if the call is to be forwarded.
    fn take_trap(&self, method: &str, path: &str) -> Option<CallTrap> {
        let mut traps = self.traps.lock().unwrap();
        let found = traps
            .iter()
            .position(|t| t.method == method && t.path == path)?;
        if traps[found].skip > 0 {
            traps[found].skip -= 1;
            return None;
        }
        Some(traps.remove(found))
    }
}

/// Serves one call of each connection. Calls outlive their client and the loop.
async fn accept_connections(listener: TcpListener, shared: Arc<GatewayState>) {
    loop {
        let (trader, _) = listener.accept().await.unwrap();
        let call = relay_call(trader, Arc::clone(&shared));
        let mut calls = shared.calls.lock().unwrap();
        while calls.try_join_next().is_some() {}
        calls.spawn(async move {
            // A trader or an exchange that has gone away ends the call.
            let _ = call.await;
        });
    }
}

/// Relays a call and its response, and holds them as a trap says.
async fn relay_call(mut trader: TcpStream, shared: Arc<GatewayState>) -> io::Result<()> {
    trader.set_nodelay(true)?;
    let Some(request) = read_request(&mut trader).await? else {
        return Ok(());
    };
    let requested_at = Instant::now();
    let mut trap = shared.take_trap(&request.method, &request.path);
    let held_before = |trap: &CallTrap| trap.hold_point == HoldPoint::BeforeExchange;
    if let Some(trap) = trap.take_if(|trap| held_before(trap))
        && trap.hold().await == ReleaseAction::Discard
    {
        tokio::time::sleep(LOST_CALL_TIMEOUT).await;
        return Ok(());
    }
    let mut exchange = TcpStream::connect(shared.exchange).await?;
    exchange.write_all(&request.bytes).await?;
    if let Some(trap) = trap {
        let mut response = Vec::new();
        exchange.read_to_end(&mut response).await?;
        if trap.hold().await == ReleaseAction::Discard {
            tokio::time::sleep(LOST_CALL_TIMEOUT).await;
            return Ok(());
        }
        trader.write_all(&response).await?;
    } else if let Err(error) = relay_response(&mut exchange, &mut trader).await {
        if error.kind() == io::ErrorKind::ConnectionReset {
            trader.set_zero_linger()?;
        }
        return Err(error);
    }
    shared.answered.lock().unwrap().push(AnsweredCall {
        method: request.method,
        path: request.path,
        requested_at,
        answered_at: Instant::now(),
    });
    trader.shutdown().await
}

/// Relays the bytes of a response until the exchange closes its connection.
async fn relay_response(exchange: &mut TcpStream, trader: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; RELAYED_BYTES];
    loop {
        match exchange.read(&mut buffer).await? {
            0 => return Ok(()),
            length => trader.write_all(&buffer[..length]).await?,
        }
    }
}

/// A request with what a trap asks for.
struct RelayedRequest {
    method: String,
    path: String,
    /// The request as the exchange receives it: the connection ends with the response.
    bytes: Vec<u8>,
}

/// Reads one request. `None` if the trader closes its connection without one.
async fn read_request(trader: &mut TcpStream) -> io::Result<Option<RelayedRequest>> {
    let mut read = Vec::new();
    let head_end = loop {
        if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at;
        }
        if !read_more(trader, &mut read).await? {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let header = |line: &str, wanted: &str| {
        let (name, value) = line.split_once(':')?;
        let is_wanted = name.eq_ignore_ascii_case(wanted);
        is_wanted.then(|| value.trim().to_owned())
    };
    let length = lines
        .clone()
        .find_map(|line| header(line, "content-length"));
    let length: usize = length.map_or(0, |text| text.parse().unwrap());
    while read.len() < head_end + 4 + length {
        if !read_more(trader, &mut read).await? {
            return Ok(None);
        }
    }
    let kept = lines.filter(|line| header(line, "connection").is_none());
    let kept: Vec<&str> = kept.collect();
    let new_head = [&[first, "Connection: close"], kept.as_slice()].concat();
    let mut parts = first.split(' ').map(str::to_owned);
    let (method, target) = (parts.next().unwrap(), parts.next().unwrap());
    let bytes = [new_head.join("\r\n").as_bytes(), &read[head_end..]].concat();
    Ok(Some(RelayedRequest {
        method,
        path: target.split('?').next().unwrap_or_default().to_owned(),
        bytes,
    }))
}

/// Reads more bytes of a request; false if there are no more.
async fn read_more(trader: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<bool> {
    assert!(read.len() < MAX_REQUEST_BYTES, "the request is too long");
    Ok(trader.read_buf(read).await? > 0)
}
