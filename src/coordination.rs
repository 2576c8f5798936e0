//! What the processes of a cluster agree on, kept in etcd.
//!
//! [`Etcd`] is the client: endpoints, deadlines, retries, classes of errors. [`session`] is a
//! process's one lease: its registry entry and its candidacy hang on it, so that its death is one
//! event. [`mirror`] is a prefix of etcd kept in memory that never goes stale silently. On them stand
//! [`registry`] (who is there) and [`election`] (which master leads). [`keys`] is the only file that
//! spells keys, [`records`] says what is stored under them.
//!
//! What a lock or a leadership protects is guarded in the same transaction: a belief never writes.
//! Etcd away is a state and no failure: mirrors serve what they last read and say how old it is.
//!
//! Doors left open: configuration (`conf/`), locks (`lock/`), quarantine (`quar/`) and users
//! (`auth/`) have their places in the key layout and are not here yet. Etcd's own lock and election
//! services are not used: a candidate whose lease has died can be told that it leads.

pub mod election;
mod etcd;
pub mod keys;
pub mod mirror;
pub mod records;
pub mod registry;
pub mod session;

pub use etcd::{
    Change, ClusterMember, Endpoints, Entry, Error, Etcd, Guard, Listing, Outcome, Transaction,
    Watch, WatchEvent, WatchNews,
};
pub use keys::Keys;
