//! Frames in sectors: what can be told from bytes alone. Pure.
//!
//! A frame fills whole sectors of 512 bytes, the unit that a disk writes whole or not at all. Each
//! sector has a CRC-32 over whose log it is of, its number, the number of its frame's first sector
//! and all of its bytes, so a length is summed as a body is, and no value can look like a frame. The
//! first sector of a frame begins with the length of the body; the last is filled up with zeros.
//!
//! Every append is one frame, and none follows one that was not synced. What an unfinished append
//! leaves is therefore known: the file ends before the frame does, or sectors of the frame are still
//! all zeros, and no frame begins after it. Anything else is damage ([`Step::Broken`]).

/// Bytes that are written whole or not at all.
pub(super) const SECTOR: usize = 512;
/// Bytes of the sum at the start of a sector.
const SUM: usize = 4;
/// Bytes of a sector that a frame fills.
const ROOM: usize = SECTOR - SUM;
/// Bytes of the length at the start of a frame.
const LENGTH: usize = 4;

/// What comes next in a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A whole frame.
    Whole(Vec<u8>),
    /// Nothing: the log ends here.
    End,
    /// What an append leaves that was not finished, up to the end.
    Torn,
    /// What no append leaves: the number of the sector, and what is wrong with it.
    Broken(usize, &'static str),
}

/// Reads frames one after the other.
#[derive(Debug)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    salt: u64,
    /// The number of the sector at which the next frame begins.
    at: usize,
}

fn sum(salt: u64, first: usize, at: usize, content: &[u8]) -> [u8; SUM] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    for number in [first, at] {
        hasher.update(&u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes());
    }
    hasher.update(content);
    hasher.finalize().to_le_bytes()
}

fn sectors_of(body_len: usize) -> usize {
    body_len.saturating_add(LENGTH).div_ceil(ROOM)
}

/// Appends a frame that begins at the sector with a number.
pub(super) fn frame(into: &mut Vec<u8>, salt: u64, first: usize, body: &[u8]) {
    let mut content = Vec::with_capacity(LENGTH + body.len());
    content.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    content.extend(body);
    into.reserve(sectors_of(body.len()) * SECTOR);
    for (number, piece) in content.chunks(ROOM).enumerate() {
        let mut filled = [0; ROOM];
        for (place, byte) in filled.iter_mut().zip(piece) {
            *place = *byte;
        }
        into.extend(sum(salt, first, first + number, &filled));
        into.extend(filled);
    }
}

impl<'b> Reader<'b> {
    /// Reads from the sector with a number on.
    pub(super) fn new(bytes: &'b [u8], salt: u64, at: usize) -> Self {
        Self { bytes, salt, at }
    }

    /// The byte at which the next frame begins.
    pub(super) fn position(&self) -> usize {
        self.at.saturating_mul(SECTOR)
    }

    /// The next frame, or why there is none.
    pub(super) fn step(&mut self, body_len_max: usize) -> Step {
        let step = self.frame_at(self.at, body_len_max);
        match &step {
            Step::Whole(body) => self.at += sectors_of(body.len()),
            Step::Torn => {
                let mut later = (self.at + 1..).take_while(|at| self.sector(*at).is_some());
                if let Some(later) = later.find(|at| self.begins_frame(*at)) {
                    return Step::Broken(later, "a frame begins after one that is not whole");
                }
            },
            Step::End | Step::Broken(..) => {},
        }
        step
    }

    fn frame_at(&self, first: usize, body_len_max: usize) -> Step {
        let Some(sector) = self.sector(first) else {
            let is_end = self.bytes.len() <= first.saturating_mul(SECTOR);
            return if is_end { Step::End } else { Step::Torn };
        };
        if is_missing(sector) {
            return Step::Torn;
        }
        let Some(content) = self.content(first, first) else {
            return Step::Broken(first, "the checksum is wrong");
        };
        let length = content.first_chunk::<LENGTH>();
        let length = length.and_then(|length| usize::try_from(u32::from_le_bytes(*length)).ok());
        let Some(length) = length.filter(|length| *length <= body_len_max) else {
            return Step::Broken(first, "the frame is too long");
        };
        let mut whole = content.to_vec();
        let mut torn = false;
        for at in first + 1..first + sectors_of(length) {
            match self.sector(at) {
                None => return Step::Torn,
                Some(sector) if is_missing(sector) => torn = true,
                Some(_) => match self.content(first, at) {
                    Some(content) => whole.extend(content),
                    None => return Step::Broken(at, "the checksum is wrong"),
                },
            }
        }
        if torn {
            return Step::Torn;
        }
        whole.drain(..LENGTH);
        whole.truncate(length);
        Step::Whole(whole)
    }

    fn sector(&self, at: usize) -> Option<&'b [u8]> {
        let start = at.checked_mul(SECTOR)?;
        self.bytes.get(start..start.checked_add(SECTOR)?)
    }

    /// What a sector holds, if its sum says that it is of the frame that begins at `first`.
    fn content(&self, first: usize, at: usize) -> Option<&'b [u8]> {
        let (summed, content) = self.sector(at)?.split_at_checked(SUM)?;
        (summed == sum(self.salt, first, at, content)).then_some(content)
    }

    fn begins_frame(&self, at: usize) -> bool {
        self.content(at, at).is_some()
    }
}

/// Whether a sector was never written.
fn is_missing(sector: &[u8]) -> bool {
    sector.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN_MAX: usize = 1 << 20;

    fn log(bodies: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for body in bodies {
            let first = bytes.len() / SECTOR;
            frame(&mut bytes, 7, first, body);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Step) {
        let mut reader = Reader::new(bytes, 7, 0);
        let mut bodies = Vec::new();
        loop {
            match reader.step(LEN_MAX) {
                Step::Whole(body) => bodies.push(body),
                end @ (Step::End | Step::Torn | Step::Broken(..)) => return (bodies, end),
            }
        }
    }

    fn bodies() -> Vec<Vec<u8>> {
        let lens = [0, 1, ROOM - LENGTH, ROOM - LENGTH + 1, 3 * ROOM];
        lens.map(|len| vec![b'x'; len]).to_vec()
    }

    #[test]
    fn what_is_framed_is_read_and_a_cut_is_torn() {
        let bodies = bodies();
        let (bytes, ends) = log(&bodies);
        assert_eq!(read(&bytes), (bodies.clone(), Step::End));
        for cut in 0..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let end = if ends.contains(&cut) {
                Step::End
            } else {
                Step::Torn
            };
            assert_eq!(
                read(&bytes[..cut]),
                (bodies[..whole].to_vec(), end),
                "{cut}"
            );
        }
    }

    #[test]
    fn every_flipped_byte_is_damage() {
        let (bytes, _ends) = log(&bodies());
        for at in 0..bytes.len() {
            for flip in [0x01, 0x40, 0x80, 0xff] {
                let mut broken = bytes.clone();
                broken[at] ^= flip;
                let end = read(&broken).1;
                assert!(matches!(end, Step::Broken(..)), "{at}: {end:?}");
            }
        }
    }

    #[test]
    fn sectors_that_are_missing_are_torn_in_the_last_frame_alone() {
        let bodies = bodies();
        let (bytes, ends) = log(&bodies);
        let last = ends[ends.len() - 2];
        for start in (0..bytes.len()).step_by(SECTOR) {
            let mut broken = bytes.clone();
            broken[start..start + SECTOR].fill(0);
            let (_whole, end) = read(&broken);
            if start >= last {
                assert_eq!(end, Step::Torn, "{start}");
            } else {
                assert!(matches!(end, Step::Broken(..)), "{start}: {end:?}");
            }
        }
    }

    #[test]
    fn a_frame_inside_of_a_value_is_no_frame() {
        let (inner, _ends) = log(&[b"inner".to_vec()]);
        let mut body = vec![0; ROOM - LENGTH];
        body.extend(inner);
        let (bytes, _ends) = log(&[b"first".to_vec(), body]);
        let (whole, end) = read(&bytes[..bytes.len() - 1]);
        assert_eq!((whole.len(), end), (1, Step::Torn));
    }

    #[test]
    fn a_frame_that_is_too_long_is_damage() {
        let (bytes, _ends) = log(&[vec![1; 9]]);
        let step = Reader::new(&bytes, 7, 0).step(8);
        assert_eq!(step, Step::Broken(0, "the frame is too long"));
    }
}
