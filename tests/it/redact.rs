//! What somebody wants forgotten is erased from the log, and everything else is as it was.

use std::fs;
use std::process::Command;

use crate::program::{program, text};
use crate::world::World;

/// The name in the header of the first segment, which is also in the id of each frame of the event stream.
fn name_of_log(dir: &std::path::Path) -> String {
    let text = fs::read_to_string(dir.join("log-00000000000000000001.jsonl")).expect("a segment");
    let header: serde_json::Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    header["log_id"].as_str().expect("a name").to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_metadata_of_an_instance_is_erased_and_the_pool_goes_on() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0").full().await;
    let secret = serde_json::json!({
        "template_vmid": 9009, "instance_id": "jane", "metadata": { "email": "jane@example.org" },
    });
    let jane = world.post("/allocate", Some(secret)).await.ok();
    world.allocate("john").await.ok();
    world.settle().await;
    world.stop().await;
    let before = world.events();
    let old_name = name_of_log(world.dir());
    let (dir, into) = (world.dir().to_owned(), world.dir().join("new"));
    let redact = |instance: &str| {
        let mut command: Command = program(&[], &dir);
        command.args(["log", "redact", "--data-dir", ".", "--into", "new", "--instance", instance]);
        command.output().expect("an end")
    };
    let nobody = redact("nobody");
    assert_eq!(nobody.status.code(), Some(1), "{}", text(&nobody));
    assert!(!into.exists(), "nothing is left behind");
    let done = redact("jane");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    let files = |dir: &std::path::Path| -> Vec<_> {
        let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
        entries.filter(|path| path.is_file()).collect()
    };
    for file in files(&into) {
        let bytes = String::from_utf8_lossy(&fs::read(&file).expect("bytes")).into_owned();
        assert!(!bytes.contains("jane@example.org"), "{}", file.display());
    }
    // Put in the old one's place, as it says.
    for file in files(&dir) {
        fs::remove_file(file).expect("its end");
    }
    for file in files(&into) {
        fs::rename(&file, dir.join(file.file_name().expect("a name"))).expect("a move");
    }
    assert_ne!(name_of_log(&dir), old_name, "followers of the old log begin anew");
    let after = world.events();
    let last = after.last().expect("an event");
    assert_eq!((last.event.type_name(), last.seq.0), ("LogRedacted", before.len() as u64 + 1));
    let ids = |events: &[sandbox_pool::domain::event::Envelope]| -> Vec<_> {
        events.iter().map(|envelope| (envelope.seq, envelope.id, envelope.event.type_name())).collect()
    };
    assert_eq!(ids(&after[..before.len()]), ids(&before), "every other event keeps its place");
    world.start().await;
    world.settle().await;
    let row = world.get(&format!("/containers/{}", jane["vmid"])).await.ok();
    assert_eq!(row["allocated_to"], "jane", "{row}");
    assert!(!row.to_string().contains("example.org"), "{row}");
    let others = world.get("/containers?instance=john").await.ok();
    assert!(
        serde_json::to_string(&world.events().iter().map(|it| &it.event).collect::<Vec<_>>())
            .expect("JSON")
            .contains("teamId"),
        "the others' stays: {others}"
    );
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_log_in_use_is_not_redacted() {
    let world = World::new().full().await;
    let mut command = program(&[], world.dir());
    command.args(["log", "redact", "--data-dir", ".", "--into", "new", "--instance", "box"]);
    let refused = command.output().expect("an end");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("in use by"), "{}", text(&refused));
}
