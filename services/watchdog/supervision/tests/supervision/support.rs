//! A unit, its engine and its watchdog in one: tests say what happens and ask what was decided.

use std::collections::BTreeMap;
use std::time::Duration;

use bearish_supervision::act::{self, Action};
use bearish_supervision::container::{Container, Exit, Run, Status};
use bearish_supervision::decide::{decide, obey, wake_at};
use bearish_supervision::events::owner_event;
use bearish_supervision::market::Market;
use bearish_supervision::moment::Moment;
use bearish_supervision::phase::Phase;
use bearish_supervision::policy::Policy;
use bearish_supervision::pulse::{Beat, Turns};
use bearish_supervision::record::{Fact, Latch, Record, Restart};
use bearish_supervision::state::State;
use bearish_supervision::unit::Unit;
use bearish_supervision::watch::{Event, StopAsked, Watch};
use protocol::command::UnitOrder;
use protocol::event::EventBody;
use protocol::heartbeat::Phase as BeatPhase;
use protocol::ids::{AccountKey, Token};
use protocol::time::UtcMs;

pub(crate) const NAME: &str = "trader-paper-1";
pub(crate) const USUAL: &str = "--paper --infinite --auto-restart";
pub(crate) const MINUTE: Duration = Duration::from_mins(1);

pub(crate) fn name() -> Token {
    NAME.parse().unwrap()
}

/// The order of this verb.
pub(crate) fn order(verb: &str) -> UnitOrder {
    let unit = name();
    match verb {
        "stop" => UnitOrder::Stop { unit },
        "start" => UnitOrder::Start { unit },
        "restart" => UnitOrder::Restart { unit },
        "hold" => UnitOrder::Hold {
            unit,
            why: "maintenance".to_owned(),
        },
        "release" => UnitOrder::Release { unit, total: false },
        other => panic!("{other} is no order"),
    }
}

/// What the simulated engine does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obeys {
    /// Does it at once.
    AtOnce,
    /// Answers with an error.
    Never,
    /// Does not answer; the test decides.
    Later,
}

#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) state: State,
    pub(crate) watch: Watch,
    pub(crate) journal: Vec<Record>,
    pub(crate) calls: Vec<Action>,
    pub(crate) obeys: Obeys,
    /// True time, in milliseconds.
    pub(crate) mono: u64,
    /// True time at which this watchdog's monotonic clock is zero.
    base: u64,
    /// Wall clock minus true time.
    pub(crate) wall: i64,
    pub(crate) echoes: bool,
    flags: String,
    container: String,
    runs: u64,
    began_mono: u64,
    status: Option<Status>,
    /// What its heartbeats say of its parts.
    parts: BTreeMap<String, Turns>,
    /// Its heartbeats say that it is critical, and why.
    pub(crate) critical: Option<String>,
    /// The latch that its heartbeats name.
    pub(crate) latch: Option<Latch>,
    /// The account that its heartbeats name.
    pub(crate) account: Option<AccountKey>,
    /// How its heartbeats say that it reaches its market.
    pub(crate) market: Option<Market>,
}

impl Rig {
    /// A watchdog that has looked at an engine without the unit.
    pub(crate) fn empty(flags: &str) -> Self {
        let mut rig = Self {
            state: State::default(),
            watch: Watch::default(),
            journal: Vec::new(),
            calls: Vec::new(),
            obeys: Obeys::AtOnce,
            mono: 1_000,
            base: 0,
            wall: 1_700_000_000_000,
            echoes: true,
            flags: flags.to_owned(),
            container: "c1".to_owned(),
            runs: 0,
            began_mono: 0,
            status: None,
            parts: BTreeMap::new(),
            critical: None,
            latch: None,
            account: None,
            market: None,
        };
        rig.on(listed(Vec::new()));
        rig
    }

    /// With the unit running and healthy.
    pub(crate) fn running(flags: &str) -> Self {
        let mut rig = Self::empty(flags);
        rig.starts();
        rig.beats(BeatPhase::Running);
        rig
    }

    pub(crate) fn now(&self) -> Moment {
        Moment {
            utc: UtcMs(self.wall + i64::try_from(self.mono).unwrap()),
            mono: self.mono - self.base,
            chance: 500,
        }
    }

    pub(crate) fn unit(&self) -> &Unit {
        &self.state.units[&name()]
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.unit().phase
    }

    /// Takes in, decides, journals, acts: as the body does.
    pub(crate) fn on(&mut self, event: Event) {
        if self.echoes {
            self.watch.take_in(&self.state, Event::Echoed, self.now());
        }
        self.watch.take_in(&self.state, event, self.now());
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        let name = name();
        loop {
            let now = self.now();
            let records = decide(&self.state, &self.watch, &name, now);
            let quiet = records.is_empty();
            self.append(records);
            match act::due(&self.state, &self.watch, &name, now) {
                Some(action) => self.call(&action),
                None if quiet => return,
                None => {}
            }
        }
    }

    pub(crate) fn append(&mut self, records: Vec<Record>) {
        for record in &records {
            self.state.apply(record);
        }
        if let Some(unit) = self.state.units.get(&name()) {
            self.watch.arm(&name(), unit, self.now());
        }
        self.journal.extend(records);
    }

    fn call(&mut self, action: &Action) {
        self.watch.launched(&name(), action.clone());
        self.calls.push(action.clone());
        match self.obeys {
            Obeys::Later => {}
            Obeys::Never => self.answer(Some("it cannot be done")),
            Obeys::AtOnce => {
                self.perform(action);
                let seen = self.seen().unwrap();
                self.watch.take_in(&self.state, seen, self.now());
                self.answer(None);
            }
        }
    }

    /// The engine does what it was told, if that still makes sense.
    pub(crate) fn perform(&mut self, action: &Action) {
        let run = self.run();
        match action {
            Action::Start { .. } if !self.lives() => self.begin(),
            Action::Stop { run: asked, .. } if *asked == run && self.lives() => {
                self.end(137, false);
            }
            Action::Start { .. } | Action::Stop { .. } => {}
        }
    }

    pub(crate) fn answer(&mut self, error: Option<&str>) {
        let event = Event::Acted {
            unit: name(),
            error: error.map(str::to_owned),
        };
        self.watch.take_in(&self.state, event, self.now());
    }

    pub(crate) fn begin(&mut self) {
        self.runs += 1;
        self.began_mono = self.mono;
        self.status = Some(Status::Running);
    }

    pub(crate) fn end(&mut self, code: i64, oom: bool) {
        let uptime_ms = self.mono - self.began_mono;
        self.status = Some(Status::Exited(Exit {
            code,
            oom,
            uptime_ms,
        }));
    }

    pub(crate) fn lives(&self) -> bool {
        matches!(self.status, Some(Status::Running | Status::Paused))
    }

    pub(crate) fn run(&self) -> Run {
        Run {
            container: self.container.clone(),
            started_at: format!("run {}", self.runs),
        }
    }

    pub(crate) fn container(&self) -> Option<Container> {
        Some(Container {
            run: self.run(),
            began: UtcMs(self.wall + i64::try_from(self.began_mono).unwrap()),
            status: self.status?,
            policy: Policy::read(&self.words()),
            grace_ms: 10_000,
        })
    }

    fn words(&self) -> Vec<String> {
        self.flags.split_whitespace().map(str::to_owned).collect()
    }

    fn seen(&self) -> Option<Event> {
        let container = self.container()?;
        let unit = name();
        Some(Event::Seen { unit, container })
    }

    pub(crate) fn look(&mut self) {
        match self.seen() {
            Some(seen) => self.on(seen),
            None => self.on(listed(Vec::new())),
        }
    }

    /// As after a connection to the engine.
    pub(crate) fn list(&mut self) {
        let list = self.container().map(|c| (name(), c)).into_iter().collect();
        self.on(listed(list));
    }

    /// Somebody started it.
    pub(crate) fn starts(&mut self) {
        self.begin();
        self.look();
    }

    pub(crate) fn dies(&mut self, code: i64) {
        self.end(code, false);
        self.look();
    }

    /// One that is given up although a restart could have followed at once: its log, which nobody reads here, is waited
    /// for.
    pub(crate) fn dies_for_good(&mut self, code: i64) {
        self.dies(code);
        self.silence(Duration::from_secs(3));
    }

    pub(crate) fn dies_of_hunger(&mut self) {
        self.end(137, true);
        self.look();
    }

    pub(crate) fn paused(&mut self, paused: bool) {
        self.status = Some(if paused {
            Status::Paused
        } else {
            Status::Running
        });
        self.look();
    }

    /// Removed, and made anew (not yet started) with other flags.
    pub(crate) fn removed(&mut self) {
        self.status = None;
        let container = self.container.clone();
        self.on(Event::Removed { container });
    }

    pub(crate) fn recreated(&mut self, flags: &str) {
        self.removed();
        self.container.push('+');
        flags.clone_into(&mut self.flags);
        self.starts();
    }

    pub(crate) fn asked_to_stop(&mut self) {
        let container = self.container.clone();
        let at = self.now().utc;
        self.on(Event::StopAsked(StopAsked { container, at }));
    }

    pub(crate) fn boot(&self) -> Token {
        format!("boot-{}", self.runs).parse().unwrap()
    }

    pub(crate) fn beat_of(&self, phase: BeatPhase) -> Beat {
        Beat {
            boot: self.boot(),
            phase,
            at: self.now().utc,
            uptime_ms: self.mono - self.began_mono,
            interval_ms: 5_000,
            errors: 0,
            last_error: None,
            critical: self.critical.clone(),
            latch: self.latch.clone(),
            account: self.account.clone(),
            market: self.market,
            parts: self.parts.clone(),
        }
    }

    /// Its heartbeats say that a part promises to turn within ten seconds, and where it stands.
    pub(crate) fn promises(&mut self, part: &str, turns: u64) {
        let within_ms = 10_000;
        self.parts
            .insert(part.to_owned(), Turns { turns, within_ms });
    }

    pub(crate) fn beats(&mut self, phase: BeatPhase) {
        let beat = self.beat_of(phase);
        self.on(Event::Beat { unit: name(), beat });
    }

    /// Time passes second by second; nothing else happens.
    pub(crate) fn silence(&mut self, span: Duration) {
        let end = self.mono + u64::try_from(span.as_millis()).unwrap();
        while self.mono < end {
            self.mono = (self.mono + 1_000).min(end);
            self.on(Event::Ticked);
        }
    }

    /// Time passes with a heartbeat every five seconds.
    pub(crate) fn healthy(&mut self, span: Duration) {
        let end = self.mono + u64::try_from(span.as_millis()).unwrap();
        while self.mono < end {
            for _ in 0..5 {
                self.mono = (self.mono + 1_000).min(end);
                self.watch.take_in(&self.state, Event::Echoed, self.now());
            }
            self.beats(BeatPhase::Running);
        }
    }

    /// Sleeps as the body does, until the unit's next instant; returns how long.
    pub(crate) fn sleep(&mut self) -> Duration {
        let wake =
            wake_at(&self.state, &self.watch, &name(), self.now()).expect("nothing to wait for");
        let slept = wake.saturating_sub(self.now().mono);
        self.mono += slept;
        self.on(Event::Ticked);
        Duration::from_millis(slept)
    }

    /// The watchdog dies and comes back: only the journal is left, and it looks anew.
    pub(crate) fn reborn(&mut self, records: usize) {
        self.journal.truncate(records);
        self.state = State::default();
        for record in &self.journal {
            let json = serde_json::to_string(record).unwrap();
            let read: Record = serde_json::from_str(&json).unwrap();
            assert_eq!(&read, record, "{json}");
            self.state.apply(&read);
        }
        self.watch = Watch::default();
        self.base = self.mono - 7;
    }

    pub(crate) fn release(&mut self, total: bool) -> Result<(), String> {
        let unit = name();
        self.order(&UnitOrder::Release { unit, total })
    }

    /// As the body does: the order and what follows at once are one message; then the call.
    pub(crate) fn order(&mut self, order: &UnitOrder) -> Result<(), String> {
        let (_, records) = obey(&self.state, &self.watch, order, "ops", self.now())?;
        self.append(records);
        self.settle();
        Ok(())
    }

    pub(crate) fn facts(&self) -> Vec<&Fact> {
        fn fact(record: &Record) -> Option<&Fact> {
            match record {
                Record::Unit { fact, .. } => Some(fact),
                Record::OwnerTookOver { .. } | Record::Service { .. } => None,
            }
        }
        self.journal.iter().filter_map(fact).collect()
    }

    pub(crate) fn restarts(&self) -> Vec<&Restart> {
        let restart = |fact: &&'_ Fact| matches!(fact, Fact::RestartScheduled(_));
        let facts = self.facts().into_iter().filter(restart);
        facts
            .map(|fact| match fact {
                Fact::RestartScheduled(restart) => restart,
                _ => unreachable!(),
            })
            .collect()
    }

    pub(crate) fn starts_called(&self) -> usize {
        let start = |call: &&Action| matches!(call, Action::Start { .. });
        self.calls.iter().filter(start).count()
    }

    /// What the owner hears, in order.
    pub(crate) fn told(&self) -> Vec<EventBody> {
        self.journal.iter().filter_map(owner_event).collect()
    }

    pub(crate) fn told_kinds(&self) -> Vec<&'static str> {
        self.told().iter().map(EventBody::kind).collect()
    }
}

pub(crate) const fn listed(containers: Vec<(Token, Container)>) -> Event {
    let stops = Vec::new();
    Event::Listed { containers, stops }
}
