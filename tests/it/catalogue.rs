//! The catalogue in `events/` is true: each type has a schema made from the code, and a sample of each
//! published version that validates, decodes and applies.
//!
//! `UPDATE=1 cargo test catalogue` writes the schemas of types that have none yet. A published one never
//! changes: a new shape is a new version.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sandbox_pool::domain::event::{Cause, Envelope, Event};
use sandbox_pool::domain::ids::{Lane, Seq};
use sandbox_pool::domain::state::State;
use sandbox_pool::domain::time::Timestamp;
use serde_json::Value;

fn catalogue() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("events")
}

fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads a sample as the log would read its line.
fn envelope(sample: &Value) -> Envelope {
    let text = |field: &str| sample[field].as_str().unwrap_or_else(|| panic!("no {field}")).to_owned();
    let version = u32::try_from(sample["v"].as_u64().expect("a version")).expect("a small version");
    let data = sample["data"].to_string();
    Envelope {
        seq: Seq(sample["seq"].as_u64().expect("a seq")),
        id: text("id").parse().expect("a ULID"),
        at: Timestamp::parse(&text("at")).expect("an instant"),
        event: Event::decode(&text("type"), version, &data).expect("a payload"),
        cause: sample
            .get("cause")
            .map(|cause| serde_json::from_value::<Cause>(cause.clone()).expect("a seq or a request id")),
        more: sample["more"].as_bool().expect("whether more of the batch follows"),
    }
}

#[test]
fn every_type_has_a_folder_and_every_folder_a_type() {
    let folders: BTreeSet<String> = fs::read_dir(catalogue())
        .expect("events/")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("a name"))
        .collect();
    let types: BTreeSet<String> = Event::TYPES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(folders, types);
}

#[test]
fn every_type_is_in_the_readme() {
    let readme = fs::read_to_string(catalogue().join("README.md")).expect("events/README.md");
    for name in Event::TYPES {
        assert!(readme.contains(&format!("`{name}`")), "events/README.md does not name {name}");
    }
}

#[test]
fn the_schema_of_each_type_is_that_of_the_code() {
    for (name, schema) in Event::schemas() {
        let path = catalogue().join(name).join("v1.schema.json");
        let made = schema.to_value();
        if std::env::var_os("UPDATE").is_some() && !path.exists() {
            let text = serde_json::to_string_pretty(&made).expect("JSON") + "\n";
            fs::write(&path, text).expect("a written schema");
        }
        assert_eq!(read_json(&path), made, "{} has another shape than the code", path.display());
    }
}

#[test]
fn every_sample_validates_decodes_and_applies() {
    for name in Event::TYPES {
        let folder = catalogue().join(name);
        let sample = read_json(&folder.join("v1.sample.json"));
        let schema = jsonschema::validator_for(&read_json(&folder.join("v1.schema.json"))).expect("a schema");
        if let Err(error) = schema.validate(&sample["data"]) {
            panic!("{name}: the sample does not match its schema: {error}");
        }
        let envelope = envelope(&sample);
        assert_eq!(envelope.event.type_name(), *name);
        let written = serde_json::to_value(&envelope.event).expect("JSON");
        assert_eq!(written, sample["data"], "{name}: the sample is not what would be written");
        let mut state = State::default();
        state.apply(&envelope);
        assert_eq!(state.head, envelope.seq);
    }
}

#[test]
fn an_event_is_about_what_its_payload_names() {
    for name in Event::TYPES {
        let sample = read_json(&catalogue().join(name).join("v1.sample.json"));
        let (event, data) = (envelope(&sample).event, &sample["data"]);
        let json = |named: Option<Value>| named.unwrap_or_default();
        assert_eq!(json(event.template().map(|vmid| vmid.0.into())), data["template"], "{name}");
        assert_eq!(json(event.vmid().map(|vmid| vmid.0.into())), data["vmid"], "{name}");
        assert_eq!(
            json(event.allocation_id().map(|id| id.to_string().into())),
            data["allocation_id"],
            "{name}"
        );
        assert_eq!(
            json(event.endpoint().map(|endpoint| endpoint.as_str().into())),
            data["endpoint"],
            "{name}"
        );
        assert_eq!(json(event.fault_kind().map(|kind| kind.code().into())), data["fault"]["kind"], "{name}");
    }
}

#[test]
fn what_arrives_in_order_is_of_one_container_else_of_one_allocation_else_of_one_template() {
    for name in Event::TYPES {
        let sample = read_json(&catalogue().join(name).join("v1.sample.json"));
        let named = [("container", "vmid"), ("allocation", "allocation_id"), ("template", "template")];
        let lane = named.into_iter().find_map(|(lane, field)| match &sample["data"][field] {
            Value::Null => None,
            Value::String(id) => Some(format!("{lane}/{id}")),
            id => Some(format!("{lane}/{id}")),
        });
        let lane = lane.unwrap_or_else(|| "service".to_owned());
        assert_eq!(Lane::of(&envelope(&sample).event).as_str(), lane, "{name}");
    }
}
