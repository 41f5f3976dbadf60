//! The least that the pool's token must be allowed, by role and path, and the commands that allow it.

/// A role of PVE's access control.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    /// Its name.
    pub(super) name: &'static str,
    /// What it allows.
    pub(super) privileges: &'static [&'static str],
    /// Why the pool needs it.
    pub(super) why: &'static str,
}

/// On the pool's own containers, by way of their resource pool or of all guests.
pub(super) const GUESTS: Role = Role {
    name: "WarmPool",
    privileges: &["VM.Audit", "VM.Allocate", "VM.PowerMgmt", "VM.Config.Network", "VM.Config.Options"],
    why: "the pool makes, sees, renames, describes, starts, stops and destroys its containers with these",
};

/// On a template.
pub(super) const TEMPLATE: Role = Role {
    name: "WarmTemplate",
    privileges: &["VM.Audit", "VM.Clone"],
    why: "the pool reads the template and clones it with these",
};

/// On the storage of a template.
pub(super) const STORAGE: Role = Role {
    name: "WarmStore",
    privileges: &["Datastore.AllocateSpace", "Datastore.Audit"],
    why: "a clone takes space on its template's storage, and the check of its space reads it",
};

/// On the bridge of a template, from PVE 8 on.
pub(super) const BRIDGE: Role = Role {
    name: "WarmNet",
    privileges: &["SDN.Use"],
    why: "since PVE 8 whoever clones a container must be allowed to use its bridge",
};

/// What a role is to allow beside what it does.
pub(super) fn widen(name: &str, privileges: &str) -> String {
    format!("pveum role modify {name} --append 1 --privs \"{privileges}\"")
}

/// Who is to be allowed something.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// `user@realm`.
    user: String,
    /// `user@realm!token`.
    token: String,
}

impl Who {
    /// The holder of `USER@REALM!ID=SECRET`; the secret is dropped.
    pub(super) fn of(token: &str) -> Self {
        let token = token.split('=').next().unwrap_or_default().to_owned();
        let user = token.split('!').next().unwrap_or_default().to_owned();
        Self { user, token }
    }

    /// `user@realm`.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// The token's own name.
    pub(super) fn id(&self) -> &str {
        self.token.split('!').nth(1).unwrap_or_default()
    }

    /// What allows a role at a path: a token with privilege separation has what both it and its user have.
    pub(super) fn allow(&self, role: Role, path: &str) -> Vec<String> {
        let (name, privileges) = (role.name, role.privileges.join(" "));
        vec![
            format!("pveum role add {name} --privs \"{privileges}\" || {}", widen(name, &privileges)),
            format!("pveum acl modify {path} --roles {name} --users {}", self.user),
            format!("pveum acl modify {path} --roles {name} --tokens '{}'", self.token),
        ]
    }
}
