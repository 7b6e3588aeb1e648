//! What is imported, what is refused and named, and that what was exported comes back. Files that PyTorch, torchvision and timm wrote
//! are in tests/import.rs.

use std::fs::File;

use half::{bf16, f16};
use m2t_common::recipe::written::Source as From;
use safetensors::Dtype;
use tempfile::TempDir;

use super::*;
use crate::export::{self, Export, Side, What};
use crate::pth;
use crate::state::snapshot::NamedBytes;

const SMALL: &str = "arch = \"resnet18\"\nchannels = 4\nhidden_dim = 8\nlow_dim = 4\npixels = 32\nworld = 2\nbatch = 8\nsteps = 9\n\
                     warmup_epochs = 0\n";

fn small(settings: &str) -> Recipe {
    let toml = format!("{SMALL}{settings}");
    resolve(
        From::Experiment {
            name: "small",
            toml: &toml,
        },
        &[],
        None,
    )
    .unwrap()
}

/// A run's folder with a checkpoint at step 7 whose tensors are all different.
fn run(recipe: &Recipe) -> (TempDir, Snapshot) {
    let output = tempfile::tempdir().unwrap();
    let mut snapshot = drawn(recipe).unwrap();
    snapshot.step = Step(7);
    for (i, tensor) in snapshot.tensors.values_mut().enumerate() {
        let values = (0..tensor.shape.iter().product()).map(|k: usize| (i * 1000 + k) as f32 / 8192.0);
        tensor.bytes = match tensor.dtype {
            Dtype::F64 => values.flat_map(|v| f64::from(v).to_le_bytes()).collect(),
            _ => values.flat_map(f32::to_le_bytes).collect(),
        };
    }
    let belonging = Belonging {
        recipe: recipe.clone(),
        n_samples: 100,
    };
    checkpoint::write(&output.path().join("checkpoints"), &snapshot.pieces(), &belonging).unwrap();
    (output, snapshot)
}

fn order(file: &Path, to: &Path) -> Import {
    Import {
        file: file.to_owned(),
        to: to.to_owned(),
        experiment: None,
        sets: ["hidden_dim=8", "low_dim=4", "pixels=32", "world=2", "batch=8"]
            .map(str::to_owned)
            .into(),
        world: None,
        data: None,
        key: None,
        prefix: None,
        allow_missing: false,
        allow_extra: false,
    }
}

fn exported(run: &Path, to: &Path, what: What) {
    let order = Export {
        run: run.to_owned(),
        to: to.to_owned(),
        format: None,
        what,
        side: (what == What::Encoder).then_some(Side::Teacher),
        names: None,
        no_card: true,
    };
    export::export(&order).unwrap();
}

fn state(run: &Path) -> Snapshot {
    checkpoint::read(&checkpoint::find(run)).unwrap().1
}

/// A file of these tensors.
fn saved(folder: &TempDir, tensors: impl IntoIterator<Item = (String, NamedBytes)>) -> PathBuf {
    let path = folder.path().join("saved.pth");
    let tensors: Vec<_> = tensors.into_iter().collect();
    pth::write(File::create(&path).unwrap(), "archive", &tensors, "{}").unwrap();
    path
}

fn refusal(order: &Import) -> String {
    let said = format!("{:#}", anyhow::Error::from(import(order).unwrap_err()));
    assert!(!order.to.join("checkpoints").exists(), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn an_encoder_comes_back_bit_for_bit_in_student_and_teacher_and_what_it_has_not_is_said() {
    for settings in ["", "teacher_statistics = \"local\"\n"] {
        let (output, before) = run(&small(settings));
        let path = |name: &str| output.path().join(name);
        for ending in ["pth", "safetensors"] {
            let first = path(&format!("first.{ending}"));
            exported(output.path(), &first, What::Encoder);
            let to = path(&format!("imported-{ending}"));
            let said = import(&order(&first, &to)).unwrap().summary.join("\n");
            let (after, fresh) = (state(&to), drawn(&small("")).unwrap());
            assert_eq!(after.step, Step(0));
            let history = if settings.is_empty() { "" } else { "rank0." };
            for (name, tensor) in &after.tensors {
                let (side, name) = name.split_once('.').unwrap();
                let of_teacher = match name {
                    _ if side == "momentum" || name.starts_with("fc.") => None,
                    _ if name.contains(".running_") => {
                        before.tensors.get(&format!("{history}teacher.{name}"))
                    }
                    _ => before.tensors.get(&format!("teacher.{name}")),
                };
                let expected = of_teacher.unwrap_or_else(|| &fresh.tensors[&format!("{side}.{name}")]);
                assert!(tensor == expected, "{side}.{name}");
            }
            for words in [
                "heads are drawn from seed 0",
                "momentum is zero",
                "20 num_batches_tracked",
                "--data says it",
            ] {
                assert!(said.contains(words), "{words}: {said}");
            }
            // Once more, and now nothing changes, in whatever the file says of itself either.
            let second = path(&format!("second.{ending}"));
            exported(&to, &second, What::Encoder);
            let again = path(&format!("again-{ending}"));
            import(&order(&second, &again)).unwrap();
            let third = path(&format!("third.{ending}"));
            exported(&again, &third, What::Encoder);
            assert!(fs::read(&second).unwrap() == fs::read(&third).unwrap());
            assert_eq!(state(&to).digest(), state(&again).digest());
        }
    }
}

#[test]
fn a_whole_state_comes_back_with_its_recipe_step_and_size_of_the_data_set() {
    for settings in ["", "dtype = \"float64\"\n", "teacher_statistics = \"local\"\n"] {
        let recipe = small(settings);
        let (output, before) = run(&recipe);
        for ending in ["pth", "safetensors"] {
            let file = output.path().join(format!("all.{ending}"));
            exported(output.path(), &file, What::All);
            let to = output.path().join(format!("moved-{ending}"));
            let bare = Import {
                sets: Vec::new(),
                ..order(&file, &to)
            };
            let imported = import(&bare).unwrap();
            assert!(imported.checkpoint.ends_with("step-000000007"), "{imported:?}");
            let (manifest, after) = checkpoint::read(&imported.checkpoint).unwrap();
            assert_eq!((after.digest(), manifest.n_samples), (before.digest(), 100));
            assert_eq!(manifest.recipe, recipe);
            let said = imported.summary.join("\n");
            assert!(
                said.contains("with the recipe of the run it is from") && said.contains("at step 7"),
                "{said}"
            );
        }
    }
}

#[test]
fn a_whole_state_under_another_recipe_begins_at_step_0_and_it_says_so() {
    let (output, before) = run(&small(""));
    let file = output.path().join("all.pth");
    exported(output.path(), &file, What::All);
    let to = output.path().join("new");
    let imported = import(&order(&file, &to)).unwrap();
    let said = imported.summary.join("\n");
    assert!(
        said.contains("with another recipe than the run it is from") && said.contains("at step 0"),
        "{said}"
    );
    let after = state(&to);
    assert_eq!((after.step, &after.tensors), (Step(0), &before.tensors));
}

#[test]
fn the_published_implementations_networks_are_each_taken_with_their_heads_and_statistics() {
    let recipe = small("");
    let (_output, before) = run(&recipe);
    let folder = tempfile::tempdir().unwrap();
    for wrapped in ["module.", ""] {
        let published = |(name, tensor): (&String, &NamedBytes)| {
            let (side, name) = name.split_once('.').unwrap();
            (side != "momentum").then(|| (format!("{wrapped}{side}_encoder.{name}"), tensor.clone()))
        };
        let count = NamedBytes {
            dtype: Dtype::I64,
            shape: Vec::new(),
            bytes: vec![0; 8],
        };
        let counts = [(format!("{wrapped}teacher_encoder.bn1.num_batches_tracked"), count)];
        let file = saved(&folder, before.tensors.iter().filter_map(published).chain(counts));
        let to = folder.path().join(format!("imported{wrapped}"));
        // Network and heads are told by the shapes.
        let sets = ["pixels=32", "world=2", "batch=8"].map(str::to_owned).into();
        let said = import(&Import {
            sets,
            ..order(&file, &to)
        })
        .unwrap()
        .summary
        .join("\n");
        for (name, tensor) in state(&to).tensors {
            if name.starts_with("momentum.") {
                assert!(tensor.bytes.iter().all(|&byte| byte == 0), "{name}");
            } else {
                assert!(tensor == before.tensors[&name], "{name}");
            }
        }
        assert!(
            said.contains("student and teacher of the published implementation"),
            "{said}"
        );
        assert!(said.contains("1 num_batches_tracked"), "{said}");
    }
}

/// The teacher's encoder, by torchvision's names.
fn encoder(recipe: &Recipe) -> Vec<(String, NamedBytes)> {
    let (output, _) = run(recipe);
    let file = output.path().join("encoder.pth");
    exported(output.path(), &file, What::Encoder);
    let archive = pth::Archive::open(&file).unwrap();
    let entries = archive.root().entries().unwrap();
    entries
        .map(|(name, tensor)| (name.text().unwrap().to_owned(), tensor.tensor().unwrap()))
        .collect()
}

#[test]
fn what_is_missing_unknown_or_of_another_shape_is_named_with_its_shape() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("new");
    let whole = encoder(&small(""));
    let one = |shape: &[usize]| NamedBytes {
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        bytes: vec![0; 4 * shape.iter().product::<usize>()],
    };
    let without = |name: &'static str| whole.iter().filter(move |(found, _)| found != name).cloned();

    let lacking = saved(&folder, without("bn1.bias"));
    let said = refusal(&order(&lacking, &to));
    assert!(
        said.contains("it lacks 1 tensors of the network: bn1.bias [4]; --allow-missing"),
        "{said}"
    );

    let with = |name: &'static str, tensor: NamedBytes| {
        without(name)
            .chain([(name.to_owned(), tensor)])
            .collect::<Vec<_>>()
    };
    let extra = saved(&folder, with("projector.0.weight", one(&[3, 4])));
    let said = refusal(&order(&extra, &to));
    assert!(
        said.contains("projector.0.weight [3, 4]; --allow-extra"),
        "{said}"
    );

    let other = saved(&folder, with("layer1.0.conv1.weight", one(&[4, 5, 3, 3])));
    let said = refusal(&order(&other, &to));
    assert!(
        said.contains("layer1.0.conv1.weight [4, 5, 3, 3] and not [4, 4, 3, 3]"),
        "{said}"
    );

    let count = NamedBytes {
        dtype: Dtype::I64,
        shape: vec![4],
        bytes: vec![0; 32],
    };
    let said = refusal(&order(&saved(&folder, with("bn1.bias", count)), &to));
    assert!(said.contains("bn1.bias holds I64"), "{said}");
    let mut nan = one(&[4]);
    nan.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let said = refusal(&order(&saved(&folder, with("bn1.bias", nan)), &to));
    assert!(
        said.contains("bn1.bias holds values that are not finite"),
        "{said}"
    );

    let unlike = saved(&folder, [("blocks.0.weight".to_owned(), one(&[2]))]);
    let said = refusal(&order(&unlike, &to));
    assert!(
        said.contains("no conv1.weight") && said.contains("blocks.0.weight"),
        "{said}"
    );

    let both = saved(
        &folder,
        without("bn1.bias").chain([("more".to_owned(), one(&[2]))]),
    );
    let allowed = Import {
        allow_missing: true,
        allow_extra: true,
        ..order(&both, &to)
    };
    let said = import(&allowed).unwrap().summary.join("\n");
    assert!(
        said.contains("the file lacks them: bn1.bias [4]") && said.contains("more [2]"),
        "{said}"
    );
    assert_eq!(state(&to).tensors["teacher.bn1.bias"], one(&[4]));
}

#[test]
fn a_classifier_is_left_aside_by_name_and_a_part_of_a_file_is_taken_by_its_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let whole = encoder(&small(""));
    let classifier = NamedBytes {
        dtype: Dtype::F32,
        shape: vec![2, 32],
        bytes: vec![0; 256],
    };
    let with = whole
        .iter()
        .cloned()
        .chain([("fc.weight".to_owned(), classifier.clone())]);
    let said = import(&order(&saved(&folder, with), &folder.path().join("a")))
        .unwrap()
        .summary
        .join("\n");
    assert!(
        said.contains("nothing here needs them: fc.weight [2, 32]"),
        "{said}"
    );

    let queue = [("module.queue".to_owned(), classifier)];
    let parts = whole
        .iter()
        .map(|(name, tensor)| (format!("module.encoder_q.{name}"), tensor.clone()));
    let file = saved(&folder, parts.chain(queue));
    let part = |prefix: &str, to: &str| Import {
        prefix: Some(prefix.to_owned()),
        ..order(&file, &folder.path().join(to))
    };
    let said = import(&part("module.encoder_q.", "b"))
        .unwrap()
        .summary
        .join("\n");
    assert!(said.contains("1 tensors without module.encoder_q."), "{said}");
    assert_eq!(
        state(&folder.path().join("a")).digest(),
        state(&folder.path().join("b")).digest()
    );
    let said = refusal(&part("encoder_k.", "c"));
    assert!(
        said.contains("begins with encoder_k.; the first is module.encoder_q."),
        "{said}"
    );
}

#[test]
fn other_float_types_become_the_recipes() {
    let values = [0.0f32, 1.5, -2.25, 0.375];
    let single: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    for (dtype, bytes) in [
        (
            Dtype::F64,
            values
                .iter()
                .flat_map(|&v| f64::from(v).to_le_bytes())
                .collect::<Vec<u8>>(),
        ),
        (
            Dtype::F16,
            values
                .iter()
                .flat_map(|&v| f16::from_f32(v).to_le_bytes())
                .collect(),
        ),
        (
            Dtype::BF16,
            values
                .iter()
                .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
                .collect(),
        ),
    ] {
        let tensor = NamedBytes {
            dtype,
            shape: vec![4],
            bytes,
        };
        assert_eq!(
            values::converted(&tensor, Dtype::F32).unwrap().bytes,
            single,
            "{dtype}"
        );
    }
}

#[test]
fn a_folder_that_holds_a_run_or_is_none_stays_as_it_is_and_other_files_are_refused() {
    let (output, _) = run(&small(""));
    let path = |name: &str| output.path().join(name);
    exported(output.path(), &path("encoder.pth"), What::Encoder);
    let before = state(output.path()).digest();
    fs::write(path("a-file"), "mine").unwrap();
    for to in [output.path(), &path("a-file")] {
        let said = import(&order(&path("encoder.pth"), to)).unwrap_err().to_string();
        assert!(said.contains("holds a run already; name a new folder"), "{said}");
    }
    assert_eq!(state(output.path()).digest(), before);
    for (file, words) in [
        ("a-file", "a-file is neither a file of torch.save nor safetensors"),
        ("missing", "cannot read"),
    ] {
        let said = refusal(&order(&path(file), &path("new")));
        assert!(said.contains(words), "{said}");
    }
    let key = Import {
        key: Some("net".to_owned()),
        ..order(&path("encoder.pth"), &path("new"))
    };
    let said = refusal(&key);
    assert!(
        said.contains("no state dict under net") && said.contains("conv1.weight"),
        "{said}"
    );
}

#[test]
fn a_card_says_from_which_file_the_weights_were_imported() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("run");
    let file = saved(&folder, encoder(&small("")));
    import(&order(&file, &to)).unwrap();
    let digest = blake3::hash(&fs::read(&file).unwrap()).to_hex();
    let card = Export {
        run: to.clone(),
        to: folder.path().join("out.pth"),
        format: None,
        what: What::Encoder,
        side: None,
        names: None,
        no_card: false,
    };
    export::export(&card).unwrap();
    let text = fs::read_to_string(folder.path().join("out.md")).unwrap();
    let said =
        format!("from weights that were imported: an encoder alone, out of `saved.pth` (BLAKE3 `{digest}`)");
    assert!(
        text.contains(&said) && !text.contains("pretrained without labels"),
        "{text}"
    );
    let record = Record::of(&to).unwrap();
    assert!(record.summary[0].contains("heads are drawn"), "{record:?}");
}
