//! `m2t recipe`: prints a recipe whole, with the source of each value; lists the published ones; compares two.
//!
//! What a recipe means is decided in m2t-common. Here it is only written out, in a form that can be read back.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use m2t_common::recipe::{Entry, RecipeError, Resolved, load, presets};
use serde_json::json;

use super::Refused;

/// What to print, as it is typed.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, after_long_help = EXAMPLES)]
pub struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// A published run by name or by the path of its published experiment file, or a file ending in .toml; without it, all
    /// published runs are listed.
    #[arg(value_name = "PRESET|FILE.toml")]
    name: Option<String>,
    /// Overrides one key, with dots for tables (augment.hue=0.05); may be given many times.
    #[arg(long, value_name = "KEY=VALUE", requires = "name")]
    set: Vec<String>,
    /// Number of ranks; the batch stays as it is and is cut into so many.
    #[arg(long, value_name = "N", requires = "name")]
    world: Option<u32>,
    /// One line of JSON instead of TOML.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Print the keys in which two recipes differ, and whether they compute the same.
    #[command(after_help = DIFF_CODES)]
    Diff {
        /// The one.
        #[arg(value_name = "PRESET|FILE.toml")]
        one: String,
        /// The other.
        #[arg(value_name = "PRESET|FILE.toml")]
        other: String,
    },
}

const EXAMPLES: &str = "\
Examples:
  m2t recipe                             the published runs, by table
  m2t recipe 32x_v100_100e > mine.toml   an experiment file with every key
  m2t recipe mine.toml --set lr256=0.3 --world 16
  m2t recipe diff 32x_v100_100e mine.toml

Each line's comment says who wrote the value. Lowest first: default, preset,
experiment file, --set, --world; what is higher wins. The keys of [run] say how
a run is carried out and change no bit of its result.

Exit codes: 0 printed; 2 the recipe was refused, in one sentence.";

const DIFF_CODES: &str = "\
Exit codes: 0 both compute the same (equal digests; only keys of [run] may
differ); 1 they compute different things; 2 one of them was refused.";

/// Does what the options say; what is printed goes to `out`.
///
/// # Errors
/// [`Refused`] where a recipe is refused; and where `out` cannot be written.
pub fn run(options: &Options, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let shown = match (&options.command, &options.name) {
        (Some(Command::Diff { one, other }), _) => return diff([one, other], out),
        (None, Some(name)) => load(name, &options.set, options.world, read),
        (None, None) if options.json => {
            writeln!(out, "{}", json!(presets::names()))?;
            return Ok(ExitCode::SUCCESS);
        }
        (None, None) => {
            write!(out, "{}", list())?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    match shown {
        Ok(resolved) if options.json => writeln!(out, "{}", as_json(&resolved))?,
        Ok(resolved) => write!(out, "{}", as_toml(&resolved))?,
        Err(error) => return Err(refused(&error)),
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

fn refused(error: &RecipeError) -> anyhow::Error {
    Refused::new(error.to_string()).into()
}

/// As an experiment file; the comments are aligned.
fn as_toml(resolved: &Resolved) -> String {
    let recipe = &resolved.recipe;
    let lines: Vec<(String, &Entry)> = resolved
        .entries
        .iter()
        .map(|entry| (line(entry), entry))
        .collect();
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
    let mut text = format!(
        "# {}, every key; who wrote its value stands behind it\n\n",
        recipe.name
    );
    let mut table = "";
    for (line, entry) in &lines {
        let own_table = entry.key.split_once('.').map_or("", |(table, _)| table);
        if own_table != table {
            table = own_table;
            text += &format!("\n[{table}]\n");
        }
        // A file's name may hold anything; a comment may not.
        let origin = entry.origin.to_string().replace(char::is_control, " ");
        text += &format!("{line:width$}  # {origin}\n");
    }
    let (training, batch) = (&recipe.training, recipe.global_batch());
    text += &format!(
        "\n# batch of a rank     {} images: {batch} over {} ranks\n\
         # peak learning rate  {}: lr256 * {batch} / 256\n\
         # digest              {} (of all but [run])\n",
        training.batch_per_rank,
        training.world,
        rounded(recipe.peak_learning_rate()),
        recipe.digest(),
    );
    text
}

/// `hue = 0.1`, the table left to the header.
fn line(entry: &Entry) -> String {
    let key = entry
        .key
        .split_once('.')
        .map_or(entry.key.as_str(), |(_, key)| key);
    format!("{key} = {}", entry.value_text())
}

fn as_json(resolved: &Resolved) -> serde_json::Value {
    let recipe = &resolved.recipe;
    let keys: serde_json::Map<String, serde_json::Value> = resolved
        .entries
        .iter()
        .map(|entry| {
            let shown = json!({"value": entry.value, "origin": entry.origin});
            (entry.key.clone(), shown)
        })
        .collect();
    json!({
        "name": recipe.name,
        "keys": keys,
        "batch_per_rank": recipe.training.batch_per_rank,
        "peak_learning_rate": recipe.peak_learning_rate(),
        "digest": recipe.digest(),
    })
}

/// The published runs, those of one table together.
fn list() -> String {
    let mut text = "The published runs (arXiv 2101.07525), ResNet-50 on 224 pixels. `m2t recipe NAME` prints all of one.\n".to_owned();
    let mut table = String::new();
    for name in presets::names() {
        let resolved = load(&name, &[], None, read).expect("every preset resolves, a test says so");
        let recipe = &resolved.recipe;
        // 8x_v100_100e: table 8x_v100, of 100 epochs.
        let own_table = name.rsplit_once('_').map_or(name.as_str(), |(table, _)| table);
        if own_table != table {
            own_table.clone_into(&mut table);
            let gpus = own_table
                .replace("x_", " ")
                .replace("v100", "V100")
                .replace("2080ti", "2080 Ti");
            let world = recipe.training.world;
            text += &format!(
                "\n{world} ranks, published on {gpus}\n  {:<18}{:>8}{:>8}{:>11}{:>9}{:>14}{:>8}\n",
                "preset", "batch", "a rank", "optimizer", "peak lr", "weight decay", "epochs"
            );
        }
        let value = |key: &str| {
            let entry = resolved.entries.iter().find(|entry| entry.key == key);
            entry.map_or_else(String::new, |entry| entry.value_text().replace('"', ""))
        };
        text += &format!(
            "  {name:<18}{:>8}{:>8}{:>11}{:>9}{:>14}{:>8}\n",
            value("batch"),
            recipe.training.batch_per_rank,
            value("optimizer"),
            rounded(recipe.peak_learning_rate()),
            value("weight_decay"),
            value("epochs"),
        );
    }
    let demonstrations = presets::demonstrations().join(", ");
    text + &format!("\nTo try m2t without a GPU, on photographs of your own: {demonstrations}\n")
}

/// A product of decimal fractions as a person would write it: 7.2, not 7.199999999999999.
fn rounded(number: f64) -> String {
    let text = format!("{number:.9}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn diff(names: [&String; 2], out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let [one, other] = match names.map(|name| load(name, &[], None, read)) {
        [Ok(one), Ok(other)] => [one, other],
        [Err(error), _] | [_, Err(error)] => return Err(refused(&error)),
    };
    let is_same = one.recipe.digest() == other.recipe.digest();
    write!(out, "{}", differences(names, &one, &other))?;
    for (name, recipe) in names.into_iter().zip([&one.recipe, &other.recipe]) {
        writeln!(out, "digest {}  {name}", recipe.digest())?;
    }
    if is_same {
        writeln!(out, "equal digests: both compute the same, to the bit")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        out,
        "different digests: one does not continue the other's checkpoints"
    )?;
    Ok(ExitCode::from(1))
}

/// A line for each key that differs, in the order of the defaults.
fn differences(names: [&String; 2], one: &Resolved, other: &Resolved) -> String {
    let value = |resolved: &Resolved, key: &str| {
        let entry = resolved.entries.iter().find(|entry| entry.key == key);
        entry.map_or_else(|| "not set".to_owned(), Entry::value_text)
    };
    let mut keys: Vec<&str> = one.entries.iter().map(|entry| entry.key.as_str()).collect();
    for entry in &other.entries {
        if !keys.contains(&entry.key.as_str()) {
            keys.push(&entry.key);
        }
    }
    let mut rows = vec![["key".to_owned(), names[0].clone(), names[1].clone()]];
    let all = keys
        .into_iter()
        .map(|key| [key.to_owned(), value(one, key), value(other, key)]);
    rows.extend(all.filter(|[_, mine, theirs]| mine != theirs));
    if rows.len() == 1 {
        return String::new();
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [key, mine, theirs] in &rows {
        let note = if key.starts_with("run.") {
            "  (does not change the result)"
        } else {
            ""
        };
        let [first, second, third] = widths;
        let line = format!("{key:first$}  {mine:second$}  {theirs:third$}{note}");
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
