//! The log is the pool: folding it again gives the same State, also over a snapshot.

use super::pool::{Pool, T, U, allocate_from, unusable};
use super::promises::replay_gives;
use crate::domain::fault::FaultKind;

#[test]
fn a_day_of_a_pool_replays_to_the_same_state() {
    let mut pool = Pool::sized(1, 3, 5);
    pool.clone_all();
    for nth in 0..40 {
        let instance = format!("box-{nth}");
        let template = if nth % 3 == 0 { U } else { T };
        pool.run(allocate_from(template, &instance));
        pool.clone_all();
        let vmid = pool.vmid_of(&instance);
        match nth % 5 {
            0 => {
                pool.hindered(vmid, unusable(FaultKind::Locked)).destroyed(vmid);
            }
            1 => {
                pool.renamed(vmid).leaves(&instance).parked(vmid);
            }
            2 => {
                pool.renamed(vmid).started(vmid).remove(vmid).destroyed(vmid);
            }
            _ => {
                pool.renamed(vmid).started(vmid).release(vmid).parked(vmid);
            }
        }
        pool.later(700);
        if nth % 10 == 9 {
            pool.restart();
        }
    }
    replay_gives(&pool.state, &pool.log);
}
