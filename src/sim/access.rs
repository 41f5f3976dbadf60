//! Who may do what: users, tokens and access lists, with PVE's rules of inheritance.
//!
//! A deeper entry replaces what the same user or token has from above; a token with privilege separation has
//! what both it and its user have; a resource pool lends its rights to its members.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;

/// What root may, and what a role can be made of.
pub(super) const PRIVILEGES: [&str; 21] = [
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.Audit",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "SDN.Audit",
    "SDN.Use",
    "Sys.Audit",
    "Sys.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Clone",
    "VM.Config.CPU",
    "VM.Config.Disk",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.PowerMgmt",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
];

/// Users, tokens and access lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    users: BTreeMap<String, bool>,
    tokens: BTreeMap<String, Token>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Token {
    secret: String,
    separated: bool,
    enabled: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    path: String,
    who: String,
    privileges: BTreeSet<String>,
    propagate: bool,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// `user@realm!token`.
    pub(super) name: String,
}

impl Caller {
    /// `user@realm`.
    pub(super) fn user(&self) -> &str {
        user_of(&self.name)
    }
}

/// The user that a token belongs to.
pub(super) fn user_of(name: &str) -> &str {
    name.split('!').next().unwrap_or(name)
}

impl Access {
    /// Adds a token, and its user if need be.
    pub(super) fn add_token(&mut self, name: &str, secret: &str, separated: bool) {
        self.users.entry(user_of(name).to_owned()).or_insert(true);
        let token = Token { secret: secret.to_owned(), separated, enabled: true };
        self.tokens.insert(name.to_owned(), token);
    }

    /// Lets a token in, or no longer.
    pub(super) fn set_token_enabled(&mut self, name: &str, enabled: bool) {
        if let Some(token) = self.tokens.get_mut(name) {
            token.enabled = enabled;
        }
    }

    /// Reads an `Authorization` header: the caller, or PVE's reason for a 401.
    pub(super) fn authenticate(&self, header: Option<&str>) -> Result<Caller, &'static str> {
        let Some(header) = header else { return Err("No ticket") };
        let failed = "Authentication failed!";
        let value = header.strip_prefix("PVEAPIToken").ok_or("No ticket")?;
        let value = value.strip_prefix(['=', ' ']).ok_or(failed)?.split(';').next().unwrap_or_default();
        let value = percent_decode_str(value).decode_utf8_lossy();
        let (name, secret) = value.split_once('=').ok_or(failed)?;
        let token = self.tokens.get(name).ok_or(failed)?;
        let user = self.users.get(user_of(name)).copied().unwrap_or(false);
        if user && token.enabled && token.secret == secret {
            Ok(Caller { name: name.to_owned() })
        } else {
            Err(failed)
        }
    }

    /// Gives a user or token one more privilege at a path.
    pub(super) fn grant(&mut self, who: &str, path: &str, privilege: &str) {
        match self.entries.iter_mut().find(|entry| entry.who == who && entry.path == path) {
            Some(entry) => {
                entry.privileges.insert(privilege.to_owned());
            }
            None => self.entries.push(Entry {
                path: path.to_owned(),
                who: who.to_owned(),
                privileges: BTreeSet::from([privilege.to_owned()]),
                propagate: true,
            }),
        }
    }

    /// Makes an entry hold for its own path only.
    pub(super) fn stop_propagating(&mut self, who: &str, path: &str) {
        for entry in self.entries.iter_mut().filter(|entry| entry.who == who && entry.path == path) {
            entry.propagate = false;
        }
    }

    /// Takes a privilege at a path away.
    pub(super) fn revoke(&mut self, who: &str, path: &str, privilege: &str) {
        for entry in self.entries.iter_mut().filter(|entry| entry.who == who && entry.path == path) {
            entry.privileges.remove(privilege);
        }
        self.entries.retain(|entry| !entry.privileges.is_empty());
    }

    /// Forgets the entries at a path, as PVE does when a guest is destroyed.
    pub(super) fn forget_path(&mut self, path: &str) {
        self.entries.retain(|entry| entry.path != path);
    }

    /// Paths that have entries.
    pub(super) fn paths(&self) -> BTreeSet<String> {
        self.entries.iter().map(|entry| entry.path.clone()).collect()
    }

    /// The caller's privileges at a path, each with whether it propagates; `pool` is the resource pool of the
    /// guest that the path names.
    pub(super) fn privileges(
        &self,
        caller: &Caller,
        path: &str,
        pool: Option<&str>,
    ) -> BTreeMap<String, bool> {
        let user = self.of_one(caller.user(), path, pool);
        match self.tokens.get(&caller.name) {
            Some(token) if token.separated => {
                let own = self.of_one(&caller.name, path, pool);
                user.into_iter()
                    .filter_map(|(name, propagate)| own.get(&name).map(|also| (name, propagate && *also)))
                    .collect()
            }
            Some(_) | None => user,
        }
    }

    fn of_one(&self, who: &str, path: &str, pool: Option<&str>) -> BTreeMap<String, bool> {
        if who == "root@pam" {
            return PRIVILEGES.iter().map(|name| ((*name).to_owned(), true)).collect();
        }
        let mut found = self.inherited(who, path);
        if let Some(pool) = pool {
            found.extend(self.inherited(who, &format!("/pool/{pool}")));
        }
        found
    }

    fn inherited(&self, who: &str, path: &str) -> BTreeMap<String, bool> {
        let path = path.trim_end_matches('/');
        let above = std::iter::once("/").chain(path.match_indices('/').skip(1).map(|(at, _)| &path[..at]));
        let here = if path.is_empty() { "/" } else { path };
        let mut found = BTreeMap::new();
        for step in above.chain((here != "/").then_some(here)) {
            let applies =
                |entry: &&Entry| entry.who == who && entry.path == step && (entry.propagate || step == here);
            let entries: Vec<&Entry> = self.entries.iter().filter(applies).collect();
            if !entries.is_empty() {
                found = entries
                    .iter()
                    .flat_map(|entry| entry.privileges.iter().map(|name| (name.clone(), entry.propagate)))
                    .collect();
            }
        }
        found
    }
}
