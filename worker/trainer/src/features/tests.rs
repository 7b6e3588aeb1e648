//! Features of made photographs: those of the network, in the order of the index, the same in every format.

use std::fs;

use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_data::loader::center_views;
use m2t_data::synth::{Synth, generate};
use m2t_torch::collective::Solo;
use safetensors::SafeTensors;
use tch::{Device, Tensor};
use tempfile::TempDir;

use super::*;
use crate::checkpoint::Belonging;
use crate::model::norm::FrozenNorm;
use crate::state::State;

/// Photographs of 3 classes, 23 each to train on: more than a chunk of images. And a run with a checkpoint.
fn stage() -> (TempDir, State) {
    let folder = tempfile::tempdir().unwrap();
    let photographs = Synth {
        classes: 3,
        train_per_class: 23,
        val_per_class: 1,
        pixels: 40,
        ..Synth::new(folder.path().join("photographs"))
    };
    generate(&photographs).unwrap();
    let toml = "arch = \"resnet18\"\nstem = \"small\"\nchannels = 4\nhidden_dim = 8\nlow_dim = 4\npixels = 32\nworld = 1\n\
                batch = 8\nsteps = 9\nwarmup_epochs = 0\n";
    let recipe = resolve(Source::Experiment { name: "small", toml }, &[], None).unwrap();
    let mut state = State::initial(&recipe, &[Rank(0)], Device::Cpu).unwrap();
    state.step = Step(5);
    // Not what the student has.
    let _ = state.history.own()[0].1[3].fill_(2.0);
    let snapshot = state.snapshot(1, &Solo::default()).unwrap();
    let belonging = Belonging {
        recipe,
        n_samples: 69,
    };
    checkpoint::write(
        &folder.path().join("run/checkpoints"),
        &snapshot.pieces(),
        &belonging,
    )
    .unwrap();
    (folder, state)
}

fn question(folder: &TempDir, to: &str, side: Side) -> Question {
    Question {
        run: folder.path().join("run"),
        data: folder.path().join("photographs/train"),
        to: folder.path().join(to),
        side,
        threads: 1,
    }
}

/// Of one image alone, by the network itself.
fn own(folder: &TempDir, state: &State, side: Side, i: u64) -> Vec<f32> {
    let index = Index::read(&folder.path().join("photographs/train")).unwrap();
    let views = center_views(&index, i..i + 1, 32, 1).unwrap();
    let images = Tensor::from_slice(&views).view([1, 3, 32, 32]);
    let history = state.history.of(Rank(0));
    let (weights, statistics) = match side {
        Side::Student => (&state.student.views, &history.student),
        Side::Teacher => (&state.teacher.views, &history.teacher),
    };
    let mut norm = FrozenNorm { statistics };
    let (manifest, _) = checkpoint::read(&checkpoint::find(&folder.path().join("run"))).unwrap();
    let network = Network::new(&manifest.recipe.model);
    let features = tch::no_grad(|| network.features(&images, weights, &mut norm));
    Vec::try_from(features.reshape([-1])).unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks();
    values.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

#[test]
fn each_row_is_an_image_of_the_index_with_its_label_and_name_in_every_format() {
    let (folder, state) = stage();
    let labels: Vec<u8> = (0..3i64)
        .flat_map(|class| [class.to_le_bytes(); 23])
        .flatten()
        .collect();
    for side in [Side::Student, Side::Teacher] {
        let said = write(&question(&folder, "a.safetensors", side)).unwrap();
        assert!(
            said.contains("features [69, 32]") && said.contains("step 5"),
            "{said}"
        );
        let file = fs::read(folder.path().join("a.safetensors")).unwrap();
        let table = SafeTensors::deserialize(&file).unwrap();
        let features = table.tensor("features").unwrap();
        assert_eq!(
            (features.shape(), features.dtype()),
            ([69, 32].as_slice(), safetensors::Dtype::F32)
        );
        assert_eq!(table.tensor("labels").unwrap().data(), labels);
        let rows = floats(features.data());
        for i in [0, 22, 23, 63, 64, 68] {
            let (row, own) = (&rows[32 * i..32 * (i + 1)], own(&folder, &state, side, i as u64));
            let scale = own.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            assert!(scale > 1e-3, "features that say nothing");
            assert!(
                row.iter().zip(&own).all(|(a, b)| (a - b).abs() <= 1e-5 * scale),
                "{side:?}, image {i}"
            );
        }
        let (_, header) = SafeTensors::read_metadata(&file).unwrap();
        let about = header.metadata().clone().unwrap();
        let names: Vec<String> = serde_json::from_str(&about["files"]).unwrap();
        let index = Index::read(&folder.path().join("photographs/train")).unwrap();
        let expected: Vec<String> = index
            .entries()
            .map(|entry| entry.path().display().to_string())
            .collect();
        assert_eq!(names, expected);
        let classes: Vec<String> = serde_json::from_str(&about["classes"]).unwrap();
        assert_eq!(classes, index.classes().collect::<Vec<_>>());
        assert_eq!(
            (about["side"].as_str(), about["step"].as_str()),
            (side.name(), "5")
        );
        assert_eq!(about["data_fingerprint"], index.facts().fingerprint);

        write(&question(&folder, "b.npy", side)).unwrap();
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        let npy = read("b.npy");
        assert!(npy.starts_with(
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (69, 32, ), }"
        ));
        assert_eq!(npy[128..], *features.data());
        assert_eq!(read("b.labels.npy")[128..], labels);
        assert_eq!(
            String::from_utf8(read("b.files.txt"))
                .unwrap()
                .lines()
                .collect::<Vec<_>>(),
            names
        );
        assert_eq!(
            String::from_utf8(read("b.classes.txt"))
                .unwrap()
                .lines()
                .collect::<Vec<_>>(),
            classes
        );
    }
}

#[test]
fn what_cannot_be_done_is_said_and_an_older_file_stays() {
    let (folder, _) = stage();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.npy"), "old").unwrap();
    let broken = path("photographs/train").join("zzz");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("1.jpg"), "no picture").unwrap();
    for (to, words) in [
        ("a.npy", "zzz/1.jpg"),
        ("a.csv", "end it in .safetensors or .npy"),
        ("missing/a.npy", "make it first"),
    ] {
        let said = format!("{:#}", write(&question(&folder, to, Side::Teacher)).unwrap_err());
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(fs::read_to_string(path("a.npy")).unwrap(), "old");
    let nothing = Question {
        run: path("nowhere"),
        ..question(&folder, "b.npy", Side::Teacher)
    };
    assert!(format!("{:#}", write(&nothing).unwrap_err()).contains("nowhere"));
}
