//! What an image costs the loader: `worker/data/benches/loader.rs`, and beside it the published pipeline in Pillow on the same
//! files, in the same call.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::line::{Beside, Measurement, machine, rounded};
use super::{Bench, BenchArguments, print};

const SCRIPT: &str = "baselines/pillow_views.py";
const NEEDED: &str = "set M2T_PYTHON to a Python with Pillow and numpy, or run `cargo xtask test` once, which installs them into \
                      .python/";
/// Files that are looked at.
const IMAGES: &str = "300";

/// What our bench says.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    #[serde(skip_serializing)]
    images_per_second: f64,
    #[serde(skip_serializing)]
    runs: usize,
    images: usize,
    milliseconds_per_image: BTreeMap<String, f64>,
    pixels_per_image: u64,
    bits_per_pixel: f64,
}

/// What the script says.
#[derive(Deserialize)]
struct Pillow {
    median: f64,
    runs: usize,
    images: usize,
}

/// Measures, and prints the lines.
pub(super) fn run(bench: &Bench<'_>, data: &Path, arguments: &BenchArguments) -> Result<()> {
    let data = data
        .canonicalize()
        .with_context(|| format!("the folder of photographs {} cannot be read", data.display()))?;
    let data = if arguments.like_imagenet {
        let mosaics = bench.work.join("like-imagenet");
        ours(bench, &["--like-imagenet".as_ref(), &data, &mosaics])?;
        mosaics
    } else {
        data
    };
    let runs = arguments.runs.to_string();
    let said = ours(bench, &[&data, IMAGES.as_ref(), runs.as_ref()])?;
    let measured: Measured =
        serde_json::from_str(&said).with_context(|| format!("the bench said {said:?}"))?;
    let pillow = arguments.against.map(|_| pillow(bench, &data)).transpose()?;
    if let Some(pillow) = &pillow {
        ensure!(
            pillow.images == measured.images,
            "Pillow took {} files and we {}: {} must hold .jpg files only",
            pillow.images,
            measured.images,
            data.display()
        );
    }
    print(&line(
        "two_views",
        measured.images_per_second,
        pillow.as_ref(),
        &measured,
    ))?;
    let decode = measured
        .milliseconds_per_image
        .get("decode")
        .copied()
        .unwrap_or(f64::NAN);
    print(&line("floor", 1000.0 / decode, None, &measured))
}

fn line<'a>(
    case: &'static str,
    median: f64,
    pillow: Option<&Pillow>,
    measured: &'a Measured,
) -> Measurement<&'a Measured> {
    Measurement {
        bench: "loader",
        case,
        median: rounded(median),
        unit: "images/s of CPU time",
        runs: measured.runs,
        machine: machine(),
        beside: pillow.map(|pillow| Beside {
            baseline: "pillow",
            baseline_median: pillow.median,
            baseline_runs: pillow.runs,
            ratio: rounded(median / pillow.median),
        }),
        own: measured,
    }
}

/// Runs our bench.
fn ours(bench: &Bench<'_>, arguments: &[&Path]) -> Result<String> {
    let mut command = bench.workspace.cargo(&[
        "bench",
        "--quiet",
        "--profile",
        "release",
        "-pm2t-data",
        "--bench",
        "loader",
        "--",
    ]);
    command.args(arguments);
    eprintln!("$ {}", bench.workspace.typed(&command));
    bench.output("ours", &mut command)
}

fn pillow(bench: &Bench<'_>, data: &Path) -> Result<Pillow> {
    let script = bench.shared(SCRIPT)?;
    let packages = bench.workspace.root.join(".python");
    let mut command = bench.python();
    command
        .args([&script, data, IMAGES.as_ref()])
        .env("PYTHONPATH", &packages);
    eprintln!("pillow: a minute");
    let said = bench.output("pillow", &mut command).context(NEEDED)?;
    serde_json::from_str(&said).with_context(|| format!("{} said {said:?}", script.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_documented_keys() {
        let said = r#"{"images_per_second": 400.0, "runs": 3, "images": 300, "milliseconds_per_image": {"decode": 1.25},
            "pixels_per_image": 188000, "bits_per_pixel": 4.5}"#;
        let measured: Measured = serde_json::from_str(said).unwrap();
        let pillow = Pillow {
            median: 80.0,
            runs: 3,
            images: 300,
        };
        let line = serde_json::to_value(line("two_views", 400.0, Some(&pillow), &measured)).unwrap();
        for (key, wanted) in [("bench", "loader"), ("case", "two_views"), ("baseline", "pillow")] {
            assert_eq!(line[key], wanted);
        }
        assert_eq!((&line["median"], &line["ratio"]), (&400.0.into(), &5.0.into()));
        assert_eq!(line["milliseconds_per_image"]["decode"], 1.25);
        assert_eq!(line["runs"], 3);
    }
}
