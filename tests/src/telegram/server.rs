//! Connections, and the path of a request from the connection to its method and back. Unlike in axum's own server, a
//! connection can be cut at any moment.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{Method as Verb, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::TelegramFault;
use super::answers::{self, ErrorResponse};
use super::chats::Chats;
use super::methods::{self, Method};
use super::parameters::Parameters;

/// Serves until the future is dropped. Connections last until `end`.
pub(super) async fn serve(listener: TcpListener, chats: Arc<Chats>, shutdown: CancellationToken) {
    let app = Router::new().fallback(handle_request).with_state(chats);
    let app = app.into_make_service_with_connect_info::<ConnectionCutter>();
    axum::serve(CuttableListener { listener, shutdown }, app)
        .await
        .unwrap();
}

async fn handle_request(
    State(chats): State<Arc<Chats>>,
    ConnectInfo(cut): ConnectInfo<ConnectionCutter>,
    request: Request,
) -> Response {
    chats.count_request();
    let answer = dispatch(&chats, &cut, request).await;
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn dispatch(
    chats: &Chats,
    cut: &ConnectionCutter,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let (head, body) = request.into_parts();
    if head.method != Verb::GET && head.method != Verb::POST {
        return Err(ErrorResponse::Http(StatusCode::NOT_IMPLEMENTED));
    }
    let (token, name) = parse_path(&head.uri)?;
    chats.authorize(token)?;
    let not_found = || ErrorResponse::new(StatusCode::NOT_FOUND, "Not Found: method not found");
    match Method::from_name(name).ok_or_else(not_found)? {
        Method::GetMe => Parameters::read(&head, body)
            .await
            .map(|_| answers::api_result(&chats.bot_info())),
        Method::SendChatAction => {
            let given = Parameters::read(&head, body).await?;
            methods::send_chat_action(chats, &given).map(|done| answers::api_result(&done))
        }
        Method::GetUpdates => {
            let given = Parameters::read(&head, body).await?;
            let updates = chats.updates().get_updates(&given).await?;
            Ok(answers::api_result(&updates))
        }
        Method::AnswerCallbackQuery => {
            let given = Parameters::read(&head, body).await?;
            let done = chats.updates().answer_callback(&given)?;
            Ok(answers::api_result(&done))
        }
        Method::EditMessageReplyMarkup => {
            let given = Parameters::read(&head, body).await?;
            methods::edit_message_reply_markup(chats, &given).map(|done| answers::api_result(&done))
        }
        method @ (Method::SendMessage | Method::SendPhoto) => {
            let trouble = chats.next_fault();
            match trouble {
                Some(TelegramFault::RefuseConnection) => return Ok(cut.cut()),
                Some(TelegramFault::ServerError(status)) => return Ok(answers::proxy_page(status)),
                _ => {}
            }
            let given = Parameters::read(&head, body).await?;
            let message = match method {
                Method::SendPhoto => methods::send_photo(chats, &given, trouble.as_ref())?,
                _ => methods::send_message(chats, &given, trouble.as_ref())?,
            };
            match trouble {
                Some(TelegramFault::DropReply) => return Ok(cut.cut()),
                Some(TelegramFault::DelayReply(time)) => sleep(time).await,
                _ => {}
            }
            Ok(answers::api_result(&message))
        }
    }
}

/// Splits `/bot<token>/<method>` into token and method.
///
/// A token without a colon, or with a first part that is not a number, leads to `api.telegram.org`'s page for unknown
/// addresses. (The open server responds with 401 "Unauthorized: invalid token specified" instead.)
fn parse_path(uri: &Uri) -> Result<(&str, &str), ErrorResponse> {
    let parts = uri.path().strip_prefix("/bot");
    let parts = parts.and_then(|rest| rest.split_once('/'));
    parts
        .filter(|(token, _)| is_well_formed_token(token))
        .ok_or_else(|| ErrorResponse::new(StatusCode::NOT_FOUND, "Not Found"))
}

fn is_well_formed_token(token: &str) -> bool {
    token.split_once(':').is_some_and(|(bot, secret)| {
        !secret.is_empty() && !bot.starts_with('0') && bot.parse::<u64>().is_ok()
    })
}

struct CuttableListener {
    listener: TcpListener,
    shutdown: CancellationToken,
}

impl Listener for CuttableListener {
    type Io = Connection;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Connection, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let cut = ConnectionCutter(self.shutdown.child_token());
        let is_cut = Box::pin(cut.0.clone().cancelled_owned());
        (
            Connection {
                stream,
                cutter: cut,
                cut_signal: is_cut,
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Handle that ends one connection.
#[derive(Clone)]
struct ConnectionCutter(CancellationToken);

impl ConnectionCutter {
    /// Cuts the connection before the response is sent.
    fn cut(&self) -> Response {
        self.0.cancel();
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for ConnectionCutter {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().cutter.clone()
    }
}

/// A connection whose reads and writes fail after it is cut.
struct Connection {
    stream: TcpStream,
    cutter: ConnectionCutter,
    cut_signal: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn stream(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if self.cutter.0.is_cancelled() || self.cut_signal.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(Pin::new(&mut self.stream))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream(context)?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_shutdown(context)
    }
}
