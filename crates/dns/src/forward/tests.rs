//! Which reply is believed, and what comes of the others.

use super::*;
#[test]
fn ids_do_not_count_up() {
    let ids = Ids::default();
    let drawn: Vec<u16> = (0..1000).map(|_| ids.next()).collect();
    let steps = drawn.windows(2).filter(|pair| pair[1] == pair[0].wrapping_add(1)).count();
    assert!(steps < 10, "{steps} of 1000 ids follow the one before");
    assert!(drawn.iter().collect::<std::collections::HashSet<_>>().len() > 900);
}

#[test]
fn a_query_under_way_takes_a_place_and_gives_it_back() {
    let forwarder = Forwarder::new(Vec::new());
    let places: Vec<_> = (0..IN_FLIGHT).map(|_| forwarder.place()).collect();
    assert!(places.iter().all(Option::is_some) && forwarder.place().is_none());
    drop(places);
    assert!(forwarder.place().is_some());
}
