//! What holds in any history: any sequence of assignments, lines, ends, lost connections and waits.

use proptest::prelude::*;

use super::*;

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// The coordinator assigns work of a generation.
    Assigned(u64, u8),
    /// The newest process of a device says something of a generation.
    Said(u32, u64, u8),
    /// It is gone.
    Exited(u32),
    /// It closes its link.
    Closed(u32),
    Reconnected,
    /// Time passes, in milliseconds.
    Waited(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..6u64, 0..5u8).prop_map(|(generation, work)| Happening::Assigned(generation, work)),
        6 => (0..2u32, 0..6u64, 0..6u8).prop_map(|(device, generation, news)| Happening::Said(device, generation, news)),
        2 => (0..2u32).prop_map(Happening::Exited),
        1 => (0..2u32).prop_map(Happening::Closed),
        1 => Just(Happening::Reconnected),
        2 => (0..5_000u64).prop_map(Happening::Waited),
    ]
}

/// What the world outside the supervisor knows of a device.
#[derive(Default)]
struct World {
    living: Option<TrainerKey>,
    last_serial: u64,
    started: u64,
}

impl World {
    /// Carries an effect out and says what is wrong with it.
    fn carry_out(&mut self, effect: &Effect) -> Result<(), String> {
        let started = |line: &ToTrainer| match line {
            ToTrainer::Start(start) => Some(start.generation.0),
            _ => None,
        };
        let starts = match effect {
            Effect::Spawn(key, first) => {
                if let Some(living) = self.living {
                    return Err(format!("{key:?} is spawned while {living:?} lives"));
                }
                if key.serial <= self.last_serial {
                    return Err(format!("{key:?} comes after {}", self.last_serial));
                }
                (self.living, self.last_serial) = (Some(*key), key.serial);
                started(first)
            }
            Effect::Tell(key, line) => {
                if self.living != Some(*key) {
                    return Err(format!("{key:?} is told something and does not live"));
                }
                started(line)
            }
            _ => None,
        };
        match starts {
            Some(generation) if generation <= self.started => Err(format!(
                "generation {generation} is started after {}",
                self.started
            )),
            Some(generation) => {
                self.started = generation;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn input(happening: &Happening, worlds: &[World; 2]) -> Option<Input> {
    let living = |device: u32| worlds[device as usize].living;
    Some(match *happening {
        Happening::Assigned(generation, work) => Input::Message(match work {
            0 => idle(generation),
            1 => stand_by(generation),
            2 => hold(generation),
            3 => train(generation),
            _ => assign(generation, Work::Train(without_a1())),
        }),
        Happening::Said(device, generation, news) => {
            let news = match news {
                0 => News::Warm,
                1 => held(3),
                2 => stepped(4),
                3 => News::Stopped { step: Step(4) },
                4 => failed("it said so"),
                _ => News::Ready { step: Step(3) },
            };
            let generation = Generation(generation.min(worlds[device as usize].started));
            Input::Trainer(living(device)?, TrainerEvent::Said(Said { generation, news }))
        }
        Happening::Exited(device) => {
            let how = "it fell over".to_owned();
            let manner = Manner::Plain;
            Input::Trainer(living(device)?, TrainerEvent::Exited { how, manner })
        }
        Happening::Closed(device) => Input::Trainer(living(device)?, TrainerEvent::LinkClosed),
        Happening::Reconnected => Input::Disconnected,
        Happening::Waited(_) => Input::Tick,
    })
}

fn run(happenings: &[Happening]) -> Result<(), String> {
    let mut bench = Bench::admitted();
    let mut worlds = [World::default(), World::default()];
    for happening in happenings {
        let Some(input) = input(happening, &worlds) else {
            continue;
        };
        match happening {
            Happening::Exited(device) => worlds[*device as usize].living = None,
            Happening::Waited(millis) => bench.now = bench.now.after(Duration::from_millis(*millis)),
            _ => {}
        }
        let mut effects = bench.give(input);
        if matches!(happening, Happening::Reconnected) {
            effects.extend(bench.reconnect());
        }
        for effect in &effects {
            if let Effect::Spawn(key, _) | Effect::Tell(key, _) = effect {
                worlds[key.device.0 as usize].carry_out(effect)?;
            }
        }
        for (world, seat) in worlds.iter().zip(bench.supervisor.seats.values()) {
            if seat.key() != world.living {
                return Err(format!("{:?} lives, {:?} is known of", world.living, seat.key()));
            }
            // A deadline in the past would make the driver tick for ever.
            let is_past = seat.deadline().is_some_and(|at| at <= bench.now);
            if matches!(happening, Happening::Waited(_)) && is_past {
                return Err(format!("a tick at {} left a deadline behind", bench.now));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_device_never_has_two_processes_nor_an_older_generation(
        happenings in proptest::collection::vec(happening(), 0..60)
    ) {
        prop_assert_eq!(run(&happenings), Ok(()));
    }
}
