//! Dimensions that are cut, joined and moved: how attention gets its heads, and joins them again.

use super::Reason;

/// Dimensions, each made of atoms, the first the slowest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    dimensions: Vec<Vec<Atom>>,
}

/// A dimension that is not cut further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    Batch(usize),
    Sequence(usize),
    /// Number of heads.
    Heads(usize),
    /// Width of one head.
    HeadWidth(usize),
    /// Number of heads × width of one, not cut yet.
    Hidden(usize),
}

impl Atom {
    fn size(self) -> usize {
        let (Self::Batch(size)
        | Self::Sequence(size)
        | Self::Heads(size)
        | Self::HeadWidth(size)
        | Self::Hidden(size)) = self;
        size
    }
}

impl View {
    /// batch × sequence × hidden.
    pub fn of_states(shape: &[usize]) -> Result<Self, Reason> {
        match *shape {
            [batch, sequence, hidden] => Ok(Self {
                dimensions: vec![
                    vec![Atom::Batch(batch)],
                    vec![Atom::Sequence(sequence)],
                    vec![Atom::Hidden(hidden)],
                ],
            }),
            _ => Err(format!("shape {shape:?} is not batch × tokens × width")),
        }
    }

    pub fn shape(&self) -> Vec<usize> {
        let size = |atoms: &Vec<Atom>| atoms.iter().map(|atom| atom.size()).product();
        self.dimensions.iter().map(size).collect()
    }

    /// The same elements in the same order, with other borders between dimensions.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self, Reason> {
        let cannot = || format!("making {shape:?} of {:?} mixes what it should not", self.shape());
        let mut atoms = self.dimensions.concat();
        atoms.reverse();
        let mut dimensions = Vec::new();
        for &size in shape {
            let mut dimension = Vec::new();
            let mut filled = 1;
            while filled < size {
                let atom = atoms.pop().ok_or_else(cannot)?;
                let (taken, rest) = split(atom, size / filled).ok_or_else(cannot)?;
                atoms.extend(rest);
                filled *= taken.size();
                dimension.push(taken);
            }
            if filled != size {
                return Err(cannot());
            }
            dimensions.push(dimension);
        }
        match atoms.is_empty() {
            true => Ok(Self { dimensions }),
            false => Err(cannot()),
        }
    }

    pub fn transposed(&self, order: &[usize]) -> Self {
        Self { dimensions: order.iter().map(|&from| self.dimensions[from].clone()).collect() }
    }

    /// Number of heads, if this is batch × heads × sequence × width of one, in as many dimensions
    /// as it may be; `columns` tells that the last two are exchanged.
    pub fn heads(&self, columns: bool) -> Option<usize> {
        let (leading, last) =
            self.dimensions.split_at_checked(self.dimensions.len().checked_sub(2)?)?;
        let [sequence, width] = match (last, columns) {
            ([sequence, width], false) | ([width, sequence], true) => [sequence, width],
            _ => return None,
        };
        let ([Atom::Sequence(_)], [width]) = (&**sequence, &**width) else {
            return None;
        };
        match (&*leading.concat(), width) {
            ([Atom::Batch(_), Atom::Heads(heads)], Atom::HeadWidth(_)) => Some(*heads),
            ([Atom::Batch(_)], Atom::Hidden(_)) => Some(1),
            _ => None,
        }
    }

    /// Whether this is batch × sequence × heads in their order.
    pub fn is_joined(&self) -> bool {
        match &*self.dimensions {
            [batch, sequence, width] => {
                matches!(**batch, [Atom::Batch(_)])
                    && matches!(**sequence, [Atom::Sequence(_)])
                    && matches!(**width, [Atom::Heads(_), Atom::HeadWidth(_)] | [Atom::Hidden(_)])
            }
            _ => false,
        }
    }
}

/// The part of an atom that fills a dimension of this size, and what is left of it. Only the hidden
/// width can be cut: into heads.
fn split(atom: Atom, room: usize) -> Option<(Atom, Option<Atom>)> {
    match atom {
        atom if atom.size() <= room => room.is_multiple_of(atom.size()).then_some((atom, None)),
        Atom::Hidden(width) if width.is_multiple_of(room) => {
            Some((Atom::Heads(room), Some(Atom::HeadWidth(width / room))))
        }
        _ => None,
    }
}
