//! The integer kernels of the walk, and how a whole walk is compiled for what the processor has.
//!
//! A walk spends its time in a few small loops: products with packed codes, products of two build
//! codes, the sorted list of the nearest, the rotation's butterflies. Called one by one through function
//! pointers they would cost more in calls than in work. So the walk is written once, generic over
//! [`Kernel`], and [`run`] compiles all of it, with what it inlines, for each [`Level`].
//!
//! Every kernel sums integers, so all of them give exactly the portable result: a code has at most
//! 4,096 components of at most `255 * 127`, which no partial sum carries out of 32 bits.
//!
//! Long slices are gone through together by hand and not by `zip`: that adapter is compiled once, for
//! the baseline, and called from here.
//!
//! Levels: `vnni` (AVX-512 VL and VNNI, on 256-bit registers: a code of two bits has 96 bytes at 384
//! dimensions, which 512-bit registers do not divide, and Zen 4 works on halves anyway), `avx512` (without VNNI: the
//! products of AVX2), `avx2`, `scalar`. With both of the first the list of a walk is gone through on 512 bits: eight
//! entries at a time.
//!
//! How codes are packed: [`BLOCK`] bytes hold `8 / BITS` groups of as many components; byte `t` of a
//! block holds component `t` of each group, the first group in its lowest bits. So a register of
//! bytes, masked, is one group in order.
#![expect(
    unsafe_code,
    reason = "vector instructions, behind a check that they exist"
)]

use std::sync::OnceLock;

/// Bytes that are packed together.
pub(super) const BLOCK: usize = 32;

/// Entries of a sorted list that are moved together.
pub(super) const LANES: usize = 8;

/// What the build's codes have added, so that they are positive: they lie in 1..=127.
pub(super) const MIDDLE: u8 = 64;

/// What the processor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level(Have);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Have {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

impl Level {
    /// The portable level, which every processor has.
    pub(super) const SCALAR: Self = Self(Have::Scalar);

    /// The fastest level that this processor has.
    pub(super) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().pop().unwrap_or(Self::SCALAR))
    }

    /// Every level that this processor has, the fastest last.
    pub(super) fn available() -> Vec<Self> {
        let mut levels = vec![Self::SCALAR];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt");
            if avx2 {
                levels.push(Self(Have::Avx2));
            }
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx2 && wide {
                levels.push(Self(Have::Avx512));
                if is_x86_feature_detected!("avx512vnni") {
                    levels.push(Self(Have::Vnni));
                }
            }
        }
        levels
    }

    /// The level's word.
    #[cfg(test)]
    pub(super) fn name(self) -> &'static str {
        match self.0 {
            Have::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Have::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Have::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Have::Vnni => "vnni",
        }
    }
}

/// One implementation of the kernels. Where two slices do not fit together, the longer one's rest
/// is ignored.
pub(super) trait Kernel: Copy {
    /// Lists up to this length are gone through whole for each entry that comes in, by [`Kernel::insert`]; in
    /// longer ones its place is searched for, and what lies behind it is moved.
    const SHORT: usize;

    /// The sum of products of a packed code's components with a query's: of 128 components, or several times as many.
    fn code<const BITS: u8>(code: &[u8], query: &[i8]) -> i32;

    /// The sum of products of one build code's bytes with another's less [`MIDDLE`].
    fn pair(left: &[u8], right: &[u8]) -> i32;

    /// Puts an entry into a list that is sorted: those that are larger move one place on, and the last
    /// falls out. Answers how many are smaller. The list is gone through whole, without a branch.
    fn insert(list: &mut [[i64; LANES]], new: i64) -> usize;

    /// The places of the first two even entries of a list; beyond its end where there are fewer.
    fn even(list: &[[i64; LANES]]) -> (usize, usize);
}

/// Work that is compiled for each level. Its `run` is to be `#[inline(always)]`, and so is what it
/// calls and should profit.
pub(super) trait Run {
    /// What comes out.
    type Out;
    /// Does it.
    fn run<K: Kernel>(self) -> Self::Out;
}

/// Does the work at a level.
pub(super) fn run<R: Run>(level: Level, work: R) -> R::Out {
    match level.0 {
        Have::Scalar => work.run::<Scalar>(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` is the only maker of this value and asked the processor.
        Have::Avx2 => unsafe { run_avx2(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` is the only maker of this value and asked the processor.
        Have::Avx512 => unsafe { run_avx512(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` is the only maker of this value and asked the processor.
        Have::Vnni => unsafe { run_vnni(work) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn run_avx2<R: Run>(work: R) -> R::Out {
    work.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
fn run_avx512<R: Run>(work: R) -> R::Out {
    work.run::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx2,fma,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
)]
fn run_vnni<R: Run>(work: R) -> R::Out {
    work.run::<Vnni>()
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the cache lines of these bytes, and goes on.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8]) {
    prefetch_at(bytes, 0, bytes.len());
}

/// Asks for the cache lines of so many bytes from a place in a list on. Whether they are in it does not matter: nothing
/// is read.
#[inline(always)]
pub(super) fn prefetch_at(list: &[u8], start: usize, bytes: usize) {
    let first = list.as_ptr().wrapping_add(start);
    // Most are of a few lines: a loop would do more for each than ask for it.
    for line in 0..STRAIGHT {
        let offset = line.wrapping_mul(LINE);
        if offset < bytes {
            ask(first.wrapping_add(offset));
        }
    }
    let mut offset = STRAIGHT.wrapping_mul(LINE);
    while offset < bytes {
        ask(first.wrapping_add(offset));
        offset = offset.wrapping_add(LINE);
    }
}

/// Lines that are asked for without a loop.
const STRAIGHT: usize = 4;

/// Asks for the cache lines of these numbers.
#[inline(always)]
pub(super) fn prefetch_numbers<T: Copy>(numbers: &[T]) {
    for line in numbers.chunks((LINE / size_of::<T>().max(1)).max(1)) {
        ask(line.as_ptr());
    }
}

#[inline(always)]
fn ask<T>(from: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults; SSE is in every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _nothing = from;
}

/// The portable kernels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar;

impl Kernel for Scalar {
    const SHORT: usize = 16;

    #[inline(always)]
    fn code<const BITS: u8>(code: &[u8], query: &[i8]) -> i32 {
        let groups = usize::from(8 / BITS);
        let mask = u8::MAX >> (8 - BITS);
        let mut sum = 0i32;
        let (blocks, _) = code.as_chunks::<BLOCK>();
        let (query, _) = query.as_chunks::<BLOCK>();
        for (block, query) in blocks.iter().zip(query.chunks_exact(groups)) {
            let mut shift = 0;
            for group in query {
                for (byte, component) in block.iter().zip(group) {
                    let value = i32::from((byte >> shift) & mask);
                    sum = sum.wrapping_add(value.wrapping_mul(i32::from(*component)));
                }
                shift += BITS;
            }
        }
        sum
    }

    #[inline(always)]
    fn pair(left: &[u8], right: &[u8]) -> i32 {
        let mut sum = 0i32;
        let mut others = right.iter();
        for left in left {
            let Some(right) = others.next() else {
                break;
            };
            let right = i32::from(*right).wrapping_sub(i32::from(MIDDLE));
            sum = sum.wrapping_add(i32::from(*left).wrapping_mul(right));
        }
        sum
    }

    #[inline(always)]
    fn insert(list: &mut [[i64; LANES]], new: i64) -> usize {
        let (mut smaller, mut before) = (0usize, i64::MIN);
        for group in list {
            for place in group {
                let old = *place;
                *place = before.max(old.min(new));
                smaller = smaller.wrapping_add(usize::from(old < new));
                before = old;
            }
        }
        smaller
    }

    #[inline(always)]
    fn even(list: &[[i64; LANES]]) -> (usize, usize) {
        let entries = list.as_flattened();
        let even = |from: usize| {
            let rest = entries.get(from..).unwrap_or_default();
            let first = rest.iter().position(|entry| entry & 1 == 0);
            first.map_or(entries.len(), |first| from.wrapping_add(first))
        };
        let first = even(0);
        (first, even(first.wrapping_add(1)))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512, Vnni};

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Code<'a, const BITS: u8>(&'a [u8], &'a [i8]);

    impl<const BITS: u8> Run for Code<'_, BITS> {
        type Out = i32;
        #[inline(always)]
        fn run<K: Kernel>(self) -> i32 {
            K::code::<BITS>(self.0, self.1)
        }
    }

    struct Pair<'a>(&'a [u8], &'a [u8]);

    impl Run for Pair<'_> {
        type Out = i32;
        #[inline(always)]
        fn run<K: Kernel>(self) -> i32 {
            K::pair(self.0, self.1)
        }
    }

    struct Even<'a>(&'a [[i64; LANES]]);

    impl Run for Even<'_> {
        type Out = (usize, usize);
        #[inline(always)]
        fn run<K: Kernel>(self) -> Self::Out {
            K::even(self.0)
        }
    }

    struct Insert<'a>(&'a mut [[i64; LANES]], i64);

    impl Run for Insert<'_> {
        type Out = usize;
        #[inline(always)]
        fn run<K: Kernel>(self) -> usize {
            K::insert(self.0, self.1)
        }
    }

    fn every_level_agrees<const BITS: u8>(code: &[u8], query: &[i8]) {
        let expected = run(Level::SCALAR, Code::<BITS>(code, query));
        for level in Level::available() {
            let got = run(level, Code::<BITS>(code, query));
            assert_eq!(got, expected, "{} {BITS}", level.name());
        }
    }

    #[test]
    fn the_largest_codes_overflow_nowhere() {
        for query in [-128, 127] {
            let query = vec![query; 4096];
            every_level_agrees::<2>(&[255; 1024], &query);
            every_level_agrees::<4>(&[255; 2048], &query);
            every_level_agrees::<8>(&[255; 4096], &query);
        }
        for (left, right) in [(127, 1), (127, 127), (1, 1)] {
            let (left, right) = (vec![left; 4096], vec![right; 4096]);
            let expected = run(Level::SCALAR, Pair(&left, &right));
            for level in Level::available() {
                assert_eq!(run(level, Pair(&left, &right)), expected);
            }
        }
    }

    proptest! {
        #[test]
        fn an_entry_is_put_where_a_sort_would_have_it_at_every_level(
            numbers in proptest::collection::vec(-20i64..20, 0..40),
            new in prop_oneof![-22i64..22, Just(i64::MAX), Just(i64::MIN)],
        ) {
            let mut sorted = numbers;
            sorted.truncate(sorted.len() / LANES * LANES);
            sorted.sort_unstable();
            let smaller = sorted.iter().filter(|old| **old < new).count();
            let mut expected = sorted.clone();
            expected.insert(smaller, new);
            expected.pop();
            for level in Level::available() {
                let mut list = sorted.clone();
                let (groups, _) = list.as_chunks_mut::<LANES>();
                prop_assert_eq!(run(level, Insert(groups, new)), smaller, "{}", level.name());
                prop_assert_eq!(&list, &expected, "{}", level.name());
            }
        }

        #[test]
        fn the_first_even_entries_are_found_at_every_level(
            odd in proptest::collection::vec(0u8..20, 0..40),
        ) {
            // Mostly odd, as in a walk, so that both are often in other groups, or nowhere.
            let mut list: Vec<i64> = odd.iter().map(|of| if *of == 0 { 6 } else { 7 }).collect();
            list.truncate(list.len() / LANES * LANES);
            let (groups, _) = list.as_chunks::<LANES>();
            let mut even = (0..list.len()).filter(|at| list[*at] == 6);
            let mut next = || even.next().unwrap_or(list.len());
            let expected = (next(), next());
            for level in Level::available() {
                prop_assert_eq!(run(level, Even(groups)), expected, "{}", level.name());
            }
        }

        #[test]
        fn all_levels_give_the_portable_result(
            blocks in 0usize..12,
            bytes in proptest::collection::vec(any::<u8>(), 128 * 12),
            query in proptest::collection::vec(any::<i8>(), 128 * 12),
        ) {
            let (bytes, query) = (&bytes[..128 * blocks], &query[..128 * blocks]);
            every_level_agrees::<2>(&bytes[..32 * blocks], query);
            every_level_agrees::<4>(&bytes[..64 * blocks], query);
            every_level_agrees::<8>(bytes, query);
            let left: Vec<u8> = bytes.iter().map(|byte| byte % 127 + 1).collect();
            let right: Vec<u8> = query.iter().map(|byte| byte.cast_unsigned() % 127 + 1).collect();
            let expected = run(Level::SCALAR, Pair(&left, &right));
            for level in Level::available() {
                prop_assert_eq!(run(level, Pair(&left, &right)), expected);
            }
        }
    }
}
