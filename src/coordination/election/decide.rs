//! What a candidate does about what it read under the key of the election. Pure.

use crate::coordination::Leadership;
use crate::coordination::etcd::{Entry, LeaseId};
use crate::coordination::records::LeadRecord;
use crate::ids::{NodeId, Revision, Term};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nobody leads: try.
    Stand,
    /// The key is ours, on our lease.
    Lead(Term),
    /// Another leads; none is named if its record cannot be read.
    Follow(Option<(LeadRecord, Term)>),
    /// The key is of a former life of this process: delete it.
    Clear(Revision),
}

/// What to do for this process and its lease, by what was read.
pub(super) fn decide(node: NodeId, lease: LeaseId, entry: Option<&Entry>) -> Step {
    let Some(entry) = entry else {
        return Step::Stand;
    };
    let Ok((record, term)) = Leadership::of_entry(entry) else {
        return Step::Follow(None);
    };
    match (record.node == node, entry.lease == Some(lease)) {
        (true, true) => Step::Lead(term),
        (true, false) => Step::Clear(entry.create_revision),
        (false, _) => Step::Follow(Some((record, term))),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::coordination::records;

    fn node(n: u128) -> NodeId {
        NodeId(Uuid::from_u128(n))
    }

    fn entry(by: u128, lease: i64) -> Entry {
        let record = LeadRecord {
            node: node(by),
            name: format!("master-{by}"),
            rpc_address: "127.0.0.1:1".to_owned(),
            since_ms: 1,
        };
        Entry {
            key: "lead/master".to_owned(),
            value: records::encode(&record).unwrap(),
            create_revision: Revision(40),
            // Written over since: the term is when the key was made.
            mod_revision: Revision(44),
            lease: Some(LeaseId(lease)),
        }
    }

    #[test]
    fn only_the_own_node_on_the_own_lease_is_a_leader() {
        let decide = |entry: Option<Entry>| decide(node(1), LeaseId(9), entry.as_ref());
        assert_eq!(decide(None), Step::Stand);
        assert_eq!(decide(Some(entry(1, 9))), Step::Lead(Term(40)));
        assert_eq!(decide(Some(entry(1, 8))), Step::Clear(Revision(40)));
        let Step::Follow(Some((leader, term))) = decide(Some(entry(2, 8))) else {
            panic!("another leads");
        };
        assert_eq!((leader.node, term), (node(2), Term(40)));
    }

    #[test]
    fn a_record_that_cannot_be_read_is_followed_and_never_replaced() {
        let mut odd = entry(1, 9);
        odd.value = br#"{"v":2}"#.to_vec();
        assert_eq!(decide(node(1), LeaseId(9), Some(&odd)), Step::Follow(None));
        let mut bare = entry(1, 9);
        bare.lease = None;
        let cleared = decide(node(1), LeaseId(9), Some(&bare));
        assert_eq!(cleared, Step::Clear(Revision(40)));
    }
}
