//! What the store costs.
//!
//! `cargo bench --bench store -- layout [VECTORS]` compares ways to lay vectors in LMDB;
//! `cargo bench --bench store -- ingest [POINTS] [DIMENSIONS] [BATCH]` writes points through a shard,
//! every batch durable before the next. Both print a table and use the disk of the folder in
//! `TMPDIR`.
#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a bench prints, and stops at the first surprise"
)]

use std::time::Duration;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, PutFlags, WithoutTls};
use uuid::Uuid;
use vectorsphere::clock::{Clock, Moment, SystemClock};
use vectorsphere::ids::{CollectionId, Epoch, PointId, ShardId};
use vectorsphere::query::{Operation, PointInput};
use vectorsphere::store::{Options, Shard, ShardIdentity};
use vectorsphere::vector::Distance;

type Table = Database<'static, Bytes, Bytes>;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let number = |at: usize, default: usize| {
        arguments
            .get(at)
            .map_or(default, |text| text.parse().unwrap())
    };
    match arguments.first().map(String::as_str) {
        Some("layout") => layouts(number(1, 20_000)),
        Some("ingest") => ingest(number(1, 100_000), number(2, 384), number(3, 256)),
        _ => println!("say `layout` or `ingest`"),
    }
}

/// Numbers that are cheap and do not repeat.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn since(start: Moment) -> Duration {
    SystemClock.now().since(start)
}

fn open(folder: &std::path::Path) -> (Env<WithoutTls>, Table) {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(8 << 30).max_dbs(1);
    #[expect(unsafe_code, reason = "LMDB maps a file")]
    // SAFETY: a fresh folder that nobody else knows.
    let env = unsafe { options.open(folder) }.unwrap();
    let txn = env.write_txn().unwrap();
    let table = env
        .create_databases_and_commit(txn, |opener, txn| {
            let table: Database<'_, Bytes, Bytes> = opener.create_database(txn, Some("blocks"))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(table))
        })
        .unwrap()
        .unwrap_commit();
    (env, table)
}

fn layouts(vectors: usize) {
    println!(
        "{vectors} vectors, appended in durable batches of 256; then 200 single durable appends; \
         then reads of one component in 64 bytes, in the page cache"
    );
    println!(
        "| dimensions | pages | rows | bytes/raw | write µs/vector | one append ms | read all ms | random read µs |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for dimensions in [384, 768, 1_024, 1_536] {
        let row_bytes = dimensions * 4;
        let mut tried = vec![];
        for pages in [0, 1, 2, 4, 5, 8, 10, 14, 16, 17] {
            let rows = if pages == 0 {
                1
            } else {
                (pages * 4096 - 16) / row_bytes
            };
            if rows == 0 || (pages > 0 && rows == 1) || tried.contains(&rows) {
                continue;
            }
            tried.push(rows);
            layout(dimensions, rows, vectors);
        }
    }
}

/// Appends a batch of vectors; the last block is written again when it was not full.
fn append(
    env: &Env<WithoutTls>,
    table: Table,
    (row_bytes, rows): (usize, usize),
    at: usize,
    count: usize,
) {
    let mut txn = env.write_txn().unwrap();
    let mut next = at;
    let mut scratch = vec![0u8; rows * row_bytes];
    while next < at + count {
        let (block, first) = (next / rows, next % rows);
        let last = rows.min(first + at + count - next);
        let key = u32::try_from(block).unwrap().to_be_bytes();
        let mut flags = PutFlags::APPEND;
        scratch.fill(0);
        if first > 0 {
            scratch.copy_from_slice(table.get(&txn, &key).unwrap().unwrap());
            flags = PutFlags::empty();
        }
        for (row, place) in scratch
            .chunks_exact_mut(row_bytes)
            .enumerate()
            .take(last)
            .skip(first)
        {
            place.fill(u8::try_from((next + row) % 251).unwrap());
        }
        table
            .put_with_flags(&mut txn, flags, &key, &scratch)
            .unwrap();
        next += last - first;
    }
    txn.commit().unwrap();
}

fn layout(dimensions: usize, rows: usize, vectors: usize) {
    const SINGLE: usize = 200;
    let row_bytes = dimensions * 4;
    let pages = (rows * row_bytes + 16).div_ceil(4096);
    let folder = tempfile::tempdir().unwrap();
    let (env, table) = open(folder.path());
    let start = SystemClock.now();
    let mut at = 0;
    while at < vectors {
        let count = 256.min(vectors - at);
        append(&env, table, (row_bytes, rows), at, count);
        at += count;
    }
    let write = since(start);
    let bytes = env.real_disk_size().unwrap();
    let start = SystemClock.now();
    for single in 0..SINGLE {
        append(&env, table, (row_bytes, rows), vectors + single, 1);
    }
    let single = since(start);
    let txn = env.read_txn().unwrap();
    let touch = |vector: &[u8]| {
        vector
            .iter()
            .step_by(64)
            .map(|byte| u64::from(*byte))
            .sum::<u64>()
    };
    let start = SystemClock.now();
    let mut sum = 0u64;
    for entry in table.iter(&txn).unwrap() {
        sum += entry
            .unwrap()
            .1
            .chunks_exact(row_bytes)
            .map(touch)
            .sum::<u64>();
    }
    let all = since(start);
    let (start, mut state) = (SystemClock.now(), 88_172_645_463_325_252);
    for _ in 0..100_000 {
        let row = random(&mut state) as usize % vectors;
        let key = u32::try_from(row / rows).unwrap().to_be_bytes();
        let block = table.get(&txn, &key).unwrap().unwrap();
        let within = row % rows * row_bytes;
        sum += touch(block.get(within..within + row_bytes).unwrap());
    }
    let one = since(start);
    assert!(sum > 0);
    println!(
        "| {dimensions} | {pages} | {rows} | {:.3} | {:.1} | {:.2} | {:.1} | {:.2} |",
        bytes as f64 / (vectors * row_bytes) as f64,
        write.as_secs_f64() * 1e6 / vectors as f64,
        single.as_secs_f64() * 1e3 / SINGLE as f64,
        all.as_secs_f64() * 1e3,
        one.as_secs_f64() * 1e6 / 100_000.0,
    );
}

fn ingest(points: usize, dimensions: usize, batch: usize) {
    let folder = tempfile::tempdir().unwrap();
    let identity = ShardIdentity {
        cluster: Uuid::nil(),
        shard: ShardId {
            collection: CollectionId(Uuid::nil()),
            number: 0,
        },
        dimensions,
        distance: Distance::Dot,
    };
    let options = Options {
        map_bytes: 1 << 30,
        map_bytes_max: 1 << 36,
        clock: SystemClock::shared(),
    };
    let shard = Shard::create(
        &folder.path().join("store"),
        &identity,
        Uuid::nil(),
        options,
    )
    .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let mut state = 88_172_645_463_325_252;
    let operations: Vec<Operation> = (0..points.div_ceil(batch))
        .map(|number| {
            let ids = number * batch..points.min((number + 1) * batch);
            let point = |id: usize| PointInput {
                id: PointId::Number(id as u64),
                vector: (0..dimensions)
                    .map(|_| random(&mut state) as u32 as f32 * 1e-9)
                    .collect(),
                payload: format!("{{\"name\":\"point {id}\",\"group\":{}}}", id % 10).into_bytes(),
            };
            Operation::Upsert(ids.map(point).collect())
        })
        .collect();
    let start = SystemClock.now();
    let mut slowest = Duration::ZERO;
    for operation in operations {
        let begun = SystemClock.now();
        let deadline = begun + Duration::from_secs(60);
        runtime
            .block_on(shard.write(Epoch(1), operation, deadline))
            .unwrap();
        slowest = slowest.max(since(begun));
    }
    let took = since(start);
    let stats = shard.stats();
    println!(
        "{points} points of {dimensions} dimensions in batches of {batch}, each durable: {:.2} s, \
         {:.0} points/s, slowest batch {:.1} ms, file {:.1} MB, {:.3} of the raw vectors",
        took.as_secs_f64(),
        points as f64 / took.as_secs_f64(),
        slowest.as_secs_f64() * 1e3,
        stats.bytes as f64 / 1e6,
        stats.bytes as f64 / (points * dimensions * 4) as f64,
    );
}
