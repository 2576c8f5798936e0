//! Measures the index kinds on real embeddings: `VECTORSPHERE_DATA=FOLDER cargo bench --bench index`.
//!
//! The folder holds `minilm_base_f16.npy` (points) and `minilm_queries_f32.npy` (held-out queries).
//! Kinds are asked in turns within one run, several rounds, so that a busy machine is busy for all;
//! the best round of each is printed with the median. Ratios are worth more than rates.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a measuring program: it prints, rounds, and ends when something is missing"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roaring::RoaringBitmap;
use vectorsphere::clock::{Clock, SystemClock};
use vectorsphere::index::{
    ArroyParameters, Ask, Job, Open, Recipe, Segment, build, never, search, simd,
};
use vectorsphere::rows::{Row, Rows};
use vectorsphere::vector::Distance;

#[path = "../tests/it/index/memory.rs"]
mod memory;

use memory::{Flat, covered_by};

const K: usize = 10;
const ROUNDS: usize = 5;

/// The first of these vectors.
fn first(rows: &Flat, points: usize) -> Flat {
    let dimensions = rows.dimensions();
    let vectors = rows.vectors[..points * dimensions].to_vec();
    Flat::new(vectors, dimensions, rows.distance())
}

fn main() {
    let Ok(folder) = std::env::var("VECTORSPHERE_DATA") else {
        println!("set VECTORSPHERE_DATA to a folder of embeddings");
        return;
    };
    let folder = Path::new(&folder);
    let base: Vec<f32> = npy(&folder.join("minilm_base_f16.npy"))
        .chunks_exact(2)
        .map(|half| half_to_f32(u16::from_le_bytes([half[0], half[1]])))
        .collect();
    let queries: Vec<f32> = npy(&folder.join("minilm_queries_f32.npy"))
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect();
    println!("cpu {}, kernels {}", cpu(), simd::kernels().name);
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let cosine = Flat::new(base.clone(), 384, Distance::Cosine);
    let asked = Flat::new(queries.clone(), 384, Distance::Cosine);
    if runs("kernels") {
        kernels(&cosine);
    }
    if runs("cosine") {
        measure(&cosine, &asked, &ArroyParameters::default());
    }
    if runs("parameters") {
        for (trees, leaf_rows) in [(12, 200), (24, 400), (24, 100), (48, 200)] {
            let parameters = ArroyParameters {
                trees,
                leaf_rows,
                ..ArroyParameters::default()
            };
            measure(&cosine, &asked, &parameters);
        }
    }
    if runs("sizes") {
        for points in [10_000, 20_000, 40_000] {
            measure(&first(&cosine, points), &asked, &ArroyParameters::default());
        }
    }
    if runs("filters") {
        filters(&cosine, &asked);
    }
    if runs("distances") {
        // Away from the origin and of unequal length, which normalised vectors hide.
        for distance in [Distance::Euclid, Distance::Manhattan, Distance::Dot] {
            let shifted = |vectors: &[f32]| {
                let stretched = |at: usize, value: &f32| {
                    let vector = at / 384;
                    let length = 1.0 + (vector % 7) as f32 / 4.0;
                    let shift = if distance == Distance::Dot { 0.0 } else { 0.3 };
                    value * length + shift
                };
                vectors
                    .iter()
                    .enumerate()
                    .map(|(at, value)| stretched(at, value))
                    .collect()
            };
            let rows = Flat::new(shifted(&base), 384, distance);
            let asked = Flat::new(shifted(&queries), 384, distance);
            measure(&rows, &asked, &ArroyParameters::default());
        }
    }
}

fn kernels(rows: &Flat) {
    let clock = SystemClock;
    for kernels in simd::available() {
        for (name, kernel) in [
            ("dot", kernels.dot),
            ("squared", kernels.squared),
            ("manhattan", kernels.manhattan),
        ] {
            let (query, mut sum) = (rows.vector(0).unwrap(), 0.0);
            let cached = Timer::start(&clock);
            for row in 0..2_000_000u32 {
                sum += kernel(query, rows.vector(row % 8).unwrap());
            }
            let cached = cached.seconds() / 2e6;
            let streamed = Timer::start(&clock);
            for row in rows.live.iter() {
                sum += kernel(query, rows.vector(row).unwrap());
            }
            let streamed = streamed.seconds() / rows.live.len() as f64;
            println!(
                "{:7} {name:9} {:6.1} ns in cache, {:6.1} ns from memory ({sum})",
                kernels.name,
                cached * 1e9,
                streamed * 1e9
            );
        }
    }
}

/// Builds, then asks an exact search and the segment in turns.
fn measure(rows: &Flat, asked: &Flat, parameters: &ArroyParameters) {
    let dir = tempfile::tempdir().unwrap();
    let before = resident_kib();
    let open = built(rows, dir.path(), parameters);
    println!(
        "\n{:?}, {} points: {} trees, leaves of {}: build {:.1} s on one thread, {:.1} MB (vectors {:.1} MB), \
         measured recall {:.3}, compares {} rows, memory before {} MB, peak {} MB, after {} MB",
        rows.distance(),
        rows.live.len(),
        parameters.trees,
        parameters.leaf_rows,
        open.manifest.build_ms as f64 / 1e3,
        open.segment.bytes() as f64 / 1e6,
        rows.vectors.len() as f64 * 4.0 / 1e6,
        open.segment.recall(),
        open.segment.cost(K, None),
        before / 1024,
        peak_kib() / 1024,
        resident_kib() / 1024,
    );
    let segments = [Arc::clone(&open.segment)];
    let queries: Vec<&[f32]> = asked.vectors.chunks_exact(384).collect();
    let exact = Ask {
        exact: true,
        ..Ask::nearest(K)
    };
    let asks = [
        ("exact", exact),
        ("effort 25", effort(25)),
        ("effort 50", effort(50)),
        ("usual", Ask::nearest(K)),
        ("effort 200", effort(200)),
    ];
    compare(rows, &segments, &queries, &asks);
    let hundred = Ask {
        exact: true,
        ..Ask::nearest(100)
    };
    compare(
        rows,
        &segments,
        &queries,
        &[("exact, 100", hundred), ("usual, 100", Ask::nearest(100))],
    );
}

fn effort(effort: u32) -> Ask<'static> {
    Ask {
        effort: Some(effort),
        ..Ask::nearest(K)
    }
}

/// The first of the asks is the truth.
fn compare(
    rows: &Flat,
    segments: &[Arc<dyn Segment>],
    queries: &[&[f32]],
    asks: &[(&str, Ask<'_>)],
) {
    let clock = SystemClock;
    let coverage = covered_by(segments.to_vec(), rows);
    let mut truth: Vec<f32> = Vec::new();
    let mut rates = vec![Vec::new(); asks.len()];
    let mut recalls = vec![0.0; asks.len()];
    let mut scored = vec![0u64; asks.len()];
    for _ in 0..ROUNDS {
        for (at, (_, ask)) in asks.iter().enumerate() {
            let (mut found, mut wanted) = (0usize, 0usize);
            let timer = Timer::start(&clock);
            let answers: Vec<_> = queries
                .iter()
                .map(|query| search(&coverage, rows, query, ask).unwrap())
                .collect();
            rates[at].push(queries.len() as f64 / timer.seconds());
            if truth.is_empty() {
                truth = answers
                    .iter()
                    .map(|answer| answer.hits.last().unwrap().score)
                    .collect();
            }
            for (answer, last) in answers.iter().zip(&truth) {
                assert!(answer.failed.is_empty());
                wanted += ask.k;
                found += answer
                    .hits
                    .iter()
                    .filter(|hit| rows.distance().reaches(hit.score, *last))
                    .count();
            }
            recalls[at] = found.min(wanted) as f64 / wanted as f64;
            scored[at] =
                answers.iter().map(|answer| answer.scored).sum::<u64>() / queries.len() as u64;
        }
    }
    for (at, (name, _)) in asks.iter().enumerate() {
        rates[at].sort_by(f64::total_cmp);
        let (best, median) = (rates[at][ROUNDS - 1], rates[at][ROUNDS / 2]);
        println!(
            "  {name:11} recall {:.4}, {best:7.0} queries/s best, {median:7.0} median, {} rows compared",
            recalls[at], scored[at]
        );
    }
}

/// Random subsets of several sizes.
fn filters(rows: &Flat, asked: &Flat) {
    let dir = tempfile::tempdir().unwrap();
    let open = built(rows, dir.path(), &ArroyParameters::default());
    let segments = [Arc::clone(&open.segment)];
    let queries: Vec<&[f32]> = asked.vectors.chunks_exact(384).collect();
    for percent in [1u64, 10, 20, 30, 50, 90] {
        let chosen: BTreeSet<Row> = rows
            .live
            .iter()
            .filter(|row| {
                u64::from(*row).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & 0xFFFF
                    < percent * 65_536 / 100
            })
            .collect();
        let allowed: RoaringBitmap = chosen.into_iter().collect();
        let ask = Ask {
            allowed: Some(&allowed),
            ..Ask::nearest(K)
        };
        println!("\nallowed {percent} %: {} rows", allowed.len());
        compare(
            rows,
            &segments,
            &queries,
            &[("exact", Ask { exact: true, ..ask }), ("usual", ask)],
        );
    }
}

fn built(rows: &Flat, dir: &Path, parameters: &ArroyParameters) -> Open {
    let job = Job {
        rows,
        recipe: &Recipe::Arroy(parameters.clone()),
        store: uuid::Uuid::nil(),
        sequence: 1,
        before: None,
        beside: None,
        threads: 1,
        clock: &SystemClock,
        stop: &never,
        progress: &|_| {},
    };
    build(dir, &job).unwrap()
}

struct Timer<'a> {
    clock: &'a dyn Clock,
    started: vectorsphere::clock::Moment,
}

impl<'a> Timer<'a> {
    fn start(clock: &'a dyn Clock) -> Self {
        Self {
            clock,
            started: clock.now(),
        }
    }

    fn seconds(&self) -> f64 {
        self.clock
            .now()
            .since(self.started)
            .max(Duration::from_nanos(1))
            .as_secs_f64()
    }
}

/// The bytes behind the header of a NumPy file.
fn npy(path: &Path) -> Vec<u8> {
    let bytes = fs_err::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + header..].to_vec()
}

fn half_to_f32(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let (exponent, fraction) = (u32::from(half >> 10 & 31), u32::from(half & 1023));
    if exponent == 0 {
        let small = fraction as f32 / 16_777_216.0;
        return if sign == 0 { small } else { -small };
    }
    f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13)
}

fn cpu() -> String {
    let info = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find(|line| line.starts_with("model name"));
    name.and_then(|line| line.split(':').nth(1))
        .unwrap_or("unknown")
        .trim()
        .to_owned()
}

fn resident_kib() -> u64 {
    status("RssAnon:")
}

fn peak_kib() -> u64 {
    status("VmHWM:")
}

fn status(field: &str) -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}
