//! The kernels in AVX2 and in AVX-512 VNNI. Reached only through [`super::run`], which knows that
//! the processor has them.
#![expect(
    unsafe_code,
    reason = "vector instructions, behind a check that they exist"
)]

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
        match BITS {
            // SAFETY: the type is only run inside `run_avx2`, whose processor was asked.
            2 => unsafe { code2_avx2(code, query) },
            // SAFETY: as for two bits.
            4 => unsafe { code4_avx2(code, query) },
            // SAFETY: as for two bits.
            _ => unsafe { code8_avx2(code, query) },
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
        match BITS {
            // SAFETY: the type is only run inside `run_vnni`, whose processor was asked.
            2 => unsafe { code2_vnni(code, query) },
            // SAFETY: as for two bits.
            4 => unsafe { code4_vnni(code, query) },
            // SAFETY: as for two bits.
            _ => unsafe { code8_vnni(code, query) },
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
    let (low, high) = (
        _mm256_castsi256_si128(of),
        _mm256_extracti128_si256::<1>(of),
    );
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
    let (a, c) = (
        _mm256_add_epi32(a, b),
        _mm256_add_epi32(c, _mm256_srai_epi32::<6>(d)),
    );
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
