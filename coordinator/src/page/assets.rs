//! What the page is made of: files of this folder, in the program itself. No build step, no framework, nothing from elsewhere.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Desk;
use super::routes::refuse;

const INDEX: &str = include_str!("assets/index.html");
/// Where the page's token goes.
const TOKEN: &str = "{{token}}";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file by its name: (name, type, content).
const FILES: &[(&str, &str, &str)] = &[
    ("page.css", STYLE, include_str!("assets/page.css")),
    ("page.js", SCRIPT, include_str!("assets/page.js")),
    ("source.js", SCRIPT, include_str!("assets/source.js")),
    ("words.js", SCRIPT, include_str!("assets/words.js")),
    ("elements.js", SCRIPT, include_str!("assets/elements.js")),
    ("chart.js", SCRIPT, include_str!("assets/chart.js")),
    ("charts.js", SCRIPT, include_str!("assets/charts.js")),
    ("fleet.js", SCRIPT, include_str!("assets/fleet.js")),
    ("timeline.js", SCRIPT, include_str!("assets/timeline.js")),
    ("tables.js", SCRIPT, include_str!("assets/tables.js")),
    ("orders.js", SCRIPT, include_str!("assets/orders.js")),
    ("session.js", SCRIPT, include_str!("assets/session.js")),
];

/// The page, with the token for its orders where it may give any.
pub(super) async fn index(State(desk): State<Arc<Desk>>) -> Response {
    let page = INDEX.replace(TOKEN, desk.guard.token().unwrap_or_default());
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

/// One of its files.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => ([(header::CONTENT_TYPE, *kind)], *content).into_response(),
        None => refuse(StatusCode::NOT_FOUND, format!("the page has no file {name:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_nothing_that_is_not_here_and_runs_nothing_inline() {
        let mut n_asked = 0;
        for text in [INDEX]
            .into_iter()
            .chain(FILES.iter().map(|(.., content)| *content))
        {
            for marker in ["\"/assets/", "from \"./"] {
                for (at, _) in text.match_indices(marker) {
                    let name = text[at + marker.len()..].split('"').next().unwrap();
                    assert!(FILES.iter().any(|(known, ..)| *known == name), "{name}");
                    n_asked += 1;
                }
            }
            assert!(!text.contains("https://"), "nothing comes from elsewhere");
        }
        assert!(n_asked >= FILES.len(), "only {n_asked} files are asked for");
        assert_eq!(INDEX.matches(TOKEN).count(), 1);
        for inline in ["<style", "style=", "onclick", "<script>"] {
            assert!(
                !INDEX.contains(inline),
                "{inline} is refused by the page's own policy"
            );
        }
    }
}
