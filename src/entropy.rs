//! Randomness as an argument. The only file that asks the operating system for it.
//!
//! Components take a seeded [`Entropy`], so that a run can be repeated from its seed.

use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use uuid::Uuid;

/// A seeded source of randomness that can be shared between tasks.
#[derive(Debug)]
pub struct Entropy(Mutex<StdRng>);

impl Entropy {
    /// Randomness that the operating system seeds.
    pub fn from_system() -> Self {
        Self(Mutex::new(rand::make_rng()))
    }

    /// Randomness that repeats for one seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A random UUID (version 4).
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0u8; 16];
        self.lock().fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A number in `0.0..1.0`.
    pub fn fraction(&self) -> f64 {
        self.lock().random()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StdRng> {
        // A panic while drawing leaves a generator that is still a generator.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
