//! What an allocation costs with ten containers and with ten thousand: `cargo bench`.
//!
//! Times are the machine's; the ratio is what counts. It should stay near one.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Duration;

use sandbox_pool::clock::Stopwatch;
use sandbox_pool::domain::command::{Allocate, Command};
use sandbox_pool::domain::decide::decide;
use sandbox_pool::domain::event::{ContainerDiscovered, Envelope, Event, ServiceStarted, TemplateAdded};
use sandbox_pool::domain::ids::{CloneId, InstanceId, Node, Seq, Vmid, pool_hostname};
use sandbox_pool::domain::plan::plan;
use sandbox_pool::domain::settings::{Settings, Sizes};
use sandbox_pool::domain::state::State;
use sandbox_pool::domain::time::Timestamp;
use ulid::Ulid;

const TEMPLATE: Vmid = Vmid(9009);
const ROUNDS: u32 = 2000;

fn main() -> std::io::Result<()> {
    let [few, many] = [10, 10_000].map(|count| allocation(&pool_of(count)));
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    let mut out = std::io::stdout();
    writeln!(out, "an allocation with     10 containers: {few:?}")?;
    writeln!(out, "an allocation with 10,000 containers: {many:?}")?;
    writeln!(out, "ratio: {ratio:.2}")
}

/// Decides one allocation, publishes a copy of State and plans, as the engine does for each.
fn allocation(state: &State) -> Duration {
    let mut chance = fastrand::Rng::with_seed(1);
    let watch = Stopwatch::start();
    for _ in 0..ROUNDS {
        let command = Command::Allocate(Allocate {
            template: TEMPLATE,
            instance_id: None,
            metadata: BTreeMap::new(),
            start: true,
            ttl_seconds: None,
            facts: None,
        });
        let decision = decide(black_box(state), command, state.at, &mut chance).expect("a container");
        black_box(plan(&decision.state, state.at));
        black_box(decision.state.clone());
    }
    watch.elapsed() / ROUNDS
}

/// A pool with so many containers, all but five of them held.
fn pool_of(count: u32) -> State {
    let mut state = State::default();
    let settings = Settings { sizes: Sizes { min: 3, target: 5, max: 10 }, ..Settings::default() };
    apply(&mut state, ServiceStarted { version: "0".to_owned(), settings }.into());
    apply(&mut state, TemplateAdded { template: TEMPLATE, node: None, linkable: None }.into());
    for nth in 0..count {
        let clone_id = CloneId(Ulid::from(u128::from(nth) + 1));
        let discovered = ContainerDiscovered {
            vmid: Vmid(10_000 + nth),
            clone_id,
            template: TEMPLATE,
            node: Node::from("pve1"),
            hostname: pool_hostname("pool", TEMPLATE, clone_id),
            instance_id: (nth >= 5).then(|| InstanceId(format!("box-{nth}"))),
        };
        apply(&mut state, discovered.into());
    }
    state
}

fn apply(state: &mut State, event: Event) {
    let seq: Seq = state.head.next();
    state.apply(&Envelope { seq, id: Ulid::nil(), at: Timestamp(1), event, cause: None, more: false });
}
