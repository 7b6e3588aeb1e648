//! `m2t metrics`: hands the numbers of runs to where people look for them, as TensorBoard event files or as CSV.
//!
//! Nothing is written into the run's own folder. What is written is a copy, and made anew whole by the same command; with `--follow`
//! it grows with the run.

mod csv;
mod tensorboard;

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::record::{self, Clock, Evaluation, Events, Lines, METRICS, Notes, Order, StepLine};
use csv::Csv;
use tensorboard::EventFile;

/// Of which runs, and where to.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = super::help::METRICS)]
pub struct Options {
    /// Output folders of runs.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    to: To,
    /// Go on as the runs go on, until all have ended.
    #[arg(long)]
    follow: bool,
}

#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
struct To {
    /// Write an event file for each run to DIR/NAME, for `tensorboard --logdir DIR`.
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
    /// Write a line a step to FILE, and a line an evaluation to a second file beside it (FILE.evaluations.csv).
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
}

/// Between two looks at a run that goes on.
const LOOK: Duration = Duration::from_secs(1);

/// What was done at a moment.
struct Timed<'a, T> {
    what: &'a T,
    /// In seconds since 1970; none where the run's events do not tell it.
    at: Option<f64>,
}

/// Writes what the options ask for, and says on `out` what it was.
///
/// # Errors
/// [`super::Refused`] where a folder holds no run or a file would be replaced that is none of these; and where a file cannot be read or written.
pub fn run(options: &Options, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    for folder in &options.runs {
        record::require_run(folder)?;
    }
    let names = record::names(&options.runs);
    let mut csv = options.to.csv.as_deref().map(Csv::create).transpose()?;
    let mut courses = Vec::new();
    for (folder, name) in options.runs.iter().zip(names) {
        courses.push(Course::open(folder, name, options.to.tensorboard.as_deref())?);
    }
    loop {
        // Asked before the last look, so that nothing is written after it.
        let is_last = !options.follow || courses.iter().all(Course::has_ended);
        for course in &mut courses {
            course.go_on(csv.as_mut())?;
        }
        if is_last {
            break;
        }
        std::thread::sleep(LOOK);
    }
    for course in &mut courses {
        course.rest(csv.as_mut())?;
        course.tell(out)?;
    }
    if let Some(csv) = &csv {
        writeln!(out, "wrote {csv}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One run, as far as it was handed on.
struct Course {
    folder: PathBuf,
    name: String,
    batch: u64,
    events: Events,
    clock: Clock,
    /// None before the run's first step.
    lines: Option<(u64, Lines<StepLine>)>,
    order: Order,
    /// The last step that was handed on before the metrics were opened again.
    resumed: u64,
    /// Evaluations not handed on yet, by step.
    evaluations: Vec<Evaluation>,
    /// Those that were handed on: step, and what it is an evaluation of.
    evaluated: BTreeSet<(u64, String)>,
    event_file: Option<EventFile>,
    n_steps: u64,
    n_evaluations: u64,
    last: Option<f64>,
    notes: Notes,
}

impl Course {
    fn open(folder: &Path, name: String, tensorboard: Option<&Path>) -> anyhow::Result<Self> {
        let mut notes = Notes::default();
        let recipe = record::recipe(folder, &mut notes);
        let batch = recipe.and_then(|recipe| recipe.keys.get("batch")?.parse().ok());
        let events = Events::read(folder, &mut notes)?;
        let begun = events.span.map_or(0, |(first, _)| first / 1000);
        let event_file = tensorboard.map(|logs| EventFile::create(&logs.join(safe(&name)), begun));
        Ok(Self {
            folder: folder.to_owned(),
            name,
            batch: batch.unwrap_or(0),
            clock: Clock::new(&events),
            events,
            lines: None,
            order: Order::default(),
            resumed: 0,
            evaluations: Vec::new(),
            evaluated: BTreeSet::new(),
            event_file: event_file.transpose()?,
            n_steps: 0,
            n_evaluations: 0,
            last: None,
            notes,
        })
    }

    /// Hands on what was written since it last did.
    fn go_on(&mut self, mut csv: Option<&mut Csv>) -> anyhow::Result<()> {
        self.reopen()?;
        let evaluations = Evaluation::all(&self.folder, &mut Notes::default())?;
        self.evaluations = evaluations
            .into_iter()
            .filter(|one| !self.evaluated.contains(&(one.step, one.kind().to_string())))
            .collect();
        let Some((inode, mut lines)) = self.lines.take() else {
            return Ok(());
        };
        while let Some(step) = lines
            .read()
            .with_context(|| format!("could not read {}", self.folder.join(METRICS).display()))?
        {
            if step.step > self.resumed && self.order.follows(step.step, &mut lines.tally) {
                self.step(&step, csv.as_deref_mut())?;
            }
        }
        self.lines = Some((inode, lines));
        if let Some(file) = &mut self.event_file {
            file.flush()?;
        }
        csv.map_or(Ok(()), Csv::flush)
    }

    /// Opens the metrics, again where they were written anew: a run that went back to a checkpoint does that. What was handed on is not
    /// handed on again, for steps that are done again are the same.
    fn reopen(&mut self) -> anyhow::Result<()> {
        let path = self.folder.join(METRICS);
        let now = std::fs::metadata(&path).ok().map(|file| file.ino());
        let open = self.lines.as_ref().map(|(inode, _)| *inode);
        if now.is_some() && now != open {
            let lines = Lines::open(&path).with_context(|| format!("could not open {}", path.display()))?;
            self.lines = now.zip(lines);
            self.resumed = self.order.last();
        }
        Ok(())
    }

    fn step(&mut self, step: &StepLine, mut csv: Option<&mut Csv>) -> anyhow::Result<()> {
        let is_new = |generation: u64| !self.events.training_since.contains_key(&generation);
        if step.generation.is_some_and(is_new) {
            self.events = Events::read(&self.folder, &mut Notes::default())?;
            self.clock.follow(&self.events);
        }
        let reckoned = self.clock.at(step, self.batch);
        let at = self.events.span.map(|_| reckoned);
        self.last = Some(reckoned);
        if let Some(file) = &mut self.event_file {
            file.step(step, reckoned)?;
        }
        if let Some(csv) = csv.as_deref_mut() {
            csv.step(&self.name, &Timed { what: step, at })?;
        }
        self.n_steps += 1;
        self.evaluations_upto(step.step, csv)
    }

    fn evaluations_upto(&mut self, step: u64, mut csv: Option<&mut Csv>) -> anyhow::Result<()> {
        let n = self
            .evaluations
            .partition_point(|evaluation| evaluation.step <= step);
        for evaluation in self.evaluations.drain(..n) {
            let at = self.events.span.and(self.last);
            if let Some(file) = &mut self.event_file {
                file.evaluation(&evaluation, self.last.unwrap_or_default())?;
            }
            if let Some(csv) = csv.as_deref_mut() {
                csv.evaluation(
                    &self.name,
                    &Timed {
                        what: &evaluation,
                        at,
                    },
                )?;
            }
            self.n_evaluations += 1;
            let kind = evaluation.kind().to_string();
            self.evaluated.insert((evaluation.step, kind));
        }
        Ok(())
    }

    /// Evaluations of a step that the metrics do not tell of.
    fn rest(&mut self, csv: Option<&mut Csv>) -> anyhow::Result<()> {
        self.evaluations_upto(u64::MAX, csv)?;
        self.event_file.as_mut().map_or(Ok(()), EventFile::flush)
    }

    /// Whether nothing more will come.
    fn has_ended(&self) -> bool {
        Events::read(&self.folder, &mut Notes::default()).is_ok_and(|events| events.ending.is_some())
    }

    fn tell(&mut self, out: &mut impl Write) -> anyhow::Result<()> {
        let (name, n_steps, n_evaluations) = (&self.name, self.n_steps, self.n_evaluations);
        let to = self
            .event_file
            .as_ref()
            .map_or_else(String::new, |file| format!(" to {file}"));
        writeln!(
            out,
            "{name}: {n_steps} steps and {n_evaluations} evaluation(s){to}"
        )?;
        match &self.lines {
            Some((_, lines)) => self.notes.tally(METRICS, &lines.tally),
            None => self.notes.add(format_args!(
                "{METRICS} is missing: the run has not done a step yet."
            )),
        }
        // What the last look said is as true of the whole.
        Evaluation::all(&self.folder, &mut self.notes)?;
        for sentence in self.notes.sentences() {
            eprintln!("m2t: {name}: {sentence}");
        }
        Ok(())
    }
}

/// A run's name as a folder: one that is a path becomes one level deep.
fn safe(name: &str) -> String {
    name.trim_matches('/').replace(['/', '\\'], "-")
}

#[cfg(test)]
mod tests;
