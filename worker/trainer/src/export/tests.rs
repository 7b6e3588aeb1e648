//! What an export holds and says of itself, and where it is refused. That torchvision and timm take it, with equal features, is
//! tests/export.rs.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::symlink;

use m2t_common::recipe::Recipe;
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{Dtype as RecipeDtype, Stem, resolve};
use m2t_common::{Rank, Step};
use m2t_torch::collective::Solo;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tch::Device;
use tempfile::TempDir;

use super::*;
use crate::checkpoint::Belonging;
use crate::pth::Archive;
use crate::state::State;

const WORLD: u32 = 2;

fn recipe(settings: &str) -> Recipe {
    let toml = format!(
        "arch = \"resnet18\"\nchannels = 4\nhidden_dim = 8\nlow_dim = 4\npixels = 32\nworld = {WORLD}\nbatch = 8\nsteps = 9\n\
         warmup_epochs = 0\n{settings}"
    );
    let name = "small";
    resolve(Source::Experiment { name, toml: &toml }, &[], None).unwrap()
}

/// A run with one checkpoint, whose statistics differ by rank and side.
fn run(recipe: &Recipe) -> (TempDir, State) {
    let output = tempfile::tempdir().unwrap();
    let ranks = [Rank(0), Rank(1)];
    let mut state = State::initial(recipe, &ranks, Device::Cpu).unwrap();
    state.step = Step(7);
    for (i, (_, mut vectors)) in state.history.own().into_iter().enumerate() {
        for (j, vector) in vectors.iter_mut().enumerate() {
            let _ = vector.fill_((10 * (i + 1) + j) as f64);
        }
    }
    let belonging = Belonging {
        recipe: recipe.clone(),
        n_samples: 100,
    };
    let snapshot = state.snapshot(WORLD, &Solo::default()).unwrap();
    checkpoint::write(&output.path().join("checkpoints"), &snapshot.pieces(), &belonging).unwrap();
    (output, state)
}

fn order(run: &Path, to: &Path, side: Side) -> Export {
    Export {
        run: run.to_owned(),
        to: to.to_owned(),
        format: None,
        what: What::Encoder,
        side: Some(side),
        names: None,
        no_card: true,
    }
}

/// The whole state, with its card.
fn order_all(run: &Path, to: &Path) -> Export {
    Export {
        what: What::All,
        side: None,
        no_card: false,
        ..order(run, to, Side::Teacher)
    }
}

type Read = (BTreeMap<String, (Vec<usize>, Vec<f32>)>, HashMap<String, String>);

fn read(file: &Path) -> Read {
    let bytes = fs::read(file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let of = |view: &TensorView<'_>| match view.dtype() {
        Dtype::F32 => view
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        Dtype::I64 => vec![i64::from_le_bytes(view.data().try_into().unwrap()) as f32],
        other => panic!("{other} in an export"),
    };
    let tensors = tensors
        .iter()
        .map(|(name, view)| (name.clone(), (view.shape().to_vec(), of(view))));
    (tensors.collect(), header.metadata().clone().unwrap())
}

#[test]
fn the_encoder_alone_goes_out_and_says_where_it_is_from() {
    let recipe = recipe("");
    let (output, state) = run(&recipe);
    let file = output.path().join("encoder.safetensors");
    let exported = export(&order(output.path(), &file, Side::Teacher)).unwrap();
    let (tensors, about) = read(&file);
    // 20 convolutions, and 20 normalisations of weight, bias, mean, variance and count.
    assert_eq!(tensors.len(), 20 + 20 * 5);
    assert!(!tensors.keys().any(|name| name.starts_with("fc.")));
    assert_eq!(tensors["conv1.weight"].0, [4, 3, 7, 7]);
    let conv1 = Vec::<f32>::try_from(state.teacher.views[0].reshape([-1])).unwrap();
    assert_eq!(tensors["conv1.weight"].1, conv1);
    assert_eq!(tensors["layer1.0.bn1.num_batches_tracked"], (vec![], vec![7.0]));
    for (key, value) in [
        ("format", "pt"),
        ("arch", "resnet18"),
        ("side", "teacher"),
        ("names", "torchvision"),
        ("step", "7"),
        ("recipe", "small"),
        ("recipe_digest", &recipe.digest().0),
        ("pixels", "32"),
        ("mean", "[0.485, 0.456, 0.406]"),
        ("std", "[0.229, 0.224, 0.225]"),
    ] {
        assert_eq!(about[key], value, "{key}");
    }
    assert_eq!(
        about["state_digest"],
        state.snapshot(WORLD, &Solo::default()).unwrap().digest()
    );
    assert!(
        exported
            .summary
            .contains("teacher's resnet18 at step 7, 120 tensors"),
        "{exported:?}"
    );
}

#[test]
fn statistics_are_those_of_the_side_and_of_rank_0() {
    for (settings, side, mean, var) in [
        ("", Side::Student, 10.0, 11.0),
        ("", Side::Teacher, 12.0, 13.0),
        ("teacher_statistics = \"local\"", Side::Student, 10.0, 11.0),
        ("teacher_statistics = \"local\"", Side::Teacher, 12.0, 13.0),
    ] {
        let (output, _) = run(&recipe(settings));
        let file = output.path().join("encoder.safetensors");
        export(&order(output.path(), &file, side)).unwrap();
        let (tensors, _) = read(&file);
        let of = |what: &str| tensors[&format!("layer4.1.bn2.{what}")].clone();
        let expected = |value| (vec![32], vec![value; 32]);
        assert_eq!(
            (of("running_mean"), of("running_var")),
            (expected(mean), expected(var)),
            "{settings} {side:?}"
        );
    }
}

#[test]
fn float64_goes_out_as_float32() {
    let mut double = recipe("");
    double.training.dtype = RecipeDtype::Float64;
    let (output, state) = run(&double);
    let file = output.path().join("encoder.safetensors");
    export(&order(output.path(), &file, Side::Student)).unwrap();
    let expected = state.student.views[0].to_kind(tch::Kind::Float).reshape([-1]);
    assert_eq!(
        read(&file).0["conv1.weight"].1,
        Vec::<f32>::try_from(expected).unwrap()
    );
}

#[test]
fn an_older_file_is_replaced_and_nothing_else_is() {
    let (output, _) = run(&recipe(""));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let file = path("encoder.safetensors");
    fs::write(&file, "old").unwrap();
    export(&order(output.path(), &file, Side::Teacher)).unwrap();
    assert_eq!(read(&file).0.len(), 120);
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["encoder.safetensors"], "nothing is left beside it");

    fs::create_dir(path("folder")).unwrap();
    symlink(&file, path("link")).unwrap();
    let checkpoint = output.path().join("checkpoints/step-000000007");
    for (to, words) in [
        (path("missing/encoder.safetensors"), "make it first"),
        (path("folder"), "no plain file"),
        (path("link"), "no plain file"),
        (path(".."), "names no file"),
        (PathBuf::new(), "names no file"),
        (checkpoint.join("state.safetensors"), "write it elsewhere"),
        (PathBuf::from("/proc/encoder.safetensors"), "cannot write /proc/"),
    ] {
        let refused = export(&order(output.path(), &to, Side::Teacher)).unwrap_err();
        assert!(refused.to_string().contains(words), "{}: {refused}", to.display());
    }
    checkpoint::read(&checkpoint).expect("the checkpoint is as it was");
}

#[test]
fn what_is_no_sound_checkpoint_is_refused_and_the_older_file_stays() {
    let (output, _) = run(&recipe(""));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("encoder.safetensors");
    fs::write(&file, "old").unwrap();
    for nothing in [folder.path(), Path::new("/nowhere")] {
        let refused = export(&order(nothing, &file, Side::Teacher)).unwrap_err();
        assert!(
            refused.to_string().contains("holds no checkpoint; give"),
            "{refused}"
        );
    }
    let state = output.path().join("checkpoints/step-000000007/state.safetensors");
    fs::write(&state, "damaged").unwrap();
    let refused = anyhow::Error::from(export(&order(output.path(), &file, Side::Teacher)).unwrap_err());
    assert!(
        format!("{refused:#}").contains("step-000000007 is no checkpoint"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn a_network_that_the_library_lacks_is_written_and_it_says_so() {
    let mut other = recipe("stem = \"small\"").model;
    let narrow = misfit(&other, Names::Timm).unwrap();
    assert!(
        narrow.contains("timm's resnet18 cannot take this file: the recipe has channels = 4"),
        "{narrow}"
    );
    other.channels = 64;
    let small = misfit(&other, Names::Torchvision).unwrap();
    assert!(
        small.contains("cannot take this file as it is: the recipe has stem = \"small\""),
        "{small}"
    );
    other.stem = Stem::Imagenet;
    assert_eq!(misfit(&other, Names::Torchvision), None);
}

/// A `.pth`'s tensors by name.
fn read_pth(file: &Path) -> BTreeMap<String, NamedBytes> {
    let archive = Archive::open(file).unwrap();
    let entries = archive.root().entries().unwrap();
    entries
        .map(|(name, tensor)| (name.text().unwrap().to_owned(), tensor.tensor().unwrap()))
        .collect()
}

/// A safetensors file's.
fn read_safetensors(file: &Path) -> BTreeMap<String, NamedBytes> {
    let bytes = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let named = |(name, view): (String, TensorView<'_>)| (name, NamedBytes::from(view));
    tensors.into_iter().map(named).collect()
}

#[test]
fn the_ending_says_the_format_unless_a_word_does_and_both_hold_equal_tensors() {
    let (output, _) = run(&recipe(""));
    let path = |name: &str| output.path().join(name);
    let expected = {
        export(&order(output.path(), &path("a.safetensors"), Side::Teacher)).unwrap();
        read_safetensors(&path("a.safetensors"))
    };
    for (name, format) in [
        ("a.pth", None),
        ("a.pt", None),
        ("a.pth.tar", None),
        ("a", Some(Format::Pth)),
        ("b.safetensors", Some(Format::Pth)),
    ] {
        let order = order(output.path(), &path(name), Side::Teacher);
        export(&Export { format, ..order }).unwrap();
        assert!(read_pth(&path(name)) == expected, "{name}");
    }
    let refused = export(&order(output.path(), &path("a.onnx"), Side::Teacher)).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("a.onnx; end it in .safetensors or .pth"),
        "{refused}"
    );
}

#[test]
fn the_whole_state_goes_out_under_the_checkpoints_names() {
    for (settings, prefix) in [("", ""), ("teacher_statistics = \"local\"", "rank1.")] {
        let (output, state) = run(&recipe(settings));
        let snapshot = state.snapshot(WORLD, &Solo::default()).unwrap();
        for (name, read) in [
            ("all.pth", read_pth as fn(&Path) -> _),
            ("all.safetensors", read_safetensors),
        ] {
            let file = output.path().join(name);
            let exported = export(&order_all(output.path(), &file)).unwrap();
            let found = read(&file);
            assert!(found == snapshot.tensors, "{name}");
            for part in ["student.fc.7.bias", "teacher.fc.3.bias", "momentum.conv1.weight"] {
                assert!(found.contains_key(part), "{part}");
            }
            assert!(found.contains_key(&format!("{prefix}teacher.bn1.running_var")));
            assert!(
                exported
                    .summary
                    .contains("the whole state of a resnet18's run at step 7")
            );
        }
        let side = Export {
            side: Some(Side::Teacher),
            ..order_all(output.path(), &output.path().join("x.pth"))
        };
        let refused = export(&side).unwrap_err().to_string();
        assert!(refused.contains("leave out --side"), "{refused}");
    }
}

#[test]
fn the_card_tells_what_the_file_is_and_what_the_run_said_of_it() {
    let (output, state) = run(&recipe(""));
    let file = output.path().join("state.pth.tar");
    let card = output.path().join("state.md");
    let exported = export(&order_all(output.path(), &file)).unwrap();
    assert!(exported.summary.ends_with("state.md"), "{exported:?}");
    assert!(
        fs::read_to_string(&card)
            .unwrap()
            .contains("metrics were not beside")
    );
    fs::write(
        output.path().join("metrics.jsonl"),
        "{\"step\":6,\"loss\":3.5}\n{\"step\":7,\"loss\":3.25,\"learning_rate\":0.05}\n{\"step\":8,\"loss\":3.0}\n{\"st",
    )
    .unwrap();
    let evaluations = "{\"step\":3,\"encoder\":\"teacher\",\"method\":\"knn\",\"top1\":0.25}\nnonsense\n\
         {\"step\":7,\"encoder\":\"teacher\",\"method\":\"knn\",\"top1\":0.5,\"n_images\":372,\"new\":[]}\n";
    fs::write(output.path().join("evaluations.jsonl"), evaluations).unwrap();
    export(&order_all(output.path(), &file)).unwrap();
    let text = fs::read_to_string(&card).unwrap();
    let digest = state.snapshot(WORLD, &Solo::default()).unwrap().digest();
    for said in [
        "# state.pth.tar",
        "torch.load(\"state.pth.tar\", weights_only=True)",
        "| loss | 7 | 3.250000 |",
        "| teacher, knn, top-1 | 7 | 50.00 % of 372 images |",
        "| step | 7 of 9 steps |",
        "| epochs | 0.58, of 12 steps each |",
        "| batch | 8 images: 2 ranks of 4 |",
        &digest,
        "\"hidden_dim\": 8",
        "[0.485, 0.456, 0.406]",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("3.0000"), "of a later step");
}

#[test]
fn a_file_that_is_no_card_is_not_replaced_by_one() {
    let (output, _) = run(&recipe(""));
    let notes = output.path().join("encoder.md");
    fs::write(&notes, "my notes").unwrap();
    let file = output.path().join("encoder.pth");
    let with_card = Export {
        no_card: false,
        ..order(output.path(), &file, Side::Teacher)
    };
    let refused = export(&with_card).unwrap_err().to_string();
    assert!(
        refused.contains("encoder.md") && refused.contains("--no-card"),
        "{refused}"
    );
    assert!(!file.exists());
    export(&order(output.path(), &file, Side::Teacher)).unwrap();
    assert_eq!(fs::read_to_string(&notes).unwrap(), "my notes");
}
