//! The file of endpoints: what it says, and how what is wrong with it is told without its keys.

use super::*;
use crate::config::{Secret, WebhookEndpoint, WebhooksFile};

const OTHER_KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD3bQhx7kWzLM=";

fn load(text: &str) -> Result<Vec<Endpoint>, EndpointError> {
    let file = WebhooksFile { path: "/etc/pool/webhooks.toml".into(), text: Secret::new(text) };
    let config = WebhookConfig { file: Some(file), endpoint: None, allow_cidrs: Vec::new() };
    Endpoint::load(&config, &|path| match path.to_str().unwrap() {
        "/keys/two" => Ok(format!("{OTHER_KEY}\n\n{KEY}\n")),
        "/keys/bad" => Ok("hunter2".to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    })
}

/// An endpoint with more lines.
fn with(lines: &str) -> String {
    let name = if lines.contains("name =") { "" } else { "name = 'a'\n" };
    let url = if lines.contains("url =") { "" } else { "url = 'https://hooks.example.com/x'\n" };
    let key = if lines.contains("secret") { String::new() } else { format!("secrets = ['{KEY}']\n") };
    format!("[[endpoint]]\n{name}{url}{key}{lines}\n")
}

#[test]
fn everything_can_be_said_of_an_endpoint() {
    let text = format!(
        "{}{}",
        with(
            "name = 'a'\nsecret_file = '/keys/two'\ntypes = ['Allocated']\ntemplates = [9009]\ntimeout_seconds = 30"
        ),
        with("name = 'b-2_x'"),
    );
    let endpoints = load(&text).unwrap();
    let [a, b] = endpoints.as_slice() else { panic!("{endpoints:?}") };
    assert_eq!(a.secret_hints(), ["whsec_…WzLM", "whsec_…LaSw"]);
    assert_eq!((a.types.clone(), a.timeout), (Some(["Allocated"].into()), Duration::from_secs(30)));
    assert_eq!(a.templates, [Vmid(9009)].into());
    assert_eq!((b.name.as_str(), &b.types, b.timeout), ("b-2_x", &None, Duration::from_secs(15)));
    assert_eq!(b.origin(), "https://hooks.example.com");
    let shown = format!("{endpoints:?}");
    assert!(!shown.contains("MfKQ") && !shown.contains("/x"), "{shown}");
}

#[test]
fn the_example_says_what_can_be_said() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/webhooks.example.toml");
    let file = WebhooksFile { path: path.into(), text: Secret::new(std::fs::read_to_string(path).unwrap()) };
    let config = WebhookConfig { file: Some(file), endpoint: None, allow_cidrs: Vec::new() };
    let endpoints = Endpoint::load(&config, &|_| Ok(KEY.to_owned())).unwrap();
    let [billing, on_call] = endpoints.as_slice() else { panic!("{endpoints:?}") };
    assert_eq!((billing.name.as_str(), billing.templates.clone()), ("billing", [Vmid(9009)].into()));
    assert!(on_call.types.as_ref().is_some_and(|types| types.contains("WebhookDisabled")));
}

#[test]
fn the_short_form_is_an_endpoint_like_the_others() {
    let endpoint =
        WebhookEndpoint { url: "https://hooks.example.com/x".parse().unwrap(), secret: Secret::new(KEY) };
    let mut config = WebhookConfig { file: None, endpoint: Some(endpoint), allow_cidrs: Vec::new() };
    let endpoints = Endpoint::load(&config, &|_| unreachable!()).unwrap();
    assert_eq!(endpoints[0].name.as_str(), SHORT_FORM);
    config.file = Some(WebhooksFile { path: "w.toml".into(), text: Secret::new(with("name = 'default'")) });
    let error = Endpoint::load(&config, &|_| unreachable!()).unwrap_err();
    assert!(error.to_string().contains("no other endpoint"), "{error}");
}

#[test]
fn what_is_wrong_is_named_and_no_key_is_shown() {
    for (text, expected) in [
        (with("name = 'A B'"), "name: expected"),
        (with("name = ''"), "name: expected"),
        (with("url = 'hooks.example.com'"), "url: expected"),
        (with("url = 'http://hooks.example.com'"), "plain http"),
        (with("url = 'https://192.168.0.1/'"), "not a public address"),
        (with("url = 'https://10.0.0.1:8006/'"), "8006"),
        (with("url = 'https://hunter2@hooks.example.com/'"), "without a user"),
        (with("secret_file = '/keys/none'"), "/keys/none cannot be read"),
        (with("secret_file = '/keys/bad'"), "whsec_ followed by"),
        (with("secrets = []"), "1 to 3 keys"),
        (with("secrets = ['whsec_aHVudGVyMg==']"), "24 to 64 bytes"),
        (with(&format!("secrets = ['{KEY}', '{KEY}', '{KEY}', '{KEY}']")), "1 to 3 keys"),
        (with("types = ['Allocatd']"), "`Allocatd`"),
        (with("types = []"), "at least one type"),
        (with("types = ['WebhookCheckpointed']"), "that are sent"),
        (with("templates = [5]"), "VMIDs"),
        (with("timeout_seconds = 0"), "1 to 60"),
        (with("timeout_seconds = 90"), "1 to 60"),
        (with("secret = 'whsec_hunter2'"), "line 4: unknown field `secret`"),
        (with("secrets = ['whsec_hunter2\n']"), "webhooks.toml, line 5"),
        (format!("{}{}", with(""), with("")), "no other endpoint"),
    ] {
        let error = load(&text).unwrap_err();
        let mut shown = format!("{error} {error:?}");
        if let Some(source) = std::error::Error::source(&error) {
            shown = format!("{shown} {source}");
        }
        assert!(error.to_string().contains(expected), "{text}\n{error}");
        assert!(!shown.contains("hunter2") && !shown.contains("MfKQ"), "{shown}");
    }
}

#[test]
fn there_are_fifty_at_most() {
    let many: String = (0..51).map(|nth| with(&format!("name = 'e{nth}'"))).collect();
    assert!(load(&many).unwrap_err().to_string().contains("at most 50"));
    let enough: String = (0..50).map(|nth| with(&format!("name = 'e{nth}'"))).collect();
    assert_eq!(load(&enough).unwrap().len(), 50);
}
