//! The checker itself: traces made by hand that it must pass, and ones that it must refuse.

use super::*;

const PORT: u16 = 7000;
const REQUEST: Window = Window { start: 0, end: 90 };
const ANSWER: &str = "60 61 1 2 send 1 0 0 socket:[1] 7000 50000 1.4,0.0,1.5";
const COMMIT: [&str; 4] = [
    "10 11 1 1 write 1 0 5 /d/data.mdb",
    "20 29 1 1 sync 1 0 5 /d/data.mdb",
    "30 39 1 1 write 1 1 5 /d/data.mdb",
    ANSWER,
];

/// Lines with blanks for tabs.
fn trace(lines: &[&str]) -> Trace {
    let line = |line: &&str| {
        let mut fields: Vec<&str> = line.splitn(10, ' ').collect();
        fields.resize(10, "");
        fields.join("\t")
    };
    let lines: Vec<String> = lines.iter().map(line).collect();
    Trace::parse(&lines.join("\n")).unwrap()
}

#[test]
fn a_commit_in_order_passes_and_one_step_less_does_not() {
    let whole = trace(&COMMIT);
    assert_eq!(whole.answers_follow_syncs(PORT, "/data.mdb"), Ok(1));
    assert_eq!(whole.commits_within(REQUEST, PORT, "/data.mdb"), Ok(()));
    for left_out in 0..COMMIT.len() {
        let mut lines = COMMIT.to_vec();
        lines.remove(left_out);
        let trace = trace(&lines);
        let refused = trace.commits_within(REQUEST, PORT, "/data.mdb");
        assert!(refused.is_err(), "{left_out}");
    }
    let other_order = [
        "40 49 1 1 sync 1 0 5 /d/data.mdb",
        COMMIT[0],
        COMMIT[2],
        ANSWER,
    ];
    let refused = trace(&other_order).commits_within(REQUEST, PORT, "/data.mdb");
    assert!(refused.is_err(), "the meta page before the sync");
}

#[test]
fn an_answer_before_its_write_is_synced_is_refused() {
    let refused = |lines: &[&str]| {
        let checked = trace(lines).answers_follow_syncs(PORT, "/data.mdb");
        checked.is_err_and(|why| why.contains("not synced when answered"))
    };
    let write = COMMIT[0];
    assert!(refused(&[write, ANSWER]), "no sync");
    let late = "70 75 1 1 sync 1 0 5 /d/data.mdb";
    assert!(refused(&[write, ANSWER, late]), "a sync after it");
    let under_way = "50 65 1 1 sync 1 0 5 /d/data.mdb";
    assert!(refused(&[write, under_way, ANSWER]), "a sync under way");
    let too_early = "5 12 1 1 sync 1 0 5 /d/data.mdb";
    assert!(refused(&[too_early, write, ANSWER]), "begun before it");
    let failed = "20 29 1 1 sync 0 0 5 /d/data.mdb";
    assert!(refused(&[write, failed, ANSWER]), "a failed sync");
    let of_another = "20 29 1 1 sync 1 0 6 /d/data.mdb";
    assert!(refused(&[write, of_another, ANSWER]), "another file's");
    let through = "30 39 1 1 write 1 1 5 /d/data.mdb";
    assert!(refused(&[write, through, ANSWER]), "a later synced write");
    assert!(!refused(&[through, ANSWER]));
    let ping = "60 61 1 2 send 1 0 0 socket:[1] 7000 50000 6.1";
    assert!(!refused(&[write, ping]), "no answer");
    let elsewhere = "60 61 1 2 send 1 0 0 socket:[1] 7001 50000 1.4";
    assert!(!refused(&[write, elsewhere]), "another server's");
}

#[test]
fn a_rename_wants_the_file_before_and_the_folder_after() {
    let lines = [
        "1 2 1 1 create 1 0 5 /d/new",
        "3 4 1 1 write 1 0 5 /d/new",
        "5 6 1 1 sync 1 0 5 /d/new",
        "7 8 1 1 rename 1 0 5 /d/new /d/name",
        "9 10 1 1 sync 1 0 1 /d",
    ];
    assert_eq!(trace(&lines).renames_follow_syncs(), Ok(1));
    for left_out in [2, 4] {
        let mut lines = lines.to_vec();
        lines.remove(left_out);
        assert!(trace(&lines).renames_follow_syncs().is_err(), "{left_out}");
    }
    let mut said_first = lines.to_vec();
    said_first.insert(4, "8 9 1 1 send 1 0 0 socket:[1] 7000 50000 1.4");
    assert!(trace(&said_first).renames_follow_syncs().is_err());
}

#[test]
fn a_renamed_folder_wants_its_files_and_their_names() {
    let lines = [
        "1 2 1 1 create 1 0 4 /d/tmp",
        "3 4 1 1 create 1 0 5 /d/tmp/a",
        "5 6 1 1 write 1 0 5 /d/tmp/a",
        "7 8 1 1 sync 1 0 5 /d/tmp/a",
        "9 10 1 1 sync 1 0 4 /d/tmp",
        "11 12 1 1 rename 1 0 4 /d/tmp /d/segment",
        "13 14 1 1 sync 1 0 1 /d",
    ];
    let whole = trace(&lines);
    assert_eq!(whole.renames_follow_syncs(), Ok(1));
    assert_eq!(whole.names_are_durable("/d/segment", "/d", 20), Ok(1));
    assert!(whole.names_are_durable("/d/segment", "/d", 13).is_err());
    for left_out in [3, 4, 6] {
        let mut lines = lines.to_vec();
        lines.remove(left_out);
        assert!(trace(&lines).renames_follow_syncs().is_err(), "{left_out}");
    }
    let mut removed = lines.to_vec();
    removed[3] = "7 8 1 1 unlink 1 0 5 /d/tmp/a";
    assert_eq!(trace(&removed).renames_follow_syncs(), Ok(1));
}

#[test]
fn a_log_wants_its_sync_at_once_and_nothing_after_a_failure() {
    let (write, sync) = (
        "1 2 1 1 write 1 0 5 /etcd/log",
        "5 6 1 1 sync 1 0 5 /etcd/log",
    );
    let good = trace(&[write, sync]);
    assert_eq!(good.writers_sync_at_once("/etcd/log"), Ok(1));
    let within = |end| good.is_durable_within(Window { start: 0, end }, "/etcd/log");
    assert!(within(6).is_ok() && within(5).is_err());
    let said = "3 4 1 1 send 1 0 0 socket:[1] 7000 50000 1.4";
    let bad = trace(&[write, said, sync]);
    assert!(bad.writers_sync_at_once("/etcd/log").is_err());
    let failed = "20 29 1 1 sync 0 0 5 /d/data.mdb";
    let stopped = trace(&[COMMIT[0], failed]);
    assert_eq!(stopped.nothing_follows_a_failure("/data.mdb"), Ok(1));
    let goes_on = trace(&[COMMIT[0], failed, COMMIT[2]]);
    assert!(goes_on.nothing_follows_a_failure("/data.mdb").is_err());
}
