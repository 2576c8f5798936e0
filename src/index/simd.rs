//! The distance kernels: one pair of vectors in, one number out.
//!
//! Three implementations of each kernel: portable scalar code with sixteen running sums, which the
//! compiler turns into whatever vectors the target's baseline has; AVX2 with FMA; AVX-512F. Which
//! one is used is decided once, from what the processor says it can do. They add the same terms in
//! another order, so each result differs from the exact sum by at most
//! `(components + 2) * f32::EPSILON * sum of the terms' magnitudes` (a property test holds all of
//! them to it) and two implementations by twice that.
//!
//! There is no kernel of one query against many rows: outside the caches a core is bound by fetching
//! the row (1,536 bytes at 384 dimensions), and the query stays in the first cache anyway.
//!
//! Vectors of unequal length never occur (the edges check); here the longer one's rest is ignored,
//! so that nothing is read out of bounds.

use std::sync::OnceLock;

use crate::vector::Distance;

/// Computes one number from two vectors.
pub type Kernel = fn(&[f32], &[f32]) -> f32;

/// One implementation of every kernel.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    /// `scalar`, `avx2` or `avx512`.
    pub name: &'static str,
    /// The sum of products.
    pub dot: Kernel,
    /// The sum of squared differences.
    pub squared: Kernel,
    /// The sum of absolute differences.
    pub manhattan: Kernel,
}

impl Kernels {
    /// The score of two vectors under a distance.
    pub fn score(&self, distance: Distance, left: &[f32], right: &[f32]) -> f32 {
        match distance {
            Distance::Cosine | Distance::Dot => (self.dot)(left, right),
            Distance::Euclid => (self.squared)(left, right).sqrt(),
            Distance::Manhattan => (self.manhattan)(left, right),
        }
    }
}

/// The portable implementation.
pub const SCALAR: Kernels = Kernels {
    name: "scalar",
    dot: scalar::dot,
    squared: scalar::squared,
    manhattan: scalar::manhattan,
};

/// The fastest implementation that this processor can run.
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().pop().unwrap_or(SCALAR))
}

/// Every implementation that this processor can run, the preferred last.
#[cfg(target_arch = "x86_64")]
pub fn available() -> Vec<Kernels> {
    let mut all = vec![SCALAR];
    if wide_registers_pay() {
        all.extend(avx2::detect());
        all.extend(avx512::detect());
    } else {
        all.extend(avx512::detect());
        all.extend(avx2::detect());
    }
    all
}

/// Every implementation that this processor can run, the preferred last.
#[cfg(not(target_arch = "x86_64"))]
pub fn available() -> Vec<Kernels> {
    vec![SCALAR]
}

/// Whether 512-bit registers are faster than 256-bit ones here. AMD's Zen 4 has them and works on
/// their halves, and their loads cross cache lines twice as often: measured, they are slower.
#[cfg(target_arch = "x86_64")]
fn wide_registers_pay() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    (vendor.ebx, vendor.edx, vendor.ecx) == (0x756e_6547, 0x4965_6e69, 0x6c65_746e)
}

/// Defines one kernel by a loop over blocks of `4 * $lanes` components with four running sums, then
/// over single registers, then over a rest that is padded with zeros, which add nothing to any sum.
macro_rules! define {
    ($(#[$attribute:meta])* $name:ident, $lanes:literal, $step:path) => {
        $(#[$attribute])*
        pub(super) fn $name(left: &[f32], right: &[f32]) -> f32 {
            let length = left.len().min(right.len());
            let (left, right) = (left.get(..length), right.get(..length));
            let (Some(left), Some(right)) = (left, right) else { return 0.0 };
            let (left_blocks, left_rest) = left.as_chunks::<{ 4 * $lanes }>();
            let (right_blocks, right_rest) = right.as_chunks::<{ 4 * $lanes }>();
            let (mut a, mut b, mut c, mut d) = (zero(), zero(), zero(), zero());
            for (left, right) in left_blocks.iter().zip(right_blocks) {
                let (left, _) = left.as_chunks::<$lanes>();
                let (right, _) = right.as_chunks::<$lanes>();
                if let ([l0, l1, l2, l3], [r0, r1, r2, r3]) = (left, right) {
                    a = $step(a, load(l0), load(r0));
                    b = $step(b, load(l1), load(r1));
                    c = $step(c, load(l2), load(r2));
                    d = $step(d, load(l3), load(r3));
                }
            }
            let (left_blocks, left_rest) = left_rest.as_chunks::<$lanes>();
            let (right_blocks, right_rest) = right_rest.as_chunks::<$lanes>();
            for (left, right) in left_blocks.iter().zip(right_blocks) {
                a = $step(a, load(left), load(right));
            }
            if !left_rest.is_empty() {
                let (left, right) = (padded(left_rest), padded(right_rest));
                b = $step(b, load(&left), load(&right));
            }
            sum(add(add(a, b), add(c, d)))
        }
    };
}

/// The rest of a vector, filled up with zeros to a whole register.
fn padded<const LANES: usize>(rest: &[f32]) -> [f32; LANES] {
    let mut whole = [0.0; LANES];
    for (to, from) in whole.iter_mut().zip(rest) {
        *to = *from;
    }
    whole
}

mod scalar {
    use super::padded;

    type Lanes = [f32; 4];

    fn zero() -> Lanes {
        [0.0; 4]
    }

    fn load(from: &[f32; 4]) -> Lanes {
        *from
    }

    fn add(left: Lanes, right: Lanes) -> Lanes {
        zip(left, right, |left, right| left + right)
    }

    fn sum(of: Lanes) -> f32 {
        of.iter().sum()
    }

    fn zip(left: Lanes, right: Lanes, with: impl Fn(f32, f32) -> f32) -> Lanes {
        let ([l0, l1, l2, l3], [r0, r1, r2, r3]) = (left, right);
        [with(l0, r0), with(l1, r1), with(l2, r2), with(l3, r3)]
    }

    fn step_dot(sum: Lanes, left: Lanes, right: Lanes) -> Lanes {
        add(sum, zip(left, right, |left, right| left * right))
    }

    fn step_squared(sum: Lanes, left: Lanes, right: Lanes) -> Lanes {
        let difference = zip(left, right, |left, right| left - right);
        step_dot(sum, difference, difference)
    }

    fn step_manhattan(sum: Lanes, left: Lanes, right: Lanes) -> Lanes {
        add(sum, zip(left, right, |left, right| (left - right).abs()))
    }

    define!(dot, 4, step_dot);
    define!(squared, 4, step_squared);
    define!(manhattan, 4, step_manhattan);
}

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "vector instructions, behind a check that they exist"
)]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Kernels, padded};

    /// The kernels, when the processor has AVX2 and FMA. The only way to reach them.
    pub(super) fn detect() -> Option<Kernels> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        has.then_some(Kernels {
            name: "avx2",
            dot,
            squared,
            manhattan,
        })
    }

    fn dot(left: &[f32], right: &[f32]) -> f32 {
        // SAFETY: `detect` hands this function out only after the processor was asked.
        unsafe { dot_inner(left, right) }
    }

    fn squared(left: &[f32], right: &[f32]) -> f32 {
        // SAFETY: `detect` hands this function out only after the processor was asked.
        unsafe { squared_inner(left, right) }
    }

    fn manhattan(left: &[f32], right: &[f32]) -> f32 {
        // SAFETY: `detect` hands this function out only after the processor was asked.
        unsafe { manhattan_inner(left, right) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn load(from: &[f32; 8]) -> __m256 {
        // SAFETY: the array holds the eight floats that are read; no alignment is asked for.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn zero() -> __m256 {
        _mm256_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add(left: __m256, right: __m256) -> __m256 {
        _mm256_add_ps(left, right)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn sum(of: __m256) -> f32 {
        let four = _mm_add_ps(_mm256_castps256_ps128(of), _mm256_extractf128_ps::<1>(of));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn step_dot(sum: __m256, left: __m256, right: __m256) -> __m256 {
        _mm256_fmadd_ps(left, right, sum)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn step_squared(sum: __m256, left: __m256, right: __m256) -> __m256 {
        let difference = _mm256_sub_ps(left, right);
        _mm256_fmadd_ps(difference, difference, sum)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn step_manhattan(sum: __m256, left: __m256, right: __m256) -> __m256 {
        // Clearing the sign bit is the absolute value.
        let difference = _mm256_sub_ps(left, right);
        _mm256_add_ps(sum, _mm256_andnot_ps(_mm256_set1_ps(-0.0), difference))
    }

    define!(
        #[target_feature(enable = "avx2,fma")]
        dot_inner,
        8,
        step_dot
    );
    define!(
        #[target_feature(enable = "avx2,fma")]
        squared_inner,
        8,
        step_squared
    );
    define!(
        #[target_feature(enable = "avx2,fma")]
        manhattan_inner,
        8,
        step_manhattan
    );
}

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "vector instructions, behind a check that they exist"
)]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Kernels, padded};

    /// The kernels, when the processor has AVX-512F. The only way to reach them.
    pub(super) fn detect() -> Option<Kernels> {
        is_x86_feature_detected!("avx512f").then_some(Kernels {
            name: "avx512",
            dot,
            squared,
            manhattan,
        })
    }

    fn dot(left: &[f32], right: &[f32]) -> f32 {
        // SAFETY: `detect` hands this function out only after the processor was asked.
        unsafe { dot_inner(left, right) }
    }

    fn squared(left: &[f32], right: &[f32]) -> f32 {
        // SAFETY: `detect` hands this function out only after the processor was asked.
        unsafe { squared_inner(left, right) }
    }

    fn manhattan(left: &[f32], right: &[f32]) -> f32 {
        // SAFETY: `detect` hands this function out only after the processor was asked.
        unsafe { manhattan_inner(left, right) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(from: &[f32; 16]) -> __m512 {
        // SAFETY: the array holds the sixteen floats that are read; no alignment is asked for.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zero() -> __m512 {
        _mm512_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add(left: __m512, right: __m512) -> __m512 {
        _mm512_add_ps(left, right)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn sum(of: __m512) -> f32 {
        _mm512_reduce_add_ps(of)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn step_dot(sum: __m512, left: __m512, right: __m512) -> __m512 {
        _mm512_fmadd_ps(left, right, sum)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn step_squared(sum: __m512, left: __m512, right: __m512) -> __m512 {
        let difference = _mm512_sub_ps(left, right);
        _mm512_fmadd_ps(difference, difference, sum)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn step_manhattan(sum: __m512, left: __m512, right: __m512) -> __m512 {
        _mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(left, right)))
    }

    define!(
        #[target_feature(enable = "avx512f")]
        dot_inner,
        16,
        step_dot
    );
    define!(
        #[target_feature(enable = "avx512f")]
        squared_inner,
        16,
        step_squared
    );
    define!(
        #[target_feature(enable = "avx512f")]
        manhattan_inner,
        16,
        step_manhattan
    );
}
