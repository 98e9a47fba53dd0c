//! Orders of persons over the bus, as request and reply, on the side of the watchdog that holds the lease.
//! What only asks is answered here from the journal; what changes something goes to the supervisor.

use async_nats::{Message, Subject as Address};
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::command::{Answer, Request, UnitOrder};
use protocol::ids::Token;
use protocol::subject::filter;
use runtime::bus::Bus;
use runtime::clock;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::view::View;

/// Orders that may wait; a person gives one at a time.
pub const QUEUE: usize = 8;

/// An order with the way back to who gave it.
#[derive(Debug)]
pub struct Order {
    request: Request,
    reply: Option<Address>,
}

impl Order {
    /// What is to be done.
    pub const fn what(&self) -> &UnitOrder {
        &self.request.order
    }

    /// Who wants it.
    pub fn by(&self) -> &str {
        &self.request.by
    }

    /// Says that it was obeyed, or why not. Nobody waits for it any longer than for the record.
    pub async fn answer(&self, bus: &Bus, result: Result<(), String>) {
        let (order, by) = (self.what(), self.by());
        tracing::info!(
            verb = order.verb(),
            unit = order.unit().map(Token::as_str),
            by,
            ?result,
            "order"
        );
        let done = result.is_ok();
        let text = result.err().unwrap_or_else(|| obeyed(order).to_owned());
        let data = None;
        let v = VERSION;
        let answer = Answer {
            v,
            done,
            text,
            data,
        };
        self.reply(bus, &answer).await;
    }

    async fn reply(&self, bus: &Bus, answer: &Answer) {
        let (Some(reply), Ok(payload)) = (self.reply.clone(), serde_json::to_vec(answer)) else {
            return;
        };
        let sent = bus.client().publish(reply, payload.into());
        if !matches!(timeout(runtime::bus::DEADLINE, sent).await, Ok(Ok(()))) {
            tracing::warn!(verb = self.what().verb(), "answer not sent");
        }
    }
}

/// What is journaled by now and follows.
const fn obeyed(order: &UnitOrder) -> &'static str {
    match order {
        UnitOrder::Stop { .. } => "it is being stopped and stays down until it is started",
        UnitOrder::Start { .. } => "it is being started",
        UnitOrder::Restart { .. } => "it is being restarted",
        UnitOrder::Hold { .. } => "held: it is only watched until it is released",
        UnitOrder::Release { .. } => "released",
        UnitOrder::Status | UnitOrder::Explain { .. } | UnitOrder::History { .. } => "",
    }
}

/// Takes orders until `stop`, or until nobody carries them out.
pub async fn serve(bus: Bus, project: Token, orders: mpsc::Sender<Order>, stop: CancellationToken) {
    let serve = async {
        loop {
            match bus.client().subscribe(filter::WATCHDOG_COMMANDS).await {
                Ok(mut subscription) => {
                    while let Some(message) = subscription.next().await {
                        let Some(order) = read(message) else {
                            continue;
                        };
                        if order.what().only_asks() {
                            order
                                .reply(&bus, &look_up(&bus, &project, order.what()).await)
                                .await;
                        } else if orders.send(order).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "orders not heard"),
            }
            tokio::time::sleep(runtime::bus::DEADLINE).await;
        }
    };
    stop.run_until_cancelled(serve).await;
}

async fn look_up(bus: &Bus, project: &Token, order: &UnitOrder) -> Answer {
    match timeout(runtime::bus::DEADLINE, View::read(bus, project)).await {
        Ok(Ok(view)) => view.answer(order, clock::now()),
        Ok(Err(stop)) => unread(stop.message),
        Err(_) => unread("the journal was not read in time".to_owned()),
    }
}

const fn unread(text: String) -> Answer {
    Answer {
        v: VERSION,
        done: false,
        text,
        data: None,
    }
}

/// The subject is what the bus allows or forbids: a message that says another verb is none of ours.
fn read(message: Message) -> Option<Order> {
    let request: Request = match serde_json::from_slice(&message.payload) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "an order that cannot be read");
            return None;
        }
    };
    if request.v > VERSION {
        tracing::warn!(version = request.v, "an order of a newer version");
        return None;
    }
    let verb = request.order.verb();
    if message.subject.rsplit('.').next() != Some(verb) {
        tracing::warn!(verb, subject = %message.subject, "an order on another verb's subject");
        return None;
    }
    let reply = message.reply;
    Some(Order { request, reply })
}
