//! Ranges as elements of a set: the kernel wants where each begins and where it no longer is.

use crate::{Element, ElementData};

/// The elements of a set of ranges, given as first and last value of each; values are `length` bytes
/// wide, at most 16. Ranges that touch or overlap become one, since the kernel takes neither overlaps nor
/// duplicates.
pub fn range_elements(ranges: impl IntoIterator<Item = (u128, u128)>, length: usize) -> Vec<Element> {
    let length = length.min(size_of::<u128>());
    let highest = u128::MAX.checked_shr(128 - 8 * length as u32).unwrap_or(0);
    let bytes = |number: u128| number.to_be_bytes()[size_of::<u128>() - length..].to_vec();
    let mut elements = Vec::new();
    for (first, last) in joined(ranges) {
        elements.push(Element::key(bytes(first)));
        if last < highest {
            elements.push(Element::new(bytes(last + 1), ElementData::RangeEnd, ""));
        }
    }
    elements
}

fn joined(ranges: impl IntoIterator<Item = (u128, u128)>) -> Vec<(u128, u128)> {
    let mut ranges: Vec<_> = ranges.into_iter().collect();
    ranges.sort_unstable();
    let mut joined: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_and_touching_ranges_are_joined() {
        assert_eq!(joined([(10, 19), (0, 9), (4, 5)]), [(0, 19)]);
        assert_eq!(joined([(0, 9), (11, 19)]).len(), 2);
        assert_eq!(joined([(0, u128::MAX), (7, 8)]), [(0, u128::MAX)]);
    }

    #[test]
    fn a_range_up_to_the_highest_value_has_no_end() {
        let elements = range_elements([(0xff00, 0xffff), (1, 2)], 2);
        let keys: Vec<Vec<u8>> = elements.iter().map(|element| element.key.clone()).collect();
        assert_eq!(keys, [vec![0, 1], vec![0, 3], vec![0xff, 0]]);
        assert!(matches!(elements[1].data, ElementData::RangeEnd));
    }
}
