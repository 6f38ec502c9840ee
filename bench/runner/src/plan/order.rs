//! The order of the variants in a block: a cycle of a point, in which each variant runs once.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::suite::scenario::CycleOrder;

/// Puts the variants of the `block`-th block of a scenario, counted from 0, in order. Alternation goes on from block to
/// block, whether the point or the cycle changes, so that no variant is always the one on the warmer machine.
pub(super) fn in_block<T>(
    mut variants: Vec<T>,
    order: CycleOrder,
    block: u32,
    random: &mut StdRng,
) -> Vec<T> {
    match order {
        CycleOrder::AsListed => {}
        CycleOrder::Alternate if block.is_multiple_of(2) => {}
        CycleOrder::Alternate => variants.reverse(),
        CycleOrder::Random => variants.shuffle(random),
    }
    variants
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
