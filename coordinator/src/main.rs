//! `m2t-coordinator`: parses arguments, opens the run, listens, turns signals into a stop. Errors are printed once, here.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use m2t_coordinator::{Args, Command, ExitCode as Code, Listeners, Opened, Refused};
use m2t_log::Reader;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// What its lines are signed with.
const PROGRAM: &str = "m2t-coordinator";

fn main() -> ExitCode {
    if let Some(code) = m2t_describe::answer(Args::command) {
        return code;
    }
    let args = Args::parse();
    m2t_log::start(PROGRAM, args.log, Reader::Person);
    let code = run(&args).unwrap_or_else(|error| {
        m2t_log::last_word(PROGRAM, &format!("{error:#}"));
        if error.is::<Refused>() {
            Code::Refused
        } else {
            Code::Lost
        }
    });
    ExitCode::from(code as u8)
}

fn run(args: &Args) -> anyhow::Result<Code> {
    if let Some(Command::Token(command)) = &args.command {
        command.run(&mut std::io::stdout())?;
        return Ok(Code::Finished);
    }
    follow_parent()?;
    raise_limit();
    let opened = m2t_coordinator::open(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    runtime.block_on(listen(opened, args))
}

async fn listen(opened: Opened, args: &Args) -> anyhow::Result<Code> {
    let stop = stop_on_signal()?;
    let listeners = Listeners::bind(args).await?;
    let greeting = opened
        .greeting(&listeners)
        .context("could not read the listening address")?;
    // The port is parsed by those who start this program with port 0; whoever closed stdout does not want to know.
    let _ = writeln!(std::io::stdout(), "{greeting}");
    let outcome = m2t_coordinator::serve(opened, listeners, stop).await?;
    Ok(outcome.into())
}

/// Ends with `m2t train` where it started this process: the kernel sends SIGTERM when it is gone, and the run stops at a
/// step that is checkpointed. (m2t-worker does the same; the two have no crate in common that may do such things.)
fn follow_parent() -> anyhow::Result<()> {
    let Some(parent) = std::env::var_os("M2T_FOLLOW_PARENT") else {
        return Ok(());
    };
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .context("could not ask to end with m2t train")?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    anyhow::ensure!(
        now.as_deref().map(std::ffi::OsStr::new) == Some(parent.as_os_str()),
        "m2t train, which started this program, is gone"
    );
    Ok(())
}

/// As many open files as this process may have: each daemon and each watcher is one.
fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("The limit of open files stays: {error}.");
    }
}

/// The first SIGTERM or SIGINT asks the run to stop; the second ends this process at once.
fn stop_on_signal() -> anyhow::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate()).context("could not catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not catch SIGINT")?;
    let (stop, stopped) = mpsc::channel(1);
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!(
            "Asked to stop: the devices finish their step and write a checkpoint. A second signal ends at once."
        );
        // A run that is over already has no receiver.
        let _ = stop.send(()).await;
        either(&mut terminate, &mut interrupt).await;
        std::process::exit(i32::from(Code::Stopped as u8));
    });
    Ok(stopped)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
