//! The kernels in AVX2, AVX-512 and AVX-512 VNNI. Reached only through [`super::run`], which knows that
//! the processor has them.
#![expect(
    unsafe_code,
    reason = "vector instructions, behind a check that they exist"
)]

use std::arch::x86_64::*;

use super::{BLOCK, Kernel, LANES, MIDDLE};

/// AVX2. Multiplying bytes in pairs saturates at 16 bits: codes of 2 and 4 bits and the build's
/// of 7 stay below, codes of 8 are widened first.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Avx2;

/// AVX-512 without VNNI: the products of AVX2, the list on 512 bits.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Avx512;

/// AVX-512 VNNI on 256-bit registers.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Vnni;

impl Kernel for Avx2 {
    // By the count of instructions: a group takes three times as many as with AVX-512.
    const SHORT: usize = 64;

    #[inline(always)]
    fn code<const BITS: u8>(code: &[u8], query: &[i8]) -> i32 {
        match BITS {
            // SAFETY: the type is only run inside `run_avx2` or `run_avx512`, whose processor was asked.
            2 => unsafe { code2_avx2(code, query) },
            // SAFETY: as for two bits.
            4 => unsafe { code4_avx2(code, query) },
            // SAFETY: as for two bits.
            _ => unsafe { code8_avx2(code, query) },
        }
    }

    #[inline(always)]
    fn pair(left: &[u8], right: &[u8]) -> i32 {
        // SAFETY: the type is only run inside `run_avx2` or `run_avx512`, whose processor was asked.
        unsafe { pair_avx2(left, right) }
    }

    #[inline(always)]
    fn insert(list: &mut [[i64; LANES]], new: i64) -> usize {
        // SAFETY: the type is only run inside `run_avx2` or `run_avx512`, whose processor was asked.
        unsafe { insert_avx2(list, new) }
    }

    #[inline(always)]
    fn even(list: &[[i64; LANES]]) -> (usize, usize) {
        // SAFETY: the type is only run inside `run_avx2` or `run_avx512`, whose processor was asked.
        unsafe { even_avx2(list) }
    }
}

impl Kernel for Avx512 {
    const SHORT: usize = 256;

    #[inline(always)]
    fn code<const BITS: u8>(code: &[u8], query: &[i8]) -> i32 {
        Avx2::code::<BITS>(code, query)
    }

    #[inline(always)]
    fn pair(left: &[u8], right: &[u8]) -> i32 {
        Avx2::pair(left, right)
    }

    #[inline(always)]
    fn insert(list: &mut [[i64; LANES]], new: i64) -> usize {
        // SAFETY: the type is only run inside `run_avx512` or `run_vnni`, whose processor was asked.
        unsafe { insert_avx512(list, new) }
    }

    #[inline(always)]
    fn even(list: &[[i64; LANES]]) -> (usize, usize) {
        // SAFETY: as above.
        unsafe { even_avx512(list) }
    }
}

impl Kernel for Vnni {
    const SHORT: usize = Avx512::SHORT;

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

    #[inline(always)]
    fn insert(list: &mut [[i64; LANES]], new: i64) -> usize {
        Avx512::insert(list, new)
    }

    #[inline(always)]
    fn even(list: &[[i64; LANES]]) -> (usize, usize) {
        Avx512::even(list)
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
    let (code, _) = code.as_chunks::<{ 2 * BLOCK }>();
    let (query, _) = query.as_chunks::<{ 4 * BLOCK }>();
    let mut others = query.iter();
    for blocks in code {
        let Some(query) = others.next() else {
            break;
        };
        let (blocks, query) = (blocks.as_chunks::<BLOCK>().0, query.as_chunks::<BLOCK>().0);
        if let ([x, y], [q0, q1, q2, q3]) = (blocks, query) {
            let (x, y) = (load(x), load(y));
            let high = |of| _mm256_and_si256(_mm256_srli_epi16::<4>(of), mask);
            a = step(a, _mm256_and_si256(x, mask), load_signed(q0));
            b = step(b, high(x), load_signed(q1));
            a = step(a, _mm256_and_si256(y, mask), load_signed(q2));
            b = step(b, high(y), load_signed(q3));
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
    let (code, _) = code.as_chunks::<{ 2 * BLOCK }>();
    let (query, _) = query.as_chunks::<{ 4 * BLOCK }>();
    let mut others = query.iter();
    for blocks in code {
        let Some(query) = others.next() else {
            break;
        };
        let (blocks, query) = (blocks.as_chunks::<BLOCK>().0, query.as_chunks::<BLOCK>().0);
        if let ([x, y], [q0, q1, q2, q3]) = (blocks, query) {
            let (x, y) = (load(x), load(y));
            a = _mm256_dpbusd_epi32(a, _mm256_and_si256(x, low), load_signed(q0));
            b = _mm256_dpbusd_epi32(b, _mm256_and_si256(x, high), load_signed(q1));
            a = _mm256_dpbusd_epi32(a, _mm256_and_si256(y, low), load_signed(q2));
            b = _mm256_dpbusd_epi32(b, _mm256_and_si256(y, high), load_signed(q3));
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

#[inline]
#[target_feature(enable = "avx2")]
fn load_entries(from: &[i64; 4]) -> __m256i {
    // SAFETY: the array holds the 32 bytes that are read; no alignment is asked for.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_entries(to: &mut [i64; 4], entries: __m256i) {
    // SAFETY: the array holds the 32 bytes that are written; no alignment is asked for.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), entries) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn minimum(left: __m256i, right: __m256i) -> __m256i {
    _mm256_blendv_epi8(left, right, _mm256_cmpgt_epi64(left, right))
}

#[inline]
#[target_feature(enable = "avx2")]
fn maximum(left: __m256i, right: __m256i) -> __m256i {
    _mm256_blendv_epi8(right, left, _mm256_cmpgt_epi64(left, right))
}

#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn insert_avx2(list: &mut [[i64; LANES]], new: i64) -> usize {
    let added = _mm256_set1_epi64x(new);
    let mut smaller = _mm256_setzero_si256();
    // From the last on: what is moved was read before it is written over.
    let mut rest = list;
    while let Some((group, before)) = rest.split_last_mut() {
        let below = before.last().map_or(i64::MIN, |[.., last]| *last);
        let [low, high] = group.as_chunks_mut::<4>().0 else {
            break;
        };
        let (a, b) = (load_entries(low), load_entries(high));
        // One place on: the last of each four comes first, then is taken from the four before.
        let (a_on, b_on) = (
            _mm256_permute4x64_epi64::<0b10_01_00_11>(a),
            _mm256_permute4x64_epi64::<0b10_01_00_11>(b),
        );
        let b_before = _mm256_blend_epi32::<0b11>(b_on, a_on);
        let a_before = _mm256_blend_epi32::<0b11>(a_on, _mm256_set1_epi64x(below));
        let (a_new, b_new) = (
            maximum(a_before, minimum(a, added)),
            maximum(b_before, minimum(b, added)),
        );
        store_entries(low, a_new);
        store_entries(high, b_new);
        // All bits of a smaller one are set, which is minus one.
        smaller = _mm256_sub_epi64(smaller, _mm256_cmpgt_epi64(added, a));
        smaller = _mm256_sub_epi64(smaller, _mm256_cmpgt_epi64(added, b));
        rest = before;
    }
    let four = _mm_add_epi64(
        _mm256_castsi256_si128(smaller),
        _mm256_extracti128_si256::<1>(smaller),
    );
    let sum = _mm_add_epi64(four, _mm_unpackhi_epi64(four, four));
    usize::try_from(_mm_cvtsi128_si64(sum)).unwrap_or(0)
}

#[inline]
#[target_feature(enable = "avx512f,popcnt")]
fn insert_avx512(list: &mut [[i64; LANES]], new: i64) -> usize {
    let added = _mm512_set1_epi64(new);
    let mut smaller = 0u32;
    // From the last on: what is moved was read before it is written over.
    let mut rest = list;
    while let Some((group, before)) = rest.split_last_mut() {
        // SAFETY: the array holds the 64 bytes that are read; no alignment is asked for.
        let old = unsafe { _mm512_loadu_si512(group.as_ptr().cast()) };
        let below = match before.last() {
            // SAFETY: as above.
            Some(group) => unsafe { _mm512_loadu_si512(group.as_ptr().cast()) },
            None => _mm512_set1_epi64(i64::MIN),
        };
        let moved = _mm512_alignr_epi64::<7>(old, below);
        let new = _mm512_max_epi64(moved, _mm512_min_epi64(old, added));
        // SAFETY: the array holds the 64 bytes that are written; no alignment is asked for.
        unsafe { _mm512_storeu_si512(group.as_mut_ptr().cast(), new) };
        let less = _mm512_cmplt_epi64_mask(old, added);
        smaller = smaller.wrapping_add(less.count_ones());
        rest = before;
    }
    usize::try_from(smaller).unwrap_or(0)
}

#[inline]
#[target_feature(enable = "avx2,bmi1")]
fn even_avx2(list: &[[i64; LANES]]) -> (usize, usize) {
    even(list, |group| {
        let [low, high] = group.as_chunks::<4>().0 else {
            return 0;
        };
        // The lowest bit becomes the sign, and the signs a mask.
        let signs = |of: &[i64; 4]| {
            let signs = _mm256_slli_epi64::<63>(load_entries(of));
            _mm256_movemask_pd(_mm256_castsi256_pd(signs)).cast_unsigned()
        };
        (signs(low) | signs(high) << 4) ^ 0xff
    })
}

#[inline]
#[target_feature(enable = "avx512f,bmi1")]
fn even_avx512(list: &[[i64; LANES]]) -> (usize, usize) {
    let lowest = _mm512_set1_epi64(1);
    even(list, |group| {
        // SAFETY: the array holds the 64 bytes that are read; no alignment is asked for.
        let entries = unsafe { _mm512_loadu_si512(group.as_ptr().cast()) };
        u32::from(_mm512_testn_epi64_mask(entries, lowest))
    })
}

/// The places of the first two even entries, by the mask of a group's even ones.
#[inline(always)]
fn even(list: &[[i64; LANES]], mask: impl Fn(&[i64; LANES]) -> u32) -> (usize, usize) {
    let place = |mask: u32| usize::try_from(mask.trailing_zeros()).unwrap_or(0);
    let (mut before, mut first) = (0usize, None);
    for group in list {
        let mut even = mask(group);
        if first.is_none() && even != 0 {
            first = Some(before.wrapping_add(place(even)));
            even &= even.wrapping_sub(1);
        }
        if let Some(first) = first
            && even != 0
        {
            return (first, before.wrapping_add(place(even)));
        }
        before = before.wrapping_add(LANES);
    }
    (first.unwrap_or(before), before)
}
