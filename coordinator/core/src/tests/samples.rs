//! The full ledger: which samples each rank consumed, written in order and once.

use m2t_common::Rank;
use m2t_common::recipe::LedgerDetail;
use m2t_common::report::RankSamples;
use m2t_common::shard::Sample;

use super::*;

/// Machines a and b train, each device with the rank of its place; the full ledger is kept.
fn training() -> Story {
    let mut settings = settings(1);
    settings.recipe.run.ledger = LedgerDetail::Full;
    let mut story = Story {
        core: Core::new(settings, vec![]).unwrap(),
        now: 1_000,
        journal: vec![],
        last: vec![],
    };
    story.input(Input::Started(DiskFacts::default()));
    story.join(1, "a");
    story.join(2, "b");
    story.meet();
    story
}

fn told(step: u64, rank: u32) -> News {
    News::Stepped(StepReport {
        samples: vec![RankSamples {
            rank: Rank(rank),
            samples: vec![Sample(step), Sample(u64::from(rank))],
        }],
        ..report(step)
    })
}

#[test]
fn a_step_is_written_when_every_rank_is_told_of_also_where_it_is_committed_before() {
    let mut story = training();
    story.news(1, 0, told(1, 0));
    story.news(1, 0, News::Checkpointed(checkpoint(1)));
    assert_eq!(story.effects(), ["metrics 1", "verify 1"]);
    story.news(1, 1, told(1, 1));
    story.news(2, 0, told(1, 2));
    story.news(2, 1, told(1, 3));
    assert_eq!(story.effects(), ["samples 1 of 4 ranks"]);
    let Some(Effect::Samples(line)) = story.last.first() else {
        panic!("{:?}", story.last)
    };
    assert_eq!(
        (line.epoch, &line.ranks[2]),
        (0, &Some(vec![Sample(1), Sample(2)]))
    );
    story.news(2, 1, told(1, 3));
    assert!(
        story.effects().is_empty(),
        "what is repeated is not written again"
    );
}

#[test]
fn what_a_lost_device_took_along_stays_empty_and_what_is_done_again_is_told_again() {
    let mut story = training();
    for (stream, device, rank) in [(1, 0, 0), (1, 1, 1), (2, 0, 2)] {
        story.news(stream, device, told(1, rank));
    }
    story.news(1, 0, told(2, 0));
    story.fail(2, 1, "killed");
    story.hold(&[(1, 0), (1, 1)], 1);
    story.hold(&[(2, 0)], 1);
    let effects = story.effects();
    // The donor is at step 2, by its report: it holds at the step it committed.
    let lines: Vec<&String> = effects
        .iter()
        .filter(|effect| effect.starts_with("samples"))
        .collect();
    assert_eq!(lines, ["samples 1 of 3 ranks"], "{effects:?}");
    let order = |what: &str| effects.iter().position(|effect| effect.starts_with(what));
    assert!(order("metrics 1") < order("samples 1") && order("samples 1") < order("cut back"));
}
