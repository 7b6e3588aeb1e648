//! The machines as rows: one a machine, and below it one a device with the ranks it hosts.

use m2t_common::status::{DeviceStatus, MachineStatus, Status};
use ratatui::layout::Constraint;
use ratatui::style::Style;
use ratatui::text::Span;
use ratatui::widgets::{Cell, Row, Table};

use super::look::{Look, Mood, of_device, of_machine};
use crate::operator::table::{rank_list, span};

/// Rows in all.
pub(super) fn n_rows(status: &Status) -> usize {
    let rows = |machine: &MachineStatus| 1 + machine.devices.len();
    status.machines.iter().map(rows).sum()
}

/// The machine of a row, which orders are about.
pub(super) fn selected(status: &Status, row: Option<usize>) -> Option<&MachineStatus> {
    let mut left = row?;
    for machine in &status.machines {
        if left <= machine.devices.len() {
            return Some(machine);
        }
        left -= 1 + machine.devices.len();
    }
    None
}

/// What the whole fleet is, in a line.
pub(super) fn summary(status: &Status) -> String {
    let devices = || status.machines.iter().flat_map(|machine| &machine.devices);
    let n_hosts = devices().filter(|device| !device.ranks.is_empty()).count();
    format!(
        "{} machines, {n_hosts} of {} devices host the {} ranks",
        status.machines.len(),
        devices().count(),
        status.world
    )
}

/// The table.
pub(super) fn table(status: &Status, look: Look) -> Table<'static> {
    let mut rows = Vec::with_capacity(n_rows(status));
    for machine in &status.machines {
        rows.push(machine_row(machine, look));
        rows.extend(
            machine
                .devices
                .iter()
                .map(|device| device_row(machine, device, look)),
        );
    }
    if rows.is_empty() {
        rows.push(Row::new(["no machine yet"]));
    }
    let widths = [
        Constraint::Length(15),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(13),
        Constraint::Fill(1),
    ];
    let titles = ["machine", "kind", "ranks", "step", "data wait", "state"];
    Table::new(rows, widths)
        .header(Row::new(titles).style(look.faint()))
        .row_highlight_style(look.selected())
}

fn machine_row(machine: &MachineStatus, look: Look) -> Row<'static> {
    let mood = of_machine(machine);
    let n_ranks: usize = machine.devices.iter().map(|device| device.ranks.len()).sum();
    let steps = machine.devices.iter().filter(|device| !device.ranks.is_empty());
    let step = steps.map(|device| device.step.0).min();
    let waits = machine.devices.iter().map(|device| device.data_wait);
    Row::new([
        signed(mood, &machine.name.to_string(), look),
        Cell::from(format!("{} dev", machine.devices.len())),
        Cell::from(format!("{n_ranks} in all")),
        Cell::from(step.map_or_else(|| "-".to_owned(), |step| step.to_string())),
        Cell::from(percent(waits.fold(0.0, f64::max))),
        Cell::from(format!("{}, {} ago", machine.state, span(machine.silent_for))),
    ])
    .style(Style::new().add_modifier(ratatui::style::Modifier::BOLD))
}

fn device_row(machine: &MachineStatus, device: &DeviceStatus, look: Look) -> Row<'static> {
    let ranks = if device.ranks.is_empty() {
        "-".to_owned()
    } else {
        rank_list(&device.ranks)
    };
    let wait = percent(device.data_wait);
    Row::new([
        signed(of_device(machine, device), &format!("  {}", device.index), look),
        Cell::from(device.kind.clone()),
        Cell::from(ranks),
        Cell::from(device.step.to_string()),
        Cell::from(match device.bottleneck {
            Some(stage) => format!("{wait} {stage}"),
            None => wait,
        }),
        Cell::from(match device.slow_files.first() {
            Some(file) => format!("slow file {file}"),
            None => String::new(),
        }),
    ])
}

fn signed(mood: Mood, text: &str, look: Look) -> Cell<'static> {
    let sign = Span::styled(mood.sign(), look.mood(mood));
    Cell::from(ratatui::text::Line::from(vec![
        sign,
        Span::raw(format!(" {text}")),
    ]))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
