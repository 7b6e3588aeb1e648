//! A machine is cut off, wholly or one way, and healed.

use crate::{VICTIM, four_machines_held, goes_on_without, takes_part_again};

#[test]
fn a_machine_cut_off_is_left_behind_and_comes_back() {
    let Some(mut cluster) = four_machines_held() else {
        return;
    };
    cluster.network().cut(VICTIM);
    let generation = goes_on_without(&cluster);
    cluster.network().heal(VICTIM);
    takes_part_again(&mut cluster, generation);
}

#[test]
fn a_machine_that_hears_and_is_not_heard_is_left_behind_and_comes_back() {
    let Some(mut cluster) = four_machines_held() else {
        return;
    };
    cluster.network().cut_one_way(VICTIM);
    let generation = goes_on_without(&cluster);
    cluster.network().heal(VICTIM);
    takes_part_again(&mut cluster, generation);
}
