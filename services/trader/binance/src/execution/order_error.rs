//! What the failure of a call means for an order: [`Fault::answer`] says refused or unknown. A wrong refusal costs
//! money, so every failure that is not a known refusal is unknown.

use std::error::Error;
use std::time::Duration;

use binance_sdk::errors::ConnectorError;
use exchange::ExchangeError;
use trader_core::orders::OrderCallOutcome;

use crate::error::{from_connector, from_sdk, one_line, retry};

/// The call's timestamp is outside `recvWindow`: a wrong clock, or a late call.
pub(super) const STALE: i64 = -1021;
/// The request limit is reached; also used for calls that were not sent for that reason.
pub(super) const LIMITED: i64 = -1003;
/// A cancel of an order that the exchange does not have.
pub(super) const UNKNOWN: i64 = -2011;
/// A query for an order that the exchange does not have.
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
    /// The exchange's error text, in one line.
    message: String,
    /// The same failure, for callers that placed no order.
    pub(super) error: ExchangeError,
}

impl Fault {
    /// Converts an error of the SDK.
    pub(super) fn of_sdk(what: &'static str, error: &(dyn Error + Send + Sync + 'static)) -> Self {
        match error.downcast_ref::<ConnectorError>() {
            Some(known) => Self::of_connector(what, known),
            None => Self::from(from_sdk(what, error)),
        }
    }

    /// Converts an error of the SDK whose type is known.
    pub(super) fn of_connector(what: &'static str, error: &ConnectorError) -> Self {
        use ConnectorError as E;
        let (code, message) = match error {
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
            refuses: message.is_some(),
            message: one_line(message.map_or("", String::as_str)),
            error: shaped(what, code, from_connector(what, error)),
        }
    }

    /// A call that was not made: the limit is reached for another `left`.
    pub(super) fn unsent(what: &'static str, left: Duration) -> Self {
        let message = format!(
            "not sent: paused for {} s for the exchange's limits",
            left.as_secs() + 1
        );
        Self {
            code: Some(LIMITED),
            refuses: true,
            message: message.clone(),
            error: ExchangeError::Retry {
                what,
                reason: message,
                after: Some(left),
            },
        }
    }

    /// The outcome of the order whose call failed.
    pub(super) fn answer(self) -> OrderCallOutcome {
        match self.code {
            Some(code) if self.refuses && is_refusal(code) => OrderCallOutcome::Rejected {
                code,
                reason: self.message,
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

/// A failure after which the state of the order is unknown.
impl From<ExchangeError> for Fault {
    fn from(error: ExchangeError) -> Self {
        Self {
            code: None,
            refuses: false,
            message: String::new(),
            error,
        }
    }
}

impl From<Fault> for ExchangeError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

/// Makes a late call retryable: the next one is signed with a newer time.
fn shaped(what: &'static str, code: Option<i64>, error: ExchangeError) -> ExchangeError {
    match error {
        ExchangeError::Rejected { reason, .. } if code == Some(STALE) => retry(what, reason),
        other => other,
    }
}

/// Whether this code means that the exchange did not take the order and will not take it.
///
/// Not among them: -1000, -1001, -1006, -1007, -1008, -1016 (the exchange does not know), -4116 (an
/// order with this id exists: perhaps this one), and all codes that are not listed here.
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
        let msg = "text".to_owned();
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
        let msg = || "text".to_owned();
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
        let late = ExchangeError::from(Fault::of_connector("order", &bad(Some(STALE))));
        assert!(
            matches!(late, ExchangeError::Retry { after: None, .. }),
            "{late}"
        );
    }
}
