//! What of a request is checked before anything changes: its form, and the keys that it writes.

use super::*;

/// Results are equal 0, greater 1, less 2, not equal 3.
pub(super) fn compare_one(compare: &PbCompare, kv: &PbKeyValue) -> bool {
    use std::cmp::Ordering;
    // A value that fits another target counts as that of none: its zero.
    let with = compare.target_union.as_ref();
    let order = match compare.target {
        0 => kv.version.cmp(&match with {
            Some(PbTargetUnion::Version(version)) => *version,
            _ => 0,
        }),
        1 => kv.create_revision.cmp(&match with {
            Some(PbTargetUnion::CreateRevision(revision)) => *revision,
            _ => 0,
        }),
        2 => kv.mod_revision.cmp(&match with {
            Some(PbTargetUnion::ModRevision(revision)) => *revision,
            _ => 0,
        }),
        3 => kv.value.as_slice().cmp(match with {
            Some(PbTargetUnion::Value(value)) => value.as_slice(),
            _ => &[],
        }),
        4 => kv.lease.cmp(&match with {
            Some(PbTargetUnion::Lease(lease)) => *lease,
            _ => 0,
        }),
        _ => Ordering::Equal,
    };
    match compare.result {
        0 => order == Ordering::Equal,
        1 => order == Ordering::Greater,
        2 => order == Ordering::Less,
        _ => order != Ordering::Equal,
    }
}

pub(super) fn check_put(request: &PbPutRequest) -> Result<(), Failure> {
    if request.key.is_empty() {
        return Err(Failure::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Failure::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Failure::LeaseProvided);
    }
    Ok(())
}

/// What can be said of a range without the state.
pub(in crate::embedded_etcd) fn check_range(request: &PbRangeRequest) -> Result<(), Failure> {
    if request.key.is_empty() {
        return Err(Failure::EmptyKey);
    }
    if !(0..=2).contains(&request.sort_order) || !(0..=4).contains(&request.sort_target) {
        return Err(Failure::InvalidSortOption);
    }
    Ok(())
}

/// What can be said of a transaction without the state.
pub(super) fn check_txn(request: &PbTxnRequest) -> Result<(), Failure> {
    check_form(request, OPS_MAX)?;
    check_written(request)
}

/// Nested transactions may have as many operations as are left.
fn check_form(request: &PbTxnRequest, ops_max: usize) -> Result<(), Failure> {
    let most = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    if most > ops_max {
        return Err(Failure::TooManyOps);
    }
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Failure::EmptyKey);
    }
    for ops in [&request.success, &request.failure] {
        for op in ops {
            check_op(op, ops_max - most)?;
        }
    }
    Ok(())
}

fn check_written(request: &PbTxnRequest) -> Result<(), Failure> {
    for ops in [&request.success, &request.failure] {
        written(ops)?;
    }
    Ok(())
}

fn check_op(op: &PbTxnRequestOp, ops_max: usize) -> Result<(), Failure> {
    match &op.request {
        Some(PbTxnOpRequest::RequestRange(range)) => check_range(range),
        Some(PbTxnOpRequest::RequestDeleteRange(delete)) if delete.key.is_empty() => {
            Err(Failure::EmptyKey)
        },
        Some(PbTxnOpRequest::RequestPut(put)) => check_put(put),
        Some(PbTxnOpRequest::RequestTxn(txn)) => check_form(txn, ops_max),
        Some(PbTxnOpRequest::RequestDeleteRange(_)) => Ok(()),
        None => Err(Failure::KeyNotFound),
    }
}

/// The keys that a list of operations puts and the ranges that it deletes; no key twice, none both
/// put and deleted. Of a nested transaction both branches count, but not against each other.
fn written(ops: &[PbTxnRequestOp]) -> Result<(HashSet<Vec<u8>>, Vec<Range>), Failure> {
    let mut deleted: Vec<Range> = Vec::new();
    for op in ops {
        if let Some(PbTxnOpRequest::RequestDeleteRange(delete)) = &op.request {
            deleted.push(Range::new(&delete.key, &delete.range_end));
        }
    }
    let mut puts: HashSet<Vec<u8>> = HashSet::new();
    for op in ops {
        if let Some(PbTxnOpRequest::RequestTxn(txn)) = &op.request {
            let (then_puts, then_deletes) = written(&txn.success)?;
            let (else_puts, else_deletes) = written(&txn.failure)?;
            for key in then_puts.iter().chain(else_puts.difference(&then_puts)) {
                if puts.contains(key) || deleted.iter().any(|range| range.contains(key)) {
                    return Err(Failure::DuplicateKey);
                }
            }
            if puts.iter().any(|key| {
                then_deletes
                    .iter()
                    .chain(&else_deletes)
                    .any(|range| range.contains(key))
            }) {
                return Err(Failure::DuplicateKey);
            }
            puts.extend(then_puts);
            puts.extend(else_puts);
            deleted.extend(then_deletes);
            deleted.extend(else_deletes);
        }
    }
    for op in ops {
        if let Some(PbTxnOpRequest::RequestPut(put)) = &op.request
            && (deleted.iter().any(|range| range.contains(&put.key))
                || !puts.insert(put.key.clone()))
        {
            return Err(Failure::DuplicateKey);
        }
    }
    Ok((puts, deleted))
}
