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
    Ask, GraphParameters, Hit, Identity, Job, Kind, Open, Recipe, Segment, build, never, open_dir,
    search, simd,
};
use vectorsphere::rows::Rows;
use vectorsphere::vector::Distance;

#[path = "../tests/it/index/memory.rs"]
mod memory;

use memory::{Flat, covered_by};

const K: usize = 10;

/// A build, and what it took.
struct Built {
    open: Open,
    wall: f64,
    cpu: f64,
}

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
            ["build", threads, bits] => {
                self.build(threads.parse().unwrap(), &graph(bits.parse().ok()))
            },
            ["trees", threads] => {
                let recipe = Kind::Arroy.recipe().unwrap();
                self.build(threads.parse().unwrap(), &recipe)
            },
            ["open"] => self.open(),
            ["scrub"] => {
                // What a worker does in the background.
                self.segment.as_ref().unwrap().verify(&never).unwrap();
                "{}".to_owned()
            },
            ["run", effort, half, way, threads, repeats] => {
                let threads: usize = threads.parse().unwrap();
                let way = (effort.parse().unwrap(), *half, *way);
                self.run(way, threads, repeats.parse().unwrap())
            },
            ["allow", percent] => self.allow(percent.parse().unwrap()),
            ["dead", percent] => {
                // Deletes: rows that are covered and no longer live.
                let dead = some(&self.rows.live, percent.parse().unwrap(), 0xDEAD);
                *Arc::make_mut(&mut self.rows.live) -= dead;
                self.allowed = Some(self.rows.live.as_ref().clone());
                self.truth()
            },
            ["churn", deleted, updated, effort] => {
                let shares = (deleted.parse().unwrap(), updated.parse().unwrap());
                self.churn(shares, effort.parse().unwrap())
            },
            ["sizes"] => self.sizes(),
            ["memory", bytes] => self.memory(bytes.parse().unwrap()),
            _ => "{\"error\": \"what?\"}".to_owned(),
        }
    }

    fn build(&mut self, threads: usize, recipe: &Recipe) -> String {
        let built = self.built(&self.dir, (threads, recipe), None);
        let manifest = self.dir.join(built.open.name()).join("manifest.json");
        let manifest = fs_err::read_to_string(manifest).unwrap();
        let (wall, cpu, bytes) = (built.wall, built.cpu, built.open.segment.bytes());
        self.segment = Some(built.open.segment);
        format!(
            "{{\"wall\": {wall:.2}, \"cpu\": {cpu:.2}, \"bytes\": {bytes}, \"manifest\": {manifest}}}"
        )
    }

    fn built(
        &self,
        dir: &Path,
        (threads, recipe): (usize, &Recipe),
        before: Option<&dyn Segment>,
    ) -> Built {
        let (clock, cpu) = (SystemClock, cpu(rustix::time::ClockId::ProcessCPUTime));
        let started = clock.now();
        let job = Job {
            rows: &self.rows,
            recipe,
            store: uuid::Uuid::nil(),
            sequence: clock.wall_ms(),
            before,
            beside: None,
            threads,
            clock: &clock,
            stop: &never,
            progress: &|_| {},
        };
        let open = build(dir, &job).unwrap();
        let wall = clock.now().since(started).as_secs_f64();
        let cpu = self::cpu(rustix::time::ClockId::ProcessCPUTime) - cpu;
        // What a worker does in the background.
        open.segment.verify(&never).unwrap();
        Built { open, wall, cpu }
    }

    /// Deletes a part of the rows and updates another, whose new vectors are rows that were kept back;
    /// looks at what the old graph finds then, and at a new one that starts from it.
    fn churn(&mut self, (deleted, updated): (f64, f64), effort: u32) -> String {
        let dir = self.dir.join(format!("churn-{deleted}-{updated}"));
        let all = Arc::clone(&self.rows.live);
        let kept_back = some(&all, updated, 0xBAC);
        self.rows.live = Arc::new(all.as_ref() - &kept_back);
        let whole = self.built(&dir, (2, &graph(None)), None);
        self.segment = Some(Arc::clone(&whole.open.segment));
        self.truth();
        let at_first = self.run((effort, "all", "whole"), 1, 3);
        let live = self.rows.live.as_ref() - some(&self.rows.live, deleted + updated, 0xDEAD);
        self.rows.live = Arc::new(&live | &kept_back);
        self.truth();
        let old = self.run((effort, "all", "whole"), 1, 3);
        let old_lost = [1, 4].map(|times| self.not_found(times * effort));
        let again = self.built(&dir, (2, &graph(None)), Some(whole.open.segment.as_ref()));
        self.segment = Some(again.open.segment);
        let new = self.run((effort, "all", "whole"), 1, 3);
        let new_lost = [1, 4].map(|times| self.not_found(times * effort));
        self.rows.live = all;
        let (whole_cpu, again_cpu, again_wall) = (whole.cpu, again.cpu, again.wall);
        format!(
            "{{\"whole_cpu\": {whole_cpu:.2}, \"again_cpu\": {again_cpu:.2}, \"again_wall\": {again_wall:.2}, \
             \"first\": {at_first}, \"old\": {old}, \"old_lost\": {old_lost:?}, \
             \"new\": {new}, \"new_lost\": {new_lost:?}}}"
        )
    }

    /// How many live rows their own vector does not find with this effort.
    fn not_found(&self, effort: u32) -> usize {
        let coverage = covered_by(vec![Arc::clone(self.segment.as_ref().unwrap())], &self.rows);
        let ask = Ask {
            effort: Some(effort),
            ..Ask::nearest(K)
        };
        let lost = |row: &u32| {
            let query = self.rows.vector(*row).unwrap();
            let hits = search(&coverage, &self.rows, query, &ask).unwrap().hits;
            // Of equal ones any may be answered.
            !hits.iter().any(|hit| hit.row == *row) && hits[0].score < 1.0 - 1e-5
        };
        self.rows.live.iter().filter(lost).count()
    }

    /// What it takes to fetch a record of so many bytes, the links of a node, and a row.
    fn memory(&self, record: usize) -> String {
        let items = self.rows.live.len() as usize;
        let row = self.rows.dimensions() * size_of::<f32>();
        let [record, links, row] = [record, 128, row].map(|bytes| fetch(items, bytes));
        format!("{{\"record_ns\": {record:.1}, \"links_ns\": {links:.1}, \"row_ns\": {row:.1}}}")
    }

    /// What a search costs with a graph and without, from few points to many, and what the graph cost.
    fn sizes(&mut self) -> String {
        let all = Arc::clone(&self.rows.live);
        let mut lines = Vec::new();
        for points in [500u32, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000] {
            let last = all.select(points).unwrap();
            self.rows.live = Arc::new(all.iter().take_while(|row| *row < last).collect());
            let built = self.built(
                &self.dir.join(format!("size-{points}")),
                (2, &graph(None)),
                None,
            );
            self.segment = Some(Arc::clone(&built.open.segment));
            self.truth();
            let graph = self.run((100, "all", "one"), 1, 5);
            let scan = self.run((100, "all", "scan"), 1, 2);
            let cpu = built.cpu;
            lines.push(format!(
                "{{\"points\": {points}, \"build_cpu\": {cpu:.2}, \"graph\": {graph}, \"scan\": {scan}}}"
            ));
        }
        self.rows.live = all;
        format!("[{}]", lines.join(", "))
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
        let segment = found.set.main.unwrap().segment;
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
    /// interleaved (`four`), `whole`, with what `search` adds around the segment, or without it (`scan`).
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
            "scan" => {
                let nobody = covered_by(Vec::new(), &self.rows);
                let scan = |query| search(&nobody, &self.rows, query, &ask).unwrap();
                let answers = queries.into_iter().map(scan);
                answers.map(|answer| (answer.hits, answer.scored)).collect()
            },
            "whole" => {
                let coverage = covered_by(vec![Arc::clone(segment)], &self.rows);
                let whole = |query| search(&coverage, &self.rows, query, &ask).unwrap();
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
        let nobody = covered_by(Vec::new(), &self.rows);
        let tenth =
            |query: &Vec<f32>| search(&nobody, &self.rows, query, &ask).unwrap().hits[K - 1].score;
        self.tenth = self.queries.iter().map(tenth).collect();
        format!(
            "{{\"allowed\": {}}}",
            self.allowed
                .as_ref()
                .map_or(self.rows.live.len(), RoaringBitmap::len)
        )
    }
}

/// Nanoseconds that a core takes for one of many items at random places of memory, when nothing but
/// reading a byte of each of its cache lines is done.
fn fetch(items: usize, bytes: usize) -> f64 {
    const LINE: usize = 64;
    const READS: usize = 1 << 20;
    let region = vec![1u8; items * bytes];
    let mut state = 1u64;
    let places: Vec<usize> = (0..READS)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % items * bytes
        })
        .collect();
    let mut best = f64::MAX;
    for _ in 0..5 {
        let started = cpu(rustix::time::ClockId::ThreadCPUTime);
        let mut sum = 0usize;
        for place in &places {
            for line in region[*place..*place + bytes].iter().step_by(LINE) {
                sum += usize::from(*line);
            }
        }
        std::hint::black_box(sum);
        best = best.min(cpu(rustix::time::ClockId::ThreadCPUTime) - started);
    }
    best * 1e9 / READS as f64
}

/// A graph with codes of this width, or of the one that the build chooses.
fn graph(bits: Option<u8>) -> Recipe {
    Recipe::Graph(GraphParameters {
        bits,
        ..GraphParameters::default()
    })
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
