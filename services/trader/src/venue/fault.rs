//! What a call's failure says about an order: refused for certain, or unclear. This is the place where
//! a mistake costs money, so everything that is not known to be a refusal is unclear.

use std::error::Error;
use std::time::Duration;

use binance_sdk::errors::ConnectorError;
use trader_core::orders::OrderCallOutcome;

use crate::market::{MarketError, one_line};

/// The clock is wrong, or the call came too late.
pub(super) const STALE: i64 = -1021;
/// The limit of requests; also for what we did not even send because of it.
pub(super) const LIMITED: i64 = -1003;
/// A cancel of an order that is not there.
pub(super) const UNKNOWN: i64 = -2011;
/// A query for an order that is not there.
pub(super) const NO_SUCH_ORDER: i64 = -2013;
/// The margin mode is what it should be.
pub(super) const SAME_MARGIN: i64 = -4046;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The exchange's number, if it gave one.
    pub(super) code: Option<i64>,
    /// Whether the answer's status is one that refuses: 400, 401, 403, 418, 429.
    refuses: bool,
    /// The exchange's words.
    words: String,
    /// For who only asked something.
    pub(super) error: MarketError,
}

impl Fault {
    /// An error of the SDK.
    pub(super) fn of_sdk(what: &'static str, error: &(dyn Error + Send + Sync + 'static)) -> Self {
        match error.downcast_ref::<ConnectorError>() {
            Some(known) => Self::of_connector(what, known),
            None => Self::from(MarketError::from_sdk(what, error)),
        }
    }

    /// The same, by its type.
    pub(super) fn of_connector(what: &'static str, error: &ConnectorError) -> Self {
        use ConnectorError as E;
        let (code, words) = match error {
            E::BadRequestError { msg, code }
            | E::UnauthorizedError { msg, code }
            | E::ForbiddenError { msg, code }
            | E::TooManyRequestsError { msg, code, .. }
            | E::RateLimitBanError { msg, code, .. } => (*code, Some(msg)),
            E::NotFoundError { code, .. } | E::ConnectorClientError { code, .. } => (*code, None),
            E::ServerError { .. } | E::NetworkError(_) => (None, None),
        };
        Self {
            code,
            refuses: words.is_some(),
            words: one_line(words.map_or("", String::as_str)),
            error: shaped(what, code, MarketError::from_connector(what, error)),
        }
    }

    /// A call that was not made: the limit is reached, for so long.
    pub(super) fn unsent(what: &'static str, left: Duration) -> Self {
        let words = format!(
            "not sent: paused for {} s for the exchange's limits",
            left.as_secs() + 1
        );
        Self {
            code: Some(LIMITED),
            refuses: true,
            words: words.clone(),
            error: MarketError::Retry {
                what,
                reason: words,
                after: Some(left),
            },
        }
    }

    /// What it says of the order that was sent.
    pub(super) fn answer(self) -> OrderCallOutcome {
        match self.code {
            Some(code) if self.refuses && is_refusal(code) => OrderCallOutcome::Rejected {
                code,
                reason: self.words,
            },
            Some(code) => OrderCallOutcome::Unknown {
                error: format!("{} ({code})", self.error),
            },
            None => OrderCallOutcome::Unknown {
                error: self.error.to_string(),
            },
        }
    }
}

/// An answer that says nothing about an order that may have been taken.
impl From<MarketError> for Fault {
    fn from(error: MarketError) -> Self {
        Self {
            code: None,
            refuses: false,
            words: String::new(),
            error,
        }
    }
}

impl From<Fault> for MarketError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

/// A call that came too late is no reason to give up: the next one is signed with a newer time.
fn shaped(what: &'static str, code: Option<i64>, error: MarketError) -> MarketError {
    match error {
        MarketError::Refused { reason, .. } if code == Some(STALE) => {
            MarketError::retry(what, reason)
        }
        other => other,
    }
}

/// Whether the exchange said with this number that it did not take the order and will not.
///
/// Not among them: -1000, -1001, -1006, -1007, -1008, -1016 (it does not know itself), -4116 (an
/// order with this id is there: perhaps this one), and whatever has no number here.
const fn is_refusal(code: i64) -> bool {
    matches!(
        code,
        // No right, too many, too late, not signed, not as the protocol wants it.
        -1002 | LIMITED | -1005 | -1010 | -1013 | -1014 | -1015 | -1020 | STALE | -1022 | -1023
            | -1136..=-1099
            // Against the account's state.
            | -2010 | -2014 | -2015 | -2028..=-2018
            // Against the symbol's filters, or the account's settings.
            | -4115..=-4000
            | -4999..=-4117
            // Could not be executed as asked.
            | -5028..=-5021
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(code: Option<i64>) -> ConnectorError {
        let msg = "words".to_owned();
        ConnectorError::BadRequestError { msg, code }
    }

    fn is_refused(error: &ConnectorError) -> bool {
        match Fault::of_connector("order", error).answer() {
            OrderCallOutcome::Rejected { .. } => true,
            OrderCallOutcome::Unknown { .. } => false,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_the_exchange_clearly_did_not_take_is_refused() {
        for code in [
            -1003, -1015, -1021, -1022, -1100, -1102, -1111, -1121, -1130, -2010, -2014, -2015,
            -2018, -2019, -2020, -2021, -2022, -2023, -2025, -2027, -4003, -4014, -4015, -4045,
            -4061, -4118, -4120, -4130, -4140, -4164, -4400, -5021, -5022,
        ] {
            assert!(is_refused(&bad(Some(code))), "{code}");
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
            assert!(!is_refused(&bad(Some(code))), "{code}");
        }
        assert!(!is_refused(&bad(None)));
    }

    #[test]
    fn a_refusals_number_counts_only_with_a_status_that_refuses() {
        let msg = || "words".to_owned();
        let code = Some(-2019);
        let retry_after = None;
        for (error, refused) in [
            (ConnectorError::BadRequestError { msg: msg(), code }, true),
            (ConnectorError::UnauthorizedError { msg: msg(), code }, true),
            (ConnectorError::ForbiddenError { msg: msg(), code }, true),
            (
                ConnectorError::ForbiddenError {
                    msg: msg(),
                    code: None,
                },
                false,
            ),
            (
                ConnectorError::TooManyRequestsError {
                    msg: msg(),
                    code,
                    retry_after,
                },
                true,
            ),
            (
                ConnectorError::TooManyRequestsError {
                    msg: msg(),
                    code: None,
                    retry_after,
                },
                false,
            ),
            (
                ConnectorError::RateLimitBanError {
                    msg: msg(),
                    code,
                    retry_after,
                },
                true,
            ),
            (ConnectorError::NotFoundError { msg: msg(), code }, false),
            (
                ConnectorError::ConnectorClientError { msg: msg(), code },
                false,
            ),
            (
                ConnectorError::ServerError {
                    msg: msg(),
                    status_code: Some(503),
                },
                false,
            ),
            (ConnectorError::NetworkError(msg()), false),
        ] {
            assert_eq!(is_refused(&error), refused, "{error:?}");
        }
    }

    #[test]
    fn an_order_that_was_not_sent_is_refused_and_a_late_question_is_asked_again() {
        let unsent = Fault::unsent("order", Duration::from_millis(1_500)).answer();
        let OrderCallOutcome::Rejected {
            code: LIMITED,
            reason: why,
        } = unsent
        else {
            panic!("{unsent:?}");
        };
        assert_eq!(why, "not sent: paused for 2 s for the exchange's limits");
        let late = MarketError::from(Fault::of_connector("order", &bad(Some(STALE))));
        assert!(
            matches!(late, MarketError::Retry { after: None, .. }),
            "{late}"
        );
    }
}
