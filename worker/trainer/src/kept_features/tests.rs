//! What is kept comes back to the bit, in other processes too; what is missing, cut or damaged is not there.

use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_data::Cache;

use super::*;

const WIDTH: usize = 5;

/// The features that are kept in `output` of a folder of eight empty pictures.
fn kept(output: &Path) -> Arc<KeptFeatures> {
    let data = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        fs::create_dir(data.path().join(class)).unwrap();
        for i in 0..4 {
            fs::write(data.path().join(format!("{class}/{i}.jpg")), b"").unwrap();
        }
    }
    let index = Index::open(data.path(), &Cache::none()).unwrap();
    let recipe = resolve(Source::Preset("8x_2080ti_100e"), &[], None).unwrap();
    Arc::new(KeptFeatures::of(
        output,
        (&recipe, &index),
        (WIDTH as i64, Kind::Float),
    ))
}

fn samples(numbers: &[u64]) -> Vec<Sample> {
    numbers.iter().copied().map(Sample).collect()
}

/// Features of samples as an epoch draws them, and their classes.
fn features(epoch: u64, samples: &[Sample]) -> (Tensor, Vec<u32>) {
    let number = |sample: &Sample, i| (epoch * 1000 + sample.0 * 10 + i) as f32 / 7.0;
    let numbers = samples
        .iter()
        .flat_map(|sample| (0..WIDTH as u64).map(move |i| number(sample, i)));
    let features = Tensor::from_slice(&numbers.collect::<Vec<_>>()).view([-1, WIDTH as i64]);
    (
        features,
        samples.iter().map(|sample| sample.0 as u32 % 2).collect(),
    )
}

fn keep(kept: &KeptFeatures, epoch: u64, numbers: &[u64]) {
    let samples = samples(numbers);
    let (features, classes) = features(epoch, &samples);
    kept.keep((epoch, &samples), &features, &classes);
}

/// Whether these are there; if so, they are right.
fn are_there(kept: &KeptFeatures, epoch: u64, numbers: &[u64]) -> bool {
    let samples = samples(numbers);
    kept.lock().looked = None;
    let Some(known) = kept.find(epoch, &samples) else {
        return false;
    };
    let (features, of) = features(epoch, &samples);
    let (found, found_classes) = kept.tensors(&known);
    assert_eq!((known.classes, found.size()), (of.clone(), features.size()));
    assert_eq!(bytes_of(&found), bytes_of(&features));
    assert_eq!(bytes_of(&found_classes), bytes_of(&classes(&of)));
    true
}

#[test]
fn what_is_kept_comes_back_in_every_process_and_in_any_order() {
    let output = tempfile::tempdir().unwrap();
    let (one, other) = (kept(output.path()), kept(output.path()));
    assert!(!are_there(&one, 0, &[1]), "nothing is there yet");
    keep(&one, 0, &[1, 4, 2]);
    keep(&other, 0, &[7, 0]);
    keep(&other, 1, &[4]);
    for process in [&one, &other, &kept(output.path())] {
        assert!(are_there(process, 0, &[7, 2, 4]));
        assert!(are_there(process, 1, &[4]));
        assert!(!are_there(process, 1, &[4, 7]), "all of them, or nothing");
        assert!(!are_there(process, 0, &[3]));
    }
    keep(&one, 0, &[3]);
    assert!(are_there(&other, 0, &[3, 1]), "what was added since is found");
}

#[test]
fn what_is_cut_or_damaged_is_not_there_and_the_rest_is() {
    let output = tempfile::tempdir().unwrap();
    let writer = kept(output.path());
    keep(&writer, 0, &[0, 1, 2]);
    let file = writer.folder.join("0.records");
    let whole = fs::read(&file).unwrap();
    let record = writer.record();
    assert_eq!(whole.len(), 3 * record);
    for at in 0..record {
        let mut bytes = whole.clone();
        bytes[record + at] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let reader = kept(output.path());
        assert!(
            !are_there(&reader, 0, &[0, 1]),
            "byte {at} of sample 1 is another"
        );
        assert!(are_there(&reader, 0, &[0, 2]));
        // Computed again, it is there again.
        keep(&reader, 0, &[1]);
        assert!(are_there(&reader, 0, &[0, 1, 2]));
        for entry in fs::read_dir(&writer.folder).unwrap() {
            let path = entry.unwrap().path();
            if path != file {
                fs::remove_file(path).unwrap();
            }
        }
    }
    fs::write(&file, &whole[..3 * record - 1]).unwrap();
    let reader = kept(output.path());
    assert!(are_there(&reader, 0, &[0, 1]) && !are_there(&reader, 0, &[2]));
}

#[test]
fn a_folder_that_cannot_be_written_keeps_nothing_and_ends_nothing() {
    let output = tempfile::tempdir().unwrap();
    fs::write(output.path().join(FOLDER), b"a file").unwrap();
    let kept = kept(output.path());
    keep(&kept, 0, &[1]);
    keep(&kept, 0, &[2]);
    assert!(!are_there(&kept, 0, &[1]));
}
