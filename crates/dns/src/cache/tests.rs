//! What is remembered, for how long, and what is told of it.

use super::test_replies::{TestReply, address, soa};
use super::*;
use crate::metrics::Metrics;
use crate::plugin::cache::{PrefetchOptions, StaleOptions};
use crate::wire::{Message, PLAIN_UDP, kind, rcode};

struct Scene {
    cache: Cache,
    begun: Instant,
}

/// What a client sees: TTL of the first record and response code.
type Seen = Option<(Option<u32>, u16)>;

impl Scene {
    fn new(change: impl FnOnce(&mut CacheOptions)) -> Self {
        let mut config = CacheOptions::default();
        change(&mut config);
        let counters = CacheMetrics::new(&Metrics::new(&[])).of("dns://:53", ".");
        Self { cache: Cache::new(&config, counters), begun: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.begun + Duration::from_secs(seconds)
    }

    fn keep(&self, sample: &TestReply, seconds: u64) -> Option<u32> {
        self.cache.keep(&Arc::new(sample.entry().unwrap()), self.at(seconds))
    }

    fn ask(&self, sample: &TestReply, seconds: u64, stale: StaleReplies) -> (Seen, bool) {
        let (query, mut out) = (Query::decode(sample.asked()).unwrap(), Vec::new());
        match self.cache.answer(&query, PLAIN_UDP, self.at(seconds), stale, &mut out) {
            Hit::Miss => (None, false),
            Hit::Written { refresh } => {
                let message = Message::read(&out).unwrap();
                let ttl = message.records().unwrap().first().map(|(_, record)| record.ttl);
                (Some((ttl, message.rcode())), refresh)
            }
        }
    }

    fn see(&self, sample: &TestReply, seconds: u64) -> Seen {
        self.ask(sample, seconds, StaleReplies::AsConfigured).0
    }
}

fn absent(ttl: u32) -> TestReply {
    TestReply::new("a.example", kind::A).rcode(rcode::NXDOMAIN).authority(
        "example",
        kind::SOA,
        ttl,
        &soa(ttl),
    )
}

fn failing() -> TestReply {
    TestReply::new("a.example", kind::A).rcode(rcode::SERVFAIL)
}

#[test]
fn what_is_kept_grows_older_and_ends() {
    let scene = Scene::new(|_| {});
    let sample = address("a.example", 60);
    assert_eq!(scene.see(&sample, 0), None);
    assert_eq!(scene.keep(&sample, 0), Some(60));
    for (seconds, seen) in [(0, Some(60)), (59, Some(1)), (60, None)] {
        assert_eq!(scene.see(&sample, seconds), seen.map(|ttl| (Some(ttl), 0)), "after {seconds} s");
    }
    let other = address("b.example", 60);
    assert_eq!(scene.see(&other, 0), None);
    let checked = address("a.example", 60).cd();
    assert_eq!(scene.see(&checked, 0), None, "another manner is another question");
}

#[test]
fn times_are_bounded_and_what_has_none_is_not_kept() {
    let scene = Scene::new(|_| {});
    assert_eq!(scene.keep(&address("a.example", 1), 0), Some(5));
    assert_eq!(scene.keep(&address("b.example", 1 << 30), 0), Some(3600));
    assert_eq!(scene.keep(&absent(1 << 30), 0), Some(1800));
    let exact = Scene::new(|config| config.success.shortest = Duration::ZERO);
    assert_eq!(exact.keep(&address("a.example", 0), 0), Some(0));
    assert_eq!(exact.see(&address("a.example", 0), 0), None);
}

#[test]
fn what_is_not_kept_is_told_with_bounded_times_too() {
    let bounds =
        |seconds| CacheLimits { longest: Duration::from_secs(seconds), ..CacheOptions::default().success };
    let scene = Scene::new(|config| (config.success, config.denial) = (bounds(30), bounds(20)));
    let alias = TestReply::new("a.example", kind::MX).answer("a.example", kind::CNAME, 300, b"\x01b\0");
    assert_eq!(scene.keep(&alias, 0), Some(30));
    let any = TestReply::new("a.example", kind::ANY).authority("example", kind::SOA, 300, &soa(60));
    assert_eq!(scene.keep(&any, 0), Some(20));
    assert_eq!(scene.keep(&TestReply::new("a.example", kind::A).rcode(rcode::REFUSED), 0), Some(5));
    assert_eq!((scene.see(&alias, 0), scene.see(&any, 0)), (None, None));
}

#[test]
fn the_original_time_is_told_when_it_is_to_be_kept() {
    let scene = Scene::new(|config| config.keep_ttl = true);
    scene.keep(&address("a.example", 60), 0);
    assert_eq!(scene.see(&address("a.example", 60), 59), Some((Some(60), 0)));
    assert_eq!(scene.see(&address("a.example", 60), 60), None);
}

#[test]
fn a_newer_word_takes_the_place_of_an_older_one() {
    let scene = Scene::new(|_| {});
    scene.keep(&address("a.example", 600), 0);
    scene.keep(&absent(60), 1);
    assert_eq!(scene.see(&absent(60), 1), Some((Some(60), rcode::NXDOMAIN)));
    assert_eq!(scene.see(&absent(60), 61), None, "what was true before does not come back");
    scene.keep(&address("a.example", 600), 61);
    assert_eq!(scene.see(&absent(60), 61), Some((Some(600), 0)));
}

#[test]
fn a_failure_is_remembered_for_a_moment_and_replaces_nothing() {
    let scene = Scene::new(|_| {});
    assert_eq!(scene.keep(&failing(), 0), Some(5));
    assert_eq!(scene.see(&failing(), 4), Some((None, rcode::SERVFAIL)));
    assert_eq!(scene.see(&failing(), 5), None);
    scene.keep(&address("a.example", 60), 5);
    scene.keep(&failing(), 6);
    assert_eq!(scene.see(&failing(), 6), Some((Some(59), 0)));
    let never = Scene::new(|config| config.failure = Duration::ZERO);
    assert_eq!(never.keep(&failing(), 0), Some(0));
    assert_eq!(never.see(&failing(), 0), None);
}

#[test]
fn zones_choose_what_is_kept() {
    let zone = || vec![Name::from_text("example").unwrap()];
    let only = Scene::new(|config| config.zones = zone());
    assert_eq!(only.keep(&address("a.example", 60), 0), Some(60));
    assert_eq!(only.keep(&address("a.test", 60), 0), None);
    let not = Scene::new(|config| config.success.disabled = zone());
    assert_eq!(not.keep(&address("a.example", 60), 0), Some(60), "clients may");
    assert_eq!(not.see(&address("a.example", 60), 0), None);
    assert_eq!(not.keep(&absent(60), 0), Some(60), "absences are another matter");
}

/// RFC 8767.
#[test]
fn expired_answers_are_served_for_a_while_and_asked_anew_once() {
    let late = StaleOptions { longest: Duration::from_secs(3600), wait: Some(Duration::ZERO), ttl: 30 };
    let scene = Scene::new(|config| config.stale = Some(late));
    let sample = address("a.example", 60);
    scene.keep(&sample, 0);
    assert_eq!(scene.ask(&sample, 61, StaleReplies::AsConfigured), (Some((Some(30), 0)), true));
    assert_eq!(scene.ask(&sample, 61, StaleReplies::AsConfigured), (Some((Some(30), 0)), false), "once");
    assert_eq!(scene.see(&sample, 60 + 3600), None);
    scene.keep(&failing(), 62);
    let failed = scene.ask(&sample, 62, StaleReplies::AsConfigured);
    assert_eq!(failed, (Some((Some(30), 0)), false), "a failure is no news, and is not asked for again");
    assert!(scene.ask(&sample, 67, StaleReplies::AsConfigured).1, "until it is forgotten");
    scene.keep(&sample, 70);
    assert_eq!(scene.see(&sample, 70), Some((Some(60), 0)));
}

#[test]
fn expired_answers_wait_for_resolvers_if_they_are_to_be_verified() {
    let late = StaleOptions { longest: Duration::from_secs(3600), wait: None, ttl: 0 };
    let scene = Scene::new(|config| config.stale = Some(late));
    let sample = address("a.example", 60);
    scene.keep(&sample, 0);
    assert_eq!(scene.see(&sample, 61), None);
    assert_eq!(scene.ask(&sample, 61, StaleReplies::Accepted), (Some((Some(0), 0)), false));
}

#[test]
fn popular_names_are_asked_anew_before_their_time_is_over() {
    let prefetch = PrefetchOptions { amount: 3, pause: Duration::from_secs(60), percentage: 10 };
    let scene = Scene::new(|config| config.prefetch = Some(prefetch));
    let sample = address("a.example", 100);
    scene.keep(&sample, 0);
    let refresh = |seconds| scene.ask(&sample, seconds, StaleReplies::AsConfigured).1;
    assert!(!refresh(1) && !refresh(2) && !refresh(3) && !refresh(89), "too early, and then after a pause");
    assert!(!refresh(90));
    assert!(refresh(91), "three times without a pause, and a tenth is left");
    assert!(!refresh(92), "once");
}

#[test]
fn no_more_is_kept_than_there_is_room_for() {
    let bounds = || CacheLimits { capacity: 100, ..CacheOptions::default().success };
    let scene = Scene::new(|config| config.success = bounds());
    for number in 0..1000 {
        let sample = address(&format!("a{number}.example"), 60);
        scene.keep(&sample, 0);
        assert!(scene.see(&sample, 0).is_some(), "the newest is never forgotten");
    }
    let kept = (0..1000).filter(|number| scene.see(&address(&format!("a{number}.example"), 60), 0).is_some());
    assert_eq!(kept.count(), 100);
    // Long replies take the room of several.
    let text = [&[255][..], &[b'x'; 255]].concat();
    let long = |number: usize| {
        let owner = format!("t{number}.example");
        (0..16).fold(TestReply::new(&owner, kind::TXT), |long, _| long.answer(&owner, kind::TXT, 60, &text))
    };
    for number in 0..100 {
        scene.keep(&long(number), 0);
    }
    let kept = (0..100).filter(|number| scene.see(&long(*number), 0).is_some()).count();
    assert!((1..25).contains(&kept), "{kept} replies of 4 KiB in 100 KiB");
}
