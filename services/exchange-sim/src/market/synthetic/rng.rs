//! Random numbers that are equal on every machine: `ChaCha8` is specified exactly, and logarithms come from `libm` in
//! Rust instead of the platform's C library.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Share of innovations from the wide distribution, and its relative width.
const WIDE_SHARE: f64 = 0.03;
const WIDTH: f64 = 2.2;
/// Largest innovation, in standard deviations.
const MAX_DEVIATIONS: f64 = 6.0;

/// A stream of random numbers for a label under a seed.
pub(super) struct RandomStream {
    rng: ChaCha8Rng,
    spare: Option<f64>,
    heavy_scale: f64,
}

impl RandomStream {
    /// The stream of a label, of which the first 24 bytes count.
    pub(super) fn new(seed: u64, label: &str) -> Self {
        let mut key = [0_u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        for (slot, byte) in key[8..].iter_mut().zip(label.bytes()) {
            *slot = byte;
        }
        let variance = 1.0 - WIDE_SHARE + WIDE_SHARE * WIDTH * WIDTH;
        Self {
            rng: ChaCha8Rng::from_seed(key),
            spare: None,
            heavy_scale: 1.0 / libm::sqrt(variance),
        }
    }

    /// Uniform in the open interval (0, 1).
    #[allow(
        clippy::cast_precision_loss,
        reason = "53 bits are what a double holds exactly"
    )]
    pub(super) fn uniform(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        ((self.rng.next_u64() >> 11) as f64 + 0.5) * STEP
    }

    /// Standard normal, by Marsaglia's polar method.
    pub(super) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let factor = libm::sqrt(-2.0 * libm::log(s) / s);
                self.spare = Some(v * factor);
                return u * factor;
            }
        }
    }

    /// An innovation with unit variance and fat tails: a mixture of two normal distributions.
    pub(super) fn heavy_tailed(&mut self) -> f64 {
        let wide = self.uniform() < WIDE_SHARE;
        let z = self.normal() * if wide { WIDTH } else { 1.0 };
        (z * self.heavy_scale).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
    }
}
