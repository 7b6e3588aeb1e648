//! Writes what `m2t-coordinator --version` says.

fn main() {
    m2t_build_facts::write(&["coordinator", "proto", "common"]);
}
