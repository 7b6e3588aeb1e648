//! A small program and what is said of it.

use clap::{Arg, ArgAction, Command};
use clap_complete::Shell;

use super::*;

fn program() -> Command {
    Command::new("paint")
        .version("1.2.3")
        .about("Paints walls.")
        .after_help("Exit codes: 0 painted.")
        .arg(
            Arg::new("colour")
                .short('c')
                .long("colour")
                .value_name("NAME")
                .value_parser(["red", "blue"])
                .default_value("red")
                .env("PAINT_COLOUR")
                .help("Which colour"),
        )
        .arg(
            Arg::new("dry")
                .long("dry")
                .action(ArgAction::SetTrue)
                .help("Paints nothing"),
        )
        .arg(Arg::new("secret").long("secret").hide(true))
        .subcommand(
            Command::new("wash")
                .about("Washes the brush.")
                .arg(Arg::new("brush").required(true)),
        )
        .subcommand(Command::new("hidden").hide(true))
}

fn described(topic: &Topic) -> String {
    let mut out = Vec::new();
    topic.describe(program(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_page_has_each_command_and_option_and_nothing_hidden() {
    let expected = "\
<!-- Made by `cargo xtask reference` from the program itself; do not edit. -->

# `paint`

Paints walls.

```text
Usage: paint [OPTIONS] [COMMAND]
```

- `-c, --colour <NAME>`: Which colour. One of `red`, `blue`. Default: `red`. Or by the variable `PAINT_COLOUR`.
- `--dry`: Paints nothing.

```text
Exit codes: 0 painted.
```

## `paint wash`

Washes the brush.

```text
Usage: paint wash <brush>
```

- `<BRUSH>`
";
    assert_eq!(described(&Topic::Page), expected);
}

#[test]
fn shells_complete_options_and_commands() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = described(&Topic::Completions(shell));
        for word in ["paint", "wash", "colour", "blue"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn each_command_gets_a_man_page() {
    let folder = std::env::temp_dir().join(format!("m2t-describe-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    described(&Topic::Man(folder.clone().into()));
    for page in ["paint.1", "paint-wash.1"] {
        let text = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{text}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_cannot_be_asked_is_none() {
    let read = |words: &[&str]| Topic::read(words.iter().map(OsString::from));
    assert_eq!(
        read(&["completions", "zsh"]),
        Some(Topic::Completions(Shell::Zsh))
    );
    for words in [
        &[][..],
        &["completions"],
        &["completions", "csh"],
        &["man"],
        &["pages"],
    ] {
        assert_eq!(read(words), None, "{words:?}");
    }
}
