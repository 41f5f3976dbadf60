//! A seed's story: the pool it is about, and what happens to it, step by step.
//!
//! Only chance from the seed goes in, so that the same seed tells the same story. What a step means for the
//! pool as it is then (which container, whether it is there) is settled when it is played.

use std::time::Duration;

use sandbox_pool::sim::{Effect, On, Which};

use super::invariants::LONGEST_WAY;
use crate::faults::{ANSWERS, ENDS};

/// The pool and its cluster.
#[derive(Clone, Debug)]
pub struct Setting {
    pub templates: u32,
    pub two_nodes: bool,
    /// min, target, max.
    pub sizes: (u32, u32, u32),
    pub max_total: u32,
    pub clone_concurrency: u32,
    pub replenish_batch: u32,
    pub recycle: bool,
    pub clone_ms: u64,
    pub start_ms: u64,
    pub jitter_ms: u64,
    pub segment_bytes: u64,
}

/// What can be out of order as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Node(u32),
    Daemon(u32),
    FrontEnd,
    Token,
    Statistics,
    Quorum,
}

/// What others do to one of the pool's containers, or beside it.
#[derive(Clone, Copy, Debug)]
pub enum Meddling {
    Destroy,
    Rename,
    Start,
    Stop,
    /// A lock that its taker takes off after so many milliseconds.
    Lock(&'static str, u64),
    LockTemplate(u64),
    /// Somebody's container on the next free VMID.
    Foreign,
    /// Destroyed, and somebody's container on its VMID.
    Reuse,
    Migrate,
    /// Its holder makes a template of it.
    Convert,
    KillClone,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    Allocate {
        template: u32,
        instance: Option<u32>,
        start: bool,
        ttl: Option<u64>,
        patience_ms: Option<u64>,
    },
    Release(usize),
    Remove(usize),
    Warm {
        template: u32,
        count: u32,
    },
    Resize {
        template: u32,
        min: u32,
        target: u32,
        max: u32,
    },
    Drain {
        template: u32,
    },
    Refresh {
        template: u32,
    },
    Look,
    /// Other settings while it runs: min, target, max, and how many clones at once.
    Reload {
        sizes: (u32, u32, u32),
        clone_concurrency: u32,
        recycle: bool,
    },
    Fault {
        on: On,
        which: Which,
        effect: Effect,
    },
    NoMoreFaults,
    Break(Part),
    Mend(Part),
    Meddle {
        nth: usize,
        what: Meddling,
    },
    /// A person does what the hints say.
    Person,
    Kill {
        down_ms: u64,
    },
    /// Power fails at the nth operation of the disk from now, and returns after a while.
    PowerCut {
        operations: usize,
        down_ms: u64,
    },
    Stop {
        down_ms: u64,
    },
    /// A kill, and the disk is gone.
    LoseLog,
    DiskFull,
    DiskFree,
    Wait {
        ms: u64,
    },
}

/// A whole story.
#[derive(Clone, Debug)]
pub struct Script {
    pub setting: Setting,
    pub steps: Vec<Step>,
}

impl Script {
    /// The story of a seed.
    pub fn of(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed ^ 0x005e_ed0f_5747_0000);
        let setting = setting(&mut chance);
        // Some stories are calm but for one thing, most are not.
        let trouble = [0, 1, 1, 2, 3, 4][chance.usize(0..6)];
        let count = if chance.u32(0..10) == 0 { chance.usize(50..150) } else { chance.usize(15..50) };
        let mut steps = Vec::with_capacity(2 * count);
        for _ in 0..count {
            steps.push(step(&mut chance, &setting, trouble));
            steps.push(Step::Wait { ms: wait(&mut chance) });
        }
        Self { setting, steps }
    }
}

fn setting(chance: &mut fastrand::Rng) -> Setting {
    let sizes = sizes(chance, 5);
    let (_, target, _) = sizes;
    let templates = chance.u32(1..4);
    let max_total = if chance.u32(0..3) == 0 { templates * target + chance.u32(1..5) } else { 0 };
    Setting {
        templates,
        two_nodes: chance.bool(),
        sizes,
        max_total,
        clone_concurrency: chance.u32(1..3),
        replenish_batch: [0, 0, 1, 2][chance.usize(0..4)],
        recycle: chance.u32(0..3) == 0,
        clone_ms: [300, 3000, 8000, 20_000][chance.usize(0..4)],
        start_ms: [400, 2000, 5000][chance.usize(0..3)],
        jitter_ms: [0, 0, 700][chance.usize(0..3)],
        segment_bytes: [8 * 1024, 64 * 1024, 1 << 20][chance.usize(0..3)],
    }
}

/// min, target below so many, and max.
fn sizes(chance: &mut fastrand::Rng, below: u32) -> (u32, u32, u32) {
    let target = chance.u32(0..below);
    (chance.u32(0..=target), target, (target + chance.u32(0..3)).max(1))
}

fn wait(chance: &mut fastrand::Rng) -> u64 {
    match chance.u32(0..20) {
        0..4 => 0,
        4..8 => chance.u64(1..50),
        8..13 => chance.u64(50..2000),
        13..17 => chance.u64(2000..15_000),
        17..19 => chance.u64(15_000..60_000),
        _ => chance.u64(60_000..400_000),
    }
}

/// A step; the more trouble, the more of them are none of the pool's doing.
fn step(chance: &mut fastrand::Rng, setting: &Setting, trouble: u32) -> Step {
    if chance.u32(0..10) < trouble * 2 {
        return match chance.u32(0..13) {
            0..4 => fault(chance),
            4 => Step::NoMoreFaults,
            5 => Step::Break(part(chance, setting)),
            6 => Step::Mend(part(chance, setting)),
            7..9 => Step::Meddle { nth: chance.usize(..), what: meddling(chance, setting) },
            9 if chance.u32(0..6) == 0 => Step::LoseLog,
            9 => Step::Kill { down_ms: down(chance) },
            10 => Step::PowerCut { operations: chance.usize(0..40), down_ms: down(chance) },
            11 => Step::Stop { down_ms: down(chance) },
            _ => [Step::DiskFull, Step::DiskFree, Step::Person][chance.usize(0..3)].clone(),
        };
    }
    request(chance, setting)
}

fn request(chance: &mut fastrand::Rng, setting: &Setting) -> Step {
    let template = chance.u32(0..setting.templates);
    match chance.u32(0..25) {
        0..11 => Step::Allocate {
            template,
            instance: (chance.u32(0..5) > 0).then(|| chance.u32(0..12)),
            start: chance.u32(0..5) > 0,
            ttl: (chance.u32(0..6) == 0).then(|| chance.u64(1..200)),
            patience_ms: (chance.u32(0..5) == 0).then(|| chance.u64(0..30_000)),
        },
        11..15 => Step::Release(chance.usize(..)),
        15..18 => Step::Remove(chance.usize(..)),
        18..20 => Step::Warm { template, count: chance.u32(0..6) },
        20 => {
            let (min, target, max) = sizes(chance, 4);
            Step::Resize { template, min, target, max }
        }
        21 => Step::Drain { template },
        22 => Step::Refresh { template },
        23 => Step::Look,
        _ => Step::Reload {
            sizes: sizes(chance, 5),
            clone_concurrency: chance.u32(1..3),
            recycle: chance.u32(0..3) == 0,
        },
    }
}

fn down(chance: &mut fastrand::Rng) -> u64 {
    [0, 0, chance.u64(0..5000), chance.u64(5000..200_000)][chance.usize(0..4)]
}

fn part(chance: &mut fastrand::Rng, setting: &Setting) -> Part {
    let node = if setting.two_nodes { chance.u32(0..2) } else { 0 };
    [Part::Node(node), Part::Daemon(node), Part::FrontEnd, Part::Token, Part::Statistics, Part::Quorum]
        [chance.usize(0..6)]
}

fn meddling(chance: &mut fastrand::Rng, setting: &Setting) -> Meddling {
    match chance.u32(0..14) {
        0..2 => Meddling::Destroy,
        2 => Meddling::Rename,
        3 => Meddling::Start,
        4..6 => Meddling::Stop,
        6 => Meddling::Lock("backup", chance.u64(100..60_000)),
        7 => Meddling::Lock("snapshot", chance.u64(100..10_000)),
        8 => Meddling::LockTemplate(chance.u64(100..100_000)),
        9..11 => Meddling::Foreign,
        11 => Meddling::Reuse,
        12 if setting.two_nodes => Meddling::Migrate,
        12 => Meddling::Convert,
        _ => Meddling::KillClone,
    }
}

fn fault(chance: &mut fastrand::Rng) -> Step {
    let on = match chance.u32(0..12) {
        0..3 => On::clone_of_any(),
        3 => On::start(),
        4 => On::stop(),
        5 => On::destroy(),
        6 => On::update(),
        7 => On::call("GET", "/nodes/*/lxc/*/config"),
        8 => On::call("GET", "/nodes/*/tasks/*/status"),
        9 => On::call("GET", "/cluster/**"),
        10 => On::call("GET", "/nodes/**"),
        _ => On::anything(),
    };
    let which = match chance.u32(0..8) {
        0..4 => Which::Nth(chance.u32(1..4)),
        4..6 => Which::First(chance.u32(1..6)),
        6 => Which::Chance(0.1 + 0.4 * chance.f64()),
        _ => Which::Always,
    };
    Step::Fault { on, which, effect: effect(chance) }
}

fn effect(chance: &mut fastrand::Rng) -> Effect {
    let span = Duration::from_millis([200, 3000, 12_000, 70_000][chance.usize(0..4)]);
    match chance.u32(0..16) {
        0..2 => {
            let (status, reason) = ANSWERS[chance.usize(0..ANSWERS.len())];
            Effect::FailBefore { status, reason: reason.to_owned() }
        }
        2 => {
            let (status, reason) = [
                (596, "Connection timed out"),
                (500, "can't lock file '/var/log/pve/tasks/.active.lock' - got timeout"),
            ][chance.usize(0..2)];
            Effect::FailAfter { status, reason: reason.to_owned() }
        }
        3 => Effect::NotSent,
        4 => Effect::DropBefore,
        5..7 => Effect::DropAfter,
        // A clone that comes later than it is looked for is one too many, whatever one does.
        7 => Effect::Delay(span.min(LONGEST_WAY)),
        8 => Effect::SlowAnswer(span),
        9 => Effect::Stall,
        10 => Effect::StallAfter,
        11..13 => Effect::TaskFails { exitstatus: ENDS[chance.usize(0..ENDS.len())].to_owned() },
        13 => Effect::TaskWarns,
        14 => Effect::TaskDies,
        _ => Effect::TaskTakes(span),
    }
}
