//! [`CandlesArg`]: a value of `--candles`.

use std::path::PathBuf;
use std::str::FromStr;

use protocol::ids::SubjectToken;

use crate::settings::symbol;

/// A value of `--candles`: a path, with or without the symbol of its candles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandlesArg {
    pub(super) symbol: Option<SubjectToken>,
    pub(super) path: PathBuf,
}

impl FromStr for CandlesArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(
                "expected a file, a directory, a pattern or - for standard input".to_owned(),
            );
        }
        let named = text.split_once('=').filter(|(name, path)| {
            !path.is_empty() && !name.contains(['/', '.']) && !PathBuf::from(text).exists()
        });
        Ok(match named {
            Some((name, path)) => Self {
                symbol: Some(symbol(name)?),
                path: PathBuf::from(path),
            },
            None => Self {
                symbol: None,
                path: PathBuf::from(text),
            },
        })
    }
}
