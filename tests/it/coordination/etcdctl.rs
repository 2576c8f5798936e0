//! `etcdctl`, as people use it, against an embedded etcd.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::embedded_etcd;
use crate::support::real_etcd::program;

/// Long enough for one command on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const LEASE_NOT_FOUND: &str = "etcdserver: requested lease not found";

/// The program and what it talks to.
struct Etcdctl {
    program: PathBuf,
    endpoint: String,
}

impl Etcdctl {
    /// A command from its words, which blanks divide.
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["ctl", "--endpoints", &self.endpoint]);
        command.args(words.split_whitespace());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command with that input to its end.
    async fn run(&self, words: &str, input: &str) -> Output {
        let mut child = self.command(words).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
        ended.expect("the command ends in time").unwrap()
    }

    /// Runs a command that reads its standard input, and must succeed; what it printed.
    async fn reads(&self, words: &str, input: &str) -> String {
        let output = self.run(words, input).await;
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command, which must succeed; what it printed.
    async fn says(&self, words: &str) -> String {
        self.reads(words, "").await
    }

    /// Runs a command that must fail for a reason.
    async fn refuses(&self, words: &str, reason: &str) {
        let output = self.run(words, "").await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{words}: {output:?}");
        assert!(errors.contains(reason), "{words}: {errors}");
    }
}

/// A running `etcdctl watch`.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(etcdctl: &Etcdctl, words: &str) -> Self {
        let mut child = etcdctl.command(words).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next lines must be these.
    async fn prints(&mut self, lines: &[&str]) {
        for line in lines {
            let next = tokio::time::timeout(LIMIT, self.lines.next_line()).await;
            let next = next.unwrap_or_else(|_elapsed| panic!("waited in vain for {line:?}"));
            assert_eq!(next.unwrap().as_deref(), Some(*line));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_works_with_the_embedded_etcd() {
    let Some(program) = program() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (tasks, endpoint) = embedded_etcd(folder.path());
    let etcdctl = Etcdctl { program, endpoint };
    keys_and_transactions(&etcdctl).await;
    watches(&etcdctl).await;
    leases(&etcdctl).await;
    compaction_and_status(&etcdctl).await;
    tasks.stop();
    assert!(tasks.join(LIMIT).await);
}

/// Leaves revision 5.
async fn keys_and_transactions(etcdctl: &Etcdctl) {
    assert_eq!(etcdctl.says("put a 1").await, "OK\n");
    assert_eq!(etcdctl.says("put ab 2").await, "OK\n");
    assert_eq!(etcdctl.says("get a").await, "a\n1\n");
    assert_eq!(etcdctl.says("get absent").await, "");
    assert_eq!(etcdctl.says("get a --prefix").await, "a\n1\nab\n2\n");
    let keys = etcdctl.says("get a --prefix --keys-only").await;
    assert_eq!(keys, "a\n\nab\n\n");
    let txn = "value(\"a\") = \"1\"\n\nput a 9\nget ab\n\nput a 8\n\n";
    let done = etcdctl.reads("txn", txn).await;
    assert_eq!(done, "SUCCESS\n\nOK\n\nab\n2\n");
    let done = etcdctl.reads("txn", txn).await;
    assert_eq!(done, "FAILURE\n\nOK\n");
}

/// Leaves revision 7.
async fn watches(etcdctl: &Etcdctl) {
    let mut watch = Watch::start(etcdctl, "watch a --prefix --rev=2");
    watch.prints(&["PUT", "a", "1", "PUT", "ab", "2"]).await;
    watch.prints(&["PUT", "a", "9", "PUT", "a", "8"]).await;
    assert_eq!(etcdctl.says("put ac 3").await, "OK\n");
    watch.prints(&["PUT", "ac", "3"]).await;
    assert_eq!(etcdctl.says("del ac").await, "1\n");
    watch.prints(&["DELETE", "ac", ""]).await;
    watch.child.kill().await.unwrap();
}

/// Leaves revision 9.
async fn leases(etcdctl: &Etcdctl) {
    let granted = etcdctl.says("lease grant 60").await;
    let id = granted.split_whitespace().nth(1).unwrap();
    assert_eq!(granted, format!("lease {id} granted with TTL(60s)\n"));
    let put = format!("put leased x --lease={id}");
    assert_eq!(etcdctl.says(&put).await, "OK\n");
    let kept = etcdctl.says(&format!("lease keep-alive --once {id}")).await;
    assert_eq!(kept, format!("lease {id} keepalived with TTL(60)\n"));
    let lives = etcdctl.says(&format!("lease timetolive {id} --keys")).await;
    let begin = format!("lease {id} granted with TTL(60s), remaining(");
    assert!(lives.starts_with(&begin), "{lives}");
    assert!(lives.ends_with("), attached keys([leased])\n"), "{lives}");
    let all = etcdctl.says("lease list").await;
    assert_eq!(all, format!("found 1 leases\n{id}\n"));
    let revoked = etcdctl.says(&format!("lease revoke {id}")).await;
    assert_eq!(revoked, format!("lease {id} revoked\n"));
    assert_eq!(etcdctl.says("get leased").await, "");
    let again = format!("lease keep-alive --once {id}");
    etcdctl.refuses(&again, LEASE_NOT_FOUND).await;
    let gone = etcdctl.says(&format!("lease timetolive {id}")).await;
    assert_eq!(gone, format!("lease {id} already expired\n"));
}

/// Finds revision 9.
async fn compaction_and_status(etcdctl: &Etcdctl) {
    let compacted = etcdctl.says("compaction 4").await;
    assert_eq!(compacted, "compacted revision 4\n");
    etcdctl.refuses("compaction 4", COMPACTED).await;
    etcdctl.refuses("get a --rev=3", COMPACTED).await;
    assert_eq!(etcdctl.says("get a --rev=4").await, "a\n9\n");
    let plain = etcdctl.says("endpoint status").await;
    assert!(plain.starts_with(&etcdctl.endpoint), "{plain}");
    let json = etcdctl.says("endpoint status -w json").await;
    let all: serde_json::Value = serde_json::from_str(&json).unwrap();
    let status = &all[0]["Status"];
    assert_eq!(status["header"]["revision"], 9, "{json}");
    assert_eq!(status["leader"], status["header"]["member_id"], "{json}");
    assert!(status["leader"].is_u64(), "{json}");
    assert!(
        status["version"]
            .as_str()
            .is_some_and(|is| is.starts_with("3.")),
        "{json}"
    );
}
