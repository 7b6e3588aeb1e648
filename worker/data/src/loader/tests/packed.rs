//! Golden batches: the same bits from a folder and from its pack, for any number of threads.

use super::*;
use crate::pack::make::{Pack, pack};

/// BLAKE3 of all that a loader hands out to its end.
fn digest(settings: LoaderSettings) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for batch in all(settings) {
        hasher.update(&batch.step.0.to_le_bytes());
        for rank in &batch.ranks {
            for Sample(sample) in &rank.samples {
                hasher.update(&sample.to_le_bytes());
            }
            for view in &rank.views {
                hasher.update(view.bytes());
            }
        }
        for replaced in &batch.replaced {
            let Replacement {
                sample,
                by,
                path,
                reason,
            } = replaced;
            hasher.update(format!("{sample:?} {by:?} {path:?} {reason}").as_bytes());
        }
    }
    hasher.finalize()
}

#[test]
fn a_pack_and_its_folder_make_equal_batches_on_any_number_of_threads() {
    let (dir, index) = data_set(65);
    damage(&index, 7);
    damage(&index, 40);
    let room = tempfile::tempdir().unwrap();
    let what = Pack {
        from: dir.path().to_owned(),
        to: room.path().join("pack"),
        shard_size: Some(1_000),
    };
    assert!(pack(&what, &|_, _| {}).unwrap().n_shards > 5);
    let packed = Index::read(&what.to).unwrap();
    let expected = digest(settings(index.clone()));
    for (name, index) in [("folder", index), ("pack", packed)] {
        for threads in [1, 2, 7] {
            let settings = LoaderSettings {
                threads,
                ..settings(index.clone())
            };
            assert_eq!(digest(settings), expected, "{name}, {threads} threads");
        }
    }
    let other = LoaderSettings {
        augment: m2t_common::recipe::Augment {
            flip_p: 0.0,
            ..Augment::published()
        },
        ..settings(Index::read(&what.to).unwrap())
    };
    assert_ne!(digest(other), expected, "the digest sees a flip");
}

#[test]
fn a_file_that_changed_since_it_was_indexed_ends_the_loader_and_is_named() {
    let (_dir, index) = data_set(65);
    let settings = settings(index.clone());
    let changed = settings.shards.samples(Step(0), Rank(1)).1[1];
    let path = index.locate(changed);
    std::fs::write(&path, "shorter").unwrap();
    let error = Loader::start(settings).unwrap().next().unwrap_err();
    assert!(matches!(error, LoadError::Changed { found: 7, .. }), "{error}");
    let said = error.to_string();
    assert!(
        said.contains(path.to_str().unwrap()) && said.contains("m2t data check"),
        "{said}"
    );
}

#[test]
fn a_shard_that_is_cut_while_it_is_used_is_an_error_and_no_crash() {
    let (dir, _) = data_set(65);
    let room = tempfile::tempdir().unwrap();
    let what = Pack {
        from: dir.path().to_owned(),
        to: room.path().join("pack"),
        shard_size: None,
    };
    pack(&what, &|_, _| {}).unwrap();
    let packed = Index::read(&what.to).unwrap();
    let shard = std::fs::OpenOptions::new()
        .write(true)
        .open(what.to.join("shard-00000.m2t"))
        .unwrap();
    shard.set_len(10).unwrap();
    let error = Loader::start(settings(packed)).unwrap().next().unwrap_err();
    let LoadError::Read { source, .. } = &error else {
        panic!("{error}");
    };
    assert!(
        source.to_string().contains("shard-00000.m2t ends too early"),
        "{source}"
    );
}
