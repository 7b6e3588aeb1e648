//! A file's tensors laid over a state: which goes where, what is missing, what is left over.

use std::collections::BTreeSet;

use m2t_common::Rank;
use m2t_common::recipe::{Recipe, TeacherStatistics};

use super::source::{Kind, PUBLISHED, Source};
use super::values::{converted, is_finite};
use crate::model::Network;
use crate::model::layout::Extent;
use crate::state::Snapshot;
use crate::state::snapshot::NamedBytes;

/// What the words of a command allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) missing: bool,
    pub(super) extra: bool,
}

/// What came of it. Names have their shapes behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fit {
    /// Tensors of the file that were taken.
    pub(super) n_taken: usize,
    /// What the file lacks.
    pub(super) missing: Vec<String>,
    /// What the network does not know.
    pub(super) extra: Vec<String>,
    /// What nobody here needs.
    pub(super) aside: Vec<String>,
}

/// Why a file does not fit, with every name and shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Misfit {
    #[error(
        "{n} tensors have other shapes than the recipe's network: {names}; name its recipe with -f, or its network with --set"
    )]
    Shapes { n: usize, names: String },
    #[error("it lacks {n} tensors of the network: {names}; --allow-missing leaves them as they are drawn")]
    Missing { n: usize, names: String },
    #[error("it has {n} tensors that the network does not know: {names}; --allow-extra leaves them aside")]
    Extra { n: usize, names: String },
    #[error("its tensor {name} holds {found}, and weights are floats")]
    NoFloats { name: String, found: String },
    #[error("its tensor {name} holds values that are not finite")]
    NotFinite { name: String },
}

/// A tensor of the file, and the state's tensors that it becomes.
struct Want {
    from: String,
    to: Vec<String>,
}

impl Fit {
    /// Lays the file's tensors over the state.
    pub(super) fn take(
        source: &Source,
        recipe: &Recipe,
        state: &mut Snapshot,
        allowed: Allowed,
    ) -> Result<Self, Misfit> {
        let wants = wants(source.kind, recipe, state);
        let mut fit = Self {
            aside: source.beside.clone(),
            ..Self::default()
        };
        let mut shapes = Vec::new();
        for Want { from, to } in &wants {
            let expected = state.tensors[&to[0]].shape.clone();
            match source.tensors.get(from) {
                None => fit.missing.push(named(from, &expected)),
                Some(found) if found.shape != expected => {
                    shapes.push(format!("{} and not {expected:?}", named(from, &found.shape)));
                }
                Some(found) => {
                    fit.n_taken += 1;
                    put(found, from, to, state)?;
                }
            }
        }
        let wanted: BTreeSet<&str> = wants.iter().map(|want| want.from.as_str()).collect();
        let mut n_counts = 0;
        for (name, tensor) in source
            .tensors
            .iter()
            .filter(|(name, _)| !wanted.contains(name.as_str()))
        {
            match name {
                _ if name.ends_with(".num_batches_tracked") => n_counts += 1,
                // The classifier of an encoder that was trained with labels.
                _ if source.kind == Kind::Encoder && name.starts_with("fc.") => {
                    fit.aside.push(named(name, &tensor.shape));
                }
                _ => fit.extra.push(named(name, &tensor.shape)),
            }
        }
        if n_counts > 0 {
            fit.aside.push(format!("{n_counts} num_batches_tracked"));
        }
        fit.judge(&shapes, allowed)
    }

    fn judge(self, shapes: &[String], allowed: Allowed) -> Result<Self, Misfit> {
        let said = |names: &[String]| (names.len(), names.join(", "));
        if !shapes.is_empty() {
            let (n, names) = said(shapes);
            return Err(Misfit::Shapes { n, names });
        }
        if !self.missing.is_empty() && !allowed.missing {
            let (n, names) = said(&self.missing);
            return Err(Misfit::Missing { n, names });
        }
        if !self.extra.is_empty() && !allowed.extra {
            let (n, names) = said(&self.extra);
            return Err(Misfit::Extra { n, names });
        }
        Ok(self)
    }
}

fn named(name: &str, shape: &[usize]) -> String {
    format!("{name} {shape:?}")
}

fn put(found: &NamedBytes, from: &str, to: &[String], state: &mut Snapshot) -> Result<(), Misfit> {
    for target in to {
        let target = state
            .tensors
            .get_mut(target)
            .expect("targets are the state's own names");
        *target = converted(found, target.dtype).ok_or_else(|| Misfit::NoFloats {
            name: from.to_owned(),
            found: found.dtype.to_string(),
        })?;
        if !is_finite(target) {
            let name = from.to_owned();
            return Err(Misfit::NotFinite { name });
        }
    }
    Ok(())
}

/// What each tensor of a file of this kind becomes.
fn wants(kind: Kind, recipe: &Recipe, state: &Snapshot) -> Vec<Want> {
    let network = Network::new(&recipe.model);
    let layout = &network.layout;
    match kind {
        Kind::Whole => state
            .tensors
            .keys()
            .map(|name| Want {
                from: name.clone(),
                to: vec![name.clone()],
            })
            .collect(),
        Kind::Encoder => of_network(
            recipe,
            &network,
            network.encoder_extent,
            ("", &["student", "teacher"]),
        ),
        Kind::Published => {
            let [student, teacher] = PUBLISHED;
            let mut wants = of_network(recipe, &network, layout.extent(), (student, &["student"]));
            wants.extend(of_network(
                recipe,
                &network,
                network.teacher,
                (teacher, &["teacher"]),
            ));
            wants
        }
    }
}

/// Parameters and statistics of so much of a network, that have `prefix` before their names in the file and become those of `sides`.
fn of_network(
    recipe: &Recipe,
    network: &Network,
    extent: Extent,
    (prefix, sides): (&str, &[&str]),
) -> Vec<Want> {
    // Of a run with statistics a rank every rank gets the same.
    let ranks: Vec<String> = match recipe.training.teacher_statistics {
        TeacherStatistics::Global => vec![String::new()],
        TeacherStatistics::Local => (0..recipe.training.world)
            .map(|rank| format!("rank{}.", Rank(rank)))
            .collect(),
    };
    let parameters = network.layout.parameters[..extent.n_parameters]
        .iter()
        .map(|p| Want {
            from: format!("{prefix}{}", p.name),
            to: sides.iter().map(|side| format!("{side}.{}", p.name)).collect(),
        });
    let layers = network.layout.norms[..extent.n_norms].iter();
    let names =
        layers.flat_map(|layer| ["running_mean", "running_var"].map(|what| format!("{}.{what}", layer.name)));
    let statistics = names.map(|name| Want {
        from: format!("{prefix}{name}"),
        to: sides
            .iter()
            .flat_map(|side| ranks.iter().map(move |rank| format!("{rank}{side}")))
            .map(|side| format!("{side}.{name}"))
            .collect(),
    });
    parameters.chain(statistics).collect()
}
