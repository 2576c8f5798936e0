//! Readers and the one who resizes the map: LMDB wants no transaction open while it is resized.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
struct Inside {
    readers: usize,
    closing: bool,
}

/// Counts readers, and can be closed for a moment.
#[derive(Debug, Default)]
pub(super) struct Gate {
    inside: Mutex<Inside>,
    changed: Condvar,
}

/// Being inside.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Gate>);

impl Gate {
    /// Waits while the gate is closed, then is inside.
    pub(super) fn enter(self: &Arc<Self>) -> Ticket {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        while inside.closing {
            inside = self
                .changed
                .wait(inside)
                .unwrap_or_else(PoisonError::into_inner);
        }
        inside.readers += 1;
        Ticket(Arc::clone(self))
    }

    /// Closes the gate, waits until nobody is inside, and does something; `None` when readers stay
    /// longer than `limit`.
    pub(super) fn alone<T>(&self, limit: Duration, work: impl FnOnce() -> T) -> Option<T> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.closing = true;
        let waited = self
            .changed
            .wait_timeout_while(inside, limit, |inside| inside.readers > 0);
        let (mut inside, _timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        let done = (inside.readers == 0).then(work);
        inside.closing = false;
        drop(inside);
        self.changed.notify_all();
        done
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inside = self.0.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.readers -= 1;
        // Only who closes the gate waits for this.
        let awaited = inside.closing && inside.readers == 0;
        drop(inside);
        if awaited {
            self.0.changed.notify_all();
        }
    }
}
