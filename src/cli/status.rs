//! What a cluster looks like: asked of a master, printed for a person or as JSON for a program.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;

use crate::plugin::table::{age, row, table};
use crate::rpc::{self, Channels, Code, Request, Status, proto};
use crate::security::{Peer, Peers};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks one of the masters; the first that answers.
pub(super) async fn ask(masters: &[String]) -> anyhow::Result<proto::GetClusterStateResponse> {
    let channels = Channels::new(Peers::plain());
    let mut failed = anyhow::anyhow!("no master is known");
    for master in masters {
        let mut client = rpc::channel::admin_client(channels.to(Peer::Master, master)?);
        let mut request = Request::new(proto::GetClusterStateRequest {});
        request.set_timeout(TIMEOUT);
        let answer = tokio::time::timeout(TIMEOUT, client.get_cluster_state(request)).await;
        match answer {
            Ok(Ok(state)) => return Ok(state.into_inner()),
            Ok(Err(status)) => failed = anyhow::Error::msg(sentence_of(&status)),
            Err(elapsed) => failed = elapsed.into(),
        }
        failed = failed.context(format!("ask master {master}"));
    }
    Err(failed).context("no master answers")
}

/// Why there is no answer. Whoever listens there may speak another language than a master.
fn sentence_of(status: &Status) -> String {
    let text = status.message();
    if status.code() == Code::Unimplemented || text.contains("grpc-status header missing") {
        "this is not the gRPC address of a master, which DATA_DIR/endpoints.json has as its rpc_address"
            .to_owned()
    } else if text.is_empty() {
        status.code().to_string()
    } else {
        text.to_owned()
    }
}

/// The state as tables. `now_ms` is the wall clock, for ages.
pub(super) fn text_of(state: &proto::GetClusterStateResponse, now_ms: u64) -> String {
    let leader = if state.leader.is_empty() {
        "nobody"
    } else {
        &state.leader
    };
    let mut text = format!(
        "cluster {}   etcd revision {}\nleader  {leader}   term {}\n\n",
        state.cluster_uid, state.revision, state.term
    );
    let mut rows = vec![row([
        "PROCESS", "ROLE", "STATE", "HEALTH", "VERSION", "UP", "LEASE", "HTTP",
    ])];
    for process in &state.processes {
        let age = age(now_ms.saturating_sub(process.since_ms) / 1000);
        let lease = format!("{:x}", process.lease);
        rows.push(row([
            &process.name,
            &process.role,
            &process.state,
            &process.health,
            &process.version,
            &age,
            &lease,
            &process.http_address,
        ]));
    }
    table(&mut text, &rows);
    text.push('\n');
    let head = [
        "COLLECTION",
        "SHARD",
        "WORKER",
        "STATE",
        "POINTS",
        "POSITION",
        "BYTES",
        "INDEX",
    ];
    let mut rows = vec![row(head)];
    for collection in &state.collections {
        for shard in &collection.shards {
            let report = shard.report.clone().unwrap_or_default();
            let index = index_of(&report);
            rows.push(row([
                &collection.name,
                &shard.number.to_string(),
                &shard.worker,
                &report.state,
                &report.points.to_string(),
                &format!("{}.{}", shard.epoch, report.sequence),
                &report.bytes.to_string(),
                index.trim(),
            ]));
        }
    }
    table(&mut text, &rows);
    text.push('\n');
    if state.jobs.is_empty() {
        text.push_str("nothing is under way\n");
    }
    for job in &state.jobs {
        text.push_str("* ");
        text.push_str(job);
        text.push('\n');
    }
    text
}

/// How a shard's index is, and what searches find with it.
fn index_of(report: &proto::ShardReport) -> String {
    let mut index = format!(
        "{} {} ({} of {})",
        report.index_kind, report.index_state, report.indexed, report.points
    );
    if let Some(built) = &report.built {
        if built.bits > 0 {
            _ = write!(index, ", {} bits", built.bits);
        }
        _ = write!(index, ", {:.3} when built", built.recall);
    }
    if let Some(quality) = &report.quality {
        let (recall, effort) = (quality.recall, quality.effort);
        _ = write!(index, ", recall {recall:.3} at effort {effort}");
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::masters::json_of;

    #[test]
    fn what_is_no_master_is_said_to_be_none() {
        let http = Status::unimplemented("grpc-status header missing, mapped from HTTP 404");
        let keys = Status::unauthenticated("grpc-status header missing, mapped from HTTP 401");
        for status in [http, keys, Status::unimplemented("")] {
            assert!(sentence_of(&status).contains("not the gRPC address of a master"));
        }
        assert_eq!(sentence_of(&Status::unavailable("refused")), "refused");
        assert!(!sentence_of(&Status::unavailable("")).is_empty());
    }

    #[test]
    fn an_index_is_told_with_its_width_and_with_what_searches_find() {
        let mut report = proto::ShardReport {
            points: 12,
            indexed: 12,
            index_kind: "graph".into(),
            index_state: "idle".into(),
            built: Some(proto::IndexBuild {
                bits: 4,
                recall: 0.98,
            }),
            ..proto::ShardReport::default()
        };
        let built = "graph idle (12 of 12), 4 bits, 0.980 when built";
        assert_eq!(index_of(&report), built);
        report.quality = Some(proto::SearchQuality {
            recall: 0.957,
            effort: 71,
            samples: 64,
        });
        let told = format!("{built}, recall 0.957 at effort 71");
        assert_eq!(index_of(&report), told);
    }

    #[test]
    fn a_cluster_reads_like_a_table() {
        let report = proto::ShardReport {
            state: "serving".into(),
            points: 12,
            sequence: 4,
            bytes: 4096,
            index_kind: "flat".into(),
            index_state: "idle".into(),
            ..proto::ShardReport::default()
        };
        let state = proto::GetClusterStateResponse {
            cluster_uid: "u".into(),
            revision: 9,
            term: 3,
            leader: "laptop-master-0".into(),
            processes: vec![proto::ProcessState {
                name: "laptop-worker-0".into(),
                role: "worker".into(),
                state: "serving".into(),
                health: "ok".into(),
                version: "0.1.0".into(),
                lease: 255,
                http_address: "127.0.0.1:1".into(),
                since_ms: 1_000,
                ..proto::ProcessState::default()
            }],
            collections: vec![proto::CollectionState {
                name: "c".into(),
                shards: vec![proto::ShardState {
                    number: 0,
                    worker: "laptop-worker-0".into(),
                    epoch: 1,
                    report: Some(report),
                }],
                ..proto::CollectionState::default()
            }],
            jobs: vec![],
            stale: false,
        };
        let text = text_of(&state, 61_000);
        let expected = "cluster u   etcd revision 9\nleader  laptop-master-0   term 3\n\n\
PROCESS          ROLE    STATE    HEALTH  VERSION  UP   LEASE  HTTP\n\
laptop-worker-0  worker  serving  ok      0.1.0    60s  ff     127.0.0.1:1\n\n\
COLLECTION  SHARD  WORKER           STATE    POINTS  POSITION  BYTES  INDEX\n\
c           0      laptop-worker-0  serving  12      1.4       4096   flat idle (0 of 12)\n\n\
nothing is under way\n";
        assert_eq!(text, expected);
        assert_eq!(json_of(&state)["collections"][0]["shards"][0]["points"], 12);
    }
}
