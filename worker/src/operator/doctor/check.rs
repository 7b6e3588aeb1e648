//! The checks: functions from what was seen to a finding. They look at nothing themselves.

mod folders;
mod gpus;
mod link;
mod machine;
mod programs;

use super::estimate::Estimate;
use super::facts::{Facts, Wanted};
use super::finding::Finding;

/// All checks, in the order in which they are shown.
pub(super) fn all(facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    let estimate = Estimate::of(&wanted.recipe);
    let mut findings = Vec::from(programs::all(&facts.programs));
    findings.extend(gpus::all(&facts.programs.tensor, &wanted.devices));
    findings.extend(machine::room(&facts.room, wanted, estimate));
    findings.extend(machine::limits(facts.limits, wanted));
    findings.extend(machine::shared_memory(&facts.shared_memory, wanted));
    findings.push(machine::strays(&facts.processes));
    findings.extend(link::all(facts.link.as_ref()));
    findings.extend(folders::data(facts.data.as_ref(), &wanted.recipe));
    findings.extend(folders::output(facts.output.as_ref(), wanted, estimate));
    let joins = facts.link.as_ref().is_some_and(Result::is_ok);
    findings.push(folders::shared(facts.output.as_ref(), joins));
    findings
}

/// Bytes for people: "1.5 GiB".
fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// "1 device", "2 devices".
fn counted(n: u64, one: &str) -> String {
    if n == 1 {
        format!("{n} {one}")
    } else {
        format!("{n} {one}s")
    }
}

/// The first few of a list, and that there are more.
fn some_of<T: std::fmt::Display>(items: impl ExactSizeIterator<Item = T>) -> String {
    const MOST: usize = 5;
    let more = if items.len() > MOST { ", …" } else { "" };
    let told: Vec<String> = items.take(MOST).map(|item| item.to_string()).collect();
    format!("{}{more}", told.join(", "))
}

#[cfg(test)]
mod tests;
