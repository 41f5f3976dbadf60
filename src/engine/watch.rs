//! One value that everybody may see, and that wakes whoever waits for it to change.
//!
//! It does what tokio's watch does, and wakes in the order in which they began to wait: tokio's wakes in a
//! random one, and a simulation could not repeat a run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A value, and who sees it.
pub fn channel<T: Clone>(value: T) -> (Sender<T>, Receiver<T>) {
    let slot = Mutex::new(Slot { value, version: 0, closed: false });
    let shared = Arc::new(Shared { slot, changed: Notify::new() });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared, seen: 0 })
}

#[derive(Debug)]
struct Shared<T> {
    slot: Mutex<Slot<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct Slot<T> {
    value: T,
    version: u64,
    closed: bool,
}

impl<T> Shared<T> {
    fn slot(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value will not change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody renews the value any more")]
pub struct Closed;

/// Renews the value. When it is dropped, all who wait are told.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T: Clone> Sender<T> {
    /// Puts another value in its place, and returns the old one.
    pub fn send_replace(&self, value: T) -> T {
        let mut slot = self.shared.slot();
        slot.version += 1;
        let old = std::mem::replace(&mut slot.value, value);
        drop(slot);
        self.shared.changed.notify_waiters();
        old
    }

    /// Changes the value.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        let mut slot = self.shared.slot();
        slot.version += 1;
        change(&mut slot.value);
        drop(slot);
        self.shared.changed.notify_waiters();
    }

    /// Another one who sees it.
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.shared.slot().version;
        Receiver { shared: Arc::clone(&self.shared), seen }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.slot().closed = true;
        self.shared.changed.notify_waiters();
    }
}

/// Sees the value. A clone has seen what the original has.
#[derive(Clone, Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T: Clone> Receiver<T> {
    /// The value as it is.
    pub fn borrow(&self) -> T {
        self.shared.slot().value.clone()
    }

    /// The same, and it counts as seen.
    pub fn borrow_and_update(&mut self) -> T {
        let slot = self.shared.slot();
        self.seen = slot.version;
        slot.value.clone()
    }

    /// Returns when there is a value that was not seen yet.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let mut woken = std::pin::pin!(self.shared.changed.notified());
            woken.as_mut().enable();
            {
                let slot = self.shared.slot();
                if slot.version != self.seen {
                    self.seen = slot.version;
                    return Ok(());
                }
                if slot.closed {
                    return Err(Closed);
                }
            }
            woken.await;
        }
    }

    /// The first value, from the present one on, that meets a condition.
    pub async fn wait_for(&mut self, mut condition: impl FnMut(&T) -> bool) -> Result<T, Closed> {
        loop {
            let value = self.borrow_and_update();
            if condition(&value) {
                return Ok(value);
            }
            self.changed().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_woken_in_the_order_of_waiting() {
        let (sender, receiver) = channel(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..20)
            .map(|nth| {
                let (mut receiver, order) = (receiver.clone(), Arc::clone(&order));
                tokio::spawn(async move {
                    receiver.wait_for(|value| *value == 1).await.unwrap();
                    order.lock().unwrap().push(nth);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        sender.send_replace(1);
        for one in waiting {
            one.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_last_value_is_seen_and_then_the_end() {
        let (sender, mut receiver) = channel(1);
        sender.send_modify(|value| *value += 1);
        drop(sender);
        assert_eq!(receiver.changed().await, Ok(()));
        assert_eq!(receiver.borrow(), 2);
        assert_eq!(receiver.changed().await, Err(Closed));
        assert_eq!(receiver.wait_for(|value| *value == 2).await, Ok(2));
        assert_eq!(receiver.wait_for(|value| *value == 3).await, Err(Closed));
    }
}
