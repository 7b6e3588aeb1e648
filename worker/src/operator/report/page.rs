//! The report as one HTML page: everything is in it, nothing is fetched, no script runs.
//!
//! The font that plots are measured by is in it, too, so that nothing in them overlaps on any machine.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::facts::{self, Row};
use super::figure::Figure;
use super::image::{SUBSET, svg_element};
use super::map::{Example, Picture, View};
use super::palette;
use super::record::{Difference, RecipeRecord};
use super::run::{Regroup, Run};

/// By which a page is known to be a report, and may be replaced by another.
pub(super) const GENERATOR: &str = "<meta name=\"generator\" content=\"m2t report\">";

const STYLE: &str = include_str!("page/style.css");

/// Regroups that a table shows at most.
const MOST_REGROUPS: usize = 40;

/// What a page is made of.
pub(super) struct Contents<'a> {
    pub(super) runs: &'a [Run],
    pub(super) figures: &'a [Figure],
    /// What the runs' features show, where that was asked for.
    pub(super) views: &'a [View],
    /// When it is made, in milliseconds since 1970.
    pub(super) now: u64,
}

/// The whole page.
///
/// # Errors
/// When a figure cannot be drawn.
pub(super) fn page(contents: &Contents<'_>) -> anyhow::Result<String> {
    let runs = contents.runs;
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let title = escape(&names.join(", "));
    let font = format!(
        "@font-face {{ font-family: Inter; src: url(data:font/otf;base64,{}) }}\n",
        STANDARD.encode(SUBSET)
    );
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{GENERATOR}\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:\">\n\
         <title>{title} · m2t report</title>\n<style>\n{font}{STYLE}</style>\n</head>\n<body>\n"
    );
    header(&mut html, runs);
    html += "<section class=\"figures\">\n";
    for figure in contents.figures {
        let svg = svg_element(figure)?;
        let _ = writeln!(html, "<figure>{svg}</figure>");
    }
    html += "</section>\n";
    if contents.figures.is_empty() {
        html += "<p>There is no step to draw yet.</p>\n";
    } else {
        html += "<p class=\"muted\">Strong lines are running means, their windows stand in the titles; light lines are the steps themselves, and \
                 where a run has more steps than a plot has room, the band reaches from the least to the largest of them. \
                 Upright lines are regroups, named by the generation that took over.</p>\n";
    }
    for view in contents.views {
        features(&mut html, view)?;
    }
    facts_table(&mut html, runs);
    for run in runs.iter().filter(|run| !run.regroups.is_empty()) {
        regroups(&mut html, run, runs.len());
    }
    recipes(&mut html, runs);
    notes(&mut html, runs);
    let (version, now) = (env!("CARGO_PKG_VERSION"), facts::moment(contents.now));
    let _ = write!(
        html,
        "<footer>Made by m2t report {version} on {now}.</footer>\n</body>\n</html>\n"
    );
    Ok(html)
}

/// Text as HTML takes it, in an element and in an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

fn header(html: &mut String, runs: &[Run]) {
    if let [run] = runs {
        let (name, summary) = (escape(&run.name), escape(&facts::summary(run)));
        let folder = escape(&run.folder.display().to_string());
        let _ = write!(
            html,
            "<header>\n<h1>{name}</h1>\n<p>{summary}</p>\n<p class=\"muted\"><code>{folder}</code></p>\n</header>\n"
        );
        return;
    }
    let _ = write!(
        html,
        "<header>\n<h1>{} runs</h1>\n<ul class=\"runs\">\n",
        runs.len()
    );
    for (i, run) in runs.iter().enumerate() {
        let color = palette::css(palette::line(i));
        let (name, summary) = (escape(&run.name), escape(&facts::summary(run)));
        let _ = writeln!(
            html,
            "<li><i style=\"background:{color}\"></i><b>{name}</b> <small>{summary}</small></li>"
        );
    }
    *html += "</ul>\n</header>\n";
}

/// A map, and pictures with their neighbours beside it.
fn features(html: &mut String, view: &View) -> anyhow::Result<()> {
    let (title, svg) = (escape(&view.map.title), svg_element(&view.map)?);
    let _ = write!(
        html,
        "<h2>{title}</h2>\n<p class=\"muted\">Each dot is an image in the plane in which the features differ most. \
         Colours are classes, which training never saw; clusters of one colour are what it found by itself.</p>\n\
         <section class=\"features\">\n<figure>{svg}</figure>\n"
    );
    if !view.examples.is_empty() {
        *html += "<div><p class=\"muted\">Pictures, and the five most like each by their features: ✓ of the same class, ✗ of another.</p>\n";
        for Example { query, neighbours } in &view.examples {
            *html += "<div class=\"row\">";
            picture(html, query, ("query", ""));
            for neighbour in neighbours {
                let kind = if neighbour.class == query.class {
                    ("right", "✓ ")
                } else {
                    ("wrong", "✗ ")
                };
                picture(html, neighbour, kind);
            }
            *html += "</div>\n";
        }
        *html += "</div>\n";
    }
    *html += "</section>\n";
    Ok(())
}

fn picture(html: &mut String, picture: &Picture, (kind, sign): (&str, &str)) {
    let class = escape(&picture.class);
    let shown = match &picture.address {
        Ok(address) => format!("<img src=\"{address}\" alt=\"{class}\">"),
        Err(problem) => format!("<small>{}</small>", escape(problem)),
    };
    let _ = write!(
        html,
        "<figure class=\"{kind}\">{shown}<figcaption>{sign}{class}</figcaption></figure>"
    );
}

fn facts_table(html: &mut String, runs: &[Run]) {
    let several = if runs.len() > 1 { " several" } else { "" };
    let _ = write!(
        html,
        "<h2>Facts</h2>\n<div class=\"wide\"><table class=\"facts{several}\">\n"
    );
    if runs.len() > 1 {
        *html += "<thead><tr><th></th>";
        for run in runs {
            let _ = write!(html, "<th>{}</th>", escape(&run.name));
        }
        *html += "</tr></thead>\n";
    }
    *html += "<tbody>\n";
    for Row { name, values } in facts::rows(runs) {
        let _ = write!(html, "<tr><th scope=\"row\">{name}</th>");
        for (run, value) in runs.iter().zip(values) {
            let (run, value) = (escape(&run.name), escape(&value));
            let _ = write!(html, "<td data-run=\"{run}\">{value}</td>");
        }
        *html += "</tr>\n";
    }
    *html += "</tbody></table></div>\n";
}

fn regroups(html: &mut String, run: &Run, n_runs: usize) {
    let of = if n_runs > 1 {
        format!(" of {}", escape(&run.name))
    } else {
        String::new()
    };
    let _ = write!(
        html,
        "<h2>Regroups{of}</h2>\n<div class=\"wide\"><table>\n\
         <thead><tr><th>Step</th><th>Generation</th><th>Took</th><th>Why</th></tr></thead>\n<tbody>\n"
    );
    for regroup in run.regroups.iter().take(MOST_REGROUPS) {
        let Regroup {
            step,
            generation,
            reason,
            seconds,
        } = regroup;
        let took = seconds.map_or_else(|| "not measured".to_owned(), facts::duration);
        let why = escape(reason.as_deref().unwrap_or("not told in events.jsonl"));
        let _ = writeln!(
            html,
            "<tr><td class=\"number\">{step}</td><td class=\"number\">{generation}</td><td class=\"number\">{took}</td><td>{why}</td></tr>"
        );
    }
    *html += "</tbody></table></div>\n";
    let more = run.regroups.len().saturating_sub(MOST_REGROUPS);
    if more > 0 {
        let _ = writeln!(
            html,
            "<p class=\"muted\">And {more} more; events.jsonl has them all.</p>"
        );
    }
}

fn recipes(html: &mut String, runs: &[Run]) {
    let known: Vec<(&str, &RecipeRecord)> = runs
        .iter()
        .filter_map(|run| run.recipe.as_ref().map(|recipe| (run.name.as_str(), recipe)))
        .collect();
    let records: Vec<&RecipeRecord> = known.iter().map(|(_, recipe)| *recipe).collect();
    let differences = RecipeRecord::differences(&records);
    if known.is_empty() {
        return;
    }
    *html += "<h2>Recipe: what differs</h2>\n";
    if differences.is_empty() {
        *html += "<p>Nothing: every key has its default.</p>\n";
        return;
    }
    let text = if known.len() > 1 {
        "Keys in which the runs differ from each other, in bold, or from the default. Those of <code>run</code> change no bit of the result."
    } else {
        "All other keys have their defaults. Those of <code>run</code> change no bit of the result."
    };
    let _ = write!(
        html,
        "<p class=\"muted\">{text}</p>\n<div class=\"wide\"><table>\n<thead><tr><th>Key</th><th>Default</th>"
    );
    for (name, _) in &known {
        let _ = write!(html, "<th>{}</th>", escape(name));
    }
    *html += "</tr></thead>\n<tbody>\n";
    for difference in &differences {
        self::difference(html, difference);
    }
    *html += "</tbody></table></div>\n";
}

fn difference(html: &mut String, difference: &Difference) {
    let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "–".to_owned(), escape);
    let class = if difference.is_between() {
        " class=\"other\""
    } else {
        ""
    };
    let (key, default) = (escape(&difference.key), shown(&difference.default));
    let _ = write!(
        html,
        "<tr><td class=\"key\"><code>{key}</code></td><td class=\"muted\">{default}</td>"
    );
    for value in &difference.values {
        let _ = write!(html, "<td{class}>{}</td>", shown(value));
    }
    *html += "</tr>\n";
}

fn notes(html: &mut String, runs: &[Run]) {
    if runs.iter().all(|run| run.notes.sentences().is_empty()) {
        return;
    }
    *html += "<h2>What could not be read</h2>\n<ul>\n";
    for run in runs {
        for sentence in run.notes.sentences() {
            let (name, sentence) = (escape(&run.name), escape(sentence));
            let _ = writeln!(html, "<li><b>{name}</b>: {sentence}</li>");
        }
    }
    *html += "</ul>\n";
}
