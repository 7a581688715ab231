//! What calls of this process are about to use and Proxmox does not know of yet: VMIDs, addresses. Proxmox reserves
//! nothing: without this, calls made at once would all choose the same.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Each for a while, unless it is given back before.
#[derive(Debug)]
pub struct Held<T> {
    held: Mutex<HashMap<T, Instant>>,
    how_long: Duration,
}

impl<T: Copy + Eq + Hash> Held<T> {
    pub fn new(how_long: Duration) -> Self {
        Self { held: Mutex::default(), how_long }
    }

    /// Takes one, unless another call holds it.
    pub fn take(&self, one: T) -> bool {
        self.take_all(&[one])
    }

    /// Takes all of these, or none where another call holds one of them.
    pub fn take_all(&self, all: &[T]) -> bool {
        let mut held = self.held();
        let free = !all.iter().any(|one| held.contains_key(one));
        if free {
            held.extend(all.iter().map(|one| (*one, Instant::now())));
        }
        free
    }

    /// Gives back one that was not used after all.
    pub fn release(&self, one: T) {
        self.held().remove(&one);
    }

    pub fn is_held(&self, one: T) -> bool {
        self.held().contains_key(&one)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<T, Instant>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, at| at.elapsed() < self.how_long);
        held
    }
}
