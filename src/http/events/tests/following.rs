//! Every event once, in order, whoever reads how: from files, from memory, live, with any number of breaks.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_stream_says_what_it_is() {
    let mut service = service();
    service.happen_often(3);
    let mut follower = service.follow("/events").await;
    assert_eq!(follower.status, 200);
    let header = |name: &str| follower.headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "text/event-stream");
    assert_eq!(header("cache-control"), "no-cache, no-transform");
    assert_eq!(header("x-accel-buffering"), "no");
    let first = follower.chunk().await.unwrap();
    let text = std::str::from_utf8(&first).unwrap();
    let (retry, frame) = text.split_once('\n').unwrap();
    let retry: u64 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1000..=3000).contains(&retry));
    let expected = "id: 0badcafe.3\nevent: stream.opened\ndata: \
        {\"log_id\":\"0badcafe\",\"head\":3,\"oldest\":1,\"resumed_from\":null}\n\n";
    assert_eq!(frame, expected);
    service.happen_often(1);
    let (id, data) = follower.expect("PveUnreachable").await;
    assert_eq!(id, "0badcafe.4");
    assert_eq!(data["data"]["reason"], "connection refused\n");
    assert_eq!(data["at"], "2026-11-24T03:06:19.004Z");
}

#[tokio::test]
async fn an_empty_log_is_followed_from_its_first_event() {
    let mut service = service();
    let mut live = service.follow("/events").await;
    let mut all = service.follow("/events?from=earliest").await;
    let (opened, data) = live.expect("stream.opened").await;
    assert_eq!((opened, data["oldest"].as_u64()), (id(0), Some(1)));
    assert_eq!(all.expect("stream.opened").await.1["resumed_from"], 0);
    service.happen_often(2);
    assert_eq!(live.events_to(2).await, [1, 2]);
    assert_eq!(all.events_to(2).await, [1, 2]);
}

#[tokio::test]
async fn it_goes_on_behind_every_event_exactly_once() {
    let mut service = service();
    service.happen_often(40);
    for after in 0..40 {
        let mut resumed = service.resume("/events?after=3", Some(&id(after))).await;
        assert_eq!(resumed.expect("stream.opened").await.1["resumed_from"], after);
        assert_eq!(resumed.events_to(40).await, range(after + 1, 40));
        for target in [format!("/events?after={after}"), format!("/events?after={}&from=latest", id(after))] {
            let mut asked = service.follow(&target).await;
            asked.expect("stream.opened").await;
            assert_eq!(asked.events_to(40).await, range(after + 1, 40), "{target}");
        }
    }
    let mut all = service.follow("/events?from=earliest").await;
    all.expect("stream.opened").await;
    assert_eq!(all.events_to(40).await, range(1, 40));
}

#[tokio::test]
async fn a_client_that_breaks_off_anywhere_misses_and_repeats_nothing() {
    for frames in 0..9 {
        let mut service = service();
        let (mut last, mut seen) = (id(0), Vec::new());
        for round in 0..12 {
            // Now further behind than memory reaches, now beside the head.
            service.happen_often(if round % 3 == 0 { 11 } else { 2 });
            let mut follower = service.resume("/events", Some(&last)).await;
            last = follower.expect("stream.opened").await.0;
            for _ in 0..frames {
                if last == id(service.writer.head().0) {
                    service.happen_often(1);
                }
                let frame = follower.next().await.unwrap();
                let data: Value = serde_json::from_str(&frame.data).unwrap();
                seen.push(data["seq"].as_u64().unwrap());
                last = frame.id;
            }
        }
        assert_eq!(seen, range(1, 12 * frames));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_it_is_published() {
    let mut service = service();
    service.happen_often(2);
    let mut follower = service.follow("/events?from=earliest").await;
    follower.expect("stream.opened").await;
    service.append([PveReachable {}.into(), PveReachable {}.into()]);
    assert_eq!(follower.events_to(2).await, [1, 2]);
    let early = tokio::time::timeout(Duration::from_secs(14), follower.next()).await;
    assert!(early.is_err(), "{early:?}");
    service.publish();
    assert_eq!(follower.events_to(4).await, [3, 4]);
}

#[tokio::test]
async fn followers_share_one_copy_of_a_frame() {
    let mut service = service();
    let mut followers = Vec::new();
    for _ in 0..5 {
        let mut follower = service.follow("/events").await;
        follower.expect("stream.opened").await;
        followers.push(follower);
    }
    for _ in 0..30 {
        service.happen_often(1);
        let mut copies = Vec::new();
        for follower in &mut followers {
            copies.push(follower.chunk().await.unwrap());
        }
        assert!(copies.iter().all(|copy| copy.as_ptr() == copies[0].as_ptr()));
    }
    assert_eq!(service.streams.figures().frames(), 150);
}

#[tokio::test]
async fn a_slow_one_holds_up_nobody_and_loses_nothing() {
    let mut service = service();
    let mut slow = service.follow("/events").await;
    let mut quick = service.follow("/events").await;
    slow.expect("stream.opened").await;
    quick.expect("stream.opened").await;
    for nth in 1..=200 {
        service.happen_often(1);
        assert_eq!(quick.events_to(nth).await, [nth]);
    }
    assert_eq!(slow.events_to(200).await, range(1, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_beside_a_writer_see_everything() {
    let mut service = service();
    let mut tasks = Vec::new();
    for nth in 0..20 {
        let mut follower = service.follow("/events?from=earliest").await;
        tasks.push(tokio::spawn(async move {
            follower.expect("stream.opened").await;
            for turn in 0..nth {
                let seq = turn + 1;
                assert_eq!(follower.events_to(seq).await, [seq]);
                tokio::task::yield_now().await;
            }
            assert_eq!(follower.events_to(500).await, range(nth + 1, 500));
        }));
    }
    for _ in 0..500 {
        service.happen_often(1);
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
}
