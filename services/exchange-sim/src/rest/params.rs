//! A request's parameters, from its query and its body, and what they must look like. Not here: what
//! they mean to an endpoint.

use std::collections::HashMap;
use std::str::FromStr;

use rust_decimal::Decimal;

use crate::trading::error::ExchangeError;

/// Parameters by name. An empty one counts as not sent, as at Binance.
#[derive(Debug, Default)]
pub(super) struct Params(HashMap<String, String>);

impl Params {
    /// Reads `query` and then `body`; the query's word goes before the body's.
    pub(super) fn parse(query: &str, body: &[u8]) -> Self {
        let body = form_urlencoded::parse(body).into_owned();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned();
        Self(body.chain(query).collect())
    }

    /// The text of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.get(name).map(String::as_str);
        found.filter(|text| !text.is_empty())
    }

    /// The text of a parameter that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, ExchangeError> {
        self.text(name)
            .ok_or_else(|| ExchangeError::missing_parameter(name))
    }

    /// A parameter of some type, if it was sent.
    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, ExchangeError> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| ExchangeError::missing_parameter(name))
        };
        self.text(name).map(parse).transpose()
    }

    /// A parameter of some type that must be there.
    pub(super) fn required_parsed<T: FromStr>(&self, name: &str) -> Result<T, ExchangeError> {
        self.parsed(name)?
            .ok_or_else(|| ExchangeError::missing_parameter(name))
    }

    /// A decimal number, exactly as written.
    pub(super) fn decimal(&self, name: &str) -> Result<Option<Decimal>, ExchangeError> {
        let exact = |text| {
            Decimal::from_str_exact(text).map_err(|_| ExchangeError::missing_parameter(name))
        };
        self.text(name).map(exact).transpose()
    }

    /// `true` or `false` in any case; not sent means false.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ExchangeError> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ExchangeError::missing_parameter(name)),
        }
    }
}
