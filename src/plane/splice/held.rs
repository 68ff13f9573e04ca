//! What a client sent and no server has acknowledged yet, put in order: bounded in bytes and in pieces.
//!
//! In: segments in any order, again and again. Out: the bytes from the first one up to the first gap. A piece that says
//! something else than one that is there is a conflict: two readers of the stream could see different requests, so the
//! connection is not to be trusted. Not here: what the bytes mean, and who sends them on.

use crate::base::seq::Seq;

/// Bytes of one connection that are held.
pub(super) const HELD_MAX: usize = 16 * 1024;

/// Pieces with gaps between them, one at the very start not counted. More are not taken; their sender sends them again.
const PIECES_MAX: usize = 16;

/// A segment says something else than an earlier one about the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conflict;

/// The bytes.
#[derive(Debug, Clone)]
pub(super) struct Held {
    start: Seq,
    bytes: Vec<u8>,
    /// Where bytes are, from the start: in order, with gaps between them.
    pieces: Vec<(usize, usize)>,
}

impl Held {
    /// Nothing yet; the first byte will be this one.
    pub(super) fn new(start: Seq) -> Held {
        Held { start, bytes: Vec::new(), pieces: Vec::new() }
    }

    /// The number of the first byte.
    pub(super) fn start(&self) -> Seq {
        self.start
    }

    /// The bytes up to the first gap.
    pub(super) fn in_order(&self) -> &[u8] {
        match self.pieces.first() {
            Some((0, end)) => &self.bytes[..*end],
            _ => &[],
        }
    }

    /// The number behind them.
    pub(super) fn end(&self) -> Seq {
        self.start + self.in_order().len() as u32
    }

    /// Memory taken.
    pub(super) fn footprint(&self) -> usize {
        self.bytes.capacity()
    }

    /// The bytes in order between two numbers; as many of them as are there.
    pub(super) fn between(&self, from: Seq, to: Seq) -> &[u8] {
        let bytes = self.in_order();
        let place = |seq: Seq| usize::try_from(seq.after(self.start)).unwrap_or(0).min(bytes.len());
        &bytes[place(from)..place(to).max(place(from))]
    }

    /// Takes a segment: what of it is within the first `room` bytes, and not before the start.
    ///
    /// # Errors
    /// [`Conflict`]; nothing was taken then.
    pub(super) fn take(&mut self, seq: Seq, payload: &[u8], room: usize) -> Result<(), Conflict> {
        let offset = seq.after(self.start);
        let skip = usize::try_from(-i64::from(offset)).unwrap_or(0).min(payload.len());
        let from = usize::try_from(offset).unwrap_or(0);
        let payload = &payload[skip..];
        let payload = &payload[..payload.len().min(room.min(HELD_MAX).saturating_sub(from))];
        let to = from + payload.len();
        if payload.is_empty() {
            return Ok(());
        }
        for (start, end) in &self.pieces {
            let (start, end) = (from.max(*start), to.min(*end));
            if start < end && self.bytes[start..end] != payload[start - from..end - from] {
                return Err(Conflict);
            }
        }
        let touches = |(start, end): &(usize, usize)| *start <= to && from <= *end;
        if from > 0 && self.is_full() && !self.pieces.iter().any(touches) {
            // What is nearer to being of use takes the place of what is farthest away.
            match self.pieces.last() {
                Some((last, _)) if from < *last => self.bytes.truncate(*last),
                _ => return Ok(()),
            }
            self.pieces.pop();
        }
        if self.bytes.len() < to {
            self.bytes.resize(to, 0);
        }
        self.bytes[from..to].copy_from_slice(payload);
        let joined = self
            .pieces
            .iter()
            .filter(|piece| touches(piece))
            .fold((from, to), |sum, piece| (sum.0.min(piece.0), sum.1.max(piece.1)));
        self.pieces.retain(|piece| !touches(piece));
        let at = self.pieces.partition_point(|piece| piece.0 < joined.0);
        self.pieces.insert(at, joined);
        Ok(())
    }

    /// True if there is something behind a gap.
    pub(super) fn has_gap(&self) -> bool {
        self.pieces.len() > 1 || self.pieces.first().is_some_and(|piece| piece.0 > 0)
    }

    /// True if there is no room for another piece, but at the start there always is.
    pub(super) fn is_full(&self) -> bool {
        self.pieces.iter().filter(|piece| piece.0 > 0).count() >= PIECES_MAX
    }

    /// True if there is nothing, not even behind a gap.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Forgets what is from this number on.
    pub(super) fn truncate(&mut self, from: Seq) {
        let keep = usize::try_from(from.after(self.start)).unwrap_or(0).min(self.in_order().len());
        self.bytes.truncate(keep);
        self.pieces.clear();
        if keep > 0 {
            self.pieces.push((0, keep));
        }
    }

    /// Forgets what is before this number, as far as it is there.
    pub(super) fn release(&mut self, upto: Seq) {
        let count = usize::try_from(upto.after(self.start)).unwrap_or(0).min(self.in_order().len());
        if count == 0 {
            return;
        }
        self.bytes.drain(..count);
        self.start = self.start + count as u32;
        self.pieces.iter_mut().for_each(|piece| *piece = (piece.0.saturating_sub(count), piece.1 - count));
        self.pieces.retain(|piece| piece.0 < piece.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces_come_together() {
        let mut held = Held::new(Seq(u32::MAX - 1));
        held.take(Seq(3), b"fgh", 100).unwrap();
        assert_eq!(held.in_order(), b"");
        held.take(Seq(u32::MAX - 1), b"abc", 100).unwrap();
        assert_eq!(held.in_order(), b"abc");
        held.take(Seq(0), b"cdef", 100).unwrap();
        assert_eq!((held.in_order(), held.end()), (&b"abcdefgh"[..], Seq(6)));
        held.release(Seq(2));
        assert_eq!((held.in_order(), held.start()), (&b"efgh"[..], Seq(2)));
        assert_eq!(held.between(Seq(3), Seq(5)), b"fg");
        assert_eq!(held.take(Seq(2), b"eX", 100), Err(Conflict));
        assert_eq!(held.take(Seq(0), b"??ef", 100), Ok(()), "what is before the start is gone");
        held.release(Seq(6));
        assert!(held.in_order().is_empty() && held.pieces.is_empty());
    }

    #[test]
    fn the_first_missing_piece_always_finds_a_place() {
        let mut held = Held::new(Seq(0));
        for n in 0..PIECES_MAX as u32 {
            held.take(Seq(5 + 3 * n), b"xy", HELD_MAX).unwrap();
        }
        held.take(Seq(0), b"abc", HELD_MAX).unwrap();
        assert_eq!((held.in_order(), held.pieces.len()), (&b"abc"[..], PIECES_MAX + 1));
        held.take(Seq(3), b"dex", HELD_MAX).unwrap();
        assert_eq!(held.in_order(), b"abcdexy");
        // And nothing had to go for it: bytes of a response that were passed on do not come again.
        for n in 1..PIECES_MAX as u32 {
            held.take(Seq(4 + 3 * n), b"-", HELD_MAX).unwrap();
        }
        assert_eq!(held.in_order().len(), 4 + 3 * PIECES_MAX);
    }

    #[test]
    fn it_is_bounded() {
        let mut held = Held::new(Seq(0));
        held.take(Seq(0), &[1; 20_000], HELD_MAX).unwrap();
        assert_eq!(held.in_order().len(), HELD_MAX);
        let mut held = Held::new(Seq(0));
        for n in 0..100 {
            held.take(Seq(1 + 3 * n), b"x", HELD_MAX).unwrap();
        }
        assert_eq!(held.pieces.len(), PIECES_MAX);
        held.take(Seq(0), b"y", HELD_MAX).unwrap();
        assert_eq!(held.in_order(), b"yx");
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same_bytes(start: u32, cuts in proptest::collection::vec((0..200usize, 1..60usize), 1..80)) {
            let text: Vec<u8> = (0..300).map(|n| (n * 7) as u8).collect();
            let mut held = Held::new(Seq(start));
            let mut there = [false; 300];
            for (from, len) in cuts {
                let to = (from + len).min(text.len());
                held.take(Seq(start) + from as u32, &text[from..to], HELD_MAX).unwrap();
                there[from..to].fill(true);
                let whole = there.iter().take_while(|is_there| **is_there).count();
                prop_assert!(held.in_order() == &text[..held.in_order().len()]);
                if held.is_full() {
                    return Ok(());
                }
                prop_assert_eq!(held.in_order().len(), whole);
            }
        }
    }
}
