//! Whatever stands in a field of an event: what goes out is a message that Telegram takes.

use bearish_delivery::compose::Message;
use bearish_delivery::decide;
use bearish_delivery::letter::MESSAGE_LIMIT;
use bearish_delivery::news::News;
use bearish_delivery::pace::Limits;
use proptest::prelude::*;
use protocol::event::{Event, Severity};
use protocol::ids::Service;
use protocol::samples;
use serde_json::Value;

use crate::support::{BEGIN, SENT, World};

/// What the bus takes at most (`max_payload`), and so the journal.
const MOST_BYTES: usize = 1_000_000;
const CAPTION_LIMIT: usize = 1_024;

fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "\\PC{0,40}",
        2 => any::<String>(),
        2 => "[\\x00-\\x1f\\x7f]{0,20}",
        1 => Just("\n".to_owned()),
        1 => Just("\r\n \n".to_owned()),
        1 => Just("👩‍👩‍👧‍👦🏴‍☠️🇩🇪👍🏽".to_owned()),
        1 => Just("\u{202e}שלום مرحبا\u{202c}\u{2066}".to_owned()),
        1 => Just("e\u{301}\u{30a}\u{333}\u{33f}\u{fe0f}\u{200d}".to_owned()),
        1 => Just("*_`[<b>&amp;</b>](tg://user?id=1) /stop @owner".to_owned()),
        1 => Just("\u{ffff}\u{10ffff}\u{0}\u{feff}".to_owned()),
    ];
    // Most fields hold little, some as much as fits on the bus.
    let times = prop_oneof![12 => 1..4_usize, 2 => 100..400_usize, 1 => Just(100_000)];
    (prop::collection::vec(piece, 0..6), times).prop_map(|(pieces, times)| {
        let text = pieces.concat();
        let repeats = times.min(100_000 / text.len().max(1)).max(1);
        text.repeat(repeats)
    })
}

/// The event with every text in it replaced that may be any text; names stay names.
fn with(event: &Event, texts: &[String]) -> Event {
    let mut changed = serde_json::to_value(event).unwrap();
    let count = leaves(&mut changed["payload"], &mut |_| {});
    for place in 0..count {
        let before = changed.clone();
        let (text, mut at) = (&texts[place % texts.len()], 0);
        leaves(&mut changed["payload"], &mut |leaf| {
            if at == place {
                leaf.clone_from(text);
            }
            at += 1;
        });
        if serde_json::from_value::<Event>(changed.clone()).is_err() {
            changed = before;
        }
    }
    serde_json::from_value(changed).unwrap()
}

/// Shows every text in a payload; how many there are.
fn leaves(value: &mut Value, see: &mut impl FnMut(&mut String)) -> usize {
    match value {
        Value::String(text) => {
            see(text);
            1
        }
        Value::Array(items) => items.iter_mut().map(|item| leaves(item, see)).sum(),
        Value::Object(fields) => fields.values_mut().map(|field| leaves(field, see)).sum(),
        _ => 0,
    }
}

fn is_taken(message: &Message) -> Result<(), TestCaseError> {
    let utf16: Vec<u16> = message.text.encode_utf16().collect();
    let limit = if message.picture {
        CAPTION_LIMIT
    } else {
        MESSAGE_LIMIT
    };
    prop_assert!(utf16.len() <= limit, "{} units", utf16.len());
    let shown = |c: char| !c.is_control() && !c.is_whitespace();
    prop_assert!(message.text.chars().any(shown), "nothing to see");
    let inside = |at: usize| at < utf16.len() && (0xdc00..0xe000).contains(&utf16[at]);
    let mut free_from = 0;
    for bold in &message.bold {
        let end = bold.offset + bold.length;
        prop_assert!(bold.length > 0 && bold.offset >= free_from && end <= utf16.len());
        prop_assert!(!inside(bold.offset) && !inside(end), "half a character");
        free_from = end;
    }
    Ok(())
}

/// All of these go out, alone or in groups.
fn all_are_taken(news: &[News]) -> Result<(), TestCaseError> {
    let mut world = World::new(Limits::NONE);
    for records in decide::take_in(&world.state, news, None, BEGIN) {
        let bytes = serde_json::to_vec(&records).unwrap().len();
        prop_assert!(bytes < MOST_BYTES, "{bytes} bytes for the journal");
    }
    world.hear_all(news);
    while let Some((_, message)) = world.wait_and_send() {
        is_taken(&message)?;
        world.end(&SENT);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_text_in_any_field_of_any_event_goes_out_as_messages_that_telegram_takes(
        texts in prop::collection::vec(nasty(), 1..5)
    ) {
        let news: Vec<News> = samples::events().unwrap().iter().map(|event| News::Known {
            service: Service::Trader,
            instance: "trader-paper-1".parse().unwrap(),
            event: with(event, &texts),
        }).collect();
        for few in news.chunks(7) {
            all_are_taken(few)?;
        }
    }

    #[test]
    fn so_does_an_event_of_a_newer_service(subject in nasty(), payload in nasty(), critical in any::<bool>()) {
        all_are_taken(&[News::Unknown {
            id: "e".to_owned(),
            at: BEGIN,
            severity: if critical { Severity::Critical } else { Severity::Info },
            subject,
            payload,
        }])?;
    }
}
