//! The few conversions between numbers that the standard library has no lossless name for, each in
//! one place with its reason.
#![expect(
    clippy::as_conversions,
    reason = "each is exact, or rounded or saturated on purpose, as it says"
)]

/// An index of a list in memory. Exact: the project runs on machines of 32 bits and more.
#[inline(always)]
pub(super) const fn at(number: u32) -> usize {
    number as usize
}

/// A count of what is in memory.
#[inline(always)]
pub(super) const fn wide(count: usize) -> u64 {
    count as u64
}

/// The nearest float to a sum of a kernel: those are below 2^27, so off by at most 4.
#[inline(always)]
pub(super) const fn float(sum: i32) -> f32 {
    sum as f32
}

/// The float of a count that is small, or where rounding does not matter.
#[inline(always)]
pub(super) const fn share(count: u64) -> f64 {
    count as f64
}

/// The nearest float of 32 bits.
#[inline(always)]
pub(super) const fn narrow(number: f64) -> f32 {
    number as f32
}

/// The nearest byte of a number in 0..=255, ties to the even one; of others some byte.
#[inline(always)]
pub(super) const fn byte(number: f32) -> u8 {
    // As [`signed_byte`].
    (number + 12_582_912.0).to_bits() as u8
}

/// The nearest whole number of one below 2^22, ties to the even one.
#[inline(always)]
pub(super) const fn whole(number: f32) -> f32 {
    // At 3 * 2^22 floats are whole, so adding it rounds.
    (number + 12_582_912.0) - 12_582_912.0
}

/// The nearest signed byte of a number in -127..=127, ties to the even one; of others some byte.
#[inline(always)]
pub(super) const fn signed_byte(number: f32) -> i8 {
    // At 3 * 2^22 floats are whole, so adding it rounds; the lowest bits are then those of the sum.
    (number + 12_582_912.0).to_bits() as i8
}

/// The count that is not smaller; 0 for what is no number or below 0.
#[inline(always)]
pub(super) fn count(number: f64) -> usize {
    number.ceil() as usize
}

/// A number that has the order of the float, whatever its sign. No number comes last.
#[inline(always)]
pub(super) fn ordered(float: f32) -> i32 {
    let bits = float.to_bits().cast_signed();
    // Below zero a larger magnitude is less: all bits but the sign are turned.
    bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed()
}

/// The float that [`ordered`] was given.
#[inline(always)]
pub(super) fn unordered(number: i32) -> f32 {
    let bits = number ^ ((number >> 31).cast_unsigned() >> 1).cast_signed();
    f32::from_bits(bits.cast_unsigned())
}

/// An entry of a list that is sorted by key, then by number.
#[inline(always)]
pub(super) const fn entry(key: i32, number: u32) -> i64 {
    ((key as i64) << 32) | number as i64
}

/// The key and the number of an entry.
#[inline(always)]
pub(super) const fn parts(entry: i64) -> (i32, u32) {
    ((entry >> 32) as i32, entry as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_bytes_are_rounded_to_the_even() {
        let mut number = -127.0f32;
        while number <= 127.0 {
            let expected = number.round_ties_even() as i8;
            assert_eq!(signed_byte(number), expected, "{number}");
            number += 1.0 / 64.0;
        }
    }

    #[test]
    fn bytes_and_whole_numbers_are_rounded_to_the_even() {
        let mut number = 0f32;
        while number <= 255.0 {
            let expected = number.round_ties_even();
            assert_eq!(byte(number), expected as u8, "{number}");
            assert_eq!(whole(number).to_bits(), expected.to_bits(), "{number}");
            number += 1.0 / 64.0;
        }
    }

    #[test]
    fn keys_have_the_order_of_floats_and_entries_of_their_keys() {
        let floats = [
            f32::NEG_INFINITY,
            -3.5,
            -1e-40,
            -0.0,
            0.0,
            1e-40,
            2.0,
            1e30,
            f32::INFINITY,
        ];
        for pair in floats.windows(2) {
            assert!(ordered(pair[0]) < ordered(pair[1]), "{pair:?}");
            assert!(entry(ordered(pair[0]), u32::MAX) < entry(ordered(pair[1]), 0));
        }
        for float in floats {
            assert_eq!(unordered(ordered(float)).to_bits(), float.to_bits());
            assert_eq!(parts(entry(ordered(float), 7)), (ordered(float), 7));
        }
        assert!(ordered(f32::NAN) > ordered(f32::INFINITY));
    }
}
