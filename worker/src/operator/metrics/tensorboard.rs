//! TensorBoard event files: records of protocol buffer messages, each between checksums.
//!
//! Why it is written here: the format is a dozen lines and has not changed since 2015, and the crates that write it have not been kept up.
//! The messages are those of TensorFlow's `event.proto` and `summary.proto`, as far as scalars need them. A test reads a file
//! back with TensorBoard's own reader.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use prost::Message;

use crate::operator::record::{Evaluation, StepLine};

/// Says which layout follows; the first record of every file.
const VERSION: &str = "brain.Event:2";

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(super) wall_time: f64,
    #[prost(int64, tag = "2")]
    pub(super) step: i64,
    #[prost(string, optional, tag = "3")]
    pub(super) file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(super) summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(super) value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub(super) tag: String,
    #[prost(float, optional, tag = "2")]
    pub(super) simple_value: Option<f32>,
}

/// The event file of a run.
pub(super) struct EventFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventFile {
    /// Begins the file of a run that began at `begun`, in seconds since 1970, in `folder`. The name depends on the run alone, so that
    /// the same command writes the same file, and TensorBoard shows nothing twice.
    pub(super) fn create(folder: &Path, begun: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
        let path = folder.join(format!("events.out.tfevents.{begun:010}.m2t"));
        let file = File::create(&path).with_context(|| format!("could not write {}", path.display()))?;
        let mut events = Self {
            path,
            file: BufWriter::new(file),
        };
        events.write(&Event {
            wall_time: begun as f64,
            file_version: Some(VERSION.to_owned()),
            ..Event::default()
        })?;
        Ok(events)
    }

    /// Adds what a step tells.
    pub(super) fn step(&mut self, step: &StepLine, wall_time: f64) -> anyhow::Result<()> {
        let scalars = [
            ("loss", step.loss),
            ("learning_rate", step.learning_rate),
            ("momentum/parameters", step.parameter_momentum),
            ("momentum/statistics", step.statistics_momentum),
            ("gradient_norm", step.gradient_norm),
            ("throughput/images_per_second", step.images_per_second),
            ("throughput/data_wait", step.data_wait),
            (
                "placement/generation",
                step.generation.map(|generation| generation as f64),
            ),
            ("placement/regroup_seconds", step.regroup_seconds()),
        ];
        self.scalars(
            step.step,
            wall_time,
            scalars.map(|(tag, value)| (tag.to_owned(), value)),
        )
    }

    /// Adds an evaluation, under tags such as `knn/teacher_top1`.
    pub(super) fn evaluation(&mut self, evaluation: &Evaluation, wall_time: f64) -> anyhow::Result<()> {
        let Evaluation {
            step,
            method,
            encoder,
            top1,
            top5,
            ..
        } = evaluation;
        let scalars = [
            (format!("{method}/{encoder}_top1"), Some(*top1)),
            (format!("{method}/{encoder}_top5"), *top5),
        ];
        self.scalars(*step, wall_time, scalars)
    }

    /// Writes what is still in memory.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.file
            .flush()
            .with_context(|| format!("could not write {}", self.path.display()))
    }

    fn scalars<const N: usize>(
        &mut self,
        step: u64,
        wall_time: f64,
        scalars: [(String, Option<f64>); N],
    ) -> anyhow::Result<()> {
        let known = scalars
            .into_iter()
            .filter_map(|(tag, value)| value.map(|value| (tag, value)));
        let value = known.map(|(tag, value)| Value {
            tag,
            simple_value: Some(value as f32),
        });
        self.write(&Event {
            wall_time,
            step: i64::try_from(step).unwrap_or(i64::MAX),
            summary: Some(Summary {
                value: value.collect(),
            }),
            ..Event::default()
        })
    }

    /// A record: the length, its checksum, the message, its checksum; numbers in little endian.
    fn write(&mut self, event: &Event) -> anyhow::Result<()> {
        let message = event.encode_to_vec();
        let length = (message.len() as u64).to_le_bytes();
        let parts: [&[u8]; 4] = [
            &length,
            &masked_checksum(&length),
            &message,
            &masked_checksum(&message),
        ];
        self.file
            .write_all(&parts.concat())
            .with_context(|| format!("could not write {}", self.path.display()))
    }
}

impl fmt::Display for EventFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// CRC-32C, turned and shifted, so that the checksum of what itself holds checksums is a good one.
pub(super) fn masked_checksum(bytes: &[u8]) -> [u8; 4] {
    const SHIFT: u32 = 0xA282_EAD8;
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(SHIFT)
        .to_le_bytes()
}
