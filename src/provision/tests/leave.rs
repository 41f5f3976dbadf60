//! The release and the end of a container.

use super::*;

const BACK: &str = "PUT lxc/205/config hostname=pool-9009-00000007 description=OURS";
const STOP: &str = "POST lxc/205/status/stop overrule-shutdown=1";
const DELETE: &str = "DELETE lxc/205 purge=1";

async fn leave(action: Action, answers: &[(&str, (u16, &str))]) -> String {
    let (observation, writes, _) = act(action, answers).await;
    let writes: Vec<_> = writes
        .iter()
        .map(|write| write.replace(BACK, "back").replace(STOP, "stop").replace(DELETE, "delete"))
        .collect();
    format!("{}: {}", brief(&observation), writes.join(", "))
}

fn park() -> Action {
    Action::Park { target: named_target(), hostname: POOL_NAME.into(), marker: ours() }
}

fn destroy(rename_back: Option<&str>) -> Action {
    let target = if rename_back.is_some() { named_target() } else { target(None) };
    Action::Destroy { target, rename_back: rename_back.map(Into::into), marker: ours() }
}

#[tokio::test(start_paused = true)]
async fn a_released_container_is_stopped_and_gets_its_name_back() {
    let (named, upid) = (config("box", "HELD", ""), upid());
    let (named, task) = ((200, named.as_str()), (200, upid.as_str()));
    let current = "GET lxc/205/status/current";
    let config = ("GET lxc/205/config", named);
    let ended = ("GET tasks/UPID/status", ENDED_OK);
    let parked = "parked pool-9009-00000007";
    let answers = [config, (current, RUNNING), (current, STOPPED), (STOP, task), ended, (BACK, DONE)];
    assert_eq!(leave(park(), &answers).await, format!("{parked}: stop, back"));
    let answers = [config, (current, STOPPED), (BACK, CHANGED), (BACK, DONE)];
    assert_eq!(leave(park(), &answers).await, format!("{parked}: back, back"));
    let answers =
        [config, (current, RUNNING), (current, STOPPED), (STOP, (500, "CT 205 not running")), (BACK, DONE)];
    assert_eq!(leave(park(), &answers).await, format!("{parked}: stop, back"));
    let pool = pooled("");
    let answers = [("GET lxc/205/config", (200, pool.as_str())), (current, STOPPED)];
    assert_eq!(leave(park(), &answers).await, format!("{parked}: "));
    let busy = super::ended("can't lock file '/run/lock/lxc/pve-config-205.lock' - got timeout");
    let answers = [config, (current, RUNNING), (STOP, task), ("GET tasks/UPID/status", (200, &busy))];
    assert_eq!(leave(park(), &answers).await, "pve busy: stop");
}

#[tokio::test(start_paused = true)]
async fn an_old_release_is_asked_to_stop_in_its_own_words() {
    let (pool, upid) = (pooled(""), upid());
    let current = "GET lxc/205/status/current";
    let answers = [
        ("GET lxc/205/config", (200, pool.as_str())),
        (current, RUNNING),
        (current, STOPPED),
        (STOP, (400, "overrule-shutdown=property is not defined in schema")),
        ("POST lxc/205/status/stop", (200, &upid)),
        ("GET tasks/UPID/status", ENDED_OK),
    ];
    let observed = leave(park(), &answers).await;
    assert_eq!(observed, "parked pool-9009-00000007: stop, POST lxc/205/status/stop");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_not_ours_or_locked_is_touched() {
    for (config, parked, destroyed) in [
        (config("web", "notes", ""), "foreign: ", "foreign: "),
        (config("web", "OURS", ""), "doubt: ", "doubt: "),
        (pooled(r#","template":1"#), "foreign: ", "foreign: "),
        (pooled(r#","lock":"backup""#), "unusable locked: ", "unusable locked: "),
        (pooled(r#","lock":"create""#), "stuck: pct unlock 205: ", "stuck: pct unlock 205: "),
    ] {
        let answers =
            [("GET lxc/205/config", (200, config.as_str())), ("GET lxc/205/status/current", RUNNING)];
        assert_eq!(leave(park(), &answers).await, parked, "{config}");
        assert_eq!(leave(destroy(None), &answers).await, destroyed, "{config}");
        assert_eq!(leave(destroy(Some(POOL_NAME)), &answers).await, destroyed, "{config}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_freed_before_the_end() {
    let (named, half, pool) = (config("box", "HELD", ""), config("box", "notes", ""), pooled(""));
    for (config, writes) in [(&named, "back"), (&half, "back"), (&pool, "")] {
        let answers = [
            ("GET lxc/205/config", (200, config.as_str())),
            ("GET lxc/205/status/current", STOPPED),
            (BACK, DONE),
        ];
        let observed = leave(destroy(Some(POOL_NAME)), &answers).await;
        assert_eq!(observed, format!("renamed back pool-9009-00000007: {writes}"), "{config}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_is_destroyed_and_seen_to_be_gone() {
    let (pool, upid) = (pooled(""), upid());
    let protected = pooled(r#","protection":1"#);
    let (ours, task) = (("GET lxc/205/config", (200, pool.as_str())), (200, upid.as_str()));
    let gone = ("GET lxc/205/config", GONE);
    let stopped = ("GET lxc/205/status/current", STOPPED);
    let (free, taken) = (("GET cluster/nextid vmid=205", FREE), ("GET cluster/nextid vmid=205", TAKEN));
    let ok = ("GET tasks/UPID/status", ENDED_OK);
    let delete = (DELETE, task);
    assert_eq!(leave(destroy(None), &[ours, gone, stopped, delete, ok]).await, "destroyed: delete");
    let protected = ("GET lxc/205/config", (200, protected.as_str()));
    let unprotect = ("PUT lxc/205/config protection=0", DONE);
    let answers = [protected, ours, gone, stopped, unprotect, delete, ok];
    assert_eq!(leave(destroy(None), &answers).await, "destroyed: PUT lxc/205/config protection=0, delete");
    let answers = [ours, gone, stopped, (DELETE, GONE), free];
    assert_eq!(leave(destroy(None), &answers).await, "destroyed: delete");
    let answers = [ours, gone, stopped, (DELETE, FORBIDDEN), free];
    assert_eq!(leave(destroy(None), &answers).await, "destroyed: delete");
    let answers = [ours, stopped, (DELETE, FORBIDDEN), taken];
    assert_eq!(leave(destroy(None), &answers).await, "pve forbidden: delete");
    let running = (500, "unable to destroy CT 205 - container is running");
    let answers = [ours, ours, ours, gone, stopped, (DELETE, running), delete, ok];
    assert_eq!(leave(destroy(None), &answers).await, "destroyed: delete, delete");
    let broken = ended("rbd error: image still has watchers");
    let answers = [ours, stopped, delete, ("GET tasks/UPID/status", (200, &broken))];
    assert_eq!(leave(destroy(None), &answers).await, "pve other: delete");
    assert_eq!(leave(destroy(None), &[gone, stopped, free]).await, "gone: ");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_fails_is_told_unless_the_container_had_stopped_by_itself() {
    let (pool, upid) = (pooled(""), upid());
    let current = "GET lxc/205/status/current";
    let ours = ("GET lxc/205/config", (200, pool.as_str()));
    let taken = ("GET cluster/nextid vmid=205", TAKEN);
    let answers = [ours, (current, RUNNING), (current, STOPPED), (STOP, FORBIDDEN), taken];
    assert_eq!(leave(park(), &answers).await, "pve forbidden: stop");
    let late = ended("CT 205 not running");
    let task = (STOP, (200, upid.as_str()));
    let answers =
        [ours, (current, RUNNING), (current, STOPPED), task, ("GET tasks/UPID/status", (200, &late))];
    assert_eq!(leave(park(), &answers).await, "parked pool-9009-00000007: stop");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_says_it_destroyed_is_not_believed_without_a_look() {
    let (pool, upid) = (pooled(""), upid());
    let ours = ("GET lxc/205/config", (200, pool.as_str()));
    let (gone, dark) = (("GET lxc/205/config", GONE), ("GET lxc/205/config", (595, "no route")));
    let stopped = ("GET lxc/205/status/current", STOPPED);
    let (delete, ok) = ((DELETE, (200, upid.as_str())), ("GET tasks/UPID/status", ENDED_OK));
    let answers = [ours, ours, ours, gone, stopped, delete, ok];
    assert_eq!(leave(destroy(None), &answers).await, "destroyed: delete, delete");
    assert_eq!(
        leave(destroy(None), &[ours, dark, stopped, delete, ok]).await,
        "pve node_unreachable: delete"
    );
}
