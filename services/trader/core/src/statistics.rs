//! Ratios of a series of daily returns, as the field defines them. Days are calendar days: a crypto market has 365 a year.
//! There is no risk-free rate.
//!
//! Sources: W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994); F. Sortino and L. Price,
//! "Performance Measurement in a Downside Risk Framework", Journal of Investing 3 (1994); T. W. Young, "Calmar Ratio: A
//! Smoother Tool", Futures 20 (1991). A test compares the figures with `quantstats` and `empyrical`.

/// Days of a year.
const YEAR_DAYS: f64 = 365.0;

/// Ratios of a series of daily returns.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReturnRatios {
    /// Compound annual growth rate: the total return to the power of 365 / days, less 1. `None` without a day, or if nothing
    /// is left.
    pub cagr: Option<f64>,
    /// Sample standard deviation of the returns, times the square root of 365. `None` before two days.
    pub volatility: Option<f64>,
    /// Sharpe ratio: mean return by its sample standard deviation, times the square root of 365. `None` before two days, or
    /// if all returns are equal.
    pub sharpe: Option<f64>,
    /// Sortino ratio: mean return by the root of the mean square of the negative returns over all days, times the square
    /// root of 365. `None` without a negative return.
    pub sortino: Option<f64>,
    /// Calmar ratio: CAGR by the largest drawdown. `None` without a drawdown.
    pub calmar: Option<f64>,
}

impl ReturnRatios {
    /// The ratios of these returns, each a share of the equity of the day before. `max_drawdown` is the largest drawdown as
    /// a positive share.
    pub fn of(returns: &[f64], max_drawdown: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "days of centuries are exact")]
        let days = returns.len() as f64;
        if returns.is_empty() {
            return Self::default();
        }
        let year = YEAR_DAYS.sqrt();
        let mean = returns.iter().sum::<f64>() / days;
        let squares: f64 = returns.iter().map(|r| (r - mean) * (r - mean)).sum();
        let deviation = (returns.len() > 1).then(|| (squares / (days - 1.0)).sqrt());
        let falls: f64 = returns.iter().map(|r| r.min(0.0) * r.min(0.0)).sum();
        let downside = (falls / days).sqrt();
        let total: f64 = returns.iter().map(|r| 1.0 + r).product();
        let cagr = (total > 0.0).then(|| total.powf(YEAR_DAYS / days) - 1.0);
        Self {
            cagr,
            volatility: deviation.map(|deviation| deviation * year),
            sharpe: deviation
                .filter(|deviation| *deviation > f64::EPSILON)
                .map(|deviation| mean / deviation * year),
            sortino: (downside > 0.0).then(|| mean / downside * year),
            calmar: cagr
                .filter(|_| max_drawdown > 0.0)
                .map(|cagr| cagr / max_drawdown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: Option<f64>, expected: f64) {
        assert!(
            (value.unwrap() - expected).abs() < 1e-6,
            "{value:?} {expected}"
        );
    }

    #[test]
    fn ratios_match_textbook_formulas() {
        let ratios = ReturnRatios::of(&[0.05, -0.02, 0.0, 0.01], 0.02);
        // Mean 0.01, sample deviation 0.0294392, downside deviation 0.01, total 1.03929.
        near(ratios.sharpe, 6.489_637);
        near(ratios.sortino, 19.104_973);
        near(ratios.volatility, 0.562_435_2);
        near(ratios.cagr, 1.039_29_f64.powf(91.25) - 1.0);
        near(ratios.calmar, (1.039_29_f64.powf(91.25) - 1.0) / 0.02);
    }

    #[test]
    fn undefined_ratios_are_none() {
        assert_eq!(ReturnRatios::of(&[], 0.0), ReturnRatios::default());
        let flat = ReturnRatios::of(&[0.0, 0.0], 0.0);
        assert_eq!((flat.sharpe, flat.sortino, flat.calmar), (None, None, None));
        assert_eq!(flat.cagr, Some(0.0));
        assert_eq!(ReturnRatios::of(&[0.1], 0.0).sharpe, None);
        assert_eq!(ReturnRatios::of(&[-1.0, 0.0], 1.0).cagr, None);
    }
}
