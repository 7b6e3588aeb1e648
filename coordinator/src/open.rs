//! From arguments to a run that can be served: recipe, output folder, journal, checkpoints. What is refused here is
//! refused before anything is begun.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use m2t_common::Recipe;
use m2t_common::recipe::load;
use m2t_common::waits::Waits;
use m2t_coordinator_core::{Core, DiskFacts, Settings};

use crate::args::Args;
use crate::checkpoints::Checkpoints;
use crate::chronicle::Chronicle;
use crate::journal::{Journal, RedbJournal};
use crate::listeners::{Http, Listeners};
use crate::output::Output;

/// Something about the input was wrong; nothing was begun.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Refused {
    problem: String,
}

impl Refused {
    /// A refusal in one sentence: what was wrong, where, what to do.
    pub fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
        }
    }
}

/// A run, ready to be served.
pub struct Opened {
    pub(crate) core: Core,
    pub(crate) disk: DiskFacts,
    pub(crate) settings: Settings,
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) output: Output,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) chronicle: Chronicle,
}

/// Opens a run, new or to be continued.
///
/// # Errors
/// [`Refused`] where the arguments, the recipe or the output folder cannot be used.
pub fn open(args: &Args) -> anyhow::Result<Opened> {
    let recipe = recipe(args)?;
    let world = recipe.training.world;
    let min_devices = args.min_devices.unwrap_or(world);
    if min_devices > world {
        let problem = format!(
            "--min-devices {min_devices} is more than the world of {world} ranks; give at most {world}"
        );
        return Err(Refused::new(problem).into());
    }
    refuse_reach(args)?;
    Waits::of(recipe.run.heartbeat_timeout)
        .check()
        .map_err(|e| Refused::new(e.to_string()))?;
    let output_folder = args
        .output
        .clone()
        .unwrap_or_else(|| Path::new("outputs").join(&recipe.name));
    let output_folder = absolute("--output", &output_folder)?;
    let data = args
        .data
        .as_deref()
        .map(|data| absolute("--data", data))
        .transpose()?;
    let output = Output::open(&output_folder)?;
    let settings = Settings {
        min_devices,
        replace_wait: args.replace_wait,
        data: data.unwrap_or_default(),
        output: output_folder,
        probe: output.probe().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe,
    };
    continue_or_begin(args, settings, output)
}

/// Beyond loopback only with consent.
fn refuse_reach(args: &Args) -> Result<(), Refused> {
    let http = match args.http {
        Some(Http::At(address)) => Some(("--http", address, "watches")),
        Some(Http::Off) | None => None,
    };
    for (flag, address, does) in [Some(("--listen", args.listen, "attaches")), http]
        .into_iter()
        .flatten()
    {
        if !address.ip().is_loopback() && !args.insecure {
            return Err(Refused::new(format!(
                "{flag} {address} is reachable from other machines and nothing checks who {does}; add --insecure on a private network"
            )));
        }
    }
    Ok(())
}

/// Reads journal and checkpoints; refuses a recipe that is not theirs.
fn continue_or_begin(args: &Args, settings: Settings, mut output: Output) -> anyhow::Result<Opened> {
    let state = args
        .state
        .clone()
        .unwrap_or_else(|| output.folder().join("state"));
    let (journal, records) = RedbJournal::open(&state)
        .map_err(|e| Refused::new(format!("{e:#}; choose another folder with --state")))?;
    let core = Core::new(settings.clone(), records).map_err(|e| Refused::new(e.to_string()))?;
    let checkpoints = Checkpoints::of(output.folder());
    let mut disk = checkpoints
        .survey(&settings.recipe)
        .with_context(|| format!("could not look for checkpoints in {}", output.folder().display()))?
        .map_err(|e| Refused::new(e.to_string()))?;
    disk.metrics = output.last_step()?;
    disk.samples = output.keep_samples(settings.recipe.run.ledger, disk.metrics)?;
    disk.evaluations = output.evaluations()?;
    output.write_recipe(&settings.recipe)?;
    Ok(Opened {
        chronicle: Chronicle::new(output.folder(), &disk),
        core,
        disk,
        settings,
        journal: Box::new(journal),
        output,
        checkpoints,
    })
}

fn recipe(args: &Args) -> anyhow::Result<Recipe> {
    let read = |path: &Path| std::fs::read_to_string(path);
    let resolved = load(&args.experiment, &args.set, args.world, read);
    Ok(resolved.map_err(|e| Refused::new(e.to_string()))?.recipe)
}

/// Paths travel to other machines as text and must not depend on where this program was started.
fn absolute(flag: &str, path: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(path)
        .map_err(|e| Refused::new(format!("{flag} {} is not a path: {e}", path.display())))?;
    if absolute.to_str().is_none() {
        let problem = format!(
            "{flag} {} is not UTF-8; choose a path that every machine can name",
            path.display()
        );
        return Err(Refused::new(problem).into());
    }
    Ok(absolute)
}

impl Opened {
    /// What is printed at the start: the run in a few lines, and how to join it.
    ///
    /// # Errors
    /// When an address cannot be read.
    pub fn greeting(&self, listeners: &Listeners) -> io::Result<String> {
        let address = listeners.grpc.local_addr()?;
        let (recipe, settings) = (&self.settings.recipe, &self.settings);
        let training = &recipe.training;
        let data = if settings.data.as_os_str().is_empty() {
            "each worker's own --data".to_owned()
        } else {
            settings.data.display().to_string()
        };
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(text, "experiment {}", recipe.name);
        let _ = writeln!(
            text,
            "world {} ranks on at least {} devices, batch {} images, batch_per_rank {}",
            training.world,
            settings.min_devices,
            recipe.global_batch(),
            training.batch_per_rank
        );
        let _ = writeln!(text, "data {data}");
        let _ = writeln!(text, "output {}", settings.output.display());
        let grpc = reachable(address);
        let _ = writeln!(text, "join with: m2t-worker --coordinator {grpc}");
        let _ = writeln!(text, "watch with: m2t status --coordinator {grpc} --watch");
        if let Some(page) = &listeners.page {
            let _ = writeln!(text, "page at http://{}/", reachable(page.local_addr()?));
        }
        let _ = write!(text, "listening on {address}");
        Ok(text)
    }
}

/// The address as others can use it: "every interface" means this host's name.
fn reachable(address: SocketAddr) -> String {
    if !address.ip().is_unspecified() {
        return address.to_string();
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", address.port())
}
