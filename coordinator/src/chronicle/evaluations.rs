//! `evaluations.jsonl`: how well encoders of the run were judged to be. Whoever evaluates writes it; here it is only read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use m2t_common::Step;
use serde::{Deserialize, Serialize};

const FILE: &str = "evaluations.jsonl";
/// Of a longer file only its end is read.
const MOST_BYTES: u64 = 1 << 20;

/// One judgement. Keys that a line has besides are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evaluation {
    /// The step of the state that was judged.
    pub(crate) step: Step,
    /// Whose encoder: "teacher", "student".
    #[serde(default)]
    pub(crate) encoder: String,
    /// How: "knn", "probe".
    #[serde(default)]
    pub(crate) method: String,
    /// Share of images whose class was named rightly, 0 to 1.
    pub(crate) top1: f64,
}

/// All of the file in `folder`, oldest first; none where there is no such file. A line that is none is passed over.
pub(super) fn read(folder: &Path) -> Vec<Evaluation> {
    let Ok(text) = tail(&folder.join(FILE)) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_no_evaluation_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), []);
        let text = "{\"step\":8,\"encoder\":\"teacher\",\"method\":\"knn\",\"top1\":0.5,\"n\":9}\nnonsense\n{\"step\":16,\"top1\":0.75}\n{\"step\":";
        std::fs::write(folder.path().join(FILE), text).unwrap();
        let read = read(folder.path());
        assert_eq!(read.len(), 2);
        assert_eq!(
            (read[0].step, read[0].top1, read[0].method.as_str()),
            (Step(8), 0.5, "knn")
        );
        assert_eq!((read[1].step, read[1].encoder.as_str()), (Step(16), ""));
    }
}
