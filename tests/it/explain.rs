//! The story of an allocation and of a container: asked of the service and read from its files.

use std::process::Output;

use sandbox_pool::sim::{Effect, FaultRule, On, Which};
use serde_json::{Value, json};

use crate::program::{program, text};
use crate::world::World;

fn offline(world: &World, about: &[&str]) -> Output {
    let dir = world.dir().to_str().expect("a path");
    program(&[], world.dir()).arg("explain").args(about).args(["--data-dir", dir]).output().expect("an end")
}

fn newest(story: &Value) -> &Value {
    story["chapters"].as_array().expect("chapters").last().expect("a chapter")
}

/// One container is ready; a takes it, b and c wait in this order.
async fn three_at_once() -> World {
    let world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "1").full().await;
    for asked in ["a", "b", "c"].map(|name| world.allocating(name)) {
        asked.await.expect("an answer").ok();
    }
    world.settle().await;
    world
}

#[tokio::test(start_paused = true)]
async fn who_waited_is_told_behind_whom_and_for_how_long() {
    let world = three_at_once().await;
    let told = world.get("/explain?instance=c").await.ok();
    let chapter = newest(&told);
    assert_eq!((&chapter["outcome"], &chapter["behind"]), (&"held".into(), &serde_json::json!(["b"])));
    let durations = &chapter["durations"];
    let ms = |name: &str| durations[name].as_u64().unwrap_or_else(|| panic!("{name}: {told:#}"));
    assert!(ms("in_line_ms") > ms("clone_ms"), "b's clone came first: {told:#}");
    assert!(ms("answer_ms") >= ms("in_line_ms") + ms("start_ms"), "{told:#}");
    assert!(told["summary"].as_str().is_some_and(|it| it.contains("b stood in line before it")), "{told:#}");
    let told = world.get("/explain?instance=a").await.ok();
    assert_eq!(newest(&told)["durations"]["in_line_ms"], Value::Null, "it did not wait: {told:#}");
}

#[tokio::test(start_paused = true)]
async fn the_files_tell_what_the_service_tells_also_after_a_kill() {
    let mut world = three_at_once().await;
    let vmid = world.get("/explain?instance=b").await.ok()["chapters"][0]["vmid"].clone();
    world.post(&format!("/release/{vmid}"), None).await.ok();
    world.settle().await;
    world.restart().await;
    world.settle().await;
    let vmid = vmid.to_string();
    for (query, about) in [
        ("instance=b", ["--instance", "b"]),
        ("instance=c", ["--instance", "c"]),
        (&format!("vmid={vmid}"), ["--vmid", &vmid]),
    ] {
        let answered = world.get(&format!("/explain?{query}")).await;
        assert_eq!(answered.seq, Some(world.state().head.0));
        let mut arguments = about.to_vec();
        arguments.push("--json");
        let output = offline(&world, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let answered = answered.ok();
        assert_eq!(read, answered);
        let words = offline(&world, &about);
        let words = String::from_utf8_lossy(&words.stdout).into_owned();
        assert!(words.contains(answered["summary"].as_str().expect("a summary")), "{words}");
    }
    let told = world.get("/explain?instance=b").await.ok();
    let gone = &newest(&told)["gone"];
    assert_eq!((&newest(&told)["outcome"], &gone["by"]), (&"released".into(), &"request".into()));
    let request = gone["request_id"].as_str().expect("who asked");
    assert!(told["summary"].as_str().expect("words").contains(request), "{told:#}");
}

#[tokio::test(start_paused = true)]
async fn how_long_a_lock_held_it_up_is_told() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "0").set("POOL_MIN_SIZE", "0");
    let locked = Effect::FailBefore { status: 500, reason: "CT is locked (disk)".to_owned() };
    world.sim.add_fault(FaultRule { on: On::clone_of_any(), which: Which::First(2), effect: locked });
    world.start().await;
    let vmid = world.allocate("box").await.ok()["vmid"].clone();
    for about in ["instance=box".to_owned(), format!("vmid={vmid}")] {
        let told = world.get(&format!("/explain?{about}")).await.ok();
        let durations = &newest(&told)["durations"];
        let ms = |name: &str| durations[name].as_u64().unwrap_or_else(|| panic!("{name}: {told:#}"));
        assert!((10_000..=ms("in_line_ms")).contains(&ms("retries_ms")), "two pauses of 5 s: {told:#}");
        assert!(told["summary"].as_str().expect("words").contains("after refusals by PVE"), "{told:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn whose_events_were_pruned_is_told_so() {
    let mut world = World::new().set("LOG_SEGMENT_BYTES", "1M").set("LOG_RETENTION_BYTES", "1M");
    world = world.full().await;
    let vmid = world.allocate("old").await.ok()["vmid"].clone();
    let metadata = json!({ "note": "x".repeat(15_000) });
    let oldest = loop {
        let body = json!({ "template_vmid": 9009, "instance_id": "new", "metadata": metadata });
        let new = world.post("/allocate?start=false", Some(body)).await.ok();
        world.delete(&format!("/containers/{}", new["vmid"])).await.ok();
        world.settle().await;
        let answer = world.get("/explain?instance=nobody").await;
        if let Some(oldest @ 100..) = answer.body["oldest"].as_u64() {
            break oldest;
        }
    };
    let answer = world.get("/explain?instance=old").await;
    assert_eq!((answer.status, &answer.body["code"]), (404, &"nothing_known".into()));
    let detail = answer.body["detail"].as_str().expect("words");
    for words in [
        format!("Events before {oldest} were pruned"),
        "explain --instance old --data-dir".to_owned(),
        format!("container {vmid} is allocated"),
    ] {
        assert!(detail.contains(&words), "{words}: {detail}");
    }
    let told = world.get(&format!("/explain?vmid={vmid}")).await;
    assert_eq!(told.status, 404, "{}", told.body);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_in_the_log_is_told_what_is() {
    let world = three_at_once().await;
    let answer = world.get("/explain?instance=nobody").await;
    assert_eq!((answer.status, &answer.body["code"]), (404, &"nothing_known".into()));
    assert!(answer.body["detail"].as_str().is_some_and(|it| it.ends_with("are a, b, c")), "{}", answer.body);
    assert_eq!((&answer.body["oldest"], &answer.body["head"]), (&1.into(), &world.state().head.0.into()));
    for wrong in ["", "?vmid=x", "?vmid=201&instance=a", "?container=201"] {
        let answer = world.get(&format!("/explain{wrong}")).await;
        assert_eq!((answer.status, &answer.body["code"]), (422, &"invalid_request".into()), "{wrong}");
    }
    let output = offline(&world, &["--vmid", "9999"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("knows no container 9999"), "{}", text(&output));
}
