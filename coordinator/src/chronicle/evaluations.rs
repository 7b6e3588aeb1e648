//! The file of a run's evaluations: how well its encoders were judged to be. `output` writes it; here it is only read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use m2t_common::evaluation::{EVALUATIONS_FILE, EvaluationLine};

/// Of a longer file only its end is read.
const MOST_BYTES: u64 = 1 << 20;

/// All of the file in `folder`, oldest first; none where there is no such file. A line that is none is passed over.
pub(super) fn read(folder: &Path) -> Vec<EvaluationLine> {
    let Ok(text) = tail(&folder.join(EVALUATIONS_FILE)) else {
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
    use m2t_common::Step;

    use super::*;

    #[test]
    fn lines_are_read_and_what_is_no_evaluation_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), []);
        let line = r#"{"step":8,"epoch":1,"generation":1,"encoder":"teacher","method":"knn","top1":0.5,"top5":0.75,"n_correct":2,"n_correct5":3,"n_images":4,"n_memory":9,"seconds":1.5}"#;
        let text = format!(
            "{line}\nnonsense\n{}\n{{\"step\":",
            line.replace("\"step\":8", "\"step\":16")
        );
        std::fs::write(folder.path().join(EVALUATIONS_FILE), text).unwrap();
        let read = read(folder.path());
        let steps: Vec<Step> = read.iter().map(|line| line.step).collect();
        assert_eq!(steps, [Step(8), Step(16)]);
        assert_eq!(read[0].top1, 0.5);
    }
}
