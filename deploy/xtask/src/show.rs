//! How things are written for people: headings, durations, counts, words of a command.

use std::ffi::OsStr;
use std::time::Duration;

/// A line that begins a section of the output.
pub(crate) fn heading(text: &str) {
    println!(
        "\n── {text} {}",
        "─".repeat(72usize.saturating_sub(text.chars().count()))
    );
}

/// "0.4 s", "12 s", "3 min 05 s".
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds.round() as u64;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds:02} s"),
    }
}

/// 1281167 as "1,281,167".
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A word as a shell takes it, quoted where it must be.
pub(crate) fn shell_word(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_fine_as_they_matter() {
        for (milliseconds, shown) in [
            (0, "0.0 s"),
            (420, "0.4 s"),
            (9_949, "9.9 s"),
            (9_950, "10 s"),
            (59_499, "59 s"),
            (59_500, "1 min 00 s"),
            (185_000, "3 min 05 s"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), shown);
        }
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (n, shown) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_281_167, "1,281,167")] {
            assert_eq!(count(n), shown);
        }
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_part_them() {
        for (word, shown) in [
            ("cpu:2", "cpu:2"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(shell_word(OsStr::new(word)), shown);
        }
    }
}
