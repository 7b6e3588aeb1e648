//! Ids as types of their own, so that a rank is never taken for a device and a step never for an epoch.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $label:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($label, "{}"), self.0)
            }
        }
    };
}

number!(
    /// A lane of the computation, `0..world`: its shard of each batch, its BatchNorm group, its augmentation.
    Rank(u32), ""
);
number!(
    /// A device's number on its machine, from 0.
    DeviceIndex(u32), ""
);
number!(
    /// The number of a placement. Rises by one each time a placement is formed and is never used again; whoever meets
    /// an older one refuses it.
    Generation(u64), ""
);
number!(
    /// Optimizer updates done. A state *at step k* is the state after k commits, so training begins at step 0.
    Step(u64), ""
);
number!(
    /// Milliseconds since the Unix epoch. Only differences matter to the coordinator core.
    Timestamp(u64), ""
);

impl Generation {
    /// The generation after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Step {
    /// The step after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Timestamp {
    /// The moment `duration` later; saturates.
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero when the clock stepped back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A machine's name: `--name` of its daemon, by default its host name. At most 64 letters, digits, `.`, `-`, `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineName(String);

/// A text that cannot be a machine's name.
#[derive(Debug, thiserror::Error)]
#[error(
    "machine name {0:?} is not 1 to 64 letters, digits, dots, hyphens or underscores; pass another with --name"
)]
pub struct BadMachineName(String);

impl MachineName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MachineName {
    type Error = BadMachineName;

    fn try_from(name: String) -> Result<Self, BadMachineName> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if (1..=64).contains(&name.len()) && name.chars().all(legal) {
            Ok(Self(name))
        } else {
            Err(BadMachineName(name))
        }
    }
}

impl std::str::FromStr for MachineName {
    type Err = BadMachineName;

    fn from_str(name: &str) -> Result<Self, BadMachineName> {
        Self::try_from(name.to_owned())
    }
}

impl From<MachineName> for String {
    fn from(name: MachineName) -> Self {
        name.0
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One device of the cluster: a machine and the device's number on it. Written `machine:index`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceId {
    /// The machine that has it.
    pub machine: MachineName,
    /// Its number there.
    pub index: DeviceIndex,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.machine, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_names_are_checked_where_they_enter() {
        for good in ["a", "node-07.rack_2", &"x".repeat(64)] {
            assert_eq!(good.parse::<MachineName>().unwrap().as_str(), good);
        }
        for bad in ["", "two words", "ümlaut", &"x".repeat(65)] {
            assert!(bad.parse::<MachineName>().is_err(), "{bad:?}");
            assert!(
                serde_json::from_value::<MachineName>(bad.into()).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn time_never_runs_backwards() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(
            Timestamp(u64::MAX).after(Duration::from_secs(1)),
            Timestamp(u64::MAX)
        );
    }
}
