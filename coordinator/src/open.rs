//! From arguments to a run that can be served: recipe, output folder, journal, checkpoints. What is refused here is
//! refused before anything is begun.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use m2t_common::Recipe;
use m2t_common::access::Role;
use m2t_common::recipe::load;
use m2t_common::waits::Waits;
use m2t_coordinator_core::{Core, DiskFacts, Settings};

use crate::args::Args;
use crate::checkpoints::Checkpoints;
use crate::chronicle::Chronicle;
use crate::journal::{Journal, RedbJournal};
use crate::listeners::{Http, Listeners};
use crate::output::Output;
use crate::security::Security;

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
    pub(crate) security: Option<Arc<Security>>,
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

/// Names and addresses that this host is reached by, for its certificate.
fn names_of(args: &Args) -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let page = match args.http {
        Some(Http::At(address)) => Some(address),
        Some(Http::Off) | None => None,
    };
    let given = [Some(args.listen), page].into_iter().flatten();
    let given = given.filter(|address| !address.ip().is_unspecified());
    let mut names: Vec<String> = given.map(|address| address.ip().to_string()).collect();
    names.extend([
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
        host,
    ]);
    names.sort_unstable();
    names.dedup();
    names
}

/// Reads journal and checkpoints; refuses a recipe that is not theirs.
fn continue_or_begin(args: &Args, settings: Settings, mut output: Output) -> anyhow::Result<Opened> {
    let state = args
        .state
        .clone()
        .unwrap_or_else(|| output.folder().join("state"));
    let security = if args.insecure {
        None
    } else {
        Some(Arc::new(Security::open(&state, args, names_of(args))?))
    };
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
        security,
    })
}

fn recipe(args: &Args) -> anyhow::Result<Recipe> {
    let experiment = args.experiment.as_deref().unwrap_or_default();
    let read = |path: &Path| std::fs::read_to_string(path);
    let resolved = load(experiment, &args.set, args.world, read);
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
        let access = |role| match &self.security {
            Some(security) => format!("--token-file {}", security.token_file(role).display()),
            None => "--insecure".to_owned(),
        };
        let _ = writeln!(
            text,
            "join with: m2t-worker --coordinator {grpc} {}",
            access(Role::Worker)
        );
        let watch = access(Role::Operator);
        let _ = writeln!(
            text,
            "watch with: m2t status --coordinator {grpc} {watch} --watch"
        );
        if let Some(security) = &self.security {
            let certificate = security.fingerprint().short();
            let _ = writeln!(
                text,
                "certificate {certificate}; the page takes these tokens, too"
            );
        }
        if let Some(page) = &listeners.page {
            let page = page.local_addr()?;
            let is_sealed = self.security.is_some() && !page.ip().is_loopback();
            let scheme = if is_sealed { "https" } else { "http" };
            let _ = writeln!(text, "page at {scheme}://{}/", reachable(page));
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
