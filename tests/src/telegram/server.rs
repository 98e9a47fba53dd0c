//! Connections, and the way of a request from the wire to its method and back. A connection can be
//! cut at any moment, which axum's own can not.

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

use super::Trouble;
use super::answers::{self, Refusal};
use super::chats::Chats;
use super::methods::{self, Method};
use super::parameters::Parameters;

/// Serves until it is dropped; the connections live until `end`.
pub(super) async fn run(listener: TcpListener, chats: Arc<Chats>, end: CancellationToken) {
    let app = Router::new().fallback(answer).with_state(chats);
    let app = app.into_make_service_with_connect_info::<Cut>();
    axum::serve(Door { listener, end }, app).await.unwrap();
}

async fn answer(
    State(chats): State<Arc<Chats>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    chats.count();
    let answer = call(&chats, &cut, request).await;
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn call(chats: &Chats, cut: &Cut, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    if head.method != Verb::GET && head.method != Verb::POST {
        return Err(Refusal::Unread(StatusCode::NOT_IMPLEMENTED));
    }
    let (token, name) = path(&head.uri)?;
    chats.authorize(token)?;
    let not_found = || Refusal::new(StatusCode::NOT_FOUND, "Not Found: method not found");
    match Method::named(name).ok_or_else(not_found)? {
        Method::GetMe => Parameters::read(&head, body)
            .await
            .map(|_| answers::done(&chats.me())),
        Method::SendChatAction => {
            let given = Parameters::read(&head, body).await?;
            methods::send_chat_action(chats, &given).map(|done| answers::done(&done))
        }
        Method::GetUpdates => {
            let given = Parameters::read(&head, body).await?;
            let updates = chats.updates().get(&given).await?;
            Ok(answers::done(&updates))
        }
        Method::AnswerCallbackQuery => {
            let given = Parameters::read(&head, body).await?;
            let done = chats.updates().answer(&given)?;
            Ok(answers::done(&done))
        }
        Method::EditMessageReplyMarkup => {
            let given = Parameters::read(&head, body).await?;
            methods::edit_message_reply_markup(chats, &given).map(|done| answers::done(&done))
        }
        method @ (Method::SendMessage | Method::SendPhoto) => {
            let trouble = chats.next_trouble();
            match trouble {
                Some(Trouble::RefuseConnection) => return Ok(cut.now()),
                Some(Trouble::ServerError(status)) => return Ok(answers::proxy_page(status)),
                _ => {}
            }
            let given = Parameters::read(&head, body).await?;
            let message = match method {
                Method::SendPhoto => methods::send_photo(chats, &given, trouble.as_ref())?,
                _ => methods::send_message(chats, &given, trouble.as_ref())?,
            };
            match trouble {
                Some(Trouble::DropReply) => return Ok(cut.now()),
                Some(Trouble::Hang(time)) => sleep(time).await,
                _ => {}
            }
            Ok(answers::done(&message))
        }
    }
}

/// Token and method of `/bot<token>/<method>`.
///
/// A token without a colon, or whose first part is no number, is a page that `api.telegram.org`
/// does not have. (The open server says 401 "Unauthorized: invalid token specified" instead.)
fn path(uri: &Uri) -> Result<(&str, &str), Refusal> {
    let parts = uri.path().strip_prefix("/bot");
    let parts = parts.and_then(|rest| rest.split_once('/'));
    parts
        .filter(|(token, _)| well_formed(token))
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "Not Found"))
}

fn well_formed(token: &str) -> bool {
    token.split_once(':').is_some_and(|(bot, secret)| {
        !secret.is_empty() && !bot.starts_with('0') && bot.parse::<u64>().is_ok()
    })
}

/// The listener.
struct Door {
    listener: TcpListener,
    end: CancellationToken,
}

impl Listener for Door {
    type Io = Line;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Line, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let cut = Cut(self.end.child_token());
        let is_cut = Box::pin(cut.0.clone().cancelled_owned());
        (
            Line {
                stream,
                cut,
                is_cut,
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Ends one connection.
#[derive(Clone)]
struct Cut(CancellationToken);

impl Cut {
    /// What is answered now does not arrive.
    fn now(&self) -> Response {
        self.0.cancel();
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Connected<IncomingStream<'_, Door>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().cut.clone()
    }
}

/// A connection that fails in both directions once it is cut.
struct Line {
    stream: TcpStream,
    cut: Cut,
    is_cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Line {
    fn stream(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if self.cut.0.is_cancelled() || self.is_cut.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(Pin::new(&mut self.stream))
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_read(context, into)
    }
}

impl AsyncWrite for Line {
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
