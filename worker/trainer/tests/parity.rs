//! The trainer against float64 numbers of the published algorithm, in every way of placing ranks on devices.
//!
//! Every case in `tests/fixtures/parity` and in each folder of `M2T_PARITY_FIXTURES` (colon-separated). A case of several
//! ranks runs three ways: one device hosts all ranks; a device a rank, in processes of their own over Gloo; and, from three ranks,
//! an uneven placement. Each way stays below 1e-6 of the fixture, and with the exact sum all give the same digest. The worst
//! error is printed a case. `M2T_PARITY_DEVICE=cuda:0` runs all of it on a GPU. The numbers' form is told in `parity/case.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its errors"
)]

#[path = "parity/case.rs"]
mod case;
#[path = "parity/device.rs"]
mod device;

use std::path::{Path, PathBuf};

use case::Case;
use device::{Outcome, Ways};
use libtest_mimic::{Arguments, Failed, Trial};
use m2t_common::recipe::{Dtype, Reduction};

const TOLERANCE: f64 = 1e-6;
const TOLERANCE_OF_FLOAT32: f64 = 1e-3;
const TOLERANCE_OF_BFLOAT16: f64 = 3e-2;

fn main() {
    // Before the first use of libtorch.
    device::hardware();
    if let Some(job) = device::job_from_parent() {
        device::be_one_of_several(&job);
        return;
    }
    let mut arguments = Arguments::from_args();
    // The devices of one case use every core; several cases at once would only wait for each other.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials()).exit();
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for path in cases() {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (exact, float, single, mixed) = (path.clone(), path.clone(), path.clone(), path);
        trials.push(Trial::test(format!("{name}::float64"), move || float64(&exact)));
        trials.push(Trial::test(format!("{name}::float_sum"), move || {
            float_sum(&float)
        }));
        trials.push(Trial::test(format!("{name}::float32_first_step"), move || {
            float32(&single)
        }));
        trials.push(Trial::test(format!("{name}::bfloat16_first_step"), move || {
            bfloat16(&mixed)
        }));
    }
    trials
}

fn cases() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity");
    let more = std::env::var("M2T_PARITY_FIXTURES").unwrap_or_default();
    // The program alone, carried to another machine, has only what it is told of.
    let own = Some(own).filter(|own| more.is_empty() || own.is_dir());
    let folders = own
        .into_iter()
        .chain(more.split(':').filter(|f| !f.is_empty()).map(PathBuf::from));
    let mut cases = Vec::new();
    for folder in folders {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("no fixtures in {}: {e}", folder.display()));
        cases.extend(
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|p| p.extension().is_some_and(|e| e == "json")),
        );
    }
    cases.sort();
    assert!(!cases.is_empty(), "no parity case found");
    cases
}

fn float64(path: &Path) -> Result<(), Failed> {
    let case = Case::read(path);
    let settings = device::Settings {
        dtype: Dtype::Float64,
        reduction: Reduction::Exact,
        n_steps: case.steps(),
    };
    let mut digests = Vec::new();
    for way in Ways::of(case.ranks()) {
        let outcome = device::run(path, settings, &way);
        print_and_check(&case, way.name(), &outcome, TOLERANCE)?;
        digests.push((way.name().to_owned(), outcome.digest));
    }
    if digests.iter().any(|(_, digest)| *digest != digests[0].1) {
        return Err(format!("the digest depends on the placement: {digests:?}").into());
    }
    Ok(())
}

fn float_sum(path: &Path) -> Result<(), Failed> {
    let case = Case::read(path);
    let settings = device::Settings {
        dtype: Dtype::Float64,
        reduction: Reduction::Float,
        n_steps: case.steps(),
    };
    for way in Ways::of(case.ranks()) {
        print_and_check(&case, way.name(), &device::run(path, settings, &way), TOLERANCE)?;
    }
    Ok(())
}

fn float32(path: &Path) -> Result<(), Failed> {
    let case = Case::read(path);
    let settings = device::Settings {
        dtype: Dtype::Float32,
        reduction: Reduction::Exact,
        n_steps: 1,
    };
    let outcome = device::run(path, settings, &Ways::of(case.ranks())[0]);
    print_and_check(&case, "float32, first step", &outcome, TOLERANCE_OF_FLOAT32)
}

fn bfloat16(path: &Path) -> Result<(), Failed> {
    let case = Case::read(path);
    let settings = device::Settings {
        dtype: Dtype::Bfloat16,
        reduction: Reduction::Exact,
        n_steps: 1,
    };
    let mut digests = Vec::new();
    for way in Ways::of(case.ranks()) {
        let outcome = device::run(path, settings, &way);
        print_and_check(&case, "bfloat16, first step", &outcome, TOLERANCE_OF_BFLOAT16)?;
        digests.push(outcome.digest);
    }
    if digests.iter().any(|digest| *digest != digests[0]) {
        return Err(format!("the digest depends on the placement: {digests:?}").into());
    }
    Ok(())
}

fn print_and_check(case: &Case, way: &str, outcome: &Outcome, tolerance: f64) -> Result<(), Failed> {
    let worst = outcome.worst_step.max(outcome.worst_state);
    println!(
        "{}: {way}: worst error {worst:.1e} (steps {:.1e}, state {:.1e} at {})",
        case.name, outcome.worst_step, outcome.worst_state, outcome.worst_entry
    );
    if worst.is_nan() || worst >= tolerance {
        return Err(format!("worst error {worst:.1e} is not below {tolerance:.0e}").into());
    }
    Ok(())
}
