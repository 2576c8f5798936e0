//! Sentences about what waits or is wrong in a cluster, for whoever is on call. Pure: what is known
//! in, sentences out.

use crate::coordination::mirror::Condition;
use crate::rpc::proto;

/// Shards that one sentence names: it is a line, not a page.
const NAMED_MAX: usize = 8;

/// What is under way or wrong with a shard that has a record, if anything.
pub(super) fn of_shard(
    collection: &str,
    number: u16,
    worker: &str,
    report: &proto::ShardReport,
) -> Option<String> {
    let shard = format!("shard {number} of `{collection}`");
    match (&*report.state, &*report.index_state) {
        ("serving" | "closed", "building") => Some(format!(
            "{shard}: building its index on {worker} {}",
            report.note
        )),
        ("serving" | "closed", "failed") => Some(format!(
            "{shard}: its index was not built on {worker}: {}",
            report.note
        )),
        ("serving" | "closed", _) => None,
        (state, _) if report.note.is_empty() => Some(format!("{shard} is {state} on {worker}")),
        (state, _) => Some(format!("{shard} is {state} on {worker}: {}", report.note)),
    }
}

/// What is to be said of the shards whose data a worker has without being told by a record, by the
/// id of the collection and the shard's number.
pub(super) fn without_record(worker: &str, mut shards: Vec<(String, u32)>) -> Option<String> {
    shards.sort_unstable();
    let named: Vec<String> = shards
        .iter()
        .take(NAMED_MAX)
        .map(|(collection, number)| format!("shard {number} of collection {collection}"))
        .collect();
    let more = match shards.len().saturating_sub(named.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!shards.is_empty()).then(|| {
        format!(
            "{worker} has data that no record gives it, kept and not served: {}{more}",
            named.join(", ")
        )
    })
}

/// What is to be said of a mirror of these records.
pub(super) fn of_mirror(records: &str, condition: Condition, unreadable: u64) -> Vec<String> {
    let mut said = Vec::new();
    if condition == Condition::Refused {
        said.push(format!(
            "etcd went back, or is another: its {records} are refused, what was read before is used"
        ));
    }
    if unreadable > 0 {
        said.push(format!(
            "{unreadable} times since this master started a record of {records} did not parse; \
             the last good one is used, if there was one"
        ));
    }
    said
}

/// A worker's health from what it says of its shards.
pub(super) fn worker_health(shards: &[proto::ShardReport]) -> String {
    let count = |states: &[&str]| {
        let of_state = |shard: &&proto::ShardReport| states.contains(&&*shard.state);
        shards.iter().filter(of_state).count()
    };
    match (count(&["failed", "missing"]), count(&["orphan"])) {
        (0, 0) => "ok".to_owned(),
        (0, orphans) => format!("{orphans} shards have no record"),
        (broken, 0) => format!("{broken} shards do not serve"),
        (broken, orphans) => {
            format!("{broken} shards do not serve, {orphans} have no record")
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_state(state: &str) -> proto::ShardReport {
        proto::ShardReport {
            state: state.to_owned(),
            note: "why".to_owned(),
            ..proto::ShardReport::default()
        }
    }

    #[test]
    fn what_does_not_serve_is_said_and_what_does_is_not() {
        assert_eq!(of_shard("c", 1, "w", &in_state("serving")), None);
        for state in ["failed", "missing", "away", "silent"] {
            let said = of_shard("c", 1, "w", &in_state(state)).unwrap();
            assert_eq!(said, format!("shard 1 of `c` is {state} on w: why"));
        }
    }

    #[test]
    fn data_without_a_record_is_named_within_a_line() {
        assert_eq!(without_record("w", vec![]), None);
        let many = (0..20).rev().map(|number| ("id".to_owned(), number));
        let said = without_record("w", many.collect()).unwrap();
        assert!(
            said.starts_with("w has data that no record gives it"),
            "{said}"
        );
        assert!(
            said.contains(": shard 0 of collection id, shard 1"),
            "{said}"
        );
        assert!(
            said.ends_with(", shard 7 of collection id and 12 more"),
            "{said}"
        );
    }

    #[test]
    fn a_mirror_that_cannot_be_trusted_says_so() {
        assert!(of_mirror("shards", Condition::Following, 0).is_empty());
        assert_eq!(of_mirror("shards", Condition::Refused, 2).len(), 2);
    }

    #[test]
    fn a_worker_is_ok_only_when_all_its_data_is_served() {
        let health = |states: &[&str]| {
            let reports: Vec<_> = states.iter().map(|state| in_state(state)).collect();
            worker_health(&reports)
        };
        assert_eq!(health(&["serving", "closed", "deleting"]), "ok");
        assert_eq!(
            health(&["failed", "missing", "serving"]),
            "2 shards do not serve"
        );
        assert_eq!(health(&["orphan"]), "1 shards have no record");
        assert_eq!(
            health(&["orphan", "failed"]),
            "1 shards do not serve, 1 have no record"
        );
    }
}
