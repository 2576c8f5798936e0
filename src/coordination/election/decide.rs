//! What a candidate believes, and when it tries. Pure.

use super::Leadership;
use crate::coordination::records::LeadRecord;
use crate::coordination::session::{Standing, State};
use crate::ids::Term;

/// Whether a candidate may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Will {
    /// It may.
    Stand,
    /// It is giving its leadership up.
    Resigning,
    /// It gave it up a moment ago.
    Pausing,
}

/// The key of the leader, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) record: LeadRecord,
    pub(super) term: Term,
    pub(super) lease: i64,
}

/// Whether the key is of this very run of this very process.
fn is_own(me: &LeadRecord, lease: i64, seen: &Seen) -> bool {
    seen.record.node == me.node && seen.record.incarnation == me.incarnation && seen.lease == lease
}

/// Whether nobody leads, or only an earlier lease or run of this very process.
pub(super) fn is_vacant(me: &LeadRecord, lease: i64, seen: Option<&Seen>) -> bool {
    seen.is_none_or(|seen| seen.record.node == me.node && !is_own(me, lease, seen))
}

/// What to believe: only an own key, on the lease that certainly lives, is a leadership.
pub(super) fn leadership(
    me: &LeadRecord,
    standing: Standing,
    will: Will,
    seen: Option<Seen>,
) -> Leadership {
    match seen {
        Some(seen) if is_own(me, standing.lease, &seen) => {
            if standing.state == State::Connected && will == Will::Stand {
                Leadership::Leader { term: seen.term }
            } else {
                Leadership::Unknown
            }
        },
        Some(seen) => Leadership::Follower {
            leader: Some((seen.record, seen.term)),
        },
        None => Leadership::Follower { leader: None },
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::NodeId;

    fn record(node: u128, run: u128) -> LeadRecord {
        LeadRecord {
            node: NodeId(Uuid::from_u128(node)),
            name: format!("master-{node}"),
            rpc_address: "127.0.0.1:1".to_owned(),
            since_ms: 1,
            incarnation: Uuid::from_u128(run),
        }
    }

    fn seen(node: u128, run: u128, lease: i64) -> Seen {
        Seen {
            record: record(node, run),
            term: Term(40),
            lease,
        }
    }

    fn on(state: State) -> Standing {
        Standing {
            state,
            lease: 9,
            generation: 1,
        }
    }

    #[test]
    fn only_the_own_key_on_a_certain_lease_is_a_leadership() {
        let me = record(1, 1);
        let believe = |state, will, seen: Seen| leadership(&me, on(state), will, Some(seen));
        let leader = Leadership::Leader { term: Term(40) };
        let own = || seen(1, 1, 9);
        assert_eq!(believe(State::Connected, Will::Stand, own()), leader);
        for state in [State::Suspect, State::Lost] {
            assert_eq!(believe(state, Will::Stand, own()), Leadership::Unknown);
        }
        for will in [Will::Resigning, Will::Pausing] {
            assert_eq!(believe(State::Connected, will, own()), Leadership::Unknown);
        }
        for other in [seen(2, 1, 9), seen(1, 2, 9), seen(1, 1, 8)] {
            let followed = believe(State::Connected, Will::Stand, other.clone());
            let leader = Some((other.record, other.term));
            assert_eq!(followed, Leadership::Follower { leader });
        }
    }

    #[test]
    fn only_no_key_or_one_of_a_former_life_is_vacant() {
        let me = record(1, 1);
        let vacant = |seen: Option<Seen>| is_vacant(&me, 9, seen.as_ref());
        assert!(vacant(None));
        assert!(vacant(Some(seen(1, 2, 9))), "an earlier run");
        assert!(vacant(Some(seen(1, 1, 8))), "an earlier lease");
        assert!(!vacant(Some(seen(1, 1, 9))), "its own");
        assert!(!vacant(Some(seen(2, 1, 9))), "of another");
        assert!(!vacant(Some(seen(2, 1, 8))), "of another");
    }
}
