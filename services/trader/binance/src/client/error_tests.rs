//! Tests of the taxonomy of failures.

use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

use super::*;

const PAGE: &str =
    "<html>\n<head><title>403 Forbidden</title></head><body>cloudfront</body></html>";

fn own(code: i64) -> String {
    format!(r#"{{"code":{code},"msg":"text"}}"#)
}

fn failed(status: u16, headers: &HeaderMap, body: &str) -> CallError {
    CallError {
        what: "order",
        failure: Failure::of_answer(status, headers, &Ok(body.as_bytes().to_vec())),
    }
}

fn plain(status: u16, body: &str) -> CallError {
    failed(status, &HeaderMap::new(), body)
}

fn is_rejected(error: CallError) -> bool {
    match error.order_outcome() {
        OrderCallOutcome::Rejected { .. } => true,
        OrderCallOutcome::Unknown { .. } => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_the_exchange_clearly_did_not_take_is_rejected() {
    for code in [
        -1003, -1015, -1021, -1022, -1100, -1102, -1111, -1121, -1130, -2010, -2014, -2015, -2018,
        -2019, -2020, -2021, -2022, -2023, -2025, -2027, -4003, -4014, -4015, -4045, -4061, -4118,
        -4120, -4130, -4140, -4164, -4400, -5021, -5022,
    ] {
        assert!(is_rejected(plain(400, &own(code))), "{code}");
    }
    for code in [
        -1,
        -1000,
        -1001,
        -1004,
        -1006,
        -1007,
        -1008,
        -1016,
        -1098,
        -1137,
        -2011,
        -2013,
        -2016,
        -4116,
        -5000,
        -9999,
        0,
        1,
        200,
        i64::MIN,
        i64::MAX,
    ] {
        assert!(!is_rejected(plain(400, &own(code))), "{code}");
    }
    for body in [
        "{}",
        "",
        PAGE,
        "null",
        r#"{"msg":"text"}"#,
        r#"{"code":-20"#,
    ] {
        assert!(!is_rejected(plain(400, body)), "{body}");
    }
}

#[test]
fn a_rejections_code_counts_only_with_a_status_that_refuses() {
    for (status, body, rejected) in [
        (400, own(-2019), true),
        (401, own(-2019), true),
        (403, own(-2019), true),
        (403, PAGE.to_owned(), false),
        (429, own(-2019), true),
        (429, PAGE.to_owned(), false),
        (418, own(-2019), true),
        (404, own(-2019), false),
        (408, own(-2019), false),
        (422, own(-2019), false),
        (302, own(-2019), false),
        (500, own(-2019), false),
        (503, own(-2019), false),
    ] {
        assert_eq!(
            is_rejected(plain(status, &body)),
            rejected,
            "{status} {body}"
        );
    }
    let success = Failure::of_success(own(-2019).as_bytes()).unwrap();
    let (what, failure) = ("order", success);
    assert!(!is_rejected(CallError { what, failure }), "status 200");
}

#[test]
fn an_order_that_was_not_sent_is_rejected() {
    let error = CallError {
        what: "order",
        failure: Failure::NotSent {
            reason: "paused for 2 s for the exchange's limits".to_owned(),
            after: Some(Duration::from_millis(1_500)),
        },
    };
    assert_eq!(error.retry(), Retry::After(Duration::from_millis(1_500)));
    let text = "order: not sent: paused for 2 s for the exchange's limits";
    assert_eq!(error.to_string(), text);
    let OrderCallOutcome::Rejected {
        code: code::LIMITED,
        reason,
    } = error.order_outcome()
    else {
        panic!("an order that was not sent is rejected");
    };
    assert_eq!(reason, "not sent: paused for 2 s for the exchange's limits");
}

#[test]
fn each_failure_states_when_a_call_is_repeated() {
    let minute = Retry::After(Duration::from_mins(1));
    for (status, body, retry) in [
        (400, own(-1121), Retry::Never),
        (401, own(-2008), Retry::Never),
        (401, own(-2015), Retry::Never),
        (403, own(-2015), Retry::Never),
        (404, own(-5000), Retry::Never),
        (451, own(0), Retry::Never),
        (400, own(-2013), Retry::Never),
        (400, own(-1001), Retry::Soon),
        (400, own(-1021), Retry::Soon),
        (400, own(-9999), Retry::Soon),
        (408, own(-1007), Retry::Soon),
        (503, own(-1008), Retry::Soon),
        (503, own(-1121), Retry::Soon),
        (400, "{}".to_owned(), Retry::Soon),
        (400, PAGE.to_owned(), Retry::Soon),
        (401, PAGE.to_owned(), Retry::Soon),
        (404, PAGE.to_owned(), Retry::Soon),
        (451, PAGE.to_owned(), Retry::Soon),
        (502, PAGE.to_owned(), Retry::Soon),
        (302, String::new(), Retry::Soon),
        (403, PAGE.to_owned(), Retry::After(Duration::from_secs(1))),
        (429, PAGE.to_owned(), minute),
        (429, own(-1003), minute),
        (400, own(-1003), minute),
        (418, own(-1003), Retry::After(Duration::from_mins(2))),
        (429, own(-1015), Retry::After(Duration::from_secs(10))),
        (400, own(-1015), Retry::After(Duration::from_secs(10))),
    ] {
        assert_eq!(plain(status, &body).retry(), retry, "{status} {body}");
    }
}

#[test]
fn wait_that_the_exchange_states_is_kept_within_reason() {
    let stated = |status, header: &'static str, body: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(
            DATE,
            HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"),
        );
        if !header.is_empty() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(header));
        }
        failed(status, &headers, body).retry()
    };
    let seconds = |s| Retry::After(Duration::from_secs(s));
    let ban =
        r#"{"code":-1003,"msg":"Way too many requests; IP(1.1.1.1) banned until 784112137000."}"#;
    assert_eq!(stated(429, "30", &own(-1003)), seconds(30));
    assert_eq!(stated(429, "0", &own(-1003)), seconds(1));
    assert_eq!(
        stated(429, "Sun, 06 Nov 1994 08:50:37 GMT", PAGE),
        seconds(60)
    );
    assert_eq!(stated(418, "", ban), seconds(360));
    assert_eq!(stated(418, "7", ban), seconds(7));
    assert_eq!(stated(429, "99999999", PAGE), seconds(300));
    assert_eq!(stated(418, "99999999", PAGE), seconds(72 * 3_600));
    assert_eq!(stated(429, "soon", PAGE), seconds(60));
}

#[test]
fn stale_time_is_recognized_with_every_status() {
    assert!(plain(400, &own(-1021)).is_stale());
    assert!(plain(503, &own(-1021)).is_stale());
    assert!(!plain(400, &own(-1022)).is_stale());
}

#[test]
fn a_body_that_broke_off_keeps_its_status() {
    let broken = Err("body broke off after 3 bytes".to_owned());
    let failure = Failure::of_answer(429, &HeaderMap::new(), &broken);
    assert!(
        matches!(failure, Failure::Limited { code: None, .. }),
        "{failure}"
    );
    let failure = Failure::of_answer(400, &HeaderMap::new(), &broken);
    assert!(
        matches!(failure, Failure::Unknown { code: None, .. }),
        "{failure}"
    );
    assert_eq!(
        failure.to_string(),
        "status 400: body broke off after 3 bytes"
    );
}

#[test]
fn success_with_a_code_of_its_own_is_no_error() {
    for body in [
        r#"{"code":200,"msg":"success"}"#,
        r#"{"code":"200","msg":"success","algoId":5}"#,
        r#"{"orderId":1}"#,
        "[]",
    ] {
        assert_eq!(Failure::of_success(body.as_bytes()), None, "{body}");
    }
    for body in [
        own(-1000),
        r#"{"code":"-1000","msg":"x","new":1}"#.to_owned(),
    ] {
        let failure = Failure::of_success(body.as_bytes()).unwrap();
        assert!(matches!(
            failure,
            Failure::Unknown {
                code: Some(-1000),
                ..
            }
        ));
    }
}

#[test]
fn a_signature_is_in_no_error() {
    let text = "error sending request for url (https://a.b/fapi/v1/order?x=1&signature=2): lost?";
    let line = "error sending request for url (https://a.b/fapi/v1/order): lost?";
    assert_eq!(one_line(text), line);
}

#[test]
fn a_page_becomes_one_short_line() {
    let page = format!("<html>\n\t<body>{}é", "x".repeat(400));
    let line = one_line(&page);
    assert!(
        !line.contains('\n') && line.chars().count() == LONGEST_REASON + 1,
        "{line}"
    );
    let error = plain(502, &page).to_string();
    assert!(
        error.starts_with("order: status 502: <html> <body>xxx"),
        "{error}"
    );
    assert_eq!(
        plain(502, " \n").to_string(),
        "order: status 502: empty body"
    );
}
