//! Checks at PVE, in the order in which they depend on each other. Nothing there is ever changed.

use std::collections::BTreeSet;
use std::path::Path;

use super::finding::Finding;
use super::rights::{self, Role, Who};
use super::settings::change;
use super::template;
use crate::app::PveError;
use crate::causes;
use crate::config::Config;
use crate::domain::fault::FaultKind;
use crate::domain::ids::Node;
use crate::pve::{Error, GuestRow, NodeRow, Pve};

/// Milliseconds that PVE's clock is ahead of this machine's; none if nobody said.
pub(super) type Ahead = Option<i64>;

/// Beyond this, instants in events and PVE's tasks no longer match well.
const SKEW_WARN_MS: u64 = 5_000;
/// Beyond this, a clone's task may not be found by when it began.
const SKEW_FAIL_MS: u64 = 60_000;

/// An examination of one PVE.
pub(super) struct Examination<'a> {
    pub(super) config: &'a Config,
    pub(super) pve: &'a Pve,
    /// The settings' own.
    pub(super) file: &'a Path,
    pub(super) who: Who,
    pub(super) findings: Vec<Finding>,
    pub(super) guests: Option<Vec<GuestRow>>,
    pub(super) major: Option<u32>,
    /// None if PVE does not list them.
    nodes: Option<Vec<NodeRow>>,
    /// Nodes that were found wanting, each told once.
    told: BTreeSet<Node>,
}

/// What is looked at once PVE answers.
const BEHIND: &[&str] =
    &["pve-version", "clock", "node", "privileges", "resource-pool", "template", "storage"];

/// Examines PVE.
pub(super) async fn examine(config: &Config, pve: &Pve, file: &Path, ahead: Ahead) -> Vec<Finding> {
    let mut it = Examination {
        config,
        pve,
        file,
        who: Who::of(config.pve.token.expose()),
        findings: Vec::new(),
        guests: None,
        major: None,
        nodes: None,
        told: BTreeSet::new(),
    };
    if it.reach().await {
        it.findings.push(clock(ahead));
        it.look_around().await;
    } else {
        it.findings.extend(unseen());
    }
    it.findings
}

/// What is found where PVE cannot be asked at all.
pub(super) fn no_way(error: &PveError) -> Vec<Finding> {
    let finding = Finding::fail("pve-address", causes::chain(error), EVERYTHING)
        .mend("sandbox-pool settings   # says what PVE_API_URL, PVE_API_TOKEN and PVE_CA_FILE may be");
    std::iter::once(finding).chain(unseen()).collect()
}

fn unseen() -> impl Iterator<Item = Finding> {
    BEHIND.iter().map(|check| Finding::skip(check, "not looked at: PVE does not answer"))
}

impl Examination<'_> {
    /// Address, TLS and token, by the one call that needs no right.
    async fn reach(&mut self) -> bool {
        let url = self.config.pve.url.as_str().trim_end_matches('/');
        let answered = Finding::ok("pve-address", format!("{url} answers"));
        match self.pve.version().await {
            Ok(version) => {
                self.findings.push(answered);
                self.findings.push(self.trust());
                self.findings.push(Finding::ok("pve-token", format!("{} is let in", self.who.user())));
                self.version(&version);
                true
            }
            Err(error) if error.kind == FaultKind::Unauthorized => {
                self.findings.push(answered);
                self.findings.push(self.trust());
                self.findings.push(self.refused(&error));
                false
            }
            Err(error) if is_about_trust(&error) => {
                self.findings.push(answered);
                self.findings.push(self.distrust(&error));
                false
            }
            Err(error) => {
                self.findings.push(self.no_answer(url, &error));
                false
            }
        }
    }

    /// What is at PVE's address, where PVE does not answer as it should.
    fn no_answer(&self, url: &str, error: &Error) -> Finding {
        let failed = |found| Finding::fail("pve-address", found, EVERYTHING);
        let version = |means| format!("curl -kisS {url}/api2/json/version   # {means}");
        let other = || change(self.file, "PVE_API_URL");
        let said = &error.message;
        match error.status {
            Some(500..) => failed(format!("{url} answers with an error: {said}"))
                .mend("systemctl status pveproxy pvedaemon pve-cluster   # on the node"),
            Some(_) => failed(format!("{url} answers, and not as PVE's API does: {said}"))
                .mend(version("PVE's own answer is its version, or 401"))
                .mend(other()),
            None if said.contains("dns error") => {
                let host = self.config.pve.url.host_str().unwrap_or("PVE");
                failed(format!("{url}: no address is known of the name {host}"))
                    .mend(format!("getent hosts {host}   # without an answer: no such name"))
                    .mend(other())
            }
            None => failed(format!("{url}: {said}"))
                .mend(version("without an answer, even 401: no way there"))
                .mend("systemctl status pveproxy   # on the node"),
        }
    }

    /// By what the certificate is verified.
    fn trust(&self) -> Finding {
        let pve = &self.config.pve;
        if pve.url.scheme() == "http" {
            return Finding::ok("pve-tls", "none: plain http, which does not leave this machine");
        }
        if !pve.verify {
            let why = "whoever answers in PVE's place gets the token";
            let finding =
                Finding::warn("pve-tls", "the certificate is not verified (PVE_VERIFY_TLS=false)", why);
            return finding.mend(self.fetch_ca());
        }
        let mut by = vec!["the system's CAs".to_owned()];
        by.extend(pve.ca.as_ref().map(|ca| ca.path.display().to_string()));
        by.extend(pve.fingerprint.as_ref().map(|_| "PVE_FINGERPRINT".to_owned()));
        Finding::ok("pve-tls", format!("the certificate is verified by {}", by.join(" or ")))
    }

    fn distrust(&self, error: &Error) -> Finding {
        let why = "whoever has no good certificate may not be PVE, and would get the token";
        let finding = Finding::fail("pve-tls", error.message.clone(), why);
        finding.mend(self.fetch_ca()).mend(
            "pvenode cert info   # on the node: the fingerprint of pveproxy-ssl.pem, else of pve-ssl.pem, is for \
             PVE_FINGERPRINT",
        )
    }

    /// How the CA of PVE's cluster comes here. It is no secret, and the service has a user of its own.
    fn fetch_ca(&self) -> String {
        let host = self.config.pve.url.host_str().unwrap_or("PVE");
        let ca = "/etc/sandbox-pool/pve-root-ca.pem";
        format!(
            "scp root@{host}:/etc/pve/pve-root-ca.pem {ca} && chmod 0644 {ca}   # and set PVE_CA_FILE to it, and \
             PVE_VERIFY_TLS to true"
        )
    }

    fn refused(&self, error: &Error) -> Finding {
        let (user, id) = (self.who.user(), self.who.id());
        let why = "PVE carries nothing out without a token that it knows; an expired one is as unknown";
        Finding::fail("pve-token", format!("PVE refuses the token {user}!{id}: {}", error.message), why)
            .mend(format!("pveum user list; pveum user token list {user}   # are both there, enabled, not expired?"))
            .mend(format!(
                "pveum user token add {user} {id} --privsep 1   # if there is none: PVE_API_TOKEN is what it shows"
            ))
    }

    fn version(&mut self, version: &str) {
        self.major = version.split('.').next().and_then(|major| major.parse().ok());
        let found = format!("PVE {version}");
        self.findings.push(match self.major {
            Some(8..) => Finding::ok("pve-version", found),
            Some(7) => {
                let why = "PVE 7 gets no fixes any more";
                Finding::warn("pve-version", found, why)
                    .mend("pve7to8   # says what stands in an upgrade's way")
            }
            Some(_) | None => {
                let why = "the pool is made for PVE 8 and 9";
                Finding::fail("pve-version", found, why).mend("pveversion   # and upgrade")
            }
        });
    }

    /// Nodes, rights, templates and what they stand on.
    async fn look_around(&mut self) {
        match self.pve.nodes().await {
            Ok(nodes) => self.nodes = Some(nodes),
            Err(error) => self.findings.push(unlisted("node", "nodes", &error)),
        }
        if let Some(name) = self.config.settings.node.clone() {
            let node = Node(name);
            if self.node_is_well(&node) {
                self.findings.push(Finding::ok("node", "is online").of(&node));
            }
        }
        let path = match &self.config.settings.resource_pool {
            Some(pool) => format!("/pool/{pool}"),
            None => "/vms".to_owned(),
        };
        let has = self.privileges(rights::GUESTS, &path).await;
        if let Some(pool) = &self.config.settings.resource_pool {
            self.findings.push(self.resource_pool(pool, &has).await.of(pool));
        }
        match self.pve.guests().await {
            Ok(guests) => self.guests = Some(guests),
            Err(error) => self.findings.push(unlisted("template", "guests", &error)),
        }
        if self.config.settings.templates.is_empty() {
            let found = "none is configured: nothing is kept warm before it was asked for once";
            let why = "the first sandbox of each template is cloned while its caller waits";
            let finding = Finding::warn("template", found, why);
            self.findings.push(
                finding
                    .mend("pct list   # on each node; then set POOL_TEMPLATES to the templates among them"),
            );
        }
        template::examine(self).await;
    }

    /// Whether the resource pool is there: the access list of one that is not can say whatever it likes.
    async fn resource_pool(&self, pool: &str, has: &BTreeSet<String>) -> Finding {
        const SEES: &str = "Pool.Audit";
        match self.pve.resource_pools().await {
            Ok(pools) if pools.contains(pool) => Finding::ok("resource-pool", "is there"),
            Ok(_) if has.contains(SEES) => {
                let why = "PVE refuses each clone that is to be put into it";
                Finding::fail("resource-pool", "does not exist", why).mend(format!("pveum pool add {pool}"))
            }
            Ok(_) => Finding::skip("resource-pool", format!("not looked at: it takes {SEES} to see it"))
                .mend(rights::widen(rights::GUESTS.name, SEES)),
            Err(error) => unlisted("resource-pool", "resource pools", &error),
        }
    }

    /// Whether a node is there and online; says so if it is not.
    pub(super) fn node_is_well(&mut self, node: &Node) -> bool {
        let Some(nodes) = &self.nodes else { return !self.told.contains(node) };
        let row = nodes.iter().find(|row| row.name == *node);
        let (found, mend) = match row {
            Some(row) if row.online => return !self.told.contains(node),
            Some(_) => {
                ("is offline", "pvecm nodes   # on another node: does the cluster see it? else start it")
            }
            None => (
                "is no node of the cluster",
                "pvesh get /nodes   # and set PVE_NODE to one of them, or to nothing",
            ),
        };
        self.tell_of_node(node, found.to_owned(), mend.to_owned());
        false
    }

    /// A node that lets calls go unanswered.
    pub(super) fn is_silent(&mut self, node: &Node, error: &Error) {
        let mend = format!("systemctl restart pvedaemon pveproxy   # on {node}");
        self.tell_of_node(node, format!("does not answer: {}", error.message), mend);
    }

    fn tell_of_node(&mut self, node: &Node, found: String, mend: String) {
        if self.told.insert(node.clone()) {
            let why = "containers of its templates are made there";
            self.findings.push(Finding::fail("node", found, why).of(node).mend(mend));
        }
    }

    /// Whether the token has a role's privileges at a path; says which are missing.
    pub(super) async fn privileges(&mut self, role: Role, path: &str) -> BTreeSet<String> {
        let has = self.permissions(path).await;
        let finding = has.as_ref().map(|has| self.judged(role, path, has));
        self.findings.extend(finding);
        has.unwrap_or_default()
    }

    /// What the token has at a path. If PVE does not tell, that is said.
    pub(super) async fn permissions(&mut self, path: &str) -> Option<BTreeSet<String>> {
        let has = self.pve.permissions(path).await;
        has.map_err(|error| self.findings.push(unlisted("privileges", "permissions", &error).of(path))).ok()
    }

    /// What it means for a role that the token has this at a path.
    pub(super) fn judged(&self, role: Role, path: &str, has: &BTreeSet<String>) -> Finding {
        let missing: Vec<&str> =
            role.privileges.iter().copied().filter(|name| !has.contains(*name)).collect();
        if missing.is_empty() {
            return Finding::ok("privileges", role.privileges.join(" ")).of(path);
        }
        let finding =
            Finding::fail("privileges", format!("missing {}", missing.join(" ")), role.why).of(path);
        self.who.allow(role, path).into_iter().fold(finding, Finding::mend)
    }
}

/// Whether PVE answered, and was not believed.
fn is_about_trust(error: &Error) -> bool {
    let text = error.message.to_ascii_lowercase();
    let words = ["certificate", "tls", "handshake", "fingerprint"];
    error.kind == FaultKind::NotSent && words.iter().any(|word| text.contains(word))
}

/// Why PVE's address matters.
const EVERYTHING: &str = "the pool does everything through PVE's API";

/// A list that PVE did not give.
pub(super) fn unlisted(check: &'static str, what: &str, error: &Error) -> Finding {
    let why = "without it the pool does not know what is at PVE";
    Finding::fail(check, format!("the list of {what} cannot be had: {error}"), why)
        .mend("journalctl -u pveproxy -u pvedaemon -n 50   # on the node")
}

pub(super) fn clock(ahead: Ahead) -> Finding {
    let Some(ahead) = ahead else {
        return Finding::skip("clock", "not looked at: PVE's answer does not say what time it is there");
    };
    let (by, way) = (ahead.unsigned_abs(), if ahead < 0 { "behind" } else { "ahead" });
    let found = format!("PVE's clock is {:.0} s {way}", by as f64 / 1000.0);
    let why = "a clone whose answer was lost is found again by when its task began";
    let level: fn(_, String, _) -> _ = match by {
        0..=SKEW_WARN_MS => return Finding::ok("clock", "this machine's and PVE's clocks agree"),
        _ if by <= SKEW_FAIL_MS => Finding::warn,
        _ => Finding::fail,
    };
    level("clock", found, why).mend("timedatectl   # here and on the node: is the clock synchronized?")
}
