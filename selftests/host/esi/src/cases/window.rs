// SPDX-License-Identifier: GPL-2.0

//! Pacing, and transaction ids.

use super::random::Random;
use crate::policy::{
    deadline::{Delta, Instant},
    esi::{
        pace::{Punctual, Then, Window},
        xids::{Xids, IDS, SLOTS},
    },
};
use std::collections::{HashMap, VecDeque};

#[test]
fn esi_33_no_more_are_in_flight_than_the_window_has() {
    let mut window = Window::new(Window::DEFAULT.into());
    let mut waiting = 10_000;
    let mut passes = 0;
    while window.flying() < 1024 {
        let mut pass = window.pass();
        let mut started = 0;
        while window.start(&mut pass) {
            started += 1;
            waiting -= 1;
        }
        assert_eq!(started, 64, "a pass is bounded");
        passes += 1;
        let full = window.flying() == 1024;
        assert_eq!(
            window.then(true),
            if full { Then::WhenOneEnds } else { Then::Again }
        );
    }
    assert_eq!((passes, waiting), (16, 10_000 - 1024));
    assert!(!window.start(&mut window.pass()));
    window.end();
    assert_eq!(window.then(true), Then::Again);
    assert!(window.start(&mut window.pass()));
    assert_eq!(window.then(false), Then::Rest);
}

#[test]
fn a_window_has_1_to_16384_places() {
    for (asked, limit) in [
        (0, 1),
        (1, 1),
        (1024, 1024),
        (16_384, 16_384),
        (16_385, 16_384),
    ] {
        assert_eq!(Window::new(asked).limit(), limit);
    }
    assert_eq!(Window::new(u32::MAX).limit(), 16_384);
    // Made smaller while it is in use.
    let mut window = Window::new(8);
    let mut pass = window.pass();
    for _ in 0..8 {
        assert!(window.start(&mut pass));
    }
    window.set_limit(2);
    assert_eq!((window.flying(), window.limit()), (8, 2));
    assert!(!window.start(&mut window.pass()));
    for _ in 0..7 {
        window.end();
    }
    assert!(window.start(&mut window.pass()));
    assert!(!window.start(&mut window.pass()));
    for _ in 0..9 {
        window.end();
    }
    assert_eq!(window.flying(), 0, "an end too many is none");
}

fn empty() -> Xids<Vec<u16>> {
    Xids::new(vec![7; IDS]).unwrap()
}

#[test]
fn a_table_has_a_place_for_every_id() {
    for len in [0, 1, IDS - 1, IDS + 1] {
        assert!(Xids::new(vec![0; len]).is_none());
    }
    let ids = empty();
    assert!(
        (0..=u16::MAX).all(|id| ids.slot(id).is_none()),
        "what was in it is gone"
    );
}

// An id that two probes have: the answer to one is taken for the other's.
#[test]
fn esi_34_a_million_probes_never_share_an_id() {
    let mut ids = empty();
    let mut random = Random::new(34);
    let mut flying = VecDeque::new();
    let mut taken = HashMap::new();
    for probe in 0..super::fuzz::scale(1_000_000, 10_000_000) {
        let slot = (probe % 1024) as u16;
        if flying.len() == 1024 {
            let (id, slot) = flying.pop_front().unwrap();
            assert_eq!(ids.slot(id), Some(slot));
            assert!(!ids.give_back(id, slot ^ 1), "another slot's");
            assert!(ids.give_back(id, slot));
            assert!(!ids.give_back(id, slot), "twice");
            assert_eq!(ids.slot(id), None);
            taken.remove(&id);
        }
        let id = ids.take(slot, random.next() as u32).unwrap();
        assert!(taken.insert(id, slot).is_none(), "in flight already");
        for neighbour in [id.wrapping_sub(1), id.wrapping_add(1)] {
            assert!(
                !taken.contains_key(&neighbour),
                "neighbours answer for each other"
            );
        }
        flying.push_back((id, slot));
        assert_eq!(usize::from(ids.flying()), flying.len());
    }
}

// The search goes round in a circle that misses what is free, or gives up before it has seen all.
#[test]
fn the_last_free_id_is_found_from_anywhere() {
    let mut random = Random::new(1);
    for _ in 0..4 {
        let mut ids = empty();
        for slot in 0..SLOTS {
            assert!(
                ids.take(slot, random.next() as u32).is_some(),
                "slot {slot}"
            );
        }
        assert_eq!(ids.flying(), SLOTS);
        assert_eq!(ids.take(0, 1), None, "as many as can be kept apart");
    }
    // As few places as there can be: only a quarter of all ids is not next to one in flight.
    let mut ids = empty();
    for slot in 0..SLOTS - 1 {
        // The id itself is free: no step is made.
        let id = slot * 3;
        assert_eq!(ids.take(slot, u32::from(id) << 16), Some(id));
    }
    for _ in 0..1000 {
        let id = ids.take(SLOTS - 1, random.next() as u32).unwrap();
        assert!((SLOTS * 3 - 3..u16::MAX).contains(&id), "{id}");
        assert!(ids.give_back(id, SLOTS - 1));
    }
}

#[test]
fn a_slot_that_is_not_there_gets_no_id() {
    let mut ids = empty();
    assert_eq!(ids.take(SLOTS, 0), None);
    assert_eq!(ids.take(u16::MAX, 0), None);
    let id = ids.take(SLOTS - 1, 0xffff_0000).unwrap();
    assert_eq!(id, u16::MAX);
    assert_eq!(ids.slot(id), Some(SLOTS - 1));
    // 0 is its neighbour.
    assert_eq!(ids.take(0, 0), Some(1));
    assert_eq!(ids.slot(0), None);
    assert!(!ids.give_back(0, 0));
    assert_eq!(ids.flying(), 2);
}

// One id that is likelier than others can be guessed.
#[test]
fn ids_are_spread_over_all_of_them() {
    let mut ids = empty();
    let mut random = Random::new(3);
    let mut parts = [0u32; 16];
    for slot in 0..1024 {
        let id = ids.take(slot, random.next() as u32).unwrap();
        parts[usize::from(id >> 12)] += 1;
    }
    assert!(parts.iter().all(|n| (32..=96).contains(n)), "{parts:?}");
}

#[test]
fn esi_33_who_is_late_is_counted() {
    let at = Instant::from_nanos;
    let mut starts = Punctual::NONE;
    starts.count(at(5_000_000_000), at(4_000_000_000));
    starts.count(at(5_000_000_000), at(6_000_000_000));
    starts.count(at(5_000_000_000), at(6_000_000_001));
    starts.count(at(5_000_000_000), at(5_000_000_000));
    assert_eq!((starts.on_time, starts.late), (3, 1));
    assert_eq!(starts.worst, Delta::from_nanos(1_000_000_001));
    starts.on_time = u64::MAX;
    starts.late = u64::MAX;
    starts.count(at(0), at(0));
    starts.count(at(0), Instant::NEVER);
    assert_eq!((starts.on_time, starts.late), (u64::MAX, u64::MAX));
}
