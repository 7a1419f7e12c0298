use crate::world::World;
use remit_insight::timeline::{FASTEST, LONGEST_GAP_NS, Player, SLOWEST, Wish, at_time, gap, line};
use remit_model::resource::ToolClass::{Payment, Read};
use serde_json::json;

const SECOND: u64 = 1_000_000_000;

fn sample() -> World {
    let mut world = World::new();
    let token = world.login(|_| {});
    world.call(&token, "tickets_read", Read, &json!({"id": "T-1"}), |_| {});
    world.call(&token, "refund_create", Payment, &json!({"amount": 500}), |_| {});
    world
}

#[test]
fn a_line_says_who_what_and_how_it_went() {
    let log = sample().publish();
    let reader = log.reader();
    let text = |index| line(&reader, index).unwrap().text();
    assert_eq!(text(4), "     4  2026-11-22T04:30:05.000  user:alice → agent:planner → decision helpdesk/tickets_read → success");
    assert!(text(5).ends_with("→ decision helpdesk/refund_create → denied (policy_denied)"), "{}", text(5));
    assert!(line(&reader, 6).is_err());
}

#[test]
fn withheld_names_are_pseudonyms() {
    let log = sample().publish();
    log.withhold();
    let said = line(&log.reader(), 4).unwrap().who;
    assert!(!said.contains("alice") && said.starts_with("human:"), "{said}");
}

#[test]
fn a_name_cannot_move_the_cursor() {
    let mut world = World::new();
    let token = world.login(|_| {});
    world.call(&token, "tickets_read", Read, &json!({}), |draft| draft.tool.as_mut().unwrap().name = "a\u{1b}[2J\nb".to_owned());
    let said = line(&world.publish().reader(), 4).unwrap().what;
    assert!(!said.contains('\u{1b}') && !said.contains('\n'), "{said:?}");
}

#[test]
fn gaps_follow_the_speed_and_long_ones_are_cut() {
    assert_eq!(gap(0, SECOND, 1.0).played_ns, SECOND);
    assert_eq!(gap(0, SECOND, 10.0).played_ns, SECOND / 10);
    assert_eq!(gap(0, SECOND / 100, 0.1).played_ns, SECOND / 10);
    let long = gap(0, 3600 * SECOND, 1.0);
    assert_eq!((long.played_ns, long.capped, long.real_ns), (LONGEST_GAP_NS, true, 3600 * SECOND));
    assert!(!gap(0, 3600 * SECOND, 2000.0).capped || FASTEST < 1200.0);
    assert_eq!(gap(5, 3, 1.0).played_ns, 0, "a clock that was set back is no wait");
    assert_eq!(gap(0, SECOND / 100, 0.0).played_ns, gap(0, SECOND / 100, SLOWEST).played_ns);
}

#[test]
fn a_time_is_found() {
    let reader = sample().publish().reader();
    let at = |index: u64| reader.record(index).unwrap().wall_ns();
    assert_eq!(at_time(&reader, 0).unwrap(), 0);
    assert_eq!(at_time(&reader, at(3)).unwrap(), 3);
    assert_eq!(at_time(&reader, at(3) + 1).unwrap(), 4);
    assert_eq!(at_time(&reader, u64::MAX).unwrap(), reader.len());
}

#[test]
fn the_player_shows_a_record_when_its_gap_has_passed() {
    let mut player = Player::new(0, 3, 1.0);
    let second = gap(0, SECOND, 1.0);
    assert!(!player.passed(SECOND / 2, second));
    assert!(player.passed(SECOND / 2, second));
    player.wish(Wish::PlayOrPause);
    assert!(!player.passed(100 * SECOND, second), "paused");
    player.wish(Wish::PlayOrPause);
    assert!(player.passed(SECOND, second) && player.passed(SECOND, second));
    assert!(!player.passed(SECOND, second), "the live end");
    player.len = 4;
    assert!(player.passed(SECOND, second), "more was written");
}

#[test]
fn seeking_stays_inside_the_log() {
    let mut player = Player::new(9, 5, 1e9);
    assert_eq!((player.at, player.speed), (5, FASTEST));
    for (wish, at) in [
        (Wish::Step(-2), 3),
        (Wish::Step(-9), 0),
        (Wish::Step(20), 5),
        (Wish::Seek(2), 2),
        (Wish::Seek(99), 5),
        (Wish::Seek(0), 0),
        (Wish::End, 5),
    ] {
        player.wish(wish);
        assert_eq!(player.at, at, "{wish:?}");
    }
    for _ in 0..40 {
        player.wish(Wish::Slower);
    }
    assert!((player.speed - SLOWEST).abs() < 1e-9);
    player.wish(Wish::Faster);
    assert!((player.speed - 0.2).abs() < 1e-9);
}
