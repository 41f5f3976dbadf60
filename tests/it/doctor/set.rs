//! Faults of the settings, and of the files that they name.

use sandbox_pool::sim::DEMO_TOKEN;

use super::{Case, case};

const KEY: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

pub const CASES: &[Case] = &[
    case("a setting that is missing", "settings PVE_API_TOKEN", |it| it.unset("PVE_API_TOKEN")),
    case("a wrong setting in the file", "settings POOL_TARGET_SIZE", |it| it.set("POOL_TARGET_SIZE", "many")),
    case("a wrong setting in the environment", "settings POOL_TARGET_SIZE", |it| {
        it.env.insert("POOL_TARGET_SIZE", "many".to_owned());
    }),
    case("a wrong flag", "settings POOL_TARGET_SIZE", |it| {
        let file = it.etc("env").display().to_string();
        it.arguments = vec!["--env-file".to_owned(), file, "--target-size".to_owned(), "many".to_owned()];
    }),
    case("no file of settings", "settings --env-file", |it| {
        let file = it.etc("nothing").display().to_string();
        it.arguments = vec!["--env-file".to_owned(), file];
    }),
    case("a name that no setting has", "settings", |it| it.line("POOL_TARGET=5")),
    case("a line that is no setting", "settings", |it| it.line("POOL_TARGET_SIZE 5")),
    case("a line for a shell", "settings", |it| it.line("export POOL_TARGET_SIZE=5")),
    case("http to another machine", "settings PVE_API_URL", |it| {
        it.set("PVE_API_URL", "http://192.0.2.1:8006");
    }),
    case("a token that PVE would cut off", "settings PVE_API_TOKEN", |it| {
        it.set("PVE_API_TOKEN", format!("{DEMO_TOKEN}=5a1b;0c3d"));
    }),
    case("no file with the CA", "settings PVE_CA_FILE", |it| {
        it.set_path("PVE_CA_FILE", &it.etc("pve-root-ca.pem"));
    }),
    case("a file with the CA that has no certificate", "settings PVE_CA_FILE", |it| {
        it.set_file("PVE_CA_FILE", "pve-root-ca.pem", "nothing");
    }),
    case("a file with the CA that is damaged", "settings PVE_CA_FILE", |it| {
        let text = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        it.set_file("PVE_CA_FILE", "pve-root-ca.pem", text);
    }),
    case("an empty file with the token", "settings PVE_API_TOKEN_FILE", |it| {
        it.unset("PVE_API_TOKEN");
        it.set_file("PVE_API_TOKEN_FILE", "token", "\n");
    }),
    case("an address for everybody, and no token", "settings POOL_LISTEN", |it| {
        it.set("POOL_LISTEN", "0.0.0.0:0");
    }),
    case("an address for everybody, and that was meant", "settings POOL_ALLOW_UNAUTHENTICATED", |it| {
        it.set("POOL_LISTEN", "0.0.0.0:0");
        it.set("POOL_ALLOW_UNAUTHENTICATED", "true");
    }),
    case("a token that can be guessed", "settings POOL_API_TOKEN", |it| it.set("POOL_API_TOKEN", "sesame")),
    case("streams for all connections", "settings POOL_MAX_STREAMS", |it| {
        it.set("POOL_MAX_STREAMS", "12000");
    }),
    case("two sizes that contradict each other", "settings POOL_MIN_SIZE", |it| it.set("POOL_MIN_SIZE", "6")),
    case("a cap below the target", "settings POOL_MAX_TOTAL", |it| it.set("POOL_MAX_TOTAL", "4")),
    case("a patience beyond the caller's", "settings ALLOCATE_TIMEOUT_SECONDS", |it| {
        it.set("ALLOCATE_TIMEOUT_SECONDS", "120");
    }),
    case("less of the log than one file of it", "settings LOG_RETENTION_BYTES", |it| {
        it.set("LOG_RETENTION_BYTES", "1M");
    }),
    case("no file of webhooks", "settings WEBHOOKS_FILE", |it| {
        it.set_path("WEBHOOKS_FILE", &it.etc("webhooks.toml"));
    }),
    case("a wrong file of webhooks", "webhooks WEBHOOKS_FILE", |it| {
        it.set_file("WEBHOOKS_FILE", "webhooks.toml", "[[endpoint]]\nnam = 'billing'\n");
    }),
    case("a webhook's key that is not there", "webhooks WEBHOOKS_FILE", |it| {
        let key = it.etc("billing.key");
        let text = format!(
            "[[endpoint]]\nname = 'billing'\nurl = 'https://hooks.example.com/'\nsecret_file = '{}'\n",
            key.display()
        );
        it.set_file("WEBHOOKS_FILE", "webhooks.toml", &text);
    }),
    case("a webhook to a private address", "webhooks WEBHOOK_URL", |it| {
        it.set("WEBHOOK_URL", "https://10.0.0.5/pool");
        it.set("WEBHOOK_SECRET", KEY);
    }),
    case("a webhook's address that is none", "settings WEBHOOK_URL", |it| {
        it.set("WEBHOOK_URL", "hooks.example.com");
        it.set("WEBHOOK_SECRET", KEY);
    }),
    case("no file with a webhook's key", "settings WEBHOOK_SECRET_FILE", |it| {
        it.set("WEBHOOK_URL", "https://hooks.example.com/");
        it.set_path("WEBHOOK_SECRET_FILE", &it.etc("webhook.key"));
    }),
    case("a webhook's key that is none", "settings WEBHOOK_SECRET", |it| {
        it.set("WEBHOOK_URL", "https://hooks.example.com/");
        it.set("WEBHOOK_SECRET", "sesame");
    }),
    case("a webhook's key without its address", "settings WEBHOOK_URL", |it| it.set("WEBHOOK_SECRET", KEY)),
];
