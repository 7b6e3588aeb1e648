//! Which GPUs a machine has, by number and by UUID.

use super::{CudaError, Driver};

/// A GPU as the driver knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Its number among those visible to this process.
    pub ordinal: u32,
    /// As nvidia-smi writes it: `GPU-` and 32 hexadecimal digits in five groups.
    pub uuid: String,
    /// "NVIDIA H100 80GB HBM3".
    pub name: String,
}

/// All GPUs, in the order of their numbers.
///
/// # Errors
/// When the driver fails.
pub fn gpus(driver: &Driver) -> Result<Vec<Gpu>, CudaError> {
    (0..driver.n_gpus()?)
        .map(|ordinal| gpu(driver, ordinal))
        .collect()
}

fn gpu(driver: &Driver, ordinal: u32) -> Result<Gpu, CudaError> {
    let device = driver.device(ordinal)?;
    Ok(Gpu {
        ordinal,
        uuid: text_of(driver.device_uuid(device)?),
        name: driver.device_name(device)?,
    })
}

/// The GPU of that number.
///
/// # Errors
/// When there is none; the message names those there are.
pub fn by_index(gpus: &[Gpu], ordinal: u32) -> Result<&Gpu, CudaError> {
    let found = gpus.iter().find(|gpu| gpu.ordinal == ordinal);
    found.ok_or_else(|| unknown(&ordinal.to_string(), gpus))
}

/// The GPU of that UUID, in whatever case it is written.
///
/// # Errors
/// As [`by_index`].
pub fn by_uuid<'a>(gpus: &'a [Gpu], uuid: &str) -> Result<&'a Gpu, CudaError> {
    let found = gpus.iter().find(|gpu| gpu.uuid.eq_ignore_ascii_case(uuid));
    found.ok_or_else(|| unknown(uuid, gpus))
}

fn unknown(wanted: &str, gpus: &[Gpu]) -> CudaError {
    let present: Vec<String> = gpus
        .iter()
        .map(|gpu| format!("{} ({}, {})", gpu.ordinal, gpu.name, gpu.uuid))
        .collect();
    CudaError::UnknownGpu {
        wanted: wanted.to_owned(),
        present: present.join(", "),
    }
}

fn text_of(uuid: [u8; 16]) -> String {
    let mut text = "GPU".to_owned();
    for (i, byte) in uuid.iter().enumerate() {
        if [0, 4, 6, 8, 10].contains(&i) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
