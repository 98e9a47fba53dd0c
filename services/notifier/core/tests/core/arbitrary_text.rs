//! Events with arbitrary text in any field become messages that Telegram accepts.

use bearish_notifier_core::decide;
use bearish_notifier_core::event_intake::IncomingEvent;
use bearish_notifier_core::message::Message;
use bearish_notifier_core::notification::MESSAGE_LIMIT;
use bearish_notifier_core::send_limiter::SendLimits;
use proptest::prelude::*;
use protocol::event::{Event, Severity};
use protocol::event_samples;
use protocol::ids::Service;
use serde_json::Value;

use crate::support::{AUDIENCE, BEGIN, SENT, World};

/// Largest payload of the bus (`max_payload`), and so of a journal batch.
const MAX_PAYLOAD_BYTES: usize = 1_000_000;
const CAPTION_LIMIT: usize = 1_024;

fn arbitrary_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "\\PC{0,40}",
        2 => any::<String>(),
        2 => "[\\x00-\\x1f\\x7f]{0,20}",
        1 => Just("\n".to_owned()),
        1 => Just("\r\n \n".to_owned()),
        1 => Just("👩‍👩‍👧‍👦🏴‍☠️🇩🇪👍🏽".to_owned()),
        1 => Just("\u{202e}שלום مرحبا\u{202c}\u{2066}".to_owned()),
        1 => Just("e\u{301}\u{30a}\u{333}\u{33f}\u{fe0f}\u{200d}".to_owned()),
        1 => Just("*_`[<b>&amp;</b>](tg://user?id=1) /stop @operator".to_owned()),
        1 => Just("\u{ffff}\u{10ffff}\u{0}\u{feff}".to_owned()),
    ];
    // Most fields are short, some as long as a payload.
    let times = prop_oneof![12 => 1..4_usize, 2 => 100..400_usize, 1 => Just(100_000)];
    (prop::collection::vec(piece, 0..6), times).prop_map(|(pieces, times)| {
        let text = pieces.concat();
        let repeats = times.min(100_000 / text.len().max(1)).max(1);
        text.repeat(repeats)
    })
}

/// The event with every free text replaced; names stay valid names.
fn with_texts(event: &Event, texts: &[String]) -> Event {
    let mut changed = serde_json::to_value(event).unwrap();
    let count = visit_texts(&mut changed["payload"], &mut |_| {});
    for place in 0..count {
        let before = changed.clone();
        let (text, mut at) = (&texts[place % texts.len()], 0);
        visit_texts(&mut changed["payload"], &mut |leaf| {
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

/// Visits every text in a payload; their number.
fn visit_texts(value: &mut Value, see: &mut impl FnMut(&mut String)) -> usize {
    match value {
        Value::String(text) => {
            see(text);
            1
        }
        Value::Array(items) => items.iter_mut().map(|item| visit_texts(item, see)).sum(),
        Value::Object(fields) => fields
            .values_mut()
            .map(|field| visit_texts(field, see))
            .sum(),
        _ => 0,
    }
}

fn check_message(message: &Message) -> Result<(), TestCaseError> {
    let utf16: Vec<u16> = message.text.encode_utf16().collect();
    let limit = if message.has_picture {
        CAPTION_LIMIT
    } else {
        MESSAGE_LIMIT
    };
    prop_assert!(utf16.len() <= limit, "{} units", utf16.len());
    let shown = |c: char| !c.is_control() && !c.is_whitespace();
    prop_assert!(message.text.chars().any(shown), "nothing visible");
    let inside = |at: usize| at < utf16.len() && (0xdc00..0xe000).contains(&utf16[at]);
    let mut free_from = 0;
    for span in &message.spans {
        let end = span.offset + span.length;
        prop_assert!(span.length > 0 && span.offset >= free_from && end <= utf16.len());
        prop_assert!(!inside(span.offset) && !inside(end), "half a character");
        free_from = end;
    }
    Ok(())
}

/// Sends all of these events, alone or in groups.
fn check_events(events: &[IncomingEvent]) -> Result<(), TestCaseError> {
    let mut world = World::new(SendLimits::NONE);
    for records in decide::enqueue_events(&world.state, events, AUDIENCE, BEGIN) {
        let bytes = serde_json::to_vec(&records).unwrap().len();
        prop_assert!(bytes < MAX_PAYLOAD_BYTES, "{bytes} bytes for the journal");
    }
    world.receive_all(events);
    while let Some((_, message)) = world.wait_and_send() {
        check_message(&message)?;
        world.end_message(&SENT);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn event_with_arbitrary_text_in_any_field_is_sent_as_valid_messages(
        texts in prop::collection::vec(arbitrary_text(), 1..5)
    ) {
        let events: Vec<IncomingEvent> = event_samples::events().unwrap().iter().map(|event| IncomingEvent::Known {
            service: Service::Trader,
            instance: "trader-paper-1".parse().unwrap(),
            event: with_texts(event, &texts),
        }).collect();
        for few in events.chunks(7) {
            check_events(few)?;
        }
    }

    #[test]
    fn unknown_event_with_arbitrary_text_is_sent_as_valid_messages(subject in arbitrary_text(), payload in arbitrary_text(), critical in any::<bool>()) {
        check_events(&[IncomingEvent::Unknown {
            id: "e".to_owned(),
            at: BEGIN,
            severity: if critical { Severity::Critical } else { Severity::Info },
            subject,
            payload,
        }])?;
    }
}
