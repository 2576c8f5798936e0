//! The log is cut at every byte and damaged at every byte, and read back.

use super::*;
use etcd_client::proto::{PbDeleteRequest, PbPutRequest};

fn now() -> Moment {
    Moment::from_boot(std::time::Duration::ZERO)
}

fn fresh() -> Identity {
    Identity {
        cluster: 1,
        member: 2,
    }
}

fn put(key: &str, lease: i64) -> PbPutRequest {
    PbPutRequest {
        key: key.into(),
        value: b"v".to_vec(),
        lease,
        ..PbPutRequest::default()
    }
}

fn picture(state: &State) -> String {
    let all = super::super::kv::Range::new(&[0], &[0]);
    let keys: Vec<_> = state.kv.at(&all, i64::MAX).collect();
    let leases: Vec<_> = state
        .leases
        .iter()
        .map(|(id, l)| (id, l.ttl, &l.keys))
        .collect();
    format!("{} {keys:?} {leases:?}", state.kv.revision())
}

/// A log with some changes, and the state after each number of bytes that ends a change.
fn written(folder: &Path) -> Vec<(u64, String)> {
    let (mut log, mut state) = Log::open(folder, fresh(), now()).unwrap();
    let mut states = vec![(log.bytes(), picture(&state))];
    let mut step = |log: &mut Log, state: &State, done: Done| {
        log.append([done].iter()).unwrap();
        states.push((log.bytes(), picture(state)));
    };
    let done = state.grant(7, 5, now()).unwrap();
    step(&mut log, &state, done);
    for key in ["a", "b", "a"] {
        let (_answer, done) = state.put(&put(key, 7)).unwrap();
        step(&mut log, &state, done);
    }
    let delete = PbDeleteRequest {
        key: b"b".to_vec(),
        ..PbDeleteRequest::default()
    };
    let (_answer, done) = state.delete(&delete).unwrap();
    step(&mut log, &state, done);
    let done = state.revoke(7).unwrap();
    step(&mut log, &state, done);
    states
}

#[test]
fn a_log_cut_at_any_byte_gives_a_state_that_was() {
    let folder = tempfile::tempdir().unwrap();
    let states = written(folder.path());
    let whole = fs::read(folder.path().join("log")).unwrap();
    for cut in usize::try_from(states[0].0).unwrap()..=whole.len() {
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join("log"), &whole[..cut]).unwrap();
        let (_log, state) = Log::open(copy.path(), fresh(), now()).unwrap();
        let expected = states
            .iter()
            .rev()
            .find(|(end, _)| *end <= cut as u64)
            .unwrap();
        assert_eq!(picture(&state), expected.1, "cut at {cut}");
    }
}

#[test]
fn a_flipped_byte_is_found_or_was_never_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let states = written(folder.path());
    let whole = fs::read(folder.path().join("log")).unwrap();
    let last = states[states.len() - 2].0;
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 0x40;
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join("log"), &broken).unwrap();
        match Log::open(copy.path(), fresh(), now()) {
            Err(Error::Corrupt { .. }) => {},
            Err(error) => panic!("{at}: {error}"),
            // The identity is not summed; a flip in the last frame, or one that makes a length
            // reach beyond the end, looks like a torn write.
            Ok((_log, state)) => {
                let was = states
                    .iter()
                    .any(|(_, picture_of)| *picture_of == picture(&state));
                assert!(was, "{at}");
                let length_or_last = at < 24 || (at as u64) >= last || whole[at] < 0x40;
                assert!(length_or_last, "{at}");
            },
        }
    }
}

#[test]
fn a_log_written_anew_gives_the_same_state() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, mut state) = Log::open(folder.path(), fresh(), now()).unwrap();
    let mut all = vec![state.grant(7, 5, now()).unwrap()];
    for key in ["a", "b", "a"] {
        all.push(state.put(&put(key, 7)).unwrap().1);
    }
    log.append(all.iter()).unwrap();
    log.rewrite(&state).unwrap();
    all = vec![state.put(&put("c", 0)).unwrap().1];
    log.append(all.iter()).unwrap();
    drop(log);
    let (log, again) = Log::open(
        folder.path(),
        Identity {
            cluster: 9,
            member: 9,
        },
        now(),
    )
    .unwrap();
    assert_eq!(log.identity, fresh());
    assert_eq!(picture(&again), picture(&state));
}
