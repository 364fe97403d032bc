//! Where the backup library cuts files into pieces: a rolling Rabin fingerprint whose tables are made once.
//!
//! Takes the place of the crate of that name, which makes them anew for every file: a third of the time of a backup of
//! small files. The numbers are the same, or nothing would be found in repositories of others.

use std::sync::{Arc, Mutex, PoisonError};

/// A polynomial over two elements, its coefficients as bits.
pub type Polynom64 = u64;

/// What is computed with polynomials.
pub trait Polynom {
    /// The highest power with a coefficient; -1 for zero.
    fn degree(&self) -> i32;
    /// The rest of a division.
    #[must_use]
    fn modulo(&self, m: &Self) -> Self;
}

impl Polynom for Polynom64 {
    fn degree(&self) -> i32 {
        63 - i32::try_from(self.leading_zeros()).unwrap_or(64)
    }

    fn modulo(&self, m: &Self) -> Self {
        let mut rest = *self;
        while rest.degree() >= m.degree() {
            rest ^= m << (rest.degree() - m.degree());
        }
        rest
    }
}

/// A fingerprint of the last bytes.
pub trait RollingHash64 {
    /// Forgets all bytes.
    fn reset(&mut self);
    /// Takes bytes until the window lacks one, and says how many there were.
    fn prefill_window<I: Iterator<Item = u8>>(&mut self, iter: &mut I) -> usize;
    /// Forgets all bytes and takes new ones.
    fn reset_and_prefill_window<I: Iterator<Item = u8>>(&mut self, iter: &mut I) -> usize;
    /// Takes a byte in the place of the oldest one.
    fn slide(&mut self, byte: u8);
    /// The fingerprint.
    fn get_hash(&self) -> &Polynom64;
}

/// What only depends on the window and the polynomial.
#[derive(Debug)]
struct Tables {
    bits: u32,
    modulus: Polynom64,
    /// What each byte contributes when it is the oldest of the window.
    out: [Polynom64; 256],
    /// What takes the highest byte of a shifted fingerprint back into the range.
    reduce: [Polynom64; 256],
}

/// The tables that were made last. There is one polynomial for each repository, and one repository for each process.
static LAST: Mutex<Option<Arc<Tables>>> = Mutex::new(None);

impl Tables {
    fn of(bits: u32, modulus: Polynom64) -> Arc<Self> {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(tables) if tables.bits == bits && tables.modulus == modulus => Arc::clone(tables),
            _ => Arc::clone(last.insert(Arc::new(Self::new(bits, modulus)))),
        }
    }

    fn new(bits: u32, modulus: Polynom64) -> Self {
        let mut tables = Self { bits, modulus, out: [0; 256], reduce: [0; 256] };
        for (byte, (out, reduce)) in (0_u64..).zip(tables.out.iter_mut().zip(&mut tables.reduce)) {
            *out = (1..1_usize << bits).fold(byte.modulo(&modulus), |hash, _| (hash << 8).modulo(&modulus));
            let high = byte << modulus.degree();
            *reduce = high.modulo(&modulus) | high;
        }
        tables
    }
}

/// A Rabin fingerprint of a window of bytes.
#[derive(Clone, Debug)]
pub struct Rabin64 {
    tables: Arc<Tables>,
    window: Box<[u8]>,
    oldest: usize,
    shift: i32,
    /// The fingerprint.
    pub hash: Polynom64,
}

impl Rabin64 {
    /// A window of 2 to that power of bytes, over an irreducible polynomial of degree 8 to 56.
    #[must_use]
    pub fn new_with_polynom(window_size_nb_bits: u32, mod_polynom: &Polynom64) -> Self {
        Self {
            tables: Tables::of(window_size_nb_bits, *mod_polynom),
            window: vec![0; 1 << window_size_nb_bits].into(),
            oldest: 0,
            shift: mod_polynom.degree() - 8,
            hash: 0,
        }
    }
}

impl RollingHash64 for Rabin64 {
    fn reset(&mut self) {
        self.window.fill(0);
        self.oldest = 0;
        self.hash = 0;
    }

    fn prefill_window<I: Iterator<Item = u8>>(&mut self, iter: &mut I) -> usize {
        iter.take(self.window.len() - 1).map(|byte| self.slide(byte)).count()
    }

    fn reset_and_prefill_window<I: Iterator<Item = u8>>(&mut self, iter: &mut I) -> usize {
        self.reset();
        self.prefill_window(iter)
    }

    #[inline]
    fn slide(&mut self, byte: u8) {
        let left = std::mem::replace(&mut self.window[self.oldest], byte);
        self.oldest = (self.oldest + 1) & (self.window.len() - 1);
        let hash = self.hash ^ self.tables.out[usize::from(left)];
        let high = usize::from((hash >> self.shift).to_le_bytes()[0]);
        self.hash = ((hash << 8) | u64::from(byte)) ^ self.tables.reduce[high];
    }

    #[inline]
    fn get_hash(&self) -> &Polynom64 {
        &self.hash
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Irreducible, of degree 53, as repositories have them.
    const MODULI: [Polynom64; 2] = [0x003D_A335_8B4D_C173, 0x0025_4A2B_8D70_C2B7];

    /// The definition: the bytes of the window, oldest first, as one polynomial, divided.
    fn defined(window: &[u8], modulus: Polynom64) -> Polynom64 {
        window.iter().fold(0, |hash: u64, byte| ((hash << 8) | u64::from(*byte)).modulo(&modulus))
    }

    proptest! {
        #[test]
        fn rolling_equals_its_definition(bytes in prop::collection::vec(any::<u8>(), 64..300), which in 0..2_usize) {
            let modulus = MODULI[which];
            let mut rabin = Rabin64::new_with_polynom(6, &modulus);
            let mut rest = bytes.iter().copied();
            prop_assert_eq!(rabin.reset_and_prefill_window(&mut rest), 63);
            for (end, byte) in (64..).zip(rest) {
                rabin.slide(byte);
                prop_assert_eq!(*rabin.get_hash(), defined(&bytes[end - 64..end], modulus));
            }
        }

        #[test]
        fn a_used_one_is_as_good_as_new(first in prop::collection::vec(any::<u8>(), 64..200), then in any::<[u8; 80]>()) {
            let mut used = Rabin64::new_with_polynom(6, &MODULI[0]);
            first.iter().for_each(|byte| used.slide(*byte));
            let mut new = Rabin64::new_with_polynom(6, &MODULI[0]);
            for rabin in [&mut used, &mut new] {
                let mut rest = then.iter().copied();
                rabin.reset_and_prefill_window(&mut rest);
                rest.for_each(|byte| rabin.slide(byte));
            }
            prop_assert_eq!(used.hash, new.hash);
        }
    }

    #[test]
    fn degrees_and_rests() {
        assert_eq!([0_u64.degree(), 1.degree(), 127.degree(), 128.degree()], [-1, 0, 6, 7]);
        assert_eq!([7_u64.modulo(&3), 7.modulo(&4), 19.modulo(&8)], [1, 3, 3]);
    }
}
