//! A command and all below it as a page of Markdown: what it does, how it is typed, each option, and what its help says at the end.

use std::fmt::Write;

use clap::builder::StyledStr;
use clap::{Arg, Command};

/// Headings go no deeper.
const DEEPEST: usize = 4;

/// The page, ending in a line feed. The version is not in it, so that it changes with the options alone.
pub(crate) fn page(command: Command) -> String {
    let mut command = command.color(clap::ColorChoice::Never).term_width(100);
    command.build();
    let mut text =
        "<!-- Made by `cargo xtask reference` from the program itself; do not edit. -->\n\n".to_owned();
    append(&mut text, &mut command, 1);
    text
}

fn append(text: &mut String, command: &mut Command, level: usize) {
    let usage = command.render_usage().to_string();
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    // Writing to a String does not fail.
    let _ = writeln!(text, "{} `{name}`\n", "#".repeat(level.min(DEEPEST)));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = writeln!(text, "{}\n", sentence(about));
    }
    let _ = writeln!(text, "```text\n{}\n```\n", usage.trim());
    let shown: Vec<&Arg> = command.get_arguments().filter(|arg| is_shown(arg)).collect();
    for arg in &shown {
        text.push_str(&item(arg));
    }
    if !shown.is_empty() {
        text.push('\n');
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        let _ = writeln!(text, "```text\n{}\n```\n", after.to_string().trim());
    }
    let names: Vec<String> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set() && below.get_name() != "help")
        .map(|below| below.get_name().to_owned())
        .collect();
    for name in names {
        let below = command.find_subcommand_mut(&name).expect("it was just listed");
        append(text, below, level + 1);
    }
    text.truncate(text.trim_end().len());
    text.push_str(if level == 1 { "\n" } else { "\n\n" });
}

/// Whether an option is worth a line: every program has the flags of help and version.
fn is_shown(arg: &Arg) -> bool {
    !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn item(arg: &Arg) -> String {
    let mut text = format!("- `{}`", typed(arg));
    if let Some(help) = arg.get_long_help().or(arg.get_help()) {
        let _ = write!(text, ": {}", sentence(help));
    }
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!(
                "`{}` ({})",
                value.get_name(),
                sentence(help).trim_end_matches('.')
            ),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if takes_values(arg) && !values.is_empty() {
        let _ = write!(text, " One of {}.", values.join(", "));
    }
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if takes_values(arg) && !defaults.is_empty() {
        let _ = write!(text, " Default: `{}`.", defaults.join(" "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, " Or by the variable `{}`.", variable.to_string_lossy());
    }
    text.push('\n');
    text
}

/// As it is typed: `-d, --devices <cpu:N|LIST>`.
fn typed(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let mut text = flags.join(", ");
    if takes_values(arg) {
        let names = arg.get_value_names().unwrap_or_default();
        let names: Vec<String> = names.iter().map(|name| format!("<{name}>")).collect();
        let names = if names.is_empty() {
            format!("<{}>", arg.get_id().as_str().to_uppercase())
        } else {
            names.join(" ")
        };
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&names);
    }
    text
}

fn takes_values(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// Help in one line, ending in a full stop.
fn sentence(help: &StyledStr) -> String {
    let text = help.to_string();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.ends_with(['.', ']', ')', '!', '?']) || text.is_empty() {
        text
    } else {
        format!("{text}.")
    }
}
