//! Which connections there are, and which of them makes room for another.

use super::{address::Address, connection::Connection};
use remit_model::bounds;
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// What a connection may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Ordinary,
    /// All others serve: health and the admin API only.
    Spare,
}

type Addresses = HashMap<Address, BTreeMap<u64, Arc<Connection>>>;

/// The open connections, and what they hold together.
#[derive(Debug)]
pub(crate) struct Registry {
    most: usize,
    /// One for each open socket, those that are closing included.
    room: Arc<Semaphore>,
    state: Mutex<State>,
    requests: AtomicUsize,
    held: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    addresses: Addresses,
    total: usize,
    next: u64,
}

impl Registry {
    pub(crate) fn new(most: usize) -> Self {
        let room = Arc::new(Semaphore::new(most.saturating_add(bounds::SPARE.size())));
        Self { most, room, state: Mutex::default(), requests: AtomicUsize::new(0), held: AtomicUsize::new(0) }
    }

    /// Room for one more socket; given back when it is closed.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// Takes a new connection in; another one makes room for it when there are too many.
    pub(crate) fn admit(&self, peer: IpAddr) -> (Arc<Connection>, Lane) {
        let address = Address::of(peer);
        let mut state = self.lock();
        let share = self.most.saturating_mul(bounds::ADDRESS_SHARE.size()).div_ceil(100);
        let own = state.addresses.get(&address).map_or(0, BTreeMap::len);
        let fits = if own >= share { state.shed_of(address) } else { state.total < self.most || state.shed_any() };
        let connection = Arc::new(Connection::new(state.next, address, Instant::now()));
        state.next = state.next.wrapping_add(1);
        state.total += 1;
        state.addresses.entry(address).or_default().insert(connection.id, Arc::clone(&connection));
        (connection, if fits { Lane::Ordinary } else { Lane::Spare })
    }

    /// Takes a connection out that has ended.
    pub(crate) fn ended(&self, connection: &Connection) {
        self.lock().remove(connection.address, connection.id);
    }

    /// Counts one more request; whether there may be that many.
    pub(crate) fn begin(&self) -> bool {
        self.requests.fetch_add(1, Ordering::Relaxed) < bounds::REQUESTS.size()
    }

    pub(crate) fn end(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts more bytes of bodies; whether that many may be held.
    pub(crate) fn hold(&self, bytes: usize) -> bool {
        self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= bounds::BODIES_BYTES.size()
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, address: Address, id: u64) {
        let Some(connections) = self.addresses.get_mut(&address) else { return };
        if connections.remove(&id).is_some() {
            self.total -= 1;
        }
        if connections.is_empty() {
            self.addresses.remove(&address);
        }
    }

    /// Sheds one connection of the address with the most, or of the next one when all of those serve.
    fn shed_any(&mut self) -> bool {
        let mut counts: Vec<(usize, Address)> =
            self.addresses.iter().map(|(address, connections)| (connections.len(), *address)).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts.into_iter().any(|(_, address)| self.shed_of(address))
    }

    /// Sheds the connection of this address that can best be spared.
    fn shed_of(&mut self, address: Address) -> bool {
        let connections = self.addresses.get(&address).into_iter().flat_map(BTreeMap::values);
        let spare = connections.filter_map(|connection| Some((connection.spare()?, connection)));
        let Some(victim) = spare.min_by_key(|(spare, _)| *spare).map(|(_, connection)| Arc::clone(connection)) else {
            return false;
        };
        victim.shed();
        self.remove(address, victim.id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn admitted(registry: &Registry, last: u8) -> Arc<Connection> {
        registry.admit(peer(last)).0
    }

    fn count(registry: &Registry, last: u8) -> usize {
        registry.lock().addresses.get(&Address::of(peer(last))).map_or(0, BTreeMap::len)
    }

    #[tokio::test]
    async fn one_address_gets_its_share_and_loses_its_own_oldest() {
        let registry = Registry::new(10);
        let first = admitted(&registry, 1);
        for _ in 1..20 {
            admitted(&registry, 1);
        }
        assert_eq!(count(&registry, 1), 5);
        first.must_go().await;
        admitted(&registry, 2);
        assert_eq!((count(&registry, 1), count(&registry, 2)), (5, 1));
    }

    #[tokio::test]
    async fn the_address_with_the_most_makes_room_and_one_that_serves_does_not() {
        let registry = Registry::new(10);
        for last in [1, 1, 1, 1, 1, 2, 2, 2, 3, 3] {
            admitted(&registry, last);
        }
        assert_eq!(registry.admit(peer(4)).1, Lane::Ordinary);
        assert_eq!([1, 2, 3, 4].map(|last| count(&registry, last)), [4, 3, 2, 1]);
        for connections in registry.lock().addresses.values() {
            for connection in connections.values() {
                connection.begin(false);
            }
        }
        let (spare, lane) = registry.admit(peer(5));
        assert_eq!((lane, count(&registry, 1)), (Lane::Spare, 4));
        // A request whose body does not come is no reason to keep a connection.
        registry.ended(&spare);
        let slow = registry.lock().addresses[&Address::of(peer(3))].values().next().cloned().unwrap();
        slow.begin(true);
        assert_eq!(registry.admit(peer(5)).1, Lane::Spare);
        slow.end(0, Instant::now());
        assert_eq!(registry.admit(peer(6)).1, Lane::Ordinary);
        assert_eq!(count(&registry, 3), 1);
    }

    #[test]
    fn an_ipv6_site_is_one_address() {
        let of = |text: &str| Address::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
