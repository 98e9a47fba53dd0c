//! Several units of one project: who waits for whom, and whose silence is believed.

use std::collections::BTreeMap;
use std::time::Duration;

use bearish_supervision::act::{self, Action};
use bearish_supervision::container::{Container, Exit, Run, Status};
use bearish_supervision::decide::decide;
use bearish_supervision::moment::Moment;
use bearish_supervision::phase::Phase;
use bearish_supervision::policy::Policy;
use bearish_supervision::pulse::Beat;
use bearish_supervision::record::{Fact, Record};
use bearish_supervision::rules::Rules;
use bearish_supervision::state::State;
use bearish_supervision::watch::{Event, Watch};
use protocol::heartbeat::Phase as BeatPhase;
use protocol::ids::Token;
use protocol::time::UtcMs;

const SECOND: u64 = 1_000;
const FLAGS: [&str; 4] = ["--paper", "--auto-restart", "--restart-delay", "0"];

/// Units and an engine that does at once what it is told.
struct Fleet {
    state: State,
    watch: Watch,
    mono: u64,
    runs: BTreeMap<Token, (u64, u64)>,
    starts: Vec<Token>,
    stops: Vec<Token>,
    hears: bool,
}

impl Fleet {
    fn of(size: usize, rules: Rules) -> Self {
        let mut fleet = Self {
            state: State::default(),
            watch: Watch::under(rules),
            mono: SECOND,
            runs: BTreeMap::new(),
            starts: Vec::new(),
            stops: Vec::new(),
            hears: true,
        };
        fleet.take_in(Event::Echoed);
        let stops = Vec::new();
        let containers = Vec::new();
        fleet.take_in(Event::Listed { containers, stops });
        for number in 1..=size {
            let name: Token = format!("trader-paper-{number}").parse().unwrap();
            fleet.runs.insert(name.clone(), (1, fleet.mono));
            fleet.seen(&name, Status::Running);
            fleet.beats(&name);
        }
        fleet
    }

    fn names(&self) -> Vec<Token> {
        self.runs.keys().cloned().collect()
    }

    fn now(&self) -> Moment {
        let utc = UtcMs(1_700_000_000_000 + i64::try_from(self.mono).unwrap());
        let mono = self.mono;
        Moment {
            utc,
            mono,
            chance: 0,
        }
    }

    fn take_in(&mut self, event: Event) {
        self.watch.take_in(&self.state, event, self.now());
    }

    fn container(&self, name: &Token, status: Status) -> Container {
        let (run, began) = self.runs[name];
        Container {
            run: Run {
                container: name.to_string(),
                started_at: format!("run {run}"),
            },
            began: UtcMs(1_700_000_000_000 + i64::try_from(began).unwrap()),
            status,
            policy: Policy::read(&FLAGS.map(str::to_owned)),
            grace_ms: SECOND,
        }
    }

    fn seen(&mut self, name: &Token, status: Status) {
        let container = self.container(name, status);
        let unit = name.clone();
        self.take_in(Event::Seen { unit, container });
        self.settle(name);
    }

    fn beats(&mut self, name: &Token) {
        let (run, began) = self.runs[name];
        let beat = Beat {
            boot: format!("{name}-{run}").parse().unwrap(),
            phase: BeatPhase::Running,
            at: self.now().utc,
            uptime_ms: self.mono - began,
            interval_ms: 5 * SECOND,
            errors: 0,
            last_error: None,
            critical: None,
            latch: None,
            account: None,
            market: None,
            parts: BTreeMap::new(),
        };
        let unit = name.clone();
        self.take_in(Event::Beat { unit, beat });
        self.settle(name);
    }

    fn dies(&mut self, name: &Token) {
        let exit = Exit {
            code: 70,
            oom: false,
            uptime_ms: 1,
        };
        self.seen(name, Status::Exited(exit));
    }

    fn settle(&mut self, name: &Token) {
        loop {
            let now = self.now();
            let records = decide(&self.state, &self.watch, name, now);
            for record in &records {
                self.state.apply(record);
            }
            if let Some(unit) = self.state.units.get(name) {
                self.watch.arm(name, unit, now);
            }
            match act::due(&self.state, &self.watch, name, now) {
                Some(action) => self.perform(name, &action),
                None if records.is_empty() => return,
                None => {}
            }
        }
    }

    fn perform(&mut self, name: &Token, action: &Action) {
        self.watch.launched(name, action.clone());
        let status = match action {
            Action::Start { .. } => {
                self.starts.push(name.clone());
                let run = self.runs.get_mut(name).unwrap();
                *run = (run.0 + 1, self.mono);
                Status::Running
            }
            Action::Stop { .. } => {
                self.stops.push(name.clone());
                Status::Exited(Exit {
                    code: 137,
                    oom: false,
                    uptime_ms: 1,
                })
            }
        };
        let (unit, container) = (name.clone(), self.container(name, status));
        self.take_in(Event::Seen { unit, container });
        let unit = name.clone();
        self.take_in(Event::Acted { unit, error: None });
    }

    /// Time passes second by second, with the echo if it is heard; nobody beats.
    fn passes(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.mono += SECOND;
            if self.hears {
                self.take_in(Event::Echoed);
            }
            self.take_in(Event::Ticked);
            for name in self.names() {
                self.settle(&name);
            }
        }
    }
}

#[test]
fn twenty_that_crash_at_once_are_started_three_at_a_time_and_none_is_charged_for_waiting() {
    let mut fleet = Fleet::of(20, Rules::default());
    fleet.passes(3);
    let names = fleet.names();
    for name in &names {
        fleet.dies(name);
    }
    let mut begun = 0;
    while fleet.starts.len() < 20 {
        assert_eq!(
            fleet.starts.len() - begun,
            (20 - begun).min(3),
            "on their way up at once"
        );
        let up = fleet.starts[begun..].to_vec();
        begun = fleet.starts.len();
        for name in &up {
            fleet.beats(name);
        }
        fleet.passes(1);
    }
    let mut once = fleet.starts.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), 20, "each is started once");
    let charged = |name: &Token| fleet.state.units[name].restarts;
    assert!(names.iter().all(|name| charged(name) == 1));
}

#[test]
fn one_that_is_never_heard_of_again_blocks_nobody_for_long() {
    let rules = Rules {
        most_starting: 1,
        ..Rules::default()
    };
    let mut fleet = Fleet::of(2, rules);
    fleet.passes(3);
    for name in fleet.names() {
        fleet.dies(&name);
    }
    fleet.passes(14);
    assert_eq!(fleet.starts.len(), 1);
    fleet.passes(2);
    assert_eq!(fleet.starts.len(), 2);
}

#[test]
fn while_the_bus_carries_nothing_nobodys_silence_is_believed_and_nothing_is_charged() {
    let mut fleet = Fleet::of(5, Rules::default());
    fleet.hears = false;
    fleet.passes(300);
    assert!(fleet.stops.is_empty() && fleet.starts.is_empty());
    // It is back: everybody gets time to find it again, and is heard.
    fleet.hears = true;
    fleet.passes(8);
    for name in fleet.names() {
        fleet.beats(&name);
    }
    fleet.passes(10);
    assert!(fleet.stops.is_empty());
    let unit = |name: &Token| &fleet.state.units[name];
    let untouched =
        |name: &Token| unit(name).restarts == 0 && matches!(unit(name).phase, Phase::Running(_));
    assert!(fleet.names().iter().all(untouched));
}

#[test]
fn mass_silence_while_our_own_echo_is_heard_is_believed_and_answered_in_turns() {
    let mut fleet = Fleet::of(5, Rules::default());
    fleet.passes(16);
    assert_eq!(
        fleet.stops.len(),
        5,
        "each hangs: the bus carries our own words"
    );
    assert_eq!(fleet.starts.len(), 3, "the others wait for their turn");
    fleet.passes(40);
    assert!(fleet.starts.len() >= 5);
}

#[test]
fn an_engine_that_is_away_holds_every_start_and_they_wake_in_turns() {
    let mut fleet = Fleet::of(6, Rules::default());
    let names = fleet.names();
    fleet.take_in(Event::EngineLost);
    for name in &names {
        fleet.dies(name);
    }
    fleet.passes(120);
    assert!(fleet.starts.is_empty());
    let exit = Exit {
        code: 70,
        oom: false,
        uptime_ms: 1,
    };
    let all = names
        .iter()
        .map(|name| (name.clone(), fleet.container(name, Status::Exited(exit))));
    let (containers, stops) = (all.collect(), Vec::new());
    fleet.take_in(Event::Listed { containers, stops });
    for name in &names {
        fleet.settle(name);
    }
    assert_eq!(fleet.starts.len(), 3);
    fleet.passes(Duration::from_mins(1).as_secs());
    assert!(names.iter().all(|name| fleet.starts.contains(name)));
    let fact = |record: &Record| {
        matches!(
            record,
            Record::Unit {
                fact: Fact::Gone,
                ..
            }
        )
    };
    assert!(
        !decide(&fleet.state, &fleet.watch, &names[0], fleet.now())
            .iter()
            .any(fact)
    );
}
