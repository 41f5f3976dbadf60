//! The cluster that the demo and most tests begin with, and the role that the pool's token needs.

use super::ct::CtSpec;
use super::model::Model;
use super::world::Storage;
use crate::domain::time::Timestamp;

/// The pool's token in the demo.
pub const DEMO_TOKEN: &str = "sandbox@pve!pool";
/// Its secret.
pub const DEMO_SECRET: &str = "5a1b0c3d-0000-4000-8000-00000000demo";

/// VMIDs of the demo cluster.
#[derive(Clone, Copy, Debug)]
pub struct Demo;

impl Demo {
    /// A template on a storage where linked clones work.
    pub const TEMPLATE: u32 = 9009;
    /// Another.
    pub const OTHER_TEMPLATE: u32 = 9010;
    /// Somebody's container with a name that begins like the pool's.
    pub const MANAGER: u32 = 100;
    /// Another.
    pub const CUSTOMER: u32 = 101;
    /// A QEMU guest where the pool's VMIDs begin.
    pub const QEMU: u32 = 200;

    /// One node, two templates, two foreign containers, a QEMU guest, and the pool's token with its role.
    pub fn model(now: Timestamp, seed: u64) -> Model {
        let mut model = Model::new(now, seed, "pve1");
        model.set_storage("local", Storage::dir());
        model.set_storage("pool", Storage::btrfs());
        model.add_ct(CtSpec::new(Self::TEMPLATE, "debian-13-sandbox").template());
        model.add_ct(CtSpec::new(Self::OTHER_TEMPLATE, "ubuntu-26-sandbox").template());
        model.add_ct(CtSpec::new(Self::MANAGER, "pool-manager").running());
        model.add_ct(CtSpec::new(Self::CUSTOMER, "pool-9009-customer"));
        model.add_qemu(Self::QEMU, "pve1", "windows");
        model.add_token(DEMO_TOKEN, DEMO_SECRET, true);
        model.watch_token(DEMO_TOKEN);
        model.grant_pool_role(DEMO_TOKEN, &["pool"]);
        model.advance(now);
        model
    }
}

impl Model {
    /// Lets another token in, with what `deploy/install.sh` allows the one that it makes, and no more.
    pub fn add_installed_token(&mut self, token: &str, secret: &str) {
        self.add_token(token, secret, true);
        self.add_pool("warm");
        let in_the_pool = [
            "VM.Audit",
            "VM.Allocate",
            "VM.PowerMgmt",
            "VM.Config.Network",
            "VM.Config.Options",
            "Pool.Audit",
        ];
        self.grant(token, "/pool/warm", &in_the_pool);
        for template in [Demo::TEMPLATE, Demo::OTHER_TEMPLATE] {
            self.grant(token, &format!("/vms/{template}"), &["VM.Audit", "VM.Clone"]);
        }
        self.grant(token, "/storage/pool", &["Datastore.AllocateSpace", "Datastore.Audit"]);
        self.grant(token, "/sdn/zones/localnetwork/vmbr0", &["SDN.Use"]);
    }

    /// Everything that the pool needs: containers under `/vms`, these storages, the bridge, cluster status.
    pub fn grant_pool_role(&mut self, token: &str, storages: &[&str]) {
        self.grant(
            token,
            "/vms",
            &[
                "VM.Allocate",
                "VM.Audit",
                "VM.Clone",
                "VM.Config.Network",
                "VM.Config.Options",
                "VM.PowerMgmt",
            ],
        );
        for storage in storages {
            self.grant(
                token,
                &format!("/storage/{storage}"),
                &["Datastore.AllocateSpace", "Datastore.Audit"],
            );
        }
        self.grant(token, "/sdn/zones/localnetwork/vmbr0", &["SDN.Use"]);
        self.grant_here_only(token, "/", &["Sys.Audit"]);
    }
}
