//! Which connections stay when more come than a server has places for: a table without sockets or clocks.
//!
//! A new connection to a full server replaces the one that has been inactive for longest: its peer idles, sends its
//! request byte by byte, or does not read its answer. A connection that is *held* waits for the agent and is never cut.
//! Each kind of request that holds a place for more than a moment has its own limit, smaller than the number of places,
//! so that a new connection always finds one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The places of one server.
#[derive(Clone)]
pub(super) struct Places(Arc<Shared>);

struct Shared {
    table: Mutex<Table>,
    /// Signalled when another connection may be cut, or one has ended.
    freed: Notify,
}

/// The place of one connection, given back when it is dropped.
pub(super) struct Place {
    places: Places,
    id: u64,
    cut: CancellationToken,
}

/// While this lives, the connection is not cut.
pub(super) struct Held(Arc<Place>);

struct Table {
    most: usize,
    next: u64,
    /// In order of inactivity, longest first.
    seats: Vec<Seat>,
}

struct Seat {
    id: u64,
    holds: usize,
    /// Whether it has been held since it came.
    used: bool,
    cut: CancellationToken,
}

// === impl Places ===

impl Places {
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared {
            table: Mutex::new(Table::new(most)),
            freed: Notify::new(),
        }))
    }

    /// A place for a new connection, held at first, so that a client that connects and sends at once is answered, however
    /// many connect after it. Waits only while every connection is held.
    pub async fn enter(&self) -> Held {
        loop {
            let entered = self.table().enter();
            if let Some((id, cut)) = entered {
                let places = self.clone();
                return Held(Arc::new(Place { places, id, cut }));
            }
            self.0.freed.notified().await;
        }
    }

    /// Cuts half of the connections, except those that are held. Returns `false` if there was none to cut.
    pub fn cut_half(&self) -> bool {
        let mut table = self.table();
        let half = table.seats.len().div_ceil(2);
        (0..half).filter(|_| table.cut_one()).count() > 0
    }

    /// Returns when every connection has ended.
    pub async fn empty(&self) {
        while !self.table().seats.is_empty() {
            self.0.freed.notified().await;
        }
    }

    /// A panic elsewhere leaves the table consistent, because each method is one step.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Place {
    pub fn hold(self: &Arc<Self>) -> Held {
        self.places.table().hold(self.id);
        Held(Arc::clone(self))
    }

    /// Returns when a new connection has taken this place.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// Returns if the connection was not held even once in this time.
    pub async fn unused_for(&self, time: Duration) {
        sleep(time).await;
        if self.places.table().used(self.id) {
            std::future::pending::<()>().await;
        }
    }

    /// Whether places are scarce, so that no connection should stay open just in case.
    pub fn crowded(&self) -> bool {
        let table = self.places.table();
        table.seats.len() > table.most / 2
    }
}

impl Held {
    pub fn place(&self) -> &Arc<Place> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.table().leave(self.id);
        self.places.0.freed.notify_one();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let places = &self.0.places;
        places.table().release(self.0.id);
        places.0.freed.notify_one();
    }
}

// === impl Table ===

impl Table {
    fn new(most: usize) -> Self {
        Self {
            most,
            next: 0,
            seats: Vec::with_capacity(most),
        }
    }

    /// The new connection starts held. `None` if all connections are held.
    fn enter(&mut self) -> Option<(u64, CancellationToken)> {
        if self.seats.len() >= self.most && !self.cut_one() {
            return None;
        }
        let (id, cut) = (self.next, CancellationToken::new());
        self.next += 1;
        self.seats.push(Seat {
            id,
            holds: 1,
            used: false,
            cut: cut.clone(),
        });
        Some((id, cut))
    }

    fn cut_one(&mut self) -> bool {
        let Some(at) = self.seats.iter().position(|seat| seat.holds == 0) else {
            return false;
        };
        self.seats.remove(at).cut.cancel();
        true
    }

    /// Does nothing for a connection that was cut: it no longer has a seat.
    fn hold(&mut self, id: u64) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == id) {
            seat.holds += 1;
            seat.used = true;
        }
    }

    /// It was active just now, so all others are cut before it.
    fn release(&mut self, id: u64) {
        if let Some(at) = self.seats.iter().position(|seat| seat.id == id) {
            let mut seat = self.seats.remove(at);
            seat.holds -= 1;
            self.seats.push(seat);
        }
    }

    fn leave(&mut self, id: u64) {
        self.seats.retain(|seat| seat.id != id);
    }

    fn used(&self, id: u64) -> bool {
        self.seats.iter().any(|seat| seat.id == id && seat.used)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn ids(table: &Table) -> Vec<u64> {
        table.seats.iter().map(|seat| seat.id).collect()
    }

    /// A new connection that has had its turn.
    fn come(table: &mut Table) {
        let (id, _) = table.enter().unwrap();
        table.release(id);
    }

    fn full(most: usize) -> Table {
        let mut table = Table::new(most);
        while table.seats.len() < most {
            come(&mut table);
        }
        table
    }

    #[test]
    fn a_newcomer_takes_the_place_that_was_inactive_for_longest() {
        let mut table = full(3);
        let oldest = table.seats[0].cut.clone();
        table.hold(1);
        table.release(1);
        come(&mut table);
        assert!(oldest.is_cancelled());
        assert_eq!(ids(&table), [2, 1, 3]);
        come(&mut table);
        assert_eq!(ids(&table), [1, 3, 4], "one that was active stays longer");
    }

    #[test]
    fn who_waits_for_the_agent_is_never_cut() {
        let mut table = full(2);
        table.hold(0);
        table.hold(0);
        table.enter().unwrap();
        assert_eq!(ids(&table), [0, 2]);
        table.release(0);
        assert!(
            table.enter().is_none(),
            "one was held twice, one has just come"
        );
        table.release(0);
        come(&mut table);
        assert_eq!(ids(&table), [2, 3]);
    }

    #[test]
    fn a_place_that_is_given_back_cuts_nobody() {
        let mut table = full(2);
        table.leave(0);
        come(&mut table);
        assert_eq!(ids(&table), [1, 2]);
        // A connection that was cut may still release its hold.
        table.hold(1);
        table.leave(1);
        table.release(1);
        assert_eq!(ids(&table), [2]);
    }

    #[tokio::test]
    async fn places_come_back_by_themselves() {
        let places = Places::new(1);
        let held = places.enter().await;
        let next = tokio::spawn({
            let places = places.clone();
            async move { places.enter().await }
        });
        tokio::task::yield_now().await;
        assert!(!next.is_finished());
        drop(held);
        drop(next.await.unwrap());
        places.empty().await;
    }
}
