//! Which network tensors are of, by their names and shapes: as keys of a recipe.

use std::collections::BTreeSet;

use super::source::{Kind, PUBLISHED, Source};

/// Blocks of the four stages, whether they are bottlenecks, and what torchvision calls the network.
const NETWORKS: [([usize; 4], Block, &str); 5] = [
    ([2, 2, 2, 2], Block::Basic, "resnet18"),
    ([3, 4, 6, 3], Block::Basic, "resnet34"),
    ([3, 4, 6, 3], Block::Bottleneck, "resnet50"),
    ([3, 4, 23, 3], Block::Bottleneck, "resnet101"),
    ([3, 8, 36, 3], Block::Bottleneck, "resnet152"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Basic,
    Bottleneck,
}

/// The network's keys and values, as `--set` takes them.
///
/// # Errors
/// What is missing for one of the known networks, in a part of a sentence.
pub(super) fn network(source: &Source) -> Result<Vec<String>, String> {
    let prefix = match source.kind {
        Kind::Encoder => "",
        Kind::Published => PUBLISHED[0],
        Kind::Whole => "student.",
    };
    let shape = |name: &str| {
        let tensor = source.tensors.get(&format!("{prefix}{name}"));
        tensor.map(|tensor| tensor.shape.as_slice())
    };
    let Some(&[channels, 3, kernel, _]) = shape("conv1.weight") else {
        let names: Vec<&str> = source.tensors.keys().take(3).map(String::as_str).collect();
        return Err(format!(
            "there is no {prefix}conv1.weight of shape [C, 3, k, k]; the first names are {}",
            names.join(", ")
        ));
    };
    let stem = match kernel {
        7 => "imagenet",
        3 => "small",
        other => {
            return Err(format!(
                "{prefix}conv1.weight is {other} wide, and a stem is 7 or 3"
            ));
        }
    };
    let blocks = [1, 2, 3, 4].map(|stage| n_blocks(source, &format!("{prefix}layer{stage}.")));
    let block = match shape("layer1.0.conv3.weight") {
        Some(_) => Block::Bottleneck,
        None => Block::Basic,
    };
    let known = NETWORKS
        .iter()
        .find(|(found, of, _)| (*found, *of) == (blocks, block));
    let Some((_, _, arch)) = known else {
        return Err(format!("its four stages have {blocks:?} blocks"));
    };
    let mut sets = vec![
        format!("arch={arch}"),
        format!("channels={channels}"),
        format!("stem={stem}"),
    ];
    if source.kind != Kind::Encoder {
        for (key, name) in [("hidden_dim", "fc.0.weight"), ("low_dim", "fc.3.weight")] {
            sets.extend(
                shape(name)
                    .and_then(<[usize]>::first)
                    .map(|width| format!("{key}={width}")),
            );
        }
    }
    Ok(sets)
}

/// How many blocks have tensors below `stage`.
fn n_blocks(source: &Source, stage: &str) -> usize {
    let block = |name: &String| name.strip_prefix(stage)?.split('.').next()?.parse::<usize>().ok();
    let blocks: BTreeSet<usize> = source.tensors.keys().filter_map(block).collect();
    blocks.len()
}
