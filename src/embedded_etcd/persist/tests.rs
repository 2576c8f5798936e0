//! The log is cut at every byte and damaged at every byte, and read back.

use super::*;
use crate::embedded_etcd::kv::Range;
use etcd_client::proto::{PbDeleteRequest, PbPutRequest};

const FLIPS: [u8; 4] = [0x01, 0x40, 0x80, 0xff];

fn now() -> Moment {
    Moment::from_boot(std::time::Duration::ZERO)
}

fn fresh() -> Identity {
    Identity {
        cluster: 1,
        member: 2,
    }
}

fn open(folder: &Path, bounds: Bounds) -> Result<Opened, Error> {
    Log::open(folder, fresh(), now(), bounds)
}

/// Opens a log of these bytes in a folder of its own.
fn open_bytes(bytes: &[u8], bounds: Bounds) -> (tempfile::TempDir, Result<Opened, Error>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(LOG), bytes).unwrap();
    let opened = open(folder.path(), bounds);
    (folder, opened)
}

fn put(key: &str, value: &[u8], lease: i64) -> PbPutRequest {
    PbPutRequest {
        key: key.into(),
        value: value.to_vec(),
        lease,
        ..PbPutRequest::default()
    }
}

fn append(log: &mut Log, all: &[Done]) {
    let mut changes = Changes::default();
    all.iter().for_each(|done| changes.push(done));
    log.append(&changes).unwrap();
}

fn picture(state: &State) -> String {
    let all = Range::new(&[0], &[0]);
    let keys: Vec<_> = state.kv.at(&all, i64::MAX).collect();
    let leases: Vec<_> = state
        .leases
        .iter()
        .map(|(id, l)| (id, l.ttl, &l.keys))
        .collect();
    format!("{} {keys:?} {leases:?}", state.kv.revision())
}

/// A log with some changes, some of them in one frame and one over several sectors: its bytes, and
/// the state after each number of bytes that ends a frame.
fn written() -> (Vec<u8>, Vec<(usize, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let Opened {
        mut log, mut state, ..
    } = open(folder.path(), Bounds::default()).unwrap();
    let mut states = vec![(log.bytes, picture(&state))];
    let mut step = |log: &mut Log, state: &State, all: &[Done]| {
        append(log, all);
        states.push((log.bytes, picture(state)));
    };
    let done = state.grant(7, 5, now()).unwrap();
    step(&mut log, &state, &[done]);
    let both = ["a", "b"].map(|key| state.put(&put(key, b"v", 7)).unwrap().1);
    step(&mut log, &state, &both);
    let (_answer, done) = state.put(&put("a", &[0; 3 * SECTOR], 7)).unwrap();
    step(&mut log, &state, &[done]);
    let delete = PbDeleteRequest {
        key: b"b".to_vec(),
        ..PbDeleteRequest::default()
    };
    let (_answer, done) = state.delete(&delete).unwrap();
    step(&mut log, &state, &[done]);
    let done = state.revoke(7).unwrap();
    step(&mut log, &state, &[done]);
    let (_answer, done) = state.put(&put("c", &[9; 2 * SECTOR], 0)).unwrap();
    step(&mut log, &state, &[done]);
    (fs::read(folder.path().join(LOG)).unwrap(), states)
}

/// Sectors are cut at every byte in the tests of [`sectors`]; here at their edges and some others.
#[test]
fn a_log_cut_anywhere_gives_what_was_acknowledged_before_and_keeps_the_rest() {
    let (whole, states) = written();
    let cuts = states[0].0..=whole.len();
    for cut in cuts.filter(|cut| cut % 37 == 0 || (cut + 1) % SECTOR < 3) {
        let (folder, opened) = open_bytes(&whole[..cut], Bounds::default());
        let was = states.iter().rev().find(|(end, _)| *end <= cut).unwrap();
        assert_eq!(picture(&opened.unwrap().state), was.1, "cut at {cut}");
        let log = fs::read(folder.path().join(LOG)).unwrap();
        assert_eq!(log, whole[..was.0], "cut at {cut}");
        let torn = fs::read(folder.path().join(TORN)).unwrap_or_default();
        assert_eq!(torn, whole[was.0..cut], "cut at {cut}");
    }
}

/// Every byte of the file belongs to an acknowledged frame, or to the head.
#[test]
fn a_flipped_byte_is_found_and_the_log_is_left_as_it_is() {
    let (whole, _states) = written();
    for at in 0..whole.len() {
        for flip in FLIPS {
            let mut broken = whole.clone();
            broken[at] ^= flip;
            let (folder, opened) = open_bytes(&broken, Bounds::default());
            let found = matches!(opened, Err(Error::Corrupt { .. } | Error::Version { .. }));
            assert!(found, "{at}: {opened:?}");
            let log = fs::read(folder.path().join(LOG)).unwrap();
            assert!(log == broken, "{at}: the log was changed");
        }
    }
}

/// A sector that was lost from the middle is no append that was not finished.
#[test]
fn what_follows_a_lost_sector_is_not_cut_off() {
    let (whole, states) = written();
    let last = states[states.len() - 2].0;
    for start in (0..last).step_by(SECTOR) {
        let mut broken = whole.clone();
        broken[start..start + SECTOR].fill(0);
        let (_folder, opened) = open_bytes(&broken, Bounds::default());
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{start}");
    }
}

#[test]
fn what_is_kept_of_a_torn_append_is_bounded() {
    let (whole, states) = written();
    let bounds = Bounds {
        torn_bytes: 100,
        ..Bounds::default()
    };
    let (folder, opened) = open_bytes(&whole[..whole.len() - 1], bounds);
    let last = &states[states.len() - 2];
    assert_eq!(picture(&opened.unwrap().state), last.1);
    let torn = fs::read(folder.path().join(TORN)).unwrap();
    assert_eq!(torn, whole[last.0..last.0 + 100]);
}

#[test]
fn a_log_of_another_format_is_named_and_left_as_it_is() {
    let old = [b"VSETCD01".as_slice(), &[7; 40]].concat();
    let (folder, opened) = open_bytes(&old, Bounds::default());
    let error = opened.unwrap_err();
    assert!(matches!(&error, Error::Version { found, .. } if found == "01"));
    assert!(
        error
            .to_string()
            .contains("has format 01, and this version reads 02")
    );
    assert_eq!(fs::read(folder.path().join(LOG)).unwrap(), old);
}

#[test]
fn a_log_written_anew_gives_the_same_state() {
    let folder = tempfile::tempdir().unwrap();
    let Opened {
        mut log, mut state, ..
    } = open(folder.path(), Bounds::default()).unwrap();
    let mut all = vec![state.grant(7, 5, now()).unwrap()];
    for key in ["a", "b", "a"] {
        all.push(state.put(&put(key, b"v", 7)).unwrap().1);
    }
    append(&mut log, &all);
    log.rewrite(&state).unwrap();
    append(&mut log, &[state.put(&put("c", b"v", 0)).unwrap().1]);
    drop(log);
    let other = Identity {
        cluster: 9,
        member: 9,
    };
    let again = Log::open(folder.path(), other, now(), Bounds::default()).unwrap();
    assert_eq!(again.log.identity, fresh());
    assert_eq!(picture(&again.state), picture(&state));
    // The snapshot is of revision 4, and what was done at it is not known any more.
    let kv = &again.state.kv;
    assert_eq!((kv.compacted(), kv.revision()), (4, 5));
    assert_eq!(again.history.first_watchable(kv.compacted()), 5);
    assert_eq!(again.history.since(0).count(), 1);
}

/// Much more lives than fits into one frame, and the log that is written anew can be read.
#[test]
fn a_snapshot_larger_than_a_frame_is_read_back() {
    let bounds = Bounds {
        frame_bytes: 600,
        piece_bytes: 200,
        growth_bytes: 4_096,
        ..Bounds::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let Opened {
        mut log, mut state, ..
    } = open(folder.path(), bounds).unwrap();
    let mut rewritten = 0;
    for n in 0..60 {
        let lease = state.grant(n, 5, now()).unwrap();
        let (_answer, done) = state.put(&put(&format!("k{n}"), &[7; 150], n)).unwrap();
        append(&mut log, &[lease, done]);
        if log.has_grown() {
            log.rewrite(&state).unwrap();
            rewritten += 1;
        }
        let again = open(folder.path(), bounds).unwrap();
        assert_eq!(picture(&again.state), picture(&state));
        assert_eq!(again.log.has_grown(), log.has_grown());
    }
    assert!(rewritten > 5 && state.live_bytes() > 10_000);

    // What could not be read back is not written.
    let (_answer, done) = state.put(&put("large", &[7; 700], 0)).unwrap();
    let mut changes = Changes::default();
    changes.push(&done);
    let refused = log.append(&changes);
    assert!(matches!(refused, Err(Error::TooLong { .. })));
    assert!(
        open(folder.path(), bounds)
            .unwrap()
            .state
            .kv
            .get(b"large")
            .is_none()
    );
}

/// After a failed sync the kernel may show what is not on the disk; so it is written once more.
#[test]
fn the_last_frame_is_written_again_when_the_log_is_opened() {
    let (whole, states) = written();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join(LOG);
    fs::write(&log, &whole).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.file().set_modified(long_ago).unwrap();
    let opened = open(folder.path(), Bounds::default()).unwrap();
    assert!(fs::metadata(&log).unwrap().modified().unwrap() > long_ago);
    assert_eq!(fs::read(&log).unwrap(), whole);
    assert_eq!(picture(&opened.state), states[states.len() - 1].1);
}
