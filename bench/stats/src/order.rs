//! The order of the variants in a block: a cycle of a point, in which each variant runs once.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde::Deserialize;

/// The order of the variants in a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CycleOrder {
    /// As they are declared, in every cycle.
    #[default]
    AsListed,
    /// A B, B A, A B, …
    Alternate,
    /// Drawn for each cycle; the plan records the seed.
    Random,
}

/// Puts the variants of the `block`-th block of a scenario, counted from 0, in order. Alternation goes on from block to
/// block, whether the point or the cycle changes, so that no variant is always the one on the warmer machine.
#[must_use]
pub fn in_block<T>(
    mut variants: Vec<T>,
    order: CycleOrder,
    block: u32,
    random: &mut StdRng,
) -> Vec<T> {
    match order {
        CycleOrder::AsListed => {}
        CycleOrder::Alternate => alternate(&mut variants, block),
        CycleOrder::Random => variants.shuffle(random),
    }
    variants
}

/// Alternates as [`in_block`] does, and lets another one begin every other block: of three and more variants, none is
/// always in the middle.
#[must_use]
pub fn turned<T>(mut variants: Vec<T>, block: u32) -> Vec<T> {
    alternate(&mut variants, block);
    let turns = block.div_ceil(2) as usize % variants.len().max(1);
    variants.rotate_left(turns);
    variants
}

fn alternate<T>(variants: &mut [T], block: u32) {
    if !block.is_multiple_of(2) {
        variants.reverse();
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn blocks(order: CycleOrder, seed: u64) -> Vec<String> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..40)
            .map(|block| in_block(vec!["A", "B"], order, block, &mut random).concat())
            .collect()
    }

    #[test]
    fn each_of_three_begins_in_its_turn() {
        let turned: Vec<_> = (0..6)
            .map(|block| turned(vec!["A", "B", "C"], block).concat())
            .collect();
        assert_eq!(turned, ["ABC", "BAC", "BCA", "ACB", "CAB", "CBA"]);
        assert!(super::turned(Vec::<u8>::new(), 3).is_empty());
    }

    #[test]
    fn orders() {
        assert!(
            blocks(CycleOrder::AsListed, 1)
                .iter()
                .all(|block| block == "AB")
        );
        assert_eq!(
            blocks(CycleOrder::Alternate, 1)[..4],
            ["AB", "BA", "AB", "BA"]
        );
        let random = blocks(CycleOrder::Random, 7);
        assert!(random.contains(&"AB".to_owned()) && random.contains(&"BA".to_owned()));
        assert_eq!(
            random,
            blocks(CycleOrder::Random, 7),
            "the seed gives the order"
        );
        assert_ne!(random, blocks(CycleOrder::Random, 8));
    }
}
