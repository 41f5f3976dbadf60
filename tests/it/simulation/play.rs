//! Plays a story: each step, the time between, and at the end the way back to a pool at rest.

use std::sync::Arc;
use std::time::Duration;

use sandbox_pool::domain::fault::Fault;
use sandbox_pool::domain::ids::Vmid;
use sandbox_pool::domain::state::{Phase, State};
use sandbox_pool::sim::{DEMO_TOKEN, Effect, FaultRule, Model};
use serde_json::{Value, json};

use super::invariants::{Held, check_end, check_step, unsettled};
use super::meddle::{RENAMED, disturb, made_at_pve, meddle, remember_foreign};
use super::scene::{Scene, TEMPLATE};
use super::script::{Part, Script, Step};
use crate::world::request;

/// A pool whose troubles are over is at rest after at most this long.
const SETTLES_WITHIN: Duration = Duration::from_hours(1);
/// How often a person looks after it meanwhile.
const ROUND: Duration = Duration::from_secs(20);
/// How often somebody asks, two minutes apart: for longer than a back-off lasts.
const TRIES: u32 = 8;

/// Plays a whole story on a scene.
pub async fn play(scene: &mut Scene, script: &Script) -> Result<(), String> {
    for vmid in [100, 101] {
        remember_foreign(scene, vmid);
    }
    scene.start().await?;
    for step in &script.steps {
        scene.note(format!("{step:?}"));
        carry_out(scene, step).await?;
        scene.calm().await;
        check_step(scene)?;
    }
    scene.note("all trouble is over");
    heal(scene).await?;
    settle(scene).await?;
    check_end(scene)?;
    serve_all(scene, script).await?;
    settle(scene).await?;
    check_end(scene)
}

/// A pool at rest serves as if nothing had been: whoever keeps asking is given a container.
async fn serve_all(scene: &mut Scene, script: &Script) -> Result<(), String> {
    let (min, target, max) = script.setting.sizes;
    let sizes = json!({ "min": min, "target": target, "max": max });
    for template in scene.templates() {
        // It ends what had been drained.
        send(scene, "PUT", format!("/templates/{template}"), Some(sizes.clone()));
    }
    settle(scene).await?;
    let instance_of = |template: u32| format!("last-{template}");
    for _ in 0..TRIES {
        let state = scene.state().ok_or("nothing runs")?;
        // With a cap on all containers there may be no place for one.
        let may_be_served = |vmid: &u32| state.settings.max_total == 0 || state.ready_count(Vmid(*vmid)) > 0;
        let is_served = |vmid: &u32| scene.ledger().holds(&instance_of(*vmid));
        let asking: Vec<u32> = scene.templates().filter(may_be_served).filter(|it| !is_served(it)).collect();
        if asking.is_empty() {
            return Ok(());
        }
        for template in asking {
            allocate(scene, template, Some(instance_of(template)), true, None, None);
        }
        for _ in 0..6 {
            pass(scene, ROUND).await?;
            person(scene);
            check_step(scene)?;
        }
    }
    Err("the pool is at rest and does not serve who keeps asking".to_owned())
}

/// Lets time pass; a power cut meanwhile ends the process and begins another.
async fn pass(scene: &mut Scene, span: Duration) -> Result<(), String> {
    if scene.pass(span).await {
        scene.note("    the power fails");
        scene.kill().await?;
        scene.start().await?;
    }
    Ok(())
}

async fn carry_out(scene: &mut Scene, step: &Step) -> Result<(), String> {
    match step {
        Step::Allocate { template, instance, start, ttl, patience_ms } => {
            let instance = instance.map(|nth| format!("box-{nth}"));
            allocate(scene, TEMPLATE + template, instance, *start, *ttl, *patience_ms);
        }
        Step::Release(nth) => {
            if let Some(vmid) = some_container(scene, *nth) {
                disturb(scene, vmid);
                send(scene, "POST", format!("/release/{vmid}"), None);
            }
        }
        Step::Remove(nth) => {
            if let Some(vmid) = some_container(scene, *nth) {
                disturb(scene, vmid);
                send(scene, "DELETE", format!("/containers/{vmid}"), None);
            }
        }
        Step::Warm { template, count } => {
            send(scene, "POST", format!("/warm/{}?count={count}", TEMPLATE + template), None);
        }
        Step::Resize { template, min, target, max } => {
            let sizes = json!({ "min": min, "target": target, "max": max });
            send(scene, "PUT", format!("/templates/{}", TEMPLATE + template), Some(sizes));
        }
        Step::Drain { template } => {
            send(scene, "DELETE", format!("/templates/{}", TEMPLATE + template), None);
        }
        Step::Refresh { template } => {
            send(scene, "POST", format!("/templates/{}/refresh", TEMPLATE + template), None);
        }
        Step::Reload { sizes, clone_concurrency, recycle } => {
            scene.reload(*sizes, *clone_concurrency, *recycle).await;
        }
        Step::Look => send(scene, "GET", "/status".to_owned(), None),
        Step::Fault { on, which, effect } => {
            scene.delays |= matches!(effect, Effect::Delay(_));
            scene.slow_answers |= matches!(effect, Effect::SlowAnswer(_));
            let forbidden = matches!(effect, Effect::FailBefore { status: 403, .. });
            scene.blind |= forbidden && ["/**", "/nodes/**"].contains(&on.path.as_str());
            let rule = FaultRule { on: on.clone(), which: *which, effect: effect.clone() };
            scene.sim.add_fault(rule);
        }
        Step::NoMoreFaults => scene.sim.with(Model::clear_faults),
        Step::Break(part) => set(scene, *part, false),
        Step::Mend(part) => set(scene, *part, true),
        Step::Meddle { nth, what } => meddle(scene, *nth, *what),
        Step::Person => person(scene),
        Step::Kill { down_ms } => {
            scene.kill().await?;
            tokio::time::sleep(Duration::from_millis(*down_ms)).await;
            scene.start().await?;
        }
        Step::PowerCut { operations, down_ms } => {
            scene.cut_power_at(*operations);
            if scene.pass(Duration::from_secs(5)).await {
                scene.note("    the power fails");
                scene.kill().await?;
                tokio::time::sleep(Duration::from_millis(*down_ms)).await;
                scene.start().await?;
            }
        }
        Step::Stop { down_ms } => {
            scene.stop().await?;
            tokio::time::sleep(Duration::from_millis(*down_ms)).await;
            scene.start().await?;
        }
        Step::LoseLog => {
            scene.kill().await?;
            // Whose name is not the one in its description is nobody's that the pool could know.
            for view in made_at_pve(&scene.sim) {
                if view.hostname.as_deref() == Some(RENAMED) {
                    scene.sim.with(|model| model.mark_foreign(view.vmid));
                    remember_foreign(scene, view.vmid);
                }
                // Nor can it know what is on a node that is down, and whose instance that is.
                if !scene.sim.with(|model| model.is_node_up(&view.node)) {
                    disturb(scene, view.vmid);
                }
            }
            scene.lose_log();
            scene.start().await?;
        }
        Step::DiskFull => scene.fill_disk(true),
        Step::DiskFree => scene.fill_disk(false),
        Step::Wait { ms } => pass(scene, Duration::from_millis(*ms)).await?,
    }
    Ok(())
}

/// Nothing is out of order any more, and nobody is at anything of the pool's.
async fn heal(scene: &mut Scene) -> Result<(), String> {
    scene.heal_disk();
    scene.sim.with(Model::clear_faults);
    for part in [Part::FrontEnd, Part::Token, Part::Statistics, Part::Quorum] {
        set(scene, part, true);
    }
    for node in 0..2 {
        set(scene, Part::Node(node), true);
        set(scene, Part::Daemon(node), true);
    }
    // Two rounds of the reconciler, so that it has seen the world as it is now.
    pass(scene, Duration::from_secs(70)).await
}

/// Lets the pool come to rest, with a person at hand who does what the hints say.
async fn settle(scene: &mut Scene) -> Result<(), String> {
    let begun = scene.clock.now();
    let mut calm = 0;
    loop {
        person(scene);
        clear_doubts(scene);
        pass(scene, ROUND).await?;
        check_step(scene)?;
        let state = scene.state().ok_or("nothing runs")?;
        match unsettled(&state) {
            None if calm == 3 => return Ok(()),
            None => calm += 1,
            Some(why) if scene.clock.now().since(begun) > SETTLES_WITHIN => {
                return Err(format!("not at rest after an hour: {why}"));
            }
            Some(_) => calm = 0,
        }
    }
}

/// A person runs the commands that the pool shows.
fn person(scene: &Scene) {
    let Some(state) = scene.state() else { return };
    for command in hints(&state) {
        let mut words = command.split_whitespace();
        let (Some("pct"), Some(verb), Some(Ok(vmid))) =
            (words.next(), words.next(), words.next().map(str::parse::<u32>))
        else {
            continue;
        };
        scene.note(format!("    a person runs `{command}`"));
        match verb {
            "unlock" => scene.sim.outside_unlock(vmid),
            "destroy" => scene.sim.outside_destroy(vmid),
            _ => {}
        }
    }
}

fn hints(state: &State) -> Vec<String> {
    let of_containers = state.containers.values().flat_map(|container| {
        let quarantine = match &container.phase {
            Phase::Quarantined { fault, .. } => Some(fault),
            _ => None,
        };
        quarantine.into_iter().chain(container.delay.as_ref().map(|delay| &delay.fault))
    });
    let of_templates = state.templates.values().flat_map(|template| {
        let refused = template.queue.iter().filter_map(|queued| queued.fault.as_ref());
        refused.chain(template.backoff.as_ref().map(|backoff| &backoff.fault))
    });
    let hints = of_containers.chain(of_templates).filter_map(|fault: &Fault| fault.hint.clone());
    let mut commands: Vec<String> = hints
        .flat_map(|hint| hint.split(';').map(|part| part.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    commands.sort();
    commands.dedup();
    commands
}

/// A person gives containers that are in doubt their names back.
fn clear_doubts(scene: &Scene) {
    let Some(state) = scene.state() else { return };
    for container in state.containers.values().filter(|container| container.doubt.is_some()) {
        scene.note(format!("    a person names CT {} {} again", container.vmid, container.hostname));
        scene.sim.outside_rename(container.vmid.0, container.hostname.as_str());
    }
}

fn set(scene: &Scene, part: Part, well: bool) {
    let node = |nth: u32| format!("pve{}", nth + 1);
    if let (Part::Node(_), false) = (part, well) {
        scene.ledger().outage = scene.clock.now();
    }
    scene.sim.with(|model| match part {
        Part::Node(nth) => model.set_node_up(&node(nth), well),
        Part::Daemon(nth) => model.set_daemon_up(&node(nth), well),
        Part::FrontEnd => model.set_front_end_up(well),
        Part::Token => model.set_token_enabled(DEMO_TOKEN, well),
        Part::Statistics => model.set_pvestatd_up(well),
        Part::Quorum => model.set_quorate(well),
    });
}

fn some_container(scene: &Scene, nth: usize) -> Option<u32> {
    let state = scene.state()?;
    let vmids: Vec<u32> = state.containers.keys().map(|vmid: &Vmid| vmid.0).collect();
    nth.checked_rem(vmids.len()).map(|nth| vmids[nth])
}

/// A request whose answer is looked at, but for what it says.
fn send(scene: &mut Scene, method: &'static str, path: String, body: Option<Value>) {
    let Some(service) = scene.service() else { return };
    let (front, clock, ledger) = (service.front().clone(), scene.clock, Arc::clone(&scene.ledger));
    let what = format!("{method} {path}");
    let id = scene.chance.u64(..);
    scene.ledger().open.insert(id, (clock.now(), what.clone()));
    scene.clients.push(tokio::spawn(async move {
        let answer = request(&front, method, &path, body).await;
        let mut ledger = ledger.lock().expect("a ledger");
        ledger.open.remove(&id);
        ledger.trace.push((clock.now(), format!("    {what}: {} {}", answer.status, answer.body["detail"])));
        ledger.answered(&what, &answer);
    }));
}

fn allocate(
    scene: &mut Scene,
    template: u32,
    instance: Option<String>,
    start: bool,
    ttl: Option<u64>,
    patience_ms: Option<u64>,
) {
    let Some(service) = scene.service() else { return };
    let (front, clock, ledger) = (service.front().clone(), scene.clock, Arc::clone(&scene.ledger));
    let sim = scene.sim.clone();
    let id = scene.chance.u64(..);
    let asked_at = clock.now();
    let what = format!("allocate {template} {instance:?}");
    let mut body = json!({ "template_vmid": template });
    if let Some(instance) = &instance {
        body["instance_id"] = json!(instance);
    }
    if let Some(ttl) = ttl {
        body["ttl_seconds"] = json!(ttl);
    }
    let path = format!("/allocate?start={start}");
    scene.ledger().open.insert(id, (asked_at, what.clone()));
    scene.clients.push(tokio::spawn(async move {
        let patience = Duration::from_millis(patience_ms.unwrap_or(1_000_000));
        let asking = request(&front, "POST", &path, Some(body));
        let answer = tokio::time::timeout(patience, asking).await;
        let now = clock.now();
        let vmid = answer.as_ref().ok().and_then(|answer| answer.body["vmid"].as_u64());
        let vmid = vmid.and_then(|vmid| u32::try_from(vmid).ok());
        let ct = vmid.and_then(|vmid| sim.ct(vmid));
        let mut ledger = ledger.lock().expect("a ledger");
        ledger.open.remove(&id);
        let Ok(answer) = answer else {
            ledger.trace.push((now, format!("    {what}: left")));
            return;
        };
        ledger.trace.push((now, format!("    {what}: {} {vmid:?} {}", answer.status, answer.body["detail"])));
        ledger.answered(&what, &answer);
        if let (200, Some(vmid)) = (answer.status, vmid) {
            let text = |field: &str| answer.body[field].as_str().map(str::to_owned);
            let until = text("expires_at").and_then(|at| sandbox_pool::domain::time::Timestamp::parse(&at));
            let instance = text("instance_id").or(instance).unwrap_or_default();
            let held = Held { instance, asked_at, until };
            ledger.handed_out(vmid, held, start, ct.as_ref(), now);
        }
    }));
}
