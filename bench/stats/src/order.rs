//! The order of the variants in a block: a cycle of a point, in which each variant runs once.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde::Deserialize;

/// The order of the variants in a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CycleOrder {
    /// As they are declared, in every cycle.
    AsListed,
    /// A B, B A, A B, …; with more than two, the rows of a [balanced] square.
    #[default]
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
        CycleOrder::AsListed => variants,
        CycleOrder::Alternate => balanced(variants, block),
        CycleOrder::Random => {
            variants.shuffle(random);
            variants
        }
    }
}

/// The `block`-th row of a balanced Latin square, counted from 0; the first is the order given.
///
/// After as many rows as there are variants each has stood in each place once. After [`period`] rows each has also come
/// right after each other one equally often, so that what a variant leaves behind (a warm cache, a full disk) meets all of
/// them alike. E. J. Williams, "Experimental designs balanced for the estimation of residual effects of treatments",
/// Australian Journal of Scientific Research A 2 (1949): for an odd number of variants the rows are followed by the same
/// in reverse.
#[must_use]
pub fn balanced<T>(variants: Vec<T>, block: u32) -> Vec<T> {
    let n = variants.len();
    if n < 2 {
        return variants;
    }
    let row = block as usize % period(n);
    // 0, 1, n-1, 2, n-2, …: neighbours differ by every amount once.
    let steps: Vec<usize> = (0..n)
        .map(|place| match place {
            0 => 0,
            place if place % 2 == 1 => place.div_ceil(2),
            place => n - place / 2,
        })
        .collect();
    // Named so that the first row is the order given.
    let mut named = vec![0; n];
    for (place, step) in steps.iter().enumerate() {
        named[*step] = place;
    }
    let mut slots: Vec<Option<T>> = variants.into_iter().map(Some).collect();
    let mut ordered: Vec<T> = steps
        .iter()
        .filter_map(|step| slots[named[(step + row) % n]].take())
        .collect();
    if row >= n {
        ordered.reverse();
    }
    ordered
}

/// After how many blocks a [`balanced`] order of so many variants begins anew: numbers of cycles that balance are its
/// multiples.
#[must_use]
pub fn period(variants: usize) -> usize {
    match variants {
        0 | 1 => 1,
        n if n.is_multiple_of(2) => n,
        n => 2 * n,
    }
}

/// The least number of cycles from `cycles` on that balances so many variants.
#[must_use]
pub fn balancing(cycles: usize, variants: usize) -> usize {
    cycles.next_multiple_of(period(variants))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng as _;

    use super::*;

    fn blocks(order: CycleOrder, seed: u64) -> Vec<String> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..40)
            .map(|block| in_block(vec!["A", "B"], order, block, &mut random).concat())
            .collect()
    }

    #[test]
    fn each_variant_stands_in_each_place_and_follows_each_other_equally_often() {
        for n in 2..=7_usize {
            let rows: Vec<Vec<usize>> = (0..period(n))
                .map(|block| balanced((0..n).collect(), u32::try_from(block).expect("small")))
                .collect();
            assert_eq!(rows[0], (0..n).collect::<Vec<_>>(), "as given");
            let mut stood: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            let mut followed: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            for (i, row) in rows.iter().enumerate() {
                for (place, variant) in row.iter().enumerate() {
                    *stood.entry((*variant, place)).or_default() += 1;
                }
                for pair in row.windows(2) {
                    *followed.entry((pair[0], pair[1])).or_default() += 1;
                }
                if i + 1 == n {
                    assert!(stood.len() == n * n && stood.values().all(|times| *times == 1));
                }
            }
            assert_eq!(stood.len(), n * n, "{n}: {rows:?}");
            assert_eq!(followed.len(), n * (n - 1), "{n}: {rows:?}");
            let alike = |times: &BTreeMap<(usize, usize), usize>| {
                let first = times.values().next();
                times.values().all(|times| Some(times) == first)
            };
            assert!(alike(&stood) && alike(&followed), "{n}: {rows:?}");
            assert_eq!(
                balanced((0..n).collect(), u32::try_from(period(n)).expect("small")),
                rows[0],
                "begins anew"
            );
        }
        assert!(balanced(Vec::<u8>::new(), 3).is_empty());
        assert_eq!(balanced(vec!["A"], 3), ["A"]);
    }

    #[test]
    fn numbers_of_cycles_that_balance() {
        for (cycles, variants, expected) in [(7, 2, 8), (6, 2, 6), (7, 3, 12), (6, 4, 8), (5, 1, 5)]
        {
            assert_eq!(balancing(cycles, variants), expected);
        }
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
