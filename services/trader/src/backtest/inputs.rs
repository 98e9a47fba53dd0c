//! The files of `--candles`, by symbol.

use std::path::PathBuf;

use protocol::ids::SubjectToken;
use runtime::exit_error::ExitError;

use super::args::{BacktestArgs, usage};

/// Most symbols of one backtest.
const MAX_SYMBOLS: usize = 200;

/// A symbol with its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SymbolFiles {
    pub(super) symbol: SubjectToken,
    pub(super) paths: Vec<PathBuf>,
}

impl BacktestArgs {
    /// The symbols with their files, in the order of the command line.
    ///
    /// # Errors
    /// Exit 64 for a file without a symbol, or too many symbols.
    pub(super) fn symbols(&self) -> Result<Vec<SymbolFiles>, ExitError> {
        let mut symbols: Vec<SymbolFiles> = Vec::new();
        for arg in &self.candles {
            let symbol = arg.symbol.as_ref().or(self.symbol.as_ref()).ok_or_else(|| {
                let path = arg.path.display();
                usage(format!(
                    "--candles {path}: of which symbol? expected --symbol SYMBOL, or --candles SYMBOL={path}"
                ))
            })?;
            match symbols.iter_mut().find(|known| known.symbol == *symbol) {
                Some(known) => known.paths.push(arg.path.clone()),
                None => symbols.push(SymbolFiles {
                    symbol: symbol.clone(),
                    paths: vec![arg.path.clone()],
                }),
            }
        }
        if symbols.len() > MAX_SYMBOLS {
            let count = symbols.len();
            return Err(usage(format!(
                "--candles: {count} symbols; expected at most {MAX_SYMBOLS}"
            )));
        }
        if let Some(symbol) = &self.symbol
            && !symbols.iter().any(|known| known.symbol == *symbol)
        {
            return Err(usage(format!(
                "--symbol {symbol}: no --candles are of this symbol; expected --candles FILE without another symbol"
            )));
        }
        Ok(symbols)
    }

    /// The paths of `--candles`.
    pub(super) fn candle_paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.candles.iter().map(|arg| &arg.path)
    }
}
