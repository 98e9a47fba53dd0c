//! Parameters of a request, from its query and its body.

use std::collections::HashMap;
use std::str::FromStr;

use rust_decimal::Decimal;

use crate::trading::error::ExchangeError;

/// Parameters by name. An empty parameter counts as not sent, as at Binance.
#[derive(Debug, Default)]
pub(super) struct Params(HashMap<String, String>);

impl Params {
    /// Reads `query` and then `body`; a parameter in the query takes precedence.
    pub(super) fn parse(query: &str, body: &[u8]) -> Self {
        let body = form_urlencoded::parse(body).into_owned();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned();
        Self(body.chain(query).collect())
    }

    /// Text of a parameter; `None` if it was not sent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.get(name).map(String::as_str);
        found.filter(|text| !text.is_empty())
    }

    /// Text of a mandatory parameter.
    pub(super) fn required(&self, name: &str) -> Result<&str, ExchangeError> {
        self.text(name)
            .ok_or_else(|| ExchangeError::missing_parameter(name))
    }

    /// A typed parameter; `None` if it was not sent.
    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, ExchangeError> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| ExchangeError::missing_parameter(name))
        };
        self.text(name).map(parse).transpose()
    }

    /// A typed mandatory parameter.
    pub(super) fn required_parsed<T: FromStr>(&self, name: &str) -> Result<T, ExchangeError> {
        self.parsed(name)?
            .ok_or_else(|| ExchangeError::missing_parameter(name))
    }

    /// An exact decimal number; `None` if it was not sent.
    pub(super) fn decimal(&self, name: &str) -> Result<Option<Decimal>, ExchangeError> {
        let exact = |text| {
            Decimal::from_str_exact(text).map_err(|_| ExchangeError::missing_parameter(name))
        };
        self.text(name).map(exact).transpose()
    }

    /// `true` or `false` in any case; false if not sent.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ExchangeError> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ExchangeError::missing_parameter(name)),
        }
    }
}
