//! Memory is bounded by the window, whatever an endpoint does.

use super::*;
use crate::domain::event::TemplateDrained;
use crate::log::Record;
use crate::webhook::lanes::{Lanes, WINDOW, What};

fn record(seq: u64, template: u32) -> Arc<Record> {
    let envelope = Envelope {
        seq: Seq(seq),
        id: Ulid::from_parts(seq, 1),
        at: EPOCH,
        event: TemplateDrained { template: Vmid(template) }.into(),
        cause: None,
        more: false,
    };
    Arc::new(Record { envelope, json: "{}".into() })
}

#[test]
fn nothing_is_taken_in_beyond_the_window_or_beyond_what_may_wait() {
    let mut lanes = Lanes::from(Seq(0));
    for seq in 1..=WINDOW as u64 {
        assert!(lanes.room(4) > 0);
        lanes.take(record(seq, 9000 + u32::try_from(seq % 10).unwrap()), true);
    }
    assert_eq!(lanes.room(4), 0);
    // Four lanes fail: what they had in memory is let go of, and then nothing more is taken in.
    for _ in 0..4 {
        let job = lanes.next(EPOCH, true).unwrap();
        let What::Record(first) = job.what else { panic!() };
        lanes.failed(&job.lane, &first, EPOCH, EPOCH.after(Duration::from_secs(5)));
    }
    assert!(lanes.room(5) > 0);
    assert_eq!(lanes.room(4), 0);
    assert_eq!(lanes.pending().0, WINDOW as u64, "all of them are known to wait");
    assert!(lanes.cursor() > Seq(0) && lanes.done_up_to() == Seq(0));
}

#[test]
fn events_that_come_while_a_lane_catches_up_wait_for_their_turn() {
    let mut lanes = Lanes::from(Seq(0));
    lanes.take(record(1, 9000), true);
    let job = lanes.next(EPOCH, true).unwrap();
    let What::Record(first) = job.what else { panic!() };
    lanes.failed(&job.lane, &first, EPOCH, EPOCH);
    let job = lanes.next(EPOCH, true).unwrap();
    assert!(matches!(job.what, What::Find { from: Seq(1), upto: Seq(1) }));
    lanes.take(record(2, 9000), true);
    assert!(lanes.next(EPOCH, true).is_none(), "one at a time");
    lanes.done(&job.lane, Seq(1));
    let job = lanes.next(EPOCH, true).unwrap();
    assert!(matches!(job.what, What::Find { from: Seq(2), upto: Seq(2) }), "{job:?}");
    lanes.take(record(3, 9000), true);
    // What was looked for before event 3 came says nothing about it.
    lanes.nothing_left(&job.lane, Seq(2));
    assert!(!lanes.is_idle());
    let job = lanes.next(EPOCH, true).unwrap();
    assert!(matches!(job.what, What::Find { from: Seq(3), upto: Seq(3) }), "{job:?}");
    lanes.done(&job.lane, Seq(3));
    let job = lanes.next(EPOCH, true).unwrap();
    lanes.nothing_left(&job.lane, Seq(3));
    assert!(lanes.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_keeps_no_more_than_the_window_in_memory_and_loses_nothing() {
    let rig = Rig::new().await;
    rig.rule(|_| Does::Hangs);
    for nth in 0..700 {
        rig.event(9000 + nth % 30).await;
    }
    rig.pass(Duration::from_mins(1)).await;
    let reading = rig.reading("a");
    assert!(reading.lag_events >= 700, "{reading:?}");
    rig.rule(|_| Does::Answers(200));
    rig.pass(Duration::from_hours(3)).await;
    assert_eq!(rig.reading("a").lag_events, 0);
    for template in 9000..9030 {
        let lane = format!("template/{template}");
        let its = rig.seen();
        let mut its: Vec<u64> = its.iter().filter(|it| it.lane == lane).map(|it| it.seq).collect();
        its.dedup();
        assert_eq!(its, rig.wanted(Some(template)), "{lane}");
    }
}
