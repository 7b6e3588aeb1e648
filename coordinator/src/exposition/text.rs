//! Prometheus' text format 0.0.4: families with help and type, samples with escaped labels. Nothing of m2t.

use std::fmt::Write;

/// A text that grows by families.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
}

/// The samples of one family.
pub(super) struct Family<'a> {
    out: &'a mut String,
    name: &'a str,
}

/// What a histogram tells.
pub(super) struct Histogram<'a> {
    /// The upper bounds of its buckets but the last, which has none.
    pub(super) bounds: &'a [f64],
    /// How many lie in each bucket.
    pub(super) counts: &'a [u64],
    /// All of them together.
    pub(super) sum: f64,
}

impl Text {
    /// A family of values that rise and fall.
    pub(super) fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "gauge")
    }

    /// A family of values that only rise; its name ends with `_total`.
    pub(super) fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "counter")
    }

    /// A histogram without labels.
    pub(super) fn histogram(&mut self, name: &str, help: &str, of: &Histogram<'_>) {
        self.family(name, help, "histogram");
        let mut n = 0;
        let upper = of.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in upper.zip(of.counts) {
            n += count;
            self.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {n}"));
        }
        self.line(format_args!("{name}_sum {}", of.sum));
        self.line(format_args!("{name}_count {n}"));
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.out
    }

    fn family<'a>(&'a mut self, name: &'a str, help: &str, kind: &str) -> Family<'a> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        Family {
            out: &mut self.out,
            name,
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.out, "{line}");
    }
}

impl Family<'_> {
    /// The one sample of a family without labels.
    pub(super) fn value(&mut self, value: f64) {
        self.sample(&[], value);
    }

    /// A sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        // Writing to a String does not fail.
        let _ = writeln!(self.out, "{}{labels} {}", self.name, Number(value));
    }
}

/// A number as the format writes it.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => value.fmt(f),
        }
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_the_format_says() {
        let mut text = Text::default();
        text.gauge("a_ratio", "A share.\nOf what.").value(0.25);
        text.gauge("b", "B.")
            .sample(&[("x", "a\"b\\c\nd"), ("y", "é")], f64::NAN);
        text.counter("c_total", "C.").value(3e9);
        let of = Histogram {
            bounds: &[0.5, 1.0],
            counts: &[2, 0, 1],
            sum: 7.5,
        };
        text.histogram("d_seconds", "D.", &of);
        let expected = "\
# HELP a_ratio A share.\\nOf what.
# TYPE a_ratio gauge
a_ratio 0.25
# HELP b B.
# TYPE b gauge
b{x=\"a\\\"b\\\\c\\nd\",y=\"é\"} NaN
# HELP c_total C.
# TYPE c_total counter
c_total 3000000000
# HELP d_seconds D.
# TYPE d_seconds histogram
d_seconds_bucket{le=\"0.5\"} 2
d_seconds_bucket{le=\"1\"} 2
d_seconds_bucket{le=\"+Inf\"} 3
d_seconds_sum 7.5
d_seconds_count 3
";
        assert_eq!(text.finish(), expected);
    }
}
