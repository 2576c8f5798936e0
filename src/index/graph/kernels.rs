//! The integer kernels of the walk, and how a whole walk is compiled for what the processor has.
//!
//! A walk spends its time in four small loops: products with packed codes, products of two build
//! codes, ranking in the pool, the rotation's butterflies. Called one by one through function
//! pointers they would cost more in calls than in work. So the walk is written once, generic over
//! [`Kernel`], and [`run`] compiles all of it, with what it inlines, for each [`Level`].
//!
//! Every kernel sums integers, so all of them give exactly the portable result: a code has at most
//! 4,096 components of at most `255 * 127`, which no partial sum carries out of 32 bits.
//!
//! Two slices are gone through together by hand and not by `zip`: that adapter is compiled once, for
//! the baseline, and called from here.
//!
//! Levels: `vnni` (AVX-512 VL and VNNI, on 256-bit registers: a code of two bits has 96 bytes at 384
//! dimensions, which 512-bit registers do not divide, and Zen 4 works on halves anyway), `avx2`,
//! `scalar`. A processor with AVX-512 and without VNNI gains nothing over AVX2 here.
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
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            if avx2 && wide {
                levels.push(Self(Have::Vnni));
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
            Have::Vnni => "vnni",
        }
    }
}

/// One implementation of the kernels. Where two slices do not fit together, the longer one's rest
/// is ignored.
pub(super) trait Kernel: Copy {
    /// The sum of products of a packed code's components with a query's.
    fn code<const BITS: u8>(code: &[u8], query: &[i8]) -> i32;

    /// The sum of products of one build code's bytes with another's less [`MIDDLE`].
    fn pair(left: &[u8], right: &[u8]) -> i32;
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
        Have::Vnni => unsafe { run_vnni(work) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn run_avx2<R: Run>(work: R) -> R::Out {
    work.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx2,fma,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
)]
fn run_vnni<R: Run>(work: R) -> R::Out {
    work.run::<Vnni>()
}

/// Asks for the cache lines of these bytes, and goes on.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults; SSE is in every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _nothing = bytes;
}

/// Asks for the cache lines of these numbers.
#[inline(always)]
pub(super) fn prefetch_numbers<T: Copy>(numbers: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks((64 / size_of::<T>().max(1)).max(1)) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults; SSE is in every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _nothing = numbers;
}

/// The portable kernels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar;

impl Kernel for Scalar {
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
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Vnni};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCK, Kernel, MIDDLE};

    /// AVX2. Multiplying bytes in pairs saturates at 16 bits: codes of 2 and 4 bits and the build's
    /// of 7 stay below, codes of 8 are widened first.
    #[derive(Debug, Clone, Copy)]
    pub(in super::super) struct Avx2;

    /// AVX-512 VNNI on 256-bit registers.
    #[derive(Debug, Clone, Copy)]
    pub(in super::super) struct Vnni;

    impl Kernel for Avx2 {
        #[inline(always)]
        fn code<const BITS: u8>(code: &[u8], query: &[i8]) -> i32 {
            // SAFETY: the type is only run inside `run_avx2`, whose processor was asked.
            unsafe {
                match BITS {
                    2 => code2_avx2(code, query),
                    4 => code4_avx2(code, query),
                    _ => code8_avx2(code, query),
                }
            }
        }

        #[inline(always)]
        fn pair(left: &[u8], right: &[u8]) -> i32 {
            // SAFETY: the type is only run inside `run_avx2`, whose processor was asked.
            unsafe { pair_avx2(left, right) }
        }
    }

    impl Kernel for Vnni {
        #[inline(always)]
        fn code<const BITS: u8>(code: &[u8], query: &[i8]) -> i32 {
            // SAFETY: the type is only run inside `run_vnni`, whose processor was asked.
            unsafe {
                match BITS {
                    2 => code2_vnni(code, query),
                    4 => code4_vnni(code, query),
                    _ => code8_vnni(code, query),
                }
            }
        }

        #[inline(always)]
        fn pair(left: &[u8], right: &[u8]) -> i32 {
            // SAFETY: the type is only run inside `run_vnni`, whose processor was asked.
            unsafe { pair_vnni(left, right) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(from: &[u8; BLOCK]) -> __m256i {
        // SAFETY: the array holds the 32 bytes that are read; no alignment is asked for.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load_signed(from: &[i8; BLOCK]) -> __m256i {
        // SAFETY: the array holds the 32 bytes that are read; no alignment is asked for.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn sum(of: __m256i) -> i32 {
        let (low, high) = (_mm256_castsi256_si128(of), _mm256_extracti128_si256::<1>(of));
        let four = _mm_add_epi32(low, high);
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0x4e>(four));
        _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0xb1>(two)))
    }

    /// Adds the products of unsigned and signed bytes to eight sums of 32 bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn step(to: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        let pairs = _mm256_maddubs_epi16(unsigned, signed);
        _mm256_add_epi32(to, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn code2_avx2(code: &[u8], query: &[i8]) -> i32 {
        let mask = _mm256_set1_epi8(3);
        let (mut a, mut b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let (code, _) = code.as_chunks::<BLOCK>();
        let (query, _) = query.as_chunks::<{ 4 * BLOCK }>();
        let mut others = query.iter();
        for block in code {
            let Some(query) = others.next() else {
                break;
            };
            let (query, _) = query.as_chunks::<BLOCK>();
            if let [q0, q1, q2, q3] = query {
                let x = load(block);
                let x0 = _mm256_and_si256(x, mask);
                let x1 = _mm256_and_si256(_mm256_srli_epi16::<2>(x), mask);
                let x2 = _mm256_and_si256(_mm256_srli_epi16::<4>(x), mask);
                let x3 = _mm256_and_si256(_mm256_srli_epi16::<6>(x), mask);
                // At most 4 * 2 * 3 * 128: no sum of 16 bits saturates.
                let p0 = _mm256_maddubs_epi16(x0, load_signed(q0));
                let p1 = _mm256_maddubs_epi16(x1, load_signed(q1));
                let p2 = _mm256_maddubs_epi16(x2, load_signed(q2));
                let p3 = _mm256_maddubs_epi16(x3, load_signed(q3));
                let one = _mm256_set1_epi16(1);
                a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_add_epi16(p0, p1), one));
                b = _mm256_add_epi32(b, _mm256_madd_epi16(_mm256_add_epi16(p2, p3), one));
            }
        }
        sum(_mm256_add_epi32(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn code4_avx2(code: &[u8], query: &[i8]) -> i32 {
        let mask = _mm256_set1_epi8(15);
        let (mut a, mut b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let (code, _) = code.as_chunks::<BLOCK>();
        let (query, _) = query.as_chunks::<{ 2 * BLOCK }>();
        let mut others = query.iter();
        for block in code {
            let Some(query) = others.next() else {
                break;
            };
            let (query, _) = query.as_chunks::<BLOCK>();
            if let [q0, q1] = query {
                let x = load(block);
                let low = _mm256_and_si256(x, mask);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(x), mask);
                a = step(a, low, load_signed(q0));
                b = step(b, high, load_signed(q1));
            }
        }
        sum(_mm256_add_epi32(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn code8_avx2(code: &[u8], query: &[i8]) -> i32 {
        let (mut a, mut b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let (code, _) = code.as_chunks::<BLOCK>();
        let (query, _) = query.as_chunks::<BLOCK>();
        let mut others = query.iter();
        for block in code {
            let Some(query) = others.next() else {
                break;
            };
            let (x, q) = (load(block), load_signed(query));
            let (x0, x1) = (_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
            let (q0, q1) = (_mm256_castsi256_si128(q), _mm256_extracti128_si256::<1>(q));
            let low = _mm256_madd_epi16(_mm256_cvtepu8_epi16(x0), _mm256_cvtepi8_epi16(q0));
            let high = _mm256_madd_epi16(_mm256_cvtepu8_epi16(x1), _mm256_cvtepi8_epi16(q1));
            a = _mm256_add_epi32(a, low);
            b = _mm256_add_epi32(b, high);
        }
        sum(_mm256_add_epi32(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn pair_avx2(left: &[u8], right: &[u8]) -> i32 {
        let middle = _mm256_set1_epi8(MIDDLE.cast_signed());
        let (mut a, mut b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let (left, _) = left.as_chunks::<{ 2 * BLOCK }>();
        let (right, _) = right.as_chunks::<{ 2 * BLOCK }>();
        let mut others = right.iter();
        for left in left {
            let Some(right) = others.next() else {
                break;
            };
            let (left, _) = left.as_chunks::<BLOCK>();
            let (right, _) = right.as_chunks::<BLOCK>();
            if let ([l0, l1], [r0, r1]) = (left, right) {
                // At most 2 * 127 * 63: no sum of 16 bits saturates.
                a = step(a, load(l0), _mm256_sub_epi8(load(r0), middle));
                b = step(b, load(l1), _mm256_sub_epi8(load(r1), middle));
            }
        }
        sum(_mm256_add_epi32(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
    fn code2_vnni(code: &[u8], query: &[i8]) -> i32 {
        // The groups stay where they are in the byte, so their products are 1, 4, 16 and 64 times
        // too large: exactly, so one shift at the end makes up for it.
        let (m0, m1) = (_mm256_set1_epi8(3), _mm256_set1_epi8(12));
        let (m2, m3) = (_mm256_set1_epi8(48), _mm256_set1_epi8(192u8.cast_signed()));
        let (mut a, mut b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let (mut c, mut d) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let (code, _) = code.as_chunks::<BLOCK>();
        let (query, _) = query.as_chunks::<{ 4 * BLOCK }>();
        let mut others = query.iter();
        for block in code {
            let Some(query) = others.next() else {
                break;
            };
            let (query, _) = query.as_chunks::<BLOCK>();
            if let [q0, q1, q2, q3] = query {
                let x = load(block);
                a = _mm256_dpbusd_epi32(a, _mm256_and_si256(x, m0), load_signed(q0));
                b = _mm256_dpbusd_epi32(b, _mm256_and_si256(x, m1), load_signed(q1));
                c = _mm256_dpbusd_epi32(c, _mm256_and_si256(x, m2), load_signed(q2));
                d = _mm256_dpbusd_epi32(d, _mm256_and_si256(x, m3), load_signed(q3));
            }
        }
        let (b, c) = (_mm256_srai_epi32::<2>(b), _mm256_srai_epi32::<4>(c));
        let (a, c) = (_mm256_add_epi32(a, b), _mm256_add_epi32(c, _mm256_srai_epi32::<6>(d)));
        sum(_mm256_add_epi32(a, c))
    }

    #[inline]
    #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
    fn code4_vnni(code: &[u8], query: &[i8]) -> i32 {
        let (low, high) = (_mm256_set1_epi8(15), _mm256_set1_epi8(240u8.cast_signed()));
        let (mut a, mut b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let (code, _) = code.as_chunks::<BLOCK>();
        let (query, _) = query.as_chunks::<{ 2 * BLOCK }>();
        let mut others = query.iter();
        for block in code {
            let Some(query) = others.next() else {
                break;
            };
            let (query, _) = query.as_chunks::<BLOCK>();
            if let [q0, q1] = query {
                let x = load(block);
                a = _mm256_dpbusd_epi32(a, _mm256_and_si256(x, low), load_signed(q0));
                b = _mm256_dpbusd_epi32(b, _mm256_and_si256(x, high), load_signed(q1));
            }
        }
        sum(_mm256_add_epi32(a, _mm256_srai_epi32::<4>(b)))
    }

    #[inline]
    #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
    fn code8_vnni(code: &[u8], query: &[i8]) -> i32 {
        let (mut a, mut b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let (code, _) = code.as_chunks::<{ 2 * BLOCK }>();
        let (query, _) = query.as_chunks::<{ 2 * BLOCK }>();
        let mut others = query.iter();
        for code in code {
            let Some(query) = others.next() else {
                break;
            };
            let (code, _) = code.as_chunks::<BLOCK>();
            let (query, _) = query.as_chunks::<BLOCK>();
            if let ([c0, c1], [q0, q1]) = (code, query) {
                a = _mm256_dpbusd_epi32(a, load(c0), load_signed(q0));
                b = _mm256_dpbusd_epi32(b, load(c1), load_signed(q1));
            }
        }
        sum(_mm256_add_epi32(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
    fn pair_vnni(left: &[u8], right: &[u8]) -> i32 {
        let middle = _mm256_set1_epi8(MIDDLE.cast_signed());
        let (mut a, mut b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let (left, _) = left.as_chunks::<{ 2 * BLOCK }>();
        let (right, _) = right.as_chunks::<{ 2 * BLOCK }>();
        let mut others = right.iter();
        for left in left {
            let Some(right) = others.next() else {
                break;
            };
            let (left, _) = left.as_chunks::<BLOCK>();
            let (right, _) = right.as_chunks::<BLOCK>();
            if let ([l0, l1], [r0, r1]) = (left, right) {
                a = _mm256_dpbusd_epi32(a, load(l0), _mm256_sub_epi8(load(r0), middle));
                b = _mm256_dpbusd_epi32(b, load(l1), _mm256_sub_epi8(load(r1), middle));
            }
        }
        sum(_mm256_add_epi32(a, b))
    }
}

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
