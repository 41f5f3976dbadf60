//! Pages, histories, and the script.

use super::*;
use crate::domain::event::{ContainerMoved, TemplateDrained};
use crate::domain::ids::Vmid;

/// Positions of the events of a page, and its headers.
async fn page(service: &Service, query: &str) -> (Vec<u64>, HeaderMap) {
    let response = service.ask(&format!("/events?follow=false{query}"), &[]).await;
    assert_eq!(response.status(), 200, "{query}");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert!(body.is_empty() || body.ends_with(b"\n"));
    let seqs = std::str::from_utf8(&body).unwrap().lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event.get("crc").is_none());
        event["seq"].as_u64().unwrap()
    });
    (seqs.collect(), parts.headers)
}

fn next(headers: &HeaderMap) -> u64 {
    headers["x-next-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn pages_follow_each_other_to_the_head() {
    let mut service = service();
    service.happen_often(40);
    for limit in [1, 3, 7, 39, 40, 41, 1000] {
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let (seqs, headers) = page(&service, &format!("&after={after}&limit={limit}")).await;
            assert_eq!(headers["content-type"], "application/x-ndjson");
            assert_eq!(
                (&headers["x-head"], &headers["x-log-id"]),
                (&HeaderValue::from(40), &HeaderValue::from_static(LOG_ID))
            );
            assert!(seqs.len() <= limit);
            after = next(&headers);
            if seqs.is_empty() {
                break;
            }
            assert_eq!(seqs.last(), Some(&after));
            seen.extend(seqs);
        }
        assert_eq!((seen, after), (range(1, 40), 40));
    }
}

#[tokio::test]
async fn a_page_begins_where_it_is_told() {
    let mut service = service();
    service.happen_often(130);
    assert_eq!(page(&service, "").await.0, range(1, 100));
    assert_eq!(page(&service, "&after=0badcafe.125").await.0, range(126, 130));
    assert_eq!(page(&service, "&from=latest").await.0, [0; 0]);
    service.append([PveReachable {}.into()]);
    assert_eq!(page(&service, "&after=129").await.0, [130], "what is not published is not shown");
    let response = service.ask("/events?follow=false&limit=1", &[("last-event-id", "0badcafe.7")]).await;
    assert_eq!(response.headers()["x-next-after"], "8");
}

#[tokio::test]
async fn a_filtered_page_says_how_far_it_looked() {
    let mut service = service();
    service.happen_often(20);
    service.happen([TemplateDrained { template: Vmid(9009) }.into()]);
    service.happen_often(20);
    let (seqs, headers) = page(&service, "&types=TemplateDrained").await;
    assert_eq!((seqs, next(&headers)), (vec![21], 41));
    let (seqs, headers) = page(&service, "&types=TemplateDrained&limit=1").await;
    assert_eq!((seqs, next(&headers)), (vec![21], 21));
    let (seqs, headers) = page(&service, "&template=9010").await;
    assert_eq!((seqs, next(&headers)), (vec![], 41));
}

#[tokio::test]
async fn a_page_that_is_gone_says_what_there_is() {
    let mut service = service();
    service.happen_often(40);
    service.writer.snapshot(&service.state).unwrap();
    let oldest = service.writer.prune(Seq(30)).unwrap().0;
    let (status, code, body) = service.problem("/events?follow=false&after=0").await;
    assert_eq!((status, code.as_str()), (410, "events_pruned"));
    assert_eq!((&body["oldest"], &body["head"]), (&oldest.into(), &40.into()));
    assert_eq!(page(&service, "").await.0, range(oldest, 40), "without a place it is the oldest");
    for place in ["99", "0badcaff.9"] {
        let (status, code, body) = service.problem(&format!("/events?follow=false&after={place}")).await;
        assert_eq!((status, code.as_str()), (410, "events_elsewhere"));
        assert_eq!(body["head"], 40);
    }
}

fn moved(vmid: u32) -> Event {
    ContainerMoved { vmid: Vmid(vmid), node: "pve2".into() }.into()
}

#[test]
fn a_history_is_what_names_the_container_and_bounded() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    let mut service = service();
    let reader = service.streams.0.reader.clone();
    let seqs = |since, upto| {
        let history = history(&reader, Vmid(201), Seq(since), Seq(upto)).unwrap();
        let seqs: Vec<_> = history.records.iter().map(|record| record.envelope.seq.0).collect();
        (seqs, history.is_whole)
    };
    assert_eq!(seqs(3, 41), (vec![], true));
    for _ in 0..100 {
        service.append([moved(201), moved(202), moved(201)]);
    }
    assert_eq!(seqs(1, 6), (vec![1, 3, 4, 6], true));
    assert_eq!(seqs(3, 6), (vec![3, 4, 6], true));
    let (newest, is_whole) = seqs(4, 300);
    assert_eq!((newest.len(), is_whole), (198, true));
    let (newest, is_whole) = seqs(1, 300);
    assert_eq!((newest.len(), is_whole, newest.last()), (200, true, Some(&300)));
    service.append([moved(201)]);
    let (newest, is_whole) = seqs(1, 301);
    assert_eq!((newest.len(), is_whole, newest.first()), (200, false, Some(&3)));
    service.append((0..20_100).map(|_| moved(202)));
    assert_eq!(seqs(1, 20_401), (vec![], false));
}

#[tokio::test]
async fn a_container_shows_its_history() {
    let mut service = service();
    service.happen(super::filters::story().into_iter().map(|(event, _)| event));
    let response = service.ask("/containers/201", &[]).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let history = body["history"].as_array().unwrap();
    let seqs: Vec<_> = history.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, range(29, 35), "what a VMID was before is another container's");
    assert_eq!((&history[0]["type"], &body["history_is_whole"]), (&"CloneStarted".into(), &true.into()));
}

#[tokio::test]
async fn the_script_is_served() {
    let service = service();
    let response = service.ask("/follow.js", &[]).await;
    assert_eq!(
        (response.status().as_u16(), response.headers()["content-type"].as_bytes()),
        (200, &b"text/javascript; charset=utf-8"[..])
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.windows(22).any(|it| it == b"export function follow"));
}
