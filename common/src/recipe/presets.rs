//! The twelve published runs, the two published linear evaluations and a run to try m2t with, built in, as tables on top of the defaults.

use toml::Table;

/// Every key with its default. Shown to users as `deploy/config/defaults.toml`.
pub const DEFAULTS: &str = include_str!("defaults.toml");
const PRESETS: &str = include_str!("presets.toml");
const HEADS: &str = include_str!("heads.toml");
const DEMONSTRATIONS: &str = include_str!("demonstrations.toml");

/// The names of the published runs, in the order of the published tables.
pub fn names() -> Vec<String> {
    presets().keys().cloned().collect()
}

/// The names of the published linear evaluations. Alone they are no recipe: which encoder is evaluated is still to be said.
pub fn heads() -> Vec<String> {
    parsed(HEADS).keys().cloned().collect()
}

/// The names of the runs to try m2t with.
pub fn demonstrations() -> Vec<String> {
    parsed(DEMONSTRATIONS).keys().cloned().collect()
}

/// The names of all presets that are a whole recipe.
pub fn whole() -> Vec<String> {
    names().into_iter().chain(demonstrations()).collect()
}

/// What a preset writes on top of the defaults.
pub fn find(name: &str) -> Option<Table> {
    let mut tables = [presets(), parsed(HEADS), parsed(DEMONSTRATIONS)].into_iter();
    let found = tables.find_map(|mut table| table.remove(name));
    found.and_then(|value| value.try_into().ok())
}

/// The table of defaults.
pub(super) fn defaults() -> Table {
    DEFAULTS.parse().expect("the built-in defaults are valid TOML")
}

fn presets() -> Table {
    parsed(PRESETS)
}

fn parsed(built_in: &str) -> Table {
    built_in.parse().expect("the built-in presets are valid TOML")
}

/// The preset that a published experiment file became, by the file's path as published command lines write it:
/// `momentum_teacher/exps/arxiv/exp_8_v100/momentum2_teacher_100e_exp.py` is `8x_v100_100e`. Of the path only the last
/// folder and the file's name count. Files of the published ablations have no preset.
pub fn published(path: &str) -> Option<&'static str> {
    let (folders, file) = path.rsplit_once('/')?;
    let folder = folders.rsplit('/').next()?;
    let words = file.strip_suffix(".py")?.split('_');
    let (lengths, others): (Vec<&str>, Vec<&str>) = words.partition(|word| LENGTHS.contains(word));
    let [length] = lengths[..] else {
        return None;
    };
    let presets = match (folder, others.join("_").as_str()) {
        ("exp_8_v100", "momentum2_teacher_exp") => ["8x_v100_100e", "8x_v100_200e", "8x_v100_300e"],
        ("exp_8_2080ti", "momentum2_teacher_32batch_1mm_099_exp") => {
            ["8x_2080ti_100e", "8x_2080ti_200e", "8x_2080ti_300e"]
        }
        // The published tables link no file of this folder, so its names are not known: the length decides.
        ("exp_32_v100", _) => ["32x_v100_100e", "32x_v100_200e", "32x_v100_300e"],
        ("exp_128_2080ti", "momentum2_teacher_4096batch_16mm_exp") => {
            ["128x_2080ti_100e", "128x_2080ti_200e", "128x_2080ti_300e"]
        }
        _ => return None,
    };
    let nth = LENGTHS.iter().position(|other| *other == length)?;
    Some(presets[nth])
}

/// Epochs, as file names say them.
const LENGTHS: [&str; 3] = ["100e", "200e", "300e"];
