//! Answers that no PVE gives: an error or a reading of it, never a panic.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

use super::api::call_everything;
use crate::domain::ids::Upid;
use crate::pve::{Answer, Pve, Request, Transport, Unanswered};

/// Answers everything in the same way.
struct Same(Answer);

#[async_trait]
impl Transport for Same {
    async fn call(&self, _: Request) -> Result<Answer, Unanswered> {
        Ok(self.0.clone())
    }
}

/// Names that rows have.
const NAMES: [&str; 17] = [
    "vmid",
    "node",
    "name",
    "hostname",
    "status",
    "type",
    "template",
    "lock",
    "description",
    "digest",
    "upid",
    "uptime",
    "exitstatus",
    "hasFeature",
    "storage",
    "content",
    "starttime",
];

fn word() -> impl Strategy<Value = String> {
    let known = [
        "1",
        "0",
        "200",
        "running",
        "stopped",
        "lxc",
        "OK",
        "WARNINGS: 1",
        "vzclone",
        "snapshot",
        "-1",
        "1e99",
    ];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), any::<String>()]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 6, |inner| {
        let name = prop_oneof![prop::sample::select(&NAMES[..]).prop_map(str::to_owned), word()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        value().prop_map(|value| json!({ "data": value }).to_string().into_bytes()),
        value().prop_map(|value| value.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..60),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_to_any_call(status in prop_oneof![Just(200_u16), 100..1000_u16], reason in word(), body in body()) {
        let pve = Pve::new(Arc::new(Same(Answer { status, reason, body })));
        // Nothing of it waits for anything.
        prop_assert!(call_everything(&pve).now_or_never().is_some());
    }

    #[test]
    fn any_text_for_a_task(upid in word()) {
        let pve = Pve::new(Arc::new(Same(Answer { status: 200, reason: upid.clone(), body: b"{}".to_vec() })));
        prop_assert!(pve.task(&Upid::from(upid.as_str())).now_or_never().is_some());
    }
}
