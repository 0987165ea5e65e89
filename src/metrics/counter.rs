//! A counter that one thread increments and others read.
//!
//! An increment is a relaxed load and a relaxed store, which compile to the same instructions as
//! for a plain integer: no lock, no locked instruction, and no cache line that another worker
//! writes.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that one thread increments and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(more);
        self.0.store(sum, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
