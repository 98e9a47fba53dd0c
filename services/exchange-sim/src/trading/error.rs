//! Errors of the exchange with Binance's codes and messages.

/// An error with Binance's code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeError {
    /// Binance's code, such as -2019.
    pub code: i32,
    /// Binance's message for that code.
    pub message: String,
}

impl ExchangeError {
    /// An error with a message of its own.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// An error with the fixed message of its code.
    pub fn from_code(code: i32) -> Self {
        Self::new(code, message_of(code))
    }

    /// A parameter is missing, empty or malformed.
    pub fn missing_parameter(parameter: &str) -> Self {
        let message = format!(
            "Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed."
        );
        Self::new(-1102, message)
    }

    /// A parameter that must not be sent.
    pub fn not_required(parameter: &str) -> Self {
        let parameter = parameter.to_ascii_lowercase();
        Self::new(
            -1106,
            format!("Parameter '{parameter}' sent when not required."),
        )
    }

    /// The value of the order is below the minimum.
    pub fn below_min_notional(least: &str) -> Self {
        let message = format!(
            "Order's notional must be no smaller than {least} (unless you choose reduce only)."
        );
        Self::new(-4164, message)
    }
}

/// Fixed messages of Binance by code.
const fn message_of(code: i32) -> &'static str {
    match code {
        -1007 => {
            "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
        }
        -1008 => {
            "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."
        }
        -1016 => "This service is no longer available.",
        -1021 => "Timestamp for this request is outside of the recvWindow.",
        -1022 => "Signature for this request is not valid.",
        -1111 => "Precision is over the maximum defined for this asset.",
        -1115 => "Invalid timeInForce.",
        -1116 => "Invalid orderType.",
        -1117 => "Invalid side.",
        -1120 => "Invalid interval.",
        -1121 => "Invalid symbol.",
        -1125 => "This listenKey does not exist.",
        -1131 => "recvWindow must be less than 60000",
        -2011 => "Unknown order sent.",
        -2013 => "Order does not exist.",
        -2014 => "API-key format invalid.",
        -2015 => "Invalid API-key, IP, or permissions for action.",
        -2019 => "Margin is insufficient.",
        -2021 => "Order would immediately trigger.",
        -2022 => "ReduceOnly Order is rejected.",
        -2025 => "Reach max open order limit.",
        -2027 => "Exceeded the maximum allowable position at current leverage.",
        -4003 => "Quantity less than or equal to zero.",
        -4004 => "Quantity less than min quantity.",
        -4005 => "Quantity greater than max quantity.",
        -4014 => "Price not increased by tick size.",
        -4015 => "Client order id is not valid.",
        -4023 => "Quantity not increased by step size.",
        -4045 => "Reach max stop order limit.",
        -4046 => "No need to change margin type.",
        -4047 => "Margin type cannot be changed if there exists open orders.",
        -4048 => "Margin type cannot be changed if there exists position.",
        -4059 => "No need to change position side.",
        -4061 => "Order's position side does not match user's setting.",
        -4067 => "Position side cannot be changed if there exists open orders.",
        -4068 => "Position side cannot be changed if there exists position.",
        -4108 => "Symbol is on delivering or delivered or settling or closed or pre-trading.",
        -4116 => "ClientOrderId is duplicated.",
        -4120 => {
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        }
        -4130 => {
            "An open stop or take profit order with GTE and closePosition in the direction is existing."
        }
        -4131 => "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
        -4140 => "Invalid symbol status for opening position.",
        -4141 => "Symbol is closed.",
        -4161 => "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
        -4165 => "Invalid time interval, maximum time interval is 7 days.",
        -4167 => {
            "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under isolated-margin mode."
        }
        -4168 => "Unable to adjust to isolated-margin mode under the Multi-Assets mode.",
        -4170 => "Unable to adjust Multi-Assets Mode with open orders in USDⓈ-M Futures.",
        -4171 => {
            "Adjusted asset mode is currently set and does not need to be adjusted repeatedly."
        }
        -5021 => {
            "Due to the order could not be filled immediately, the FOK order has been rejected. The order will not be recorded in the order history"
        }
        -5022 => {
            "Due to the order could not be executed as maker, the Post Only order will be rejected. The order will not be recorded in the order history"
        }
        _ => "An unknown error occurred while processing the request.",
    }
}
