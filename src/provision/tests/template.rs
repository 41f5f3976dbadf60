//! The look at a template before it is cloned or taken on.

use super::*;
use crate::domain::fault::Fault;
use crate::provision::read_template;

const GUESTS: (&str, (u16, &str)) = (
    "GET cluster/resources type=vm",
    (
        200,
        r#"{"data":[{"vmid":9009,"type":"lxc","node":"pve1"},{"vmid":300,"type":"qemu","node":"pve2"},
            {"vmid":9010,"type":"lxc","node":"pve2"}]}"#,
    ),
);
const FEATURE: (&str, (u16, &str)) =
    ("GET lxc/9009/feature feature=clone", (200, r#"{"data":{"hasFeature":1}}"#));
const TASKS: &str = r#"{"data":[{"upid":"UPID:pve1:00001887:000736EB:6B04FF43:vzclone:9009:sandbox@pve!pool:","status":"RUNNING","starttime":1}]}"#;

async fn prepare(vmid: u32, node: Option<&str>, answers: &[(&str, (u16, &str))]) -> Result<String, String> {
    let mut all = vec![GUESTS, FEATURE];
    all.extend(answers);
    let action = Action::PrepareClone {
        clone_id: CloneId(Ulid(7)),
        template: Vmid(vmid),
        node: node.map(Into::into),
        linkable: None,
    };
    let (observation, writes, _) = act(action, &all).await;
    assert!(writes.is_empty());
    let Observation::ClonePrepared { outcome, .. } = observation else { panic!("{observation:?}") };
    let taken = |prepared: crate::domain::command::Prepared| {
        let taken: Vec<u32> = prepared.taken.iter().map(|vmid| vmid.0).collect();
        format!("{} {taken:?} {}", prepared.node, prepared.linkable)
    };
    outcome
        .map(taken)
        .map_err(|Fault { kind, hint, .. }| format!("{} {}", kind.code(), hint.unwrap_or_default()))
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_know_features_is_asked_for_the_clone_itself() {
    let template = config("box", "notes", r#","template":1"#);
    let unknown = (501, "Method 'GET /nodes/pve1/lxc/9009/feature' not implemented");
    let answers = [
        GUESTS,
        ("GET lxc/9009/config", (200, template.as_str())),
        ("GET lxc/9009/feature feature=clone", unknown),
    ];
    let action =
        Action::PrepareClone { clone_id: CloneId(Ulid(7)), template: Vmid(9009), node: None, linkable: None };
    let (observation, _, _) = act(action, &answers).await;
    let Observation::ClonePrepared { outcome: Ok(prepared), .. } = observation else {
        panic!("{observation:?}")
    };
    assert!(prepared.linkable);
}

#[tokio::test(start_paused = true)]
async fn a_template_is_found_and_its_storage_asked() {
    let template = r#"{"data":{"template":1,"hostname":"tmpl"}}"#;
    let config = ("GET lxc/9009/config", (200, template));
    let found = Ok("pve1 [300, 9009, 9010] true".to_owned());
    assert_eq!(prepare(9009, None, &[config]).await, found);
    assert_eq!(prepare(9009, Some("pve1"), &[config]).await, found);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_cloned_is_told_apart() {
    let free = |vmid: &'static str| (vmid, (200, r#"{"data":"9009"}"#));
    let taken = ("GET cluster/nextid vmid=9011", (400, "vmid=VM 9011 already exists"));
    let gone = (500, "Configuration file 'nodes/pve1/lxc/9009.conf' does not exist");
    for (vmid, node, answers, expected) in [
        (9011, None, vec![free("GET cluster/nextid vmid=9011")], "gone "),
        (9011, None, vec![taken], "forbidden "),
        (9011, None, vec![("GET cluster/nextid vmid=9011", (501, "Method not implemented"))], "gone "),
        (9011, None, vec![("GET cluster/nextid vmid=9011", (595, "no route"))], "node_unreachable "),
        (300, None, vec![], "not_a_template "),
        (9010, Some("pve1"), vec![("GET lxc/9010/config", gone)], "gone "),
        (9009, None, vec![("GET lxc/9009/config", gone), free("GET cluster/nextid vmid=9009")], "gone "),
        (
            9009,
            None,
            vec![
                ("GET lxc/9009/config", gone),
                ("GET cluster/nextid vmid=9009", (400, "vmid=VM 9009 already exists")),
            ],
            "forbidden ",
        ),
        (9009, None, vec![("GET lxc/9009/config", (595, "no route"))], "node_unreachable "),
        (
            9009,
            None,
            vec![("GET lxc/9009/config", (200, r#"{"data":{}}"#))],
            "not_a_template pct template 9009",
        ),
    ] {
        assert_eq!(prepare(vmid, node, &answers).await, Err(expected.to_owned()), "{vmid} {node:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_stale_only_if_no_clone_runs() {
    let locked = ("GET lxc/9009/config", (200, r#"{"data":{"template":1,"lock":"disk"}}"#));
    let backup = ("GET lxc/9009/config", (200, r#"{"data":{"template":1,"lock":"backup"}}"#));
    let tasks = ("GET tasks", (200, TASKS));
    let state = |answer| ("GET tasks/UPID/status", answer);
    for (answers, expected) in [
        (vec![locked, tasks, state(RUNNING)], "locked "),
        (vec![locked, tasks, state(ENDED_OK)], "locked pct unlock 9009"),
        (vec![locked, tasks, state((403, "Permission check failed"))], "locked "),
        (vec![locked, tasks, state((400, "upid=no such task"))], "locked pct unlock 9009"),
        (vec![locked, tasks, state((595, "no route"))], "node_unreachable "),
        (vec![locked, ("GET tasks", (200, r#"{"data":[]}"#))], "locked pct unlock 9009"),
        (vec![backup], "locked "),
    ] {
        assert_eq!(prepare(9009, None, &answers).await, Err(expected.to_owned()), "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_locked_template_can_be_taken_on() {
    let locked = ("GET lxc/9009/config", (200, r#"{"data":{"template":1,"lock":"disk"}}"#));
    let facts = read_template(&Pve::new(Script::new(&[GUESTS, FEATURE, locked])), None, Vmid(9009)).await;
    assert_eq!(facts.map(|facts| (facts.node.0, facts.linkable)), Ok(("pve1".to_owned(), Some(true))));
    let facts = read_template(&Pve::new(Script::new(&[GUESTS, locked])), None, Vmid(9009)).await;
    assert_eq!(facts.map(|facts| facts.linkable), Ok(None));
}
