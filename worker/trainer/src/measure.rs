//! What a step costs on this machine: the real step on made images, without loader, daemon or coordinator.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use m2t_common::Rank;
use m2t_common::gpu::GpuName;
use m2t_common::machine_link::Boundary;
use m2t_common::random::Stream;
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{Recipe, resolve};
use m2t_torch::collective::nccl::{Backend, Deadlines, UniqueId};
use m2t_torch::collective::{Collective, Gloo, Meeting, Nccl, Solo, Timeouts};
use m2t_torch::cuda::HighWater;
use m2t_torch::facts;
use m2t_torch::profile::{Spent, profiled};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;
use tch::Tensor;

use crate::hardware::{Company, Hardware};
use crate::state::{State, activations};
use crate::step::{Images, Overlap, Trainer};

/// Steps before the first that counts: memory and the library's plans are made in them.
const WARM_UP: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct Question {
    /// Changes a key of the recipe 8x_v100_100e; it stands for one rank of `batch` images a device unless they say otherwise.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Images of a rank.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Steps that count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: u32,
    /// Devices of the group, each a process of its own with a rank.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub devices: u32,
    /// Which of them this is.
    #[arg(long, default_value_t = 0)]
    pub index: u32,
    /// Keep this process on one core.
    #[arg(long, value_name = "N")]
    pub core: Option<u32>,
    /// Print which operations took the time of the last step on standard error.
    #[arg(long)]
    pub profile: bool,
    /// Where the first one said the others meet it: HOST:PORT, or the id of a group of GPUs.
    #[arg(long, value_name = "PLACE")]
    pub meet: Option<String>,
    /// Measure this GPU, by number or UUID, and not the CPU.
    #[arg(long, value_name = "NAME")]
    pub gpu: Option<GpuName>,
}

/// What it cost.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// Images of all ranks, over the median of the seconds.
    pub images_per_second: f64,
    /// Of each step that counts.
    pub seconds: Vec<f64>,
    /// The median time that the sum of gradients took, in seconds.
    pub sum_seconds: f64,
    /// The median time that a step waited for it after its last backward.
    pub sum_exposed_seconds: f64,
    /// Mean loss of each step, those before the first that counts included.
    pub losses: Vec<f64>,
    /// The most memory that the process had, in MiB.
    pub peak_mib: u64,
    /// The most memory of the GPU that was in use beyond what was before, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_peak_mib: Option<u64>,
    /// What libtorch's own kernels use.
    pub instruction_set: String,
}

/// Measures. `meet` is told where the others find this device, when it is the first of several.
///
/// # Errors
/// A recipe that is none, a group that does not come together, or a step that breaks.
pub fn measure(question: &Question, meet: impl FnOnce(&str)) -> anyhow::Result<Answer> {
    let company = match question.devices {
        1 => Company::Nobody,
        // Tried out, several may share one GPU.
        _ => Company::Others,
    };
    let hardware = Hardware::named(question.gpu.as_ref(), company)?;
    let mut water = high_water(&hardware)?;
    let recipe = recipe(question)?;
    if let Some(core) = question.core {
        stay_on(core)?;
    }
    m2t_torch::set_threads(recipe.training.threads_per_device);
    let rank = Rank(question.index);
    let group = group(question, &hardware, meet)?;
    let state = State::initial(&recipe, &[rank], hardware.device())?;
    let schedule = recipe.plan(1_281_167)?.schedule;
    let mut trainer = Trainer::new(&recipe, &[rank], state, group)?;
    let batch = [(rank, views(&recipe, rank))];
    let (mut seconds, mut overlaps, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..WARM_UP + question.steps {
        let began = Instant::now();
        let committed = trainer.step(&batch, &schedule, Boundary::GoOn)?;
        hardware.finish();
        losses.push(committed.loss);
        if let Some(water) = &mut water {
            water.look()?;
        }
        if step >= WARM_UP {
            seconds.push(began.elapsed().as_secs_f64());
            overlaps.push(committed.overlap);
        }
    }
    if question.profile {
        let (step, table) = profiled(|| trainer.step(&batch, &schedule, Boundary::GoOn))?;
        step?;
        print_table(&table);
    }
    let of =
        |part: fn(&Overlap) -> Duration| median(overlaps.iter().map(|o| part(o).as_secs_f64()).collect());
    let n_images = f64::from(question.batch * question.devices);
    Ok(Answer {
        images_per_second: n_images / median(seconds.clone()),
        sum_seconds: of(|overlap| overlap.busy),
        sum_exposed_seconds: of(|overlap| overlap.exposed),
        seconds,
        losses,
        gpu_peak_mib: water.map(|mut water| water.look()).transpose()?.map(|n| n >> 20),
        peak_mib: peak_mib()?,
        instruction_set: facts::libtorch().instruction_set,
    })
}

fn recipe(question: &Question) -> anyhow::Result<Recipe> {
    let global = question.batch * question.devices;
    let mut sets = vec![format!("batch={global}")];
    sets.extend(question.sets.iter().cloned());
    let recipe = resolve(Source::Preset("8x_v100_100e"), &sets, Some(question.devices))?;
    ensure!(
        question.index < question.devices,
        "--index counts from 0 and stays below --devices"
    );
    Ok(recipe)
}

/// Threads that are started later stay there, too.
fn stay_on(core: u32) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    let core = core as usize;
    ensure!(core < CpuSet::MAX_CPU, "there is no core {core}");
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("cannot stay on core {core}"))
}

fn high_water(hardware: &Hardware) -> anyhow::Result<Option<HighWater>> {
    match hardware {
        Hardware::Cpu => Ok(None),
        Hardware::Gpu(backend) => Ok(Some(HighWater::begin(&backend.context)?)),
    }
}

fn group(
    question: &Question,
    hardware: &Hardware,
    meet: impl FnOnce(&str),
) -> anyhow::Result<Arc<dyn Collective>> {
    match (question.devices, hardware) {
        (1, _) => Ok(Arc::new(Solo::default())),
        (_, Hardware::Cpu) => Ok(Arc::new(by_gloo(question, meet)?)),
        (_, Hardware::Gpu(backend)) => Ok(Arc::new(by_nccl(question, backend, meet)?)),
    }
}

fn by_nccl(question: &Question, backend: &Backend, meet: impl FnOnce(&str)) -> anyhow::Result<Nccl> {
    let id = if question.index == 0 {
        let id = UniqueId::fresh(&backend.library)?;
        meet(&id.to_string());
        id
    } else {
        place_to_meet(question)?.parse()?
    };
    let deadlines = Deadlines {
        connecting: PATIENCE,
        operation: PATIENCE,
        parting: PATIENCE,
    };
    let place = (question.index as usize, question.devices as usize);
    let group = Nccl::begin(backend, id, place, deadlines)?;
    group.until_whole()?;
    Ok(group)
}

fn place_to_meet(question: &Question) -> anyhow::Result<&str> {
    let meet = question.meet.as_deref();
    meet.context("--meet is to be what the first device printed")
}

fn by_gloo(question: &Question, meet: impl FnOnce(&str)) -> anyhow::Result<Gloo> {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let meeting = if question.index == 0 {
        let meeting = Meeting::open(here, PATIENCE)?;
        meet(&meeting.address().to_string());
        meeting
    } else {
        let meet = place_to_meet(question)?;
        let address: SocketAddr = meet
            .parse()
            .with_context(|| format!("{meet:?} is no HOST:PORT to meet at"))?;
        Meeting::join(address, PATIENCE)?
    };
    let timeouts = Timeouts {
        connecting: PATIENCE,
        operation: PATIENCE,
    };
    let place = (question.index as usize, question.devices as usize);
    Ok(Gloo::connect(meeting, here, place, timeouts)?)
}

/// Two views of noise, channels last as the loader makes them.
fn views(recipe: &Recipe, rank: Rank) -> Images {
    let (b, side) = (
        i64::from(recipe.training.batch_per_rank),
        i64::from(recipe.training.pixels),
    );
    let view = |view: u64| {
        let mut stream = Stream::new("measure", &[u64::from(rank.0), view]);
        let values: Vec<f32> = (0..b * side * side * 3).map(|_| stream.normal() as f32).collect();
        Tensor::from_slice(&values)
            .view([b, side, side, 3])
            .to_kind(activations(recipe))
            .permute([0, 3, 1, 2])
    };
    Images::Views([view(0), view(1)])
}

fn print_table(table: &[Spent]) {
    let total: f64 = table.iter().map(|spent| spent.seconds).sum();
    eprintln!("share  milliseconds  calls  operation");
    for Spent { name, seconds, calls } in table {
        let share = 100.0 * seconds / total;
        if share >= 0.1 {
            eprintln!("{share:4.1}%  {:12.1}  {calls:5}  {name}", 1000.0 * seconds);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// The high-water mark of the resident memory, as the system counts it.
fn peak_mib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read this process' memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kib.context("the system does not say how much memory this process had")? / 1024)
}
