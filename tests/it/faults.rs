//! Each kind of refusal that PVE knows, met by every write and every task of a whole life. Whatever it is:
//! nothing is lost or doubled, and what PVE recovers from needs no person.

use std::time::Duration;

use sandbox_pool::sim::{Effect, FaultRule, On, Which};

use crate::world::{Answer, World, request, wish};

/// Answers to a call, by the table of errors: what passes by itself, and what somebody mends after a while.
pub const ANSWERS: &[(u16, &str)] = &[
    (500, "CT is locked (disk)"),
    (500, "CT is locked (backup)"),
    (500, "can't lock file '/run/lock/lxc/pve-config-9009.lock' - got timeout"),
    (500, "can't lock file '/var/log/pve/tasks/.active.lock' - got timeout"),
    (500, "cfs-lock 'storage-pool' error: got lock request timeout"),
    (500, "cfs-lock 'storage-pool' error: no quorum!"),
    (500, "storage-pool-locked command timed out - aborting"),
    (500, "cluster not ready - no quorum?"),
    (500, "unable to write '/etc/pve/nodes/pve1/lxc/201.conf': Permission denied"),
    (500, "RPCEnvironment init request failed"),
    (500, "detected modified configuration - file changed by other user? Try again."),
    (500, "can't remove CT 201 - protection mode enabled"),
    (500, "unable to destroy CT 201 - container is running"),
    (500, "Linked clone feature for 'pool:base-9009-disk-0' is not available"),
    (500, "unable to clone mountpoint 'mp0' (type bind)"),
    (500, "storage 'pool' is not online"),
    (500, "storage 'pool' is disabled"),
    (500, "hostname lookup 'pve1' failed - failed to get address info for: pve1"),
    (500, "no such cluster node 'pve1'"),
    (500, "something that no list knows"),
    (400, "Parameter verification failed."),
    (401, "Authentication failed!"),
    (403, "Permission check failed (/vms/9009, VM.Clone)"),
    (501, "Method 'POST /x' not implemented"),
    (506, "Variant Also Negotiates"),
    (595, "Connection refused"),
    (596, "Broken pipe"),
    (597, "Connection timed out"),
    (599, "Too many redirections"),
];

/// Ends of tasks, by the same table.
pub const ENDS: &[&str] = &[
    "cfs-lock 'storage-pool' error: got lock request timeout",
    "cfs-lock 'storage-pool' error: no quorum!",
    "can't lock file '/run/lock/lxc/pve-config-201.lock' - got timeout",
    "storage-pool-locked command timed out - aborting",
    "CT is locked (backup)",
    "container did not stop",
    "no space left on device",
    "unexpected status",
    "interrupted by signal",
    "something that no list knows",
];

/// What the pool changes at PVE.
fn writes() -> [On; 5] {
    [On::clone_of_any(), On::update(), On::start(), On::stop(), On::destroy()]
}

/// Asks until it is done.
async fn in_the_end(world: &World, what: &str, method: &str, path: &str) -> Answer {
    loop {
        let body = (method == "POST" && path.starts_with("/allocate")).then(|| wish("first"));
        let answer = request(&world.front(), method, path, body).await;
        // What a first try could not destroy is destroyed by a later one of the pool's own.
        if answer.status == 200 || (method, answer.status) == ("DELETE", 404) {
            return answer;
        }
        assert!([409, 502, 503, 504].contains(&answer.status), "{what}: {} {}", answer.status, answer.body);
        assert!(answer.status != 503 || answer.retry_after.is_some(), "{what}");
        assert!(world.events().len() < 2000, "{what}: {}", answer.body);
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
}

/// A pool meets the trouble three times at one call, and then PVE is well again: a whole life goes on.
async fn recovers(on: &On, effect: Effect) {
    let what = format!("{on:?} {effect:?}");
    let mut world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0");
    world.sim.add_fault(FaultRule { on: on.clone(), which: Which::First(3), effect });
    world.start().await;
    let held = in_the_end(&world, &what, "POST", "/allocate?start=true").await;
    world.settle().await;
    let vmid = u32::try_from(held.body["vmid"].as_u64().expect("a VMID")).expect("a VMID");
    assert_eq!(world.sim.ct(vmid).expect(&what).hostname.as_deref(), Some("first"), "{what}");
    in_the_end(&world, &what, "POST", &format!("/release/{vmid}")).await;
    world.settle().await;
    let again = in_the_end(&world, &what, "POST", "/allocate?start=true").await;
    in_the_end(&world, &what, "DELETE", &format!("/containers/{}", again.body["vmid"])).await;
    world.settle().await;
    // One call alone is in trouble: PVE is there.
    assert_eq!((world.count("ContainerLost"), world.count("PveUnreachable")), (0, 0), "{what}");
    assert_eq!(world.sim.max_clones_in_flight_seen(9009), 1, "{what}");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_costs_nothing_for_good_before_it_takes_effect() {
    for on in writes() {
        for (status, reason) in ANSWERS {
            recovers(&on, Effect::FailBefore { status: *status, reason: (*reason).to_owned() }).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_costs_nothing_for_good() {
    for on in [On::clone_of_any(), On::start(), On::stop(), On::destroy()] {
        for end in ENDS {
            recovers(&on, Effect::TaskFails { exitstatus: (*end).to_owned() }).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_hides_that_it_took_effect_doubles_nothing() {
    for on in writes() {
        for status in [596, 597, 599] {
            recovers(&on, Effect::FailAfter { status, reason: "Connection timed out".to_owned() }).await;
        }
        for effect in [Effect::NotSent, Effect::DropBefore, Effect::DropAfter] {
            recovers(&on, effect).await;
        }
    }
}
