//! "Did you mean": the known word nearest to an unknown one.

/// Below this likeness (Jaro-Winkler, 1 is equal) nothing is proposed: a wrong proposal is worse than none.
const LIKE: f64 = 0.8;

/// Of the known words that are like `unknown` the one with the fewest letters to change, the first of equals. Of keys with
/// tables the last part may be like it too.
pub(super) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = unknown.to_lowercase();
    let end = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let is_like = |one: &str, other: &str| strsim::jaro_winkler(one, other) >= LIKE;
    let like = known
        .into_iter()
        .filter(|candidate| is_like(&unknown, candidate) || is_like(&end(&unknown), &end(candidate)));
    // A word that was cut short is completed. Else the ends decide, so that a wrong table costs nothing; of equal ends the
    // one in the same table is meant.
    like.min_by_key(|candidate| {
        (
            !end(candidate).starts_with(&end(&unknown)),
            strsim::osa_distance(&end(&unknown), &end(candidate)),
            strsim::osa_distance(&unknown, candidate),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_and_a_stranger_has_none() {
        let known = [
            "stem",
            "steps",
            "resnet50",
            "resnet152",
            "batch",
            "lr256",
            "warmup_epochs",
            "epochs",
            "augment.hue",
        ];
        for (unknown, expected) in [
            ("btach", Some("batch")),
            ("batch_size", Some("batch")),
            ("lr", Some("lr256")),
            ("warmup", Some("warmup_epochs")),
            ("Epochs", Some("epochs")),
            ("augment.heu", Some("augment.hue")),
            ("resnet51", Some("resnet50")),
            ("step", Some("steps")),
            ("dropout", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, known), expected, "{unknown}");
        }
    }
}
