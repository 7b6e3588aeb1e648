//! Images of which something is known already: no file of theirs is read, and the others are what they were.

use super::*;

/// What the tests know of a sample, as drawn in an epoch.
fn known_of(epoch: u64, samples: &[Sample]) -> KnownImages {
    KnownImages {
        features: samples
            .iter()
            .map(|sample| (10 * epoch + sample.0) as u8)
            .collect(),
        classes: samples.iter().map(|sample| sample.0 as u32).collect(),
    }
}

#[test]
fn what_is_known_is_handed_on_and_the_rest_is_made_as_ever() {
    let (_folder, index) = data_set(60);
    let settings = LoaderSettings {
        draws: Draws(1),
        ..settings(index)
    };
    let plain = all(settings.clone());
    // Of every second step, all that rank 1 has.
    let of_rank_1: Vec<Vec<Sample>> = plain
        .iter()
        .step_by(2)
        .map(|batch| batch.ranks[0].samples.clone())
        .collect();
    let batches = all(LoaderSettings {
        known: Known::by(move |epoch, samples| {
            of_rank_1
                .iter()
                .any(|known| known == samples)
                .then(|| known_of(epoch, samples))
        }),
        ..settings
    });
    for (i, (batch, plain)) in batches.iter().zip(&plain).enumerate() {
        for (rank, plain) in batch.ranks.iter().zip(&plain.ranks) {
            assert_eq!((rank.rank, &rank.samples), (plain.rank, &plain.samples));
            if i % 2 == 0 && rank.rank == Rank(1) {
                assert_eq!(rank.known.as_ref(), Some(&known_of(0, &rank.samples)), "step {i}");
            } else {
                assert_eq!((&rank.known, &rank.views), (&None, &plain.views), "step {i}");
            }
        }
    }
}

#[test]
fn no_file_is_read_of_what_is_known() {
    let (_folder, index) = data_set(60);
    let settings = LoaderSettings {
        known: Known::by(|epoch, samples| Some(known_of(epoch, samples))),
        ..settings(index)
    };
    let files = Files::read_by(|path, _| panic!("{} is read", path.display()));
    let mut loader = Loader::start_on(settings, files).unwrap();
    for _ in 0..10 {
        let batch = loader.next().unwrap();
        assert!(batch.ranks.iter().all(|rank| rank.known.is_some()));
    }
    assert!(matches!(loader.next(), Err(LoadError::Ended)));
}

#[test]
fn epochs_that_draw_nothing_of_their_own_see_the_views_of_those_before() {
    let (_folder, index) = data_set(60);
    let settings = settings(index);
    let of = |draws, first: u64| {
        let settings = LoaderSettings {
            draws: Draws(draws),
            first_step: Step(first),
            last_step: first + 5,
            ranks: (0..4).map(Rank).collect(),
            ..settings.clone()
        };
        let mut views = HashMap::new();
        for batch in all(settings) {
            for rank in batch.ranks {
                let size = rank.views[0].bytes().len() / rank.samples.len();
                for (sample, view) in rank.samples.iter().zip(rank.views[0].bytes().chunks(size)) {
                    views.insert(*sample, view.to_vec());
                }
            }
        }
        views
    };
    let (first, second) = (of(0, 0), of(0, 5));
    assert_eq!((first.len(), second.len()), (60, 60));
    assert_ne!(first, second, "each epoch draws its own");
    assert_eq!(of(1, 5), first);
    assert_eq!((of(2, 0), of(2, 5), of(2, 10)), (first.clone(), second, first));
}
