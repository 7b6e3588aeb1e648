//! The command as it is typed, on this machine and folders made for it.

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    options: Options,
}

fn typed(arguments: &[&str]) -> Result<Options, clap::Error> {
    let arguments = std::iter::once("m2t doctor").chain(arguments.iter().copied());
    Ok(Typed::try_parse_from(arguments)?.options)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    check: String,
    state: String,
    found: String,
    mend: Option<String>,
}

/// The exit code and the lines of `m2t doctor --json`.
fn examined(arguments: &[&str]) -> (ExitCode, Vec<Line>) {
    let options = typed(&[&["--json"], arguments].concat()).unwrap();
    let mut out = Vec::new();
    let code = run(&options, &mut out).unwrap();
    (code, serde_json::from_slice(&out).unwrap())
}

fn state<'a>(lines: &'a [Line], check: &str) -> &'a str {
    &lines.iter().find(|line| line.check == check).unwrap().state
}

#[test]
fn json_has_the_checks_that_the_help_names_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing");
    let output = folder.path().to_str().unwrap();
    let (code, lines) = examined(&["--data", nothing.to_str().unwrap(), "--output", output]);
    let help = Typed::command().render_long_help().to_string();
    let named = help.split_once("Checks: ").unwrap().1.split_once('.').unwrap().0;
    let named: Vec<&str> = named.split(',').map(str::trim).collect();
    let checks: Vec<&str> = lines.iter().map(|line| line.check.as_str()).collect();
    assert_eq!(checks, named);
    for line in &lines {
        let mends = ["warn", "bad"].contains(&line.state.as_str());
        assert!(
            mends || ["ok", "skip"].contains(&line.state.as_str()),
            "{}",
            line.state
        );
        assert_eq!(line.mend.is_some(), mends, "{}", line.check);
        assert!(!line.found.is_empty());
    }
    assert_eq!(
        (state(&lines, "data"), state(&lines, "decoding")),
        ("bad", "skip")
    );
    assert!(["ok", "warn"].contains(&state(&lines, "output")));
    assert_eq!(state(&lines, "coordinator"), "skip");
    assert_eq!(code, ExitCode::FAILURE);
}

#[test]
fn what_is_typed_wrongly_is_refused() {
    for wrong in [
        ["--devices", "many"],
        ["--coordinator", "nowhere"],
        ["--world", "many"],
    ] {
        assert_eq!(typed(&wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
    }
    for wrong in [["-f", "8x_v100_100"], ["-f", "missing.toml"]] {
        let error = run(&typed(&wrong).unwrap(), &mut Vec::new()).unwrap_err();
        assert!(
            error.is::<Refused>() && error.to_string().contains(wrong[1]),
            "{error}"
        );
    }
}
