//! `m2t data pack` and `m2t data unpack`: options, progress and words; the work is done in m2t-data.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use m2t_data::pack::make::{self, Pack, PackError};
use m2t_data::pack::unpack::{self, Unpack, UnpackError};

use super::{refuse, shown};

/// What to pack.
#[derive(Args)]
#[command(
    after_help = "OUT takes DIR's place, as --data and everywhere: the same samples, the same fingerprint, the same\n\
                  training to the bit. A second call goes on where a first one was ended.\n\n\
                  m2t data check OUT compares every byte with what was packed; m2t data unpack gives DIR back.\n\n\
                  Exit codes: 0 packed; 1 it failed, and the same call goes on from there; 2 a folder or the size is\n\
                  refused, and nothing was touched."
)]
pub struct PackOptions {
    /// A folder of class folders.
    dir: PathBuf,
    /// A new or empty folder, or one that an earlier call began.
    out: PathBuf,
    /// Size of the files that hold the images, such as 512MiB [default: 1GiB; more where there would be too many].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    shard_size: Option<u64>,
}

/// What to unpack.
#[derive(Args)]
#[command(
    after_help = "Every image is compared with what was packed before it is written. Nothing is overwritten; a second\n\
                  call finishes what a first one began.\n\n\
                  Exit codes: 0 unpacked; 1 it failed, or the pack is damaged; 2 a folder is refused."
)]
pub struct UnpackOptions {
    /// A pack.
    pack: PathBuf,
    /// Where the class folders go.
    dir: PathBuf,
}

/// Packs, and writes what was done.
pub fn pack(options: PackOptions, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let what = Pack {
        from: options.dir,
        to: options.out,
        shard_size: options.shard_size,
    };
    match shown("packing", |progress| make::pack(&what, progress)) {
        Ok(done) => {
            writeln!(
                out,
                "{}: {} images, {}, in {} files, {} of them there before; fingerprint {}",
                what.to.display(),
                HumanCount(done.n_samples),
                HumanBytes(done.bytes),
                HumanCount(done.n_shards as u64),
                HumanCount(done.n_there as u64),
                done.fingerprint
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Err(failed @ (PackError::Read { .. } | PackError::Write { .. } | PackError::Busy(_))) => {
            Err(failed.into())
        }
        Err(refused) => Ok(refuse(&refused.into())),
    }
}

/// Unpacks, and writes what was done.
pub fn unpack(options: UnpackOptions, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let what = Unpack {
        from: options.pack,
        to: options.dir,
    };
    match shown("unpacking", |progress| unpack::unpack(&what, progress)) {
        Ok(done) => {
            let [new, there] = [done.n_new, done.n_there].map(HumanCount);
            writeln!(
                out,
                "{}: {new} images unpacked, {there} there before",
                what.to.display()
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refused @ (UnpackError::Pack(_) | UnpackError::NoPack(_))) => Ok(refuse(&refused.into())),
        Err(failed) => Err(failed.into()),
    }
}

/// Bytes, as in "1GiB".
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => {
            return Err("a size is a number with B, KiB, MiB, GiB or TiB behind it, as in 512MiB".to_owned());
        }
    };
    let number: Option<u64> = digits.trim_end().parse().ok();
    let size = number.and_then(|number| number.checked_mul(unit));
    size.filter(|size| *size > 0)
        .ok_or_else(|| format!("{text} is no size; write it as in 512MiB"))
}

#[cfg(test)]
mod tests;
