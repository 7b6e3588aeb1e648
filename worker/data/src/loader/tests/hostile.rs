//! An epoch over the hostile pictures: the right ones are replaced, each told once, in the order of their places.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use m2t_common::shard::{Sample, Shards};
use m2t_common::{Rank, Step};

use super::settings;
use crate::fixtures::shared;
use crate::index::Index;
use crate::loader::{Loader, LoaderSettings};

#[test]
fn hostile_pictures_are_replaced_and_told_once_for_each_place() {
    let Some(folder) = shared("fixtures/hostile_images") else {
        return;
    };
    let fates = fs::read_to_string(folder.join("expected.json")).unwrap();
    let fates: BTreeMap<String, String> = serde_json::from_str(&fates).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("all")).unwrap();
    for name in fates.keys() {
        fs::copy(folder.join(name), dir.path().join("all").join(name)).unwrap();
    }
    let index = Arc::new(Index::read(dir.path()).unwrap());
    let n = index.n_samples() as usize;
    assert_eq!(n, fates.len());
    let decodes: Vec<bool> = index
        .entries()
        .map(|entry| match fates[entry.below.to_str().unwrap()].as_str() {
            "decodes to RGB" => true,
            "decodes or is replaced; never crashes" => {
                crate::decode(&fs::read(dir.path().join(entry.path())).unwrap()).is_ok()
            }
            _ => false,
        })
        .collect();
    assert!(decodes.contains(&true) && decodes.contains(&false));

    let shards = Shards {
        seed: 5,
        n_samples: n as u64,
        world: 1,
        batch_per_rank: u32::try_from(n).unwrap(),
    };
    let (_, samples) = shards.samples(Step(0), Rank(0));
    let expected: Vec<_> = samples
        .iter()
        .map(|sample| sample.0 as usize)
        .filter(|&sample| !decodes[sample])
        .map(|sample| {
            let by = (1..n).map(|offset| (sample + offset) % n).find(|&by| decodes[by]);
            (sample, by.unwrap(), index.entry(Sample(sample as u64)).path())
        })
        .collect();

    for threads in [1, 4] {
        let settings = LoaderSettings {
            shards,
            ranks: vec![Rank(0)],
            last_step: 1,
            threads,
            ..settings(Index::clone(&index))
        };
        let batch = Loader::start(settings).unwrap().next().unwrap();
        let told: Vec<_> = batch
            .replaced
            .iter()
            .map(|replaced| {
                (
                    replaced.sample.0 as usize,
                    replaced.by.0 as usize,
                    replaced.path.clone(),
                )
            })
            .collect();
        assert_eq!(told, expected, "{threads} threads");
        assert!(batch.replaced.iter().all(|replaced| !replaced.reason.is_empty()));
        assert!(
            batch.ranks[0]
                .views
                .iter()
                .flat_map(|views| views.f32s().unwrap())
                .all(|value| value.is_finite())
        );
    }
}
