//! Other endpoints while the service runs: nothing is lost, and nothing is sent twice.

use super::*;

impl Rig {
    /// Goes over to these endpoints.
    async fn reload(&mut self, endpoints: Vec<Endpoint>) {
        self.endpoints = endpoints;
        let wanted = self.configured();
        self.at_work.as_mut().unwrap().deliveries.begin(wanted).await.unwrap();
    }

    fn sent_to(&self, name: &str) -> Vec<u64> {
        self.seen().iter().filter(|it| it.endpoint == name).map(|it| it.seq).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_changes_goes_on_where_it_was() {
    let mut rig = Rig::new().await;
    rig.event(9001).await;
    rig.until_seen(2).await;
    let changed = Endpoint { url: "https://a.example.com/other".parse().unwrap(), ..endpoint("a") };
    rig.reload(vec![changed.clone()]).await;
    rig.event(9002).await;
    rig.until_seen(4).await;
    assert_eq!(rig.sent_to("a"), rig.wanted(None));
    assert_eq!(rig.at_work.as_ref().unwrap().webhooks.endpoint(&"a".into()).unwrap().0.url, changed.url);
    let delivered = rig.reading("a").attempts.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!(delivered, 4, "its figures go on too");
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_when_it_changes_is_not_sent_again() {
    let mut rig = Rig::new().await;
    rig.rule(|_| Does::Takes(Duration::from_secs(2)));
    rig.event(9001).await;
    rig.until_seen(1).await;
    rig.reload(vec![Endpoint { timeout: Duration::from_secs(3), ..endpoint("a") }]).await;
    rig.until_seen(2).await;
    rig.pass(Duration::from_secs(10)).await;
    assert_eq!(rig.sent_to("a"), rig.wanted(None));
}

#[tokio::test(start_paused = true)]
async fn one_that_stays_is_not_disturbed_by_one_that_comes() {
    let mut rig = Rig::new().await;
    rig.rule(|it| if it.endpoint == "a" { Does::Takes(Duration::from_secs(4)) } else { Does::Answers(204) });
    rig.event(9001).await;
    rig.until_seen(1).await;
    let before = rig.clock.now();
    rig.reload(vec![endpoint("a"), endpoint("b")]).await;
    assert_eq!(rig.clock.now(), before, "nobody waited for the delivery under way");
    let later = rig.event(9002).await;
    rig.pass(Duration::from_secs(30)).await;
    let mut sent = rig.sent_to("a");
    sent.sort_unstable();
    assert_eq!(sent, rig.wanted(None), "once each");
    assert!(rig.sent_to("b").iter().all(|seq| *seq >= later.0 - 1), "a new one begins at the head");
    assert_eq!(rig.sent_to("b").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_hears_nothing_more_and_is_forgotten_nowhere_when_it_comes_back() {
    let mut rig = Rig::new().await;
    rig.event(9001).await;
    rig.until_seen(2).await;
    rig.reload(Vec::new()).await;
    assert_eq!(rig.count("WebhookRemoved"), 1);
    assert!(rig.at_work.as_ref().unwrap().webhooks.endpoints().is_empty());
    rig.event(9002).await;
    rig.pass(Duration::from_mins(1)).await;
    assert_eq!(rig.seen().len(), 2);
    rig.reload(vec![endpoint("a")]).await;
    rig.until_seen(4).await;
    assert_eq!(rig.sent_to("a"), rig.wanted(None), "what happened meanwhile comes late, and once");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_noted_changes_nothing() {
    let mut rig = Rig::new().await;
    rig.event(9001).await;
    rig.until_seen(2).await;
    rig.endpoints = vec![endpoint("b")];
    let wanted = rig.configured();
    let deliveries = &mut rig.at_work.as_mut().unwrap().deliveries;
    assert_eq!(deliveries.replace(wanted, async |_| Err("no")).await, Err("no"));
    rig.event(9002).await;
    rig.until_seen(4).await;
    assert_eq!(rig.sent_to("a"), rig.wanted(None));
    assert_eq!(rig.count("WebhookRemoved"), 0);
}
