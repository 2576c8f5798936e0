//! The writer over a real log: its bounds, a disk that is slow, and one that fails.

use std::path::Path;

use etcd_client::proto::{PbDeleteRequest, PbPutRequest};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::embedded_etcd::persist::Identity;

/// Long enough for anything on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

fn open(folder: &Path, bounds: Bounds) -> Opened {
    let identity = Identity {
        cluster: 1,
        member: 2,
    };
    Log::open(folder, identity, ManualClock::default().now(), bounds.disk).unwrap()
}

/// A running writer.
struct Running {
    shared: Arc<Shared>,
    clock: Arc<ManualClock>,
    tasks: Tasks,
}

impl Running {
    fn start(opened: Opened, bounds: Bounds) -> Self {
        let clock = Arc::new(ManualClock::default());
        let tasks = Tasks::new();
        let as_clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let (shared, works) = Shared::new(&opened, as_clock);
        start(opened, (Arc::clone(&shared), works), bounds, &tasks);
        Self {
            shared,
            clock,
            tasks,
        }
    }

    async fn put(&self, key: &str, len: usize) -> Result<(), Failure> {
        let request = PbPutRequest {
            key: key.into(),
            value: vec![7; len],
            ..PbPutRequest::default()
        };
        let put = move |state: &mut State| state.put(&request).map(|(_answer, done)| ((), done));
        self.shared.change(Size::Grows, put).await
    }

    async fn delete_all(&self) -> Result<(), Failure> {
        let request = PbDeleteRequest {
            key: vec![0],
            range_end: vec![0],
            ..PbDeleteRequest::default()
        };
        let delete =
            move |state: &mut State| state.delete(&request).map(|(_answer, done)| ((), done));
        self.shared.change(Size::Shrinks, delete).await
    }

    fn revision(&self) -> Result<i64, Failure> {
        self.shared.read(|shown| Ok(shown.state.kv.revision()))
    }

    async fn stop(self) {
        self.tasks.stop();
        assert!(self.tasks.join(LIMIT).await);
    }
}

#[tokio::test]
async fn what_lives_is_bounded_and_deletes_make_room() {
    let bounds = Bounds {
        quota_bytes: 10_000,
        disk: persist::Bounds {
            growth_bytes: 20_000,
            ..persist::Bounds::default()
        },
        ..Bounds::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(open(folder.path(), bounds), bounds);
    for _round in 0..3 {
        let mut stored = 0;
        let refused = loop {
            match running.put(&format!("k{stored}"), 1_000).await {
                Ok(()) => stored += 1,
                Err(failure) => break failure,
            }
            assert!(stored < 20, "the quota has no effect");
        };
        assert_eq!((stored, refused), (9, Failure::NoSpace));
        running.delete_all().await.unwrap();
        let (bytes, _failed) = running.shared.look(|shown| shown.log_bytes);
        assert!(bytes < 50_000, "{bytes}");
    }
    let revision = running.revision().unwrap();
    running.stop().await;
    let again = open(folder.path(), bounds);
    assert_eq!(again.state.kv.revision(), revision);
}

#[tokio::test]
async fn history_is_bounded_in_bytes() {
    let bounds = Bounds {
        history: history::Bounds {
            revisions: 1_000,
            bytes: 20_000,
        },
        ..Bounds::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(open(folder.path(), bounds), bounds);
    for _n in 0..60 {
        running.put("k", 1_000).await.unwrap();
        let (bytes, _failed) = running.shared.look(|shown| shown.history.bytes());
        assert!(bytes < 30_000, "{bytes}");
    }
    let compacted = running.shared.read(|shown| Ok(shown.state.kv.compacted()));
    assert!(compacted.unwrap() > 30);
    running.stop().await;
    let again = open(folder.path(), bounds);
    assert!(again.history.bytes() < 30_000);
}

/// The disk is as slow as the change that the writer is at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_renewals_do_not_wait_for_the_writer_and_see_only_what_is_synced() {
    let bounds = Bounds::default();
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(open(folder.path(), bounds), bounds);
    let now = running.clock.now();
    let grant = move |state: &mut State| state.grant(7, 5, now).map(|done| ((), done));
    running.shared.change(Size::Grows, grant).await.unwrap();

    let (began, begun) = tokio::sync::oneshot::channel();
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    let slow = move |state: &mut State| {
        let request = PbPutRequest {
            key: b"slow".to_vec(),
            ..PbPutRequest::default()
        };
        let (_answer, done) = state.put(&request)?;
        began.send(()).unwrap();
        held.recv().unwrap();
        Ok(((), done))
    };
    let shared = Arc::clone(&running.shared);
    let slow = running.tasks.spawn(
        "slow",
        async move { shared.change(Size::Grows, slow).await },
    );
    begun.await.unwrap();
    running.clock.advance(Duration::from_secs(4));
    assert_eq!(running.shared.renew(7), Ok(Some(5)));
    running.clock.advance(Duration::from_secs(4));
    assert!(!running.shared.has_ended(7));
    assert_eq!(running.revision(), Ok(1));
    assert!(
        running
            .shared
            .read(|shown| Ok(shown.state.kv.get(b"slow").is_none()))
            .unwrap()
    );
    go_on.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(running.revision(), Ok(2));

    running.clock.advance(Duration::from_millis(500));
    assert!(!running.shared.has_ended(7));
    running.clock.advance(Duration::from_secs(4));
    assert!(running.shared.has_ended(7));
    assert_eq!(running.shared.renew(7), Ok(None));
    running.stop().await;
}

#[tokio::test]
async fn when_the_log_fails_calls_say_why_at_once_until_it_is_read_back() {
    let bounds = Bounds::default();
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(open(folder.path(), bounds), bounds);
    running.put("before", 1).await.unwrap();
    running.stop().await;

    let mut opened = open(folder.path(), bounds);
    opened.log.break_for_test();
    // Nothing can be read back while the log is not there, nor is a new one made.
    let (log, away) = (folder.path().join("log"), folder.path().join("away"));
    fs_err::rename(&log, &away).unwrap();
    let running = Running::start(opened, bounds);
    let mut revision = running.shared.revision.subscribe();
    for key in ["during", "afterwards"] {
        let failure = running.put(key, 1).await.unwrap_err();
        let status = tonic::Status::from(failure);
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(
            status
                .message()
                .starts_with("embedded etcd: its log failed: "),
            "{status}"
        );
    }
    assert!(matches!(running.revision(), Err(Failure::Storage(_))));
    assert!(matches!(running.shared.renew(7), Err(Failure::Storage(_))));
    assert_eq!(*revision.borrow_and_update(), None);
    let (shown, failed) = running.shared.look(|shown| shown.state.kv.revision());
    assert!(shown == 2 && failed.is_some());
    assert!(!log.try_exists().unwrap());

    fs_err::rename(&away, &log).unwrap();
    let back = revision.wait_for(Option::is_some);
    let back = tokio::time::timeout(LIMIT, back).await;
    assert_eq!(*back.unwrap().unwrap(), Some(2));
    running.put("after", 1).await.unwrap();
    running.stop().await;
    let kv = open(folder.path(), bounds).state.kv;
    let there = ["before", "during", "after"].map(|key| kv.get(key.as_bytes()).is_some());
    assert_eq!(there, [true, false, true]);
}

/// A log that was set back is not served.
#[tokio::test]
async fn a_log_that_lacks_what_was_acknowledged_is_not_served() {
    let bounds = Bounds::default();
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), bounds);
    let log = folder.path().join("log");
    let before = fs_err::read(&log).unwrap();
    let running = Running::start(opened, bounds);
    running.put("acknowledged", 1).await.unwrap();
    fs_err::write(&log, before).unwrap();
    let set_back = Log::read_back(folder.path(), running.clock.now(), bounds.disk).unwrap();
    let lost = running.shared.check_nothing_is_lost(&set_back);
    assert!(matches!(
        lost,
        Err(persist::Error::Lost {
            found: 1,
            acknowledged: 2
        })
    ));
    running.stop().await;
}
