//! A machine dies whole: daemon and trainers at once, and no connection says so.

use crate::{VICTIM, four_machines_held, goes_on_without, start, takes_part_again};

#[test]
fn a_dead_machine_is_left_behind_and_its_successor_takes_part() {
    let Some(mut cluster) = four_machines_held() else {
        return;
    };
    cluster.network().kill_all(VICTIM);
    let name = cluster.network().machine(VICTIM).name().to_owned();
    assert_eq!(cluster.daemon(&name).wait(), None, "a signal ended the daemon");
    let generation = goes_on_without(&cluster);
    cluster.network().heal(VICTIM);
    start(&mut cluster, VICTIM);
    takes_part_again(&mut cluster, generation);
}
