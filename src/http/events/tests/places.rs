//! Places that cannot be gone on from, and bookmarks.

use super::*;
use crate::domain::event::TemplateDrained;
use crate::domain::ids::Vmid;

async fn reset(service: &mut Service, last: &str, reason: &str, oldest: u64) {
    let before = service.streams.figures().resets();
    let mut follower = service.resume("/events?after=1", Some(last)).await;
    let head = service.writer.head().0;
    let (opened, data) = follower.expect("stream.opened").await;
    // Whoever hears no more than this comes again from where it was, and is told then.
    assert_eq!((opened.as_str(), &data["resumed_from"]), ("", &Value::Null));
    let (place, data) = follower.expect("stream.reset").await;
    let expected =
        serde_json::json!({ "reason": reason, "oldest": oldest, "head": head, "snapshot": "status" });
    assert_eq!((place, data), (id(head), expected), "{last}");
    assert_eq!(service.streams.figures().resets(), before + 1);
    service.happen_often(1);
    assert_eq!(follower.events_to(head + 1).await, [head + 1]);
}

/// Drops the oldest files of the log.
fn prune(service: &mut Service) -> u64 {
    service.writer.snapshot(&service.state).unwrap();
    service.writer.prune(Seq(30)).unwrap().0
}

#[tokio::test]
async fn a_place_that_is_not_there_is_a_reset_with_its_reason() {
    let mut service = service();
    service.happen_often(40);
    reset(&mut service, "0badcafe.99", "future", 1).await;
    reset(&mut service, "0badcaff.3", "other_log", 1).await;
    reset(&mut service, "3d2b", "unreadable_id", 1).await;
    let oldest = prune(&mut service);
    assert!(oldest > 2, "{oldest}");
    reset(&mut service, &id(oldest - 2), "pruned", oldest).await;
    let mut kept = service.resume("/events", Some(&id(oldest - 1))).await;
    kept.expect("stream.opened").await;
    assert_eq!(kept.events_to(44).await, range(oldest, 44));
    let mut earliest = service.follow("/events?from=earliest").await;
    earliest.expect("stream.opened").await;
    assert_eq!(earliest.events_to(44).await, range(oldest, 44));
}

#[tokio::test]
async fn a_follower_that_pruning_overtakes_is_told() {
    let mut service = service();
    service.happen_often(40);
    let mut follower = service.follow("/events?after=0").await;
    follower.expect("stream.opened").await;
    let oldest = prune(&mut service);
    let (place, data) = follower.expect("stream.reset").await;
    assert_eq!((place, &data["reason"], data["oldest"].as_u64()), (id(40), &"pruned".into(), Some(oldest)));
    service.happen_often(1);
    assert_eq!(follower.events_to(41).await, [41]);
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_comes_each_15_seconds() {
    let mut service = service();
    service.happen_often(2);
    let watch = crate::clock::Stopwatch::start();
    let mut follower = service.follow("/events").await;
    follower.expect("stream.opened").await;
    for nth in 1..=20_u128 {
        let (place, data) = follower.expect("stream.bookmark").await;
        assert_eq!((place, data), (id(2), serde_json::json!({ "seq": 2, "head": 2 })));
        let (due, now) = (15_000 * nth, watch.elapsed().as_millis());
        assert!((due..due + 5 * nth).contains(&now), "{now} is not {due}");
    }
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_also_between_events() {
    let mut service = service();
    let mut follower = service.follow("/events").await;
    follower.expect("stream.opened").await;
    let mut bookmarks = 0;
    for nth in 1..=60 {
        tokio::time::advance(Duration::from_secs(1)).await;
        service.happen_often(1);
        loop {
            let frame = follower.next().await.unwrap();
            if frame.event != "stream.bookmark" {
                assert_eq!(frame.id, id(nth));
                break;
            }
            bookmarks += 1;
            assert_eq!(frame.id, id(nth - 1));
        }
    }
    assert_eq!(bookmarks, 4);
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_moves_the_place_of_who_sees_nothing() {
    let mut service = service();
    service.happen([TemplateDrained { template: Vmid(9009) }.into()]);
    let target = "/events?types=TemplateDrained,TemplateWarmed&from=earliest";
    let mut follower = service.follow(target).await;
    follower.expect("stream.opened").await;
    assert_eq!(follower.events_to(1).await, [1]);
    service.happen_often(50);
    let (place, data) = follower.expect("stream.bookmark").await;
    assert_eq!((place.clone(), &data["head"]), (id(51), &51.into()));
    service.happen_often(2);
    drop(follower);
    let mut resumed = service.resume(target, Some(&place)).await;
    assert_eq!(resumed.expect("stream.opened").await.1["resumed_from"], 51);
    service.happen([TemplateDrained { template: Vmid(9009) }.into()]);
    assert_eq!(resumed.events_to(54).await, [54]);
}
