//! What is said to the bot: who may order something, whether it is too late for it, what has to be confirmed
//! first, and what is recorded of it. Carries nothing out.
//!
//! What this process asked and whom it has warned about is in its memory alone: after a restart a button is
//! spent, and the question has to be asked again.

use std::collections::{BTreeMap, BTreeSet};

use protocol::event::Severity;
use protocol::time::UtcMs;

use crate::command::{Order, Parsed, parse};
use crate::letter::Letter;
use crate::moment::Moment;
use crate::record::Record;
use crate::state::{Button, State, UnderWay};

/// What is older than this is not carried out, in milliseconds. A button is good for as long.
pub const TOO_OLD_MS: u64 = 60_000;
/// A stranger is told of once in this time.
const STRANGER_MS: u64 = 3_600_000;
/// Strangers that are remembered; more within an hour are not told of.
const MOST_STRANGERS: usize = 100;
/// Questions that wait for an answer; the oldest gives way.
const MOST_QUESTIONS: usize = 20;
/// What of a text is repeated in records and answers.
const LONGEST_ECHO: usize = 200;
const YES: &str = "yes:";
const NO: &str = "no:";

/// One update of Telegram's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its number: none is looked at twice.
    pub id: i64,
    /// What it brings.
    pub said: Said,
}

/// What an update brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A text.
    Text {
        /// Who wrote it.
        user: i64,
        /// Where.
        chat: i64,
        /// Only that person and the bot are there.
        private: bool,
        /// When, by Telegram's clock.
        at: UtcMs,
        /// It.
        text: String,
    },
    /// A button was pressed.
    Press {
        /// Who pressed it.
        user: i64,
        /// What Telegram calls this press: it waits for an answer.
        call: String,
        /// Which button.
        data: String,
        /// Below which message, where that can still be told: chat and number.
        below: Option<(i64, i64)>,
    },
    /// What is no command whatever it is.
    Other,
}

/// Who may order, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// These users.
    pub allowed: BTreeSet<i64>,
    /// In this chat, or with the bot alone.
    pub chat: i64,
    /// Our own name, if it is known.
    pub bot: Option<String>,
}

/// What follows from an update.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What to record before anything else.
    pub records: Vec<Record>,
    /// What to carry out then.
    pub order: Option<Order>,
    /// Which press to answer, and how.
    pub press: Option<Press>,
}

/// How a press is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Press {
    /// What Telegram calls it.
    pub call: String,
    /// What the one who pressed is told.
    pub said: &'static str,
    /// The message whose buttons are of no use any more: chat and number.
    pub spent: Option<(i64, i64)>,
}

/// Why a press does nothing.
struct Denied {
    said: &'static str,
    /// Its buttons are of no use any more.
    is_spent: bool,
}

impl Denied {
    const fn kept(said: &'static str) -> Self {
        let is_spent = false;
        Self { said, is_spent }
    }

    const fn spent(said: &'static str) -> Self {
        let is_spent = true;
        Self { said, is_spent }
    }
}

struct Question {
    order: Order,
    command: String,
    user: i64,
    chat: i64,
    asked: u64,
}

/// What this process remembers of those who talk to it.
#[derive(Default)]
pub struct Ear {
    questions: BTreeMap<i64, Question>,
    strangers: BTreeMap<i64, u64>,
}

impl Ear {
    /// What follows from this update. Nothing if it was dealt with before.
    pub fn hear(&mut self, state: &State, update: &Update, rules: &Rules, now: Moment) -> Heard {
        if state.has_taken(update.id) {
            return Heard::default();
        }
        let mut heard = match &update.said {
            Said::Other => Heard::default(),
            Said::Text {
                user,
                chat,
                private,
                at,
                text,
            } => {
                let said = Text {
                    update: update.id,
                    user: *user,
                    chat: *chat,
                    private: *private,
                    said: text,
                };
                self.text(&said, *at, rules, now)
            }
            Said::Press {
                user,
                call,
                data,
                below,
            } => {
                let (question, said, is_spent) = match self.pressed(*user, data, rules, now.mono) {
                    Ok(question) => (Some(question), "It is being carried out", true),
                    Err(Denied { said, is_spent }) => (None, said, is_spent),
                };
                let press = Press {
                    call: call.clone(),
                    said,
                    spent: below.filter(|_| is_spent),
                };
                confirmed(*user, question, press)
            }
        };
        heard
            .records
            .insert(0, Record::UpdateTaken { update: update.id });
        heard
    }

    fn text(&mut self, said: &Text<'_>, at: UtcMs, rules: &Rules, now: Moment) -> Heard {
        let parsed = parse(said.said, rules.bot.as_deref());
        if parsed == Parsed::Anothers || (parsed == Parsed::Talk && !said.private) {
            return Heard::default();
        }
        if !rules.allowed.contains(&said.user) {
            return self.stranger(said, now.mono);
        }
        if !said.private && said.chat != rules.chat {
            return Heard::default();
        }
        if now.utc.millis_since(at) > TOO_OLD_MS {
            let late = "Too old, not executed: say it again if it still holds";
            return said.answered("⏳", late, "too old, not executed", now.utc);
        }
        match parsed {
            Parsed::Order(order) => self.order(said, order, now),
            Parsed::Wrong(why) => said.answered("❔", &why, "not understood", now.utc),
            _ => said.answered(
                "❔",
                "That is no command: see /help",
                "not understood",
                now.utc,
            ),
        }
    }

    fn order(&mut self, said: &Text<'_>, order: Order, now: Moment) -> Heard {
        let Some(question) = order.question() else {
            return Heard {
                records: vec![begun(said.user, said.chat, said.echo())],
                order: Some(order),
                press: None,
            };
        };
        if self.questions.len() >= MOST_QUESTIONS {
            self.questions.pop_first();
        }
        self.questions.insert(
            said.update,
            Question {
                order,
                command: said.echo(),
                user: said.user,
                chat: said.chat,
                asked: now.mono,
            },
        );
        let button = |text: &str, word: &str| Button {
            text: text.to_owned(),
            data: format!("{word}{}", said.update),
        };
        let body =
            format!("{question}\nThe buttons are good for a minute, once, and for you alone");
        Heard {
            records: vec![
                said.ended("waits to be confirmed"),
                Record::Replied {
                    chat: said.chat,
                    letters: letter("❓ ARE YOU SURE?", body, now.utc).split(),
                    buttons: vec![button("✅ Yes, do it", YES), button("❌ No", NO)],
                },
            ],
            ..Heard::default()
        }
    }

    /// What was asked with this button, if it may be done now; else what the one who pressed it is told.
    fn pressed(
        &mut self,
        user: i64,
        data: &str,
        rules: &Rules,
        now: u64,
    ) -> Result<Question, Denied> {
        let (yes, number) = match (data.strip_prefix(YES), data.strip_prefix(NO)) {
            (Some(number), _) => (true, number),
            (_, Some(number)) => (false, number),
            _ => return Err(Denied::kept("That is no button of this bot's")),
        };
        let number: i64 = number.parse().unwrap_or(-1);
        let is_his = |question: &Question| question.user == user && rules.allowed.contains(&user);
        if self
            .questions
            .get(&number)
            .is_some_and(|question| !is_his(question))
        {
            return Err(Denied::kept("Only who gave the order can confirm it"));
        }
        // Whatever it says, a button works once.
        let question = self.questions.remove(&number);
        let question =
            question.ok_or(Denied::spent("This button is spent: give the order again"))?;
        if now.saturating_sub(question.asked) > TOO_OLD_MS {
            return Err(Denied::spent("Too late: give the order again"));
        }
        if yes {
            Ok(question)
        } else {
            Err(Denied::spent("Nothing was done"))
        }
    }

    fn stranger(&mut self, said: &Text<'_>, now: u64) -> Heard {
        self.strangers
            .retain(|_, told| now.saturating_sub(*told) < STRANGER_MS);
        let is_new = !self.strangers.contains_key(&said.user);
        if !is_new || self.strangers.len() >= MOST_STRANGERS {
            return Heard::default();
        }
        self.strangers.insert(said.user, now);
        let records = vec![Record::StrangerIgnored {
            who: who(said.user),
            command: said.echo(),
        }];
        Heard {
            records,
            ..Heard::default()
        }
    }
}

/// What follows from a press: the order, if it confirms one.
fn confirmed(user: i64, question: Option<Question>, press: Press) -> Heard {
    let press = Some(press);
    let Some(question) = question else {
        return Heard {
            press,
            ..Heard::default()
        };
    };
    let command = format!("{} (confirmed)", question.command);
    Heard {
        records: vec![begun(user, question.chat, command)],
        order: Some(question.order),
        press,
    }
}

/// A text with where it comes from.
struct Text<'a> {
    update: i64,
    user: i64,
    chat: i64,
    private: bool,
    said: &'a str,
}

impl Text<'_> {
    /// It in one line of bounded length.
    fn echo(&self) -> String {
        let words: Vec<&str> = self.said.split_whitespace().collect();
        words.join(" ").chars().take(LONGEST_ECHO).collect()
    }

    fn ended(&self, outcome: &str) -> Record {
        Record::CommandEnded {
            who: who(self.user),
            command: self.echo(),
            outcome: outcome.to_owned(),
        }
    }

    fn answered(&self, sign: &str, body: &str, outcome: &str, at: UtcMs) -> Heard {
        let head = format!("{sign} {}", self.echo());
        let reply = Record::Replied {
            chat: self.chat,
            letters: letter(&head, body.to_owned(), at).split(),
            buttons: Vec::new(),
        };
        Heard {
            records: vec![self.ended(outcome), reply],
            ..Heard::default()
        }
    }
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// It was done, not done, or nobody knows.
    pub done: Option<bool>,
    /// In one line, for the record.
    pub outcome: String,
    /// What the owner is told.
    pub body: String,
    /// With the picture of what the accounts are worth.
    pub picture: bool,
}

/// The order under way has come to an end: what is recorded and answered.
pub fn ended(under_way: &UnderWay, carried: Carried, at: UtcMs) -> Vec<Record> {
    let sign = match carried.done {
        Some(true) => "✅",
        Some(false) => "❌",
        None => "⚠️ OUTCOME UNKNOWN:",
    };
    let UnderWay { who, chat, command } = under_way;
    let head = format!("{sign} {command}");
    let letter = letter(&head, carried.body, at);
    let letters = if carried.picture {
        letter.illustrated()
    } else {
        letter.split()
    };
    vec![
        Record::CommandEnded {
            who: who.clone(),
            command: command.clone(),
            outcome: carried.outcome,
        },
        Record::Replied {
            chat: *chat,
            letters,
            buttons: Vec::new(),
        },
    ]
}

/// The process before this one ended in the middle of an order: told, never repeated.
pub(crate) fn interrupted(under_way: &UnderWay, at: UtcMs) -> Vec<Record> {
    let carried = Carried {
        done: None,
        outcome: "unknown: the notifier ended while it was carried out".to_owned(),
        body: "The notifier ended while this was carried out: it may have been done or not. It is not \
               repeated. Look: /status, then give the order again if it is needed"
            .to_owned(),
        picture: false,
    };
    ended(under_way, carried, at)
}

fn begun(user: i64, chat: i64, command: String) -> Record {
    Record::CommandBegun {
        who: who(user),
        chat,
        command,
    }
}

/// Names can be changed and chosen; the number cannot.
fn who(user: i64) -> String {
    format!("Telegram user {user}")
}

fn letter(head: &str, body: String, at: UtcMs) -> Letter {
    Letter {
        at,
        severity: Severity::Info,
        kind: "reply".to_owned(),
        head: head.to_owned(),
        body,
        picture: false,
    }
}
