//! What others do to the pool's containers and beside them.

use std::time::Duration;

use sandbox_pool::domain::ids::Vmid;
use sandbox_pool::sim::{CtSpec, CtView, DEMO_TOKEN, Sim};

use super::scene::{Scene, TEMPLATE};
use super::script::Meddling;

/// What somebody calls the pool's containers.
pub const RENAMED: &str = "renamed-by-somebody";

pub fn meddle(scene: &mut Scene, nth: usize, what: Meddling) {
    let sim = scene.sim.clone();
    // PVE lets nobody at a container that is locked or that a task works on.
    let free = |view: &CtView| view.lock.is_none() && !sim.with(|model| model.has_task(view.vmid));
    let made: Vec<CtView> = made_at_pve(&sim).into_iter().filter(free).collect();
    let chosen = nth.checked_rem(made.len()).map(|nth| made[nth].clone());
    let template = TEMPLATE + u32::try_from(nth % scene.setting.templates as usize).unwrap_or(0);
    match what {
        Meddling::Foreign => return foreign(scene, None),
        Meddling::KillClone => {
            sim.kill_running_clone(template);
            return;
        }
        Meddling::LockTemplate(ms) => {
            if sim.ct(template).is_some_and(|view| view.lock.is_none()) {
                lock_for(&sim, template, "backup", ms);
            }
            return;
        }
        _ => {}
    }
    let Some(view) = chosen else { return };
    let vmid = view.vmid;
    scene.note(format!("    to CT {vmid}"));
    disturb(scene, vmid);
    match what {
        Meddling::Destroy => sim.outside_destroy(vmid),
        Meddling::Rename => rename(scene, vmid),
        Meddling::Start => sim.outside_start(vmid),
        Meddling::Stop => sim.outside_stop(vmid),
        Meddling::Lock(lock, ms) => lock_for(&sim, vmid, lock, ms),
        Meddling::Reuse => {
            sim.outside_destroy(vmid);
            foreign(scene, Some(vmid));
        }
        Meddling::Migrate if !view.running => {
            let node = if view.node == "pve1" { "pve2" } else { "pve1" };
            sim.with(|model| model.outside_migrate(vmid, node));
        }
        Meddling::Convert if !view.running => {
            sim.with(|model| model.convert_to_template(vmid));
            let now = scene.clock.now();
            scene.ledger().replaced.entry(vmid).or_default().push(now);
        }
        Meddling::Migrate
        | Meddling::Convert
        | Meddling::Foreign
        | Meddling::KillClone
        | Meddling::LockTemplate(_) => {}
    }
}

/// One that the pool does not know would be nobody's that it could know.
fn rename(scene: &Scene, vmid: u32) {
    if scene.state().is_some_and(|state| state.container(Vmid(vmid)).is_some()) {
        scene.sim.outside_rename(vmid, RENAMED);
    }
}

/// Somebody's container, on a VMID or on the next free one.
fn foreign(scene: &mut Scene, vmid: Option<u32>) {
    let sim = scene.sim.clone();
    let vmid = vmid.unwrap_or_else(|| {
        let taken = sim.vmids();
        (201..9000).find(|vmid| !taken.contains(vmid)).unwrap_or(201)
    });
    let name = ["web", "pool-9009-0a1b2c3", "box-33"][scene.chance.usize(0..3)];
    let mut spec = CtSpec::new(vmid, name);
    if scene.chance.bool() {
        // A clone of somebody's sandbox inherits what the pool wrote into that.
        let mut others = made_at_pve(&sim).into_iter().filter(|view| view.vmid != vmid);
        let inherited = others.find_map(|view| view.description);
        spec = inherited.map_or(spec.clone(), |text| spec.description(&text));
    }
    sim.add_ct(if scene.chance.bool() { spec.running() } else { spec });
    let now = scene.clock.now();
    scene.ledger().replaced.entry(vmid).or_default().push(now);
    disturb(scene, vmid);
    remember_foreign(scene, vmid);
}

fn lock_for(sim: &Sim, vmid: u32, lock: &'static str, ms: u64) {
    sim.outside_lock(vmid, lock);
    let sim = sim.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        if sim.ct(vmid).is_some_and(|view| view.lock.as_deref() == Some(lock)) {
            sim.outside_unlock(vmid);
        }
    });
}

pub fn made_at_pve(sim: &Sim) -> Vec<CtView> {
    sim.with(|model| {
        let views = model.vmids().into_iter().filter_map(|vmid| model.ct(vmid));
        views.filter(|view| view.made_by.as_deref() == Some(DEMO_TOKEN) && !view.template).collect()
    })
}

pub fn remember_foreign(scene: &Scene, vmid: u32) {
    if let Some(view) = scene.sim.ct(vmid) {
        scene.ledger().foreign.insert(vmid, view);
    }
}

pub fn disturb(scene: &Scene, vmid: u32) {
    let now = scene.clock.now();
    scene.ledger().disturbed.insert(vmid, now);
}
