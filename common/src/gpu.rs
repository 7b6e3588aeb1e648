//! How a GPU of a machine is named: by its number, or by the UUID that stays its own when numbers change; and what `m2t-trainer gpus`
//! says of one. Looks at no hardware.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a GPU.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GpuName {
    /// Its number among those the process sees.
    Number(u32),
    /// `GPU-` and 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12, in lower case.
    Uuid(String),
}

/// A GPU as the driver knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Its number among those visible to the process.
    pub number: u32,
    /// As [`GpuName::Uuid`].
    pub uuid: String,
    /// "NVIDIA H100 80GB HBM3".
    pub name: String,
}

/// A text that names no GPU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no GPU; write its number, or its UUID as nvidia-smi -L shows it (GPU-8a1f…, 36 characters after GPU-)"
)]
pub struct NoGpuName(String);

impl FromStr for GpuName {
    type Err = NoGpuName;

    fn from_str(text: &str) -> Result<Self, NoGpuName> {
        let wrong = || NoGpuName(text.to_owned());
        if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
            return text.parse().map(Self::Number).map_err(|_| wrong());
        }
        let uuid = text.strip_prefix("GPU-").ok_or_else(wrong)?;
        let groups: Vec<&str> = uuid.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let is_hex = groups
            .iter()
            .all(|group| group.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if lengths != [8, 4, 4, 4, 12] || !is_hex {
            return Err(wrong());
        }
        Ok(Self::Uuid(format!("GPU-{}", uuid.to_ascii_lowercase())))
    }
}

impl fmt::Display for GpuName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Uuid(uuid) => f.write_str(uuid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_named_by_number_or_uuid() {
        const UUID: &str = "GPU-8a1fB2c3-0011-2233-4455-66778899aabb";
        assert_eq!("7".parse(), Ok(GpuName::Number(7)));
        let named: GpuName = UUID.parse().unwrap();
        assert_eq!(
            named,
            GpuName::Uuid("GPU-8a1fb2c3-0011-2233-4455-66778899aabb".to_owned())
        );
        assert_eq!(named.to_string().parse(), Ok(named));
        for bad in [
            "",
            "-1",
            "+1",
            "4294967296",
            "GPU-",
            "gpu-8a1f",
            &UUID[4..],
            &UUID[..39],
            &UUID.replace('f', "g"),
        ] {
            let error = bad.parse::<GpuName>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{bad:?} names no GPU")), "{error}");
        }
    }
}
