//! The graph's side of `benches/graph.py`, which runs it beside hnswlib: it reads one command a line
//! and answers one line of JSON, so that both take turns on a machine that is never quiet.
//!
//! Rates are of the thread's own CPU time. Started without a pipe (`cargo bench`) it does nothing.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a measuring program: it prints, rounds, and ends when something is missing"
)]

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roaring::RoaringBitmap;
use vectorsphere::clock::{Clock, SystemClock};
use vectorsphere::index::{
    Ask, GraphParameters, Hit, Identity, Job, Recipe, Segment, build, never, open_dir, search, simd,
};
use vectorsphere::rows::Rows;
use vectorsphere::vector::Distance;

#[path = "../tests/it/index/memory.rs"]
mod memory;

use memory::Flat;

const K: usize = 10;

struct Bench {
    rows: Flat,
    queries: Vec<Vec<f32>>,
    /// The score of the tenth nearest.
    tenth: Vec<f32>,
    dir: PathBuf,
    segment: Option<Arc<dyn Segment>>,
    allowed: Option<RoaringBitmap>,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|of| !of.starts_with("--"));
    let (Some(data), Some(dir)) = (arguments.next(), arguments.next()) else {
        println!("benches/graph.py runs this");
        return;
    };
    let data = Path::new(&data);
    let dimensions: usize = arguments.next().unwrap().parse().unwrap();
    let rows = Flat::new(floats(&data.join("base.f32")), dimensions, Distance::Cosine);
    let queries = floats(&data.join("queries.f32"));
    let mut bench = Bench {
        queries: queries
            .chunks_exact(dimensions)
            .map(<[f32]>::to_vec)
            .collect(),
        tenth: floats(&data.join("tenth.f32")),
        rows,
        dir: PathBuf::from(dir),
        segment: None,
        allowed: None,
    };
    println!("{{\"kernels\": \"{}\"}}", simd::kernels().name);
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        println!("{}", bench.obey(&words));
    }
}

impl Bench {
    fn obey(&mut self, words: &[&str]) -> String {
        match words {
            ["build", threads, bits] => self.build(threads.parse().unwrap(), bits.parse().ok()),
            ["open"] => self.open(),
            ["run", effort, half, way, threads, repeats] => {
                let threads: usize = threads.parse().unwrap();
                let way = (effort.parse().unwrap(), *half, *way);
                self.run(way, threads, repeats.parse().unwrap())
            },
            ["allow", percent] => self.allow(percent.parse().unwrap()),
            ["dead", percent] => {
                // Deletes: rows that are covered and no longer live.
                let dead = some(&self.rows.live, percent.parse().unwrap(), 0xDEAD);
                self.rows.live -= dead;
                self.allowed = Some(self.rows.live.clone());
                self.truth()
            },
            _ => "{\"error\": \"what?\"}".to_owned(),
        }
    }

    fn build(&mut self, threads: usize, bits: Option<u8>) -> String {
        let recipe = Recipe::Graph(GraphParameters {
            bits,
            ..GraphParameters::default()
        });
        let (clock, cpu) = (SystemClock, cpu(rustix::time::ClockId::ProcessCPUTime));
        let started = clock.now();
        let job = Job {
            rows: &self.rows,
            recipe: &recipe,
            store: uuid::Uuid::nil(),
            sequence: clock.wall_ms(),
            threads,
            clock: &clock,
            stop: &never,
            progress: &|_| {},
        };
        let open = build(&self.dir, &job).unwrap();
        let wall = clock.now().since(started).as_secs_f64();
        let cpu = self::cpu(rustix::time::ClockId::ProcessCPUTime) - cpu;
        let manifest =
            fs_err::read_to_string(self.dir.join(open.name()).join("manifest.json")).unwrap();
        let bytes = open.segment.bytes();
        self.segment = Some(open.segment);
        format!(
            "{{\"wall\": {wall:.2}, \"cpu\": {cpu:.2}, \"bytes\": {bytes}, \"manifest\": {manifest}}}"
        )
    }

    fn open(&mut self) -> String {
        let (clock, identity) = (
            SystemClock,
            Identity {
                store: uuid::Uuid::nil(),
                dimensions: self.rows.dimensions(),
                distance: Distance::Cosine,
            },
        );
        self.segment = None;
        let started = clock.now();
        let found = open_dir(&self.dir, &identity).unwrap();
        let ms = clock.now().since(started).as_secs_f64() * 1e3;
        let segment = found.open.unwrap().segment;
        let started = clock.now();
        let hits = segment
            .search(&self.rows, &self.queries[0], &Ask::nearest(K))
            .unwrap()
            .0
            .len();
        let first = clock.now().since(started).as_secs_f64() * 1e3;
        self.segment = Some(segment);
        format!("{{\"open_ms\": {ms:.2}, \"first_query_ms\": {first:.2}, \"hits\": {hits}}}")
    }

    /// Answers each query of a half (`even`, `odd` or `all`), in one of the ways: `one` at a time,
    /// interleaved (`four`), or `whole`, with what `search` adds around the segment.
    fn run(
        &self,
        (effort, half, way): (u32, &str, &str),
        threads: usize,
        repeats: usize,
    ) -> String {
        let chosen = |at: &usize| half == "all" || at.is_multiple_of(2) == (half == "even");
        let numbers: Vec<usize> = (0..self.queries.len()).filter(chosen).collect();
        let work = || {
            let mut best = f64::MAX;
            let (mut found, mut compared) = (0usize, 0u64);
            for repeat in 0..=repeats {
                let started = cpu(rustix::time::ClockId::ThreadCPUTime);
                let answers = self.answers(&numbers, effort, way);
                let taken = cpu(rustix::time::ClockId::ThreadCPUTime) - started;
                if repeat == 0 {
                    (found, compared) = self.judge(&numbers, &answers);
                } else {
                    best = best.min(taken);
                }
            }
            (numbers.len() as f64 / best, found, compared)
        };
        let results: Vec<(f64, usize, u64)> = std::thread::scope(|scope| {
            let spawned: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            spawned
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let rate: f64 = results.iter().map(|result| result.0).sum();
        let recall = results[0].1 as f64 / (numbers.len() * K) as f64;
        let compared = results[0].2 as f64 / numbers.len() as f64;
        format!("{{\"qps\": {rate:.1}, \"recall\": {recall:.5}, \"compared\": {compared:.0}}}")
    }

    fn answers(&self, numbers: &[usize], effort: u32, way: &str) -> Vec<(Vec<Hit>, u64)> {
        let segment = self.segment.as_ref().unwrap();
        let ask = Ask {
            effort: Some(effort),
            allowed: self.allowed.as_ref(),
            ..Ask::nearest(K)
        };
        let queries: Vec<&[f32]> = numbers
            .iter()
            .map(|at| self.queries[*at].as_slice())
            .collect();
        match way {
            "four" => segment.search_many(&self.rows, &queries, &ask).unwrap(),
            "whole" => {
                let segments = [Arc::clone(segment)];
                let whole = |query| search(&segments, &self.rows, query, &ask).unwrap();
                let answers = queries.into_iter().map(whole);
                answers.map(|answer| (answer.hits, answer.scored)).collect()
            },
            _ => {
                let one = |query| segment.search(&self.rows, query, &ask).unwrap();
                queries.into_iter().map(one).collect()
            },
        }
    }

    fn judge(&self, numbers: &[usize], answers: &[(Vec<Hit>, u64)]) -> (usize, u64) {
        let (mut found, mut compared) = (0, 0);
        for (at, (hits, of)) in numbers.iter().zip(answers) {
            let reaches = |hit: &&Hit| hit.score >= self.tenth[*at] - 1e-6;
            assert_eq!(hits.len(), K, "a short answer");
            assert!(
                hits.iter()
                    .all(|hit| self.allowed.as_ref().is_none_or(|of| of.contains(hit.row)))
            );
            found += hits.iter().filter(reaches).count().min(K);
            compared += of;
        }
        (found, compared)
    }

    /// Allows a random part of the rows, all for 100.
    fn allow(&mut self, percent: f64) -> String {
        self.allowed = (percent < 100.0).then(|| some(&self.rows.live, percent, 0xA110));
        self.truth()
    }

    /// Finds the exact answers anew.
    fn truth(&mut self) -> String {
        let ask = Ask {
            exact: true,
            allowed: self.allowed.as_ref(),
            ..Ask::nearest(K)
        };
        let tenth =
            |query: &Vec<f32>| search(&[], &self.rows, query, &ask).unwrap().hits[K - 1].score;
        self.tenth = self.queries.iter().map(tenth).collect();
        format!(
            "{{\"allowed\": {}}}",
            self.allowed
                .as_ref()
                .map_or(self.rows.live.len(), RoaringBitmap::len)
        )
    }
}

/// A random part of these rows.
fn some(of: &RoaringBitmap, percent: f64, salt: u64) -> RoaringBitmap {
    let limit = (percent / 100.0 * 65_536.0) as u64;
    let hash =
        |row: u32| (u64::from(row) ^ salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & 0xFFFF;
    of.iter().filter(|row| hash(*row) < limit).collect()
}

fn cpu(clock: rustix::time::ClockId) -> f64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = fs_err::read(path).unwrap();
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers
        .iter()
        .map(|four| f32::from_le_bytes(*four))
        .collect()
}
