//! What registers hold, in `nft`'s words.

use crate::datatype::{DataType, KeyType};
use crate::expr::Register;

/// Count of 32-bit registers.
const REGISTERS: usize = 16;

/// What one or more registers hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Term {
    /// How `nft` calls it.
    pub(super) text: String,
    /// How a value that it is compared with is printed.
    pub(super) shape: Shape,
    /// Bytes it takes.
    pub(super) length: usize,
}

/// How values of a term are printed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// As a value of this type; a shorter one is the start of it.
    Field(DataType),
    /// As the names of bits.
    Bits(&'static [(u32, &'static str)]),
    /// As the name of a number.
    Names(&'static [(u32, &'static str)]),
    /// A field after a mask; `xor` is what a comparison has to take away.
    Masked {
        /// The term before the mask.
        of: Box<Term>,
        /// Bits that are kept.
        mask: Vec<u8>,
        /// Bits that are turned.
        xor: Vec<u8>,
    },
    /// A constant, printed by the type it is used as.
    Constant(Vec<u8>),
    /// What a lookup found, by the data type of the map.
    Found(KeyType),
}

impl Term {
    pub(super) fn field(text: impl Into<String>, kind: DataType) -> Self {
        Self { text: text.into(), shape: Shape::Field(kind), length: kind.size() as usize }
    }

    /// Registers it fills.
    fn words(&self) -> usize {
        self.length.div_ceil(4).max(1)
    }
}

/// All registers.
#[derive(Debug, Default)]
pub(super) struct Registers([Option<Term>; REGISTERS]);

impl Registers {
    pub(super) fn load(&mut self, to: Register, term: Term) {
        let start = usize::from(to.0);
        for word in 1..term.words() {
            if let Some(slot) = self.0.get_mut(start + word) {
                *slot = None;
            }
        }
        if let Some(slot) = self.0.get_mut(start) {
            *slot = Some(term);
        }
    }

    pub(super) fn get(&self, from: Register) -> Option<&Term> {
        self.0.get(usize::from(from.0))?.as_ref()
    }

    /// The terms side by side that make up a value of so many bytes.
    pub(super) fn run(&self, from: Register, length: usize) -> Option<Vec<&Term>> {
        let mut terms = Vec::new();
        let mut at = 0;
        while 4 * at < length {
            let term = self.0.get(usize::from(from.0) + at)?.as_ref()?;
            at += term.words();
            terms.push(term);
        }
        Some(terms)
    }
}
