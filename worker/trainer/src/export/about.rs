//! What an exported file says of itself, and what is said of one that a library has no class for.

use std::collections::BTreeMap;

use m2t_common::manifest::Manifest;
use m2t_common::recipe::{Model, Stem};
use m2t_data::augment::{MEAN, STD};

use super::{Export, Names, What};

/// What the file says of itself; numbers and lists are JSON.
pub(super) fn metadata(manifest: &Manifest, export: &Export) -> BTreeMap<String, String> {
    let recipe = &manifest.recipe;
    let stem = match recipe.model.stem {
        Stem::Imagenet => "imagenet",
        Stem::Small => "small",
    };
    let of = match export.what {
        What::Encoder => vec![
            ("what", "encoder".to_owned()),
            ("side", export.side().name().to_owned()),
            ("names", export.names().name().to_owned()),
        ],
        // All that another place needs to go on.
        What::All => vec![
            ("what", "all".to_owned()),
            ("n_samples", manifest.n_samples.to_string()),
            (
                "recipe_json",
                serde_json::to_string(recipe).expect("a recipe is plain data"),
            ),
        ],
    };
    let common = [
        // What transformers and others look for before they take a file.
        ("format", "pt".to_owned()),
        ("m2t_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("arch", arch(&recipe.model)),
        ("channels", recipe.model.channels.to_string()),
        ("stem", stem.to_owned()),
        ("step", manifest.step.to_string()),
        ("recipe", recipe.name.clone()),
        ("recipe_digest", manifest.recipe_digest.to_string()),
        ("state_digest", manifest.state_digest.clone()),
        ("pixels", recipe.training.pixels.to_string()),
        ("mean", format!("{MEAN:?}")),
        ("std", format!("{STD:?}")),
    ];
    common
        .into_iter()
        .chain(of)
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// torchvision's name of the network.
pub fn arch(model: &Model) -> String {
    format!("{:?}", model.arch).to_lowercase()
}

/// Why no class of the library can take the file as it is, in a sentence.
pub(super) fn misfit(model: &Model, names: Names) -> Option<String> {
    const PUBLISHED_CHANNELS: u32 = 64;
    let (arch, library) = (arch(model), names.name());
    if model.channels != PUBLISHED_CHANNELS {
        return Some(format!(
            "{library}'s {arch} cannot take this file: the recipe has channels = {}, and that class has {PUBLISHED_CHANNELS}",
            model.channels
        ));
    }
    match model.stem {
        Stem::Imagenet => None,
        Stem::Small => Some(format!(
            "{library}'s {arch} cannot take this file as it is: the recipe has stem = \"small\", and `m2t export --help` shows \
             how to give that class the same first layer"
        )),
    }
}
