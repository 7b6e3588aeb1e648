//! What `m2t recipe` prints, and that it can be fed back.

use clap::Parser;
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{resolve, trace};

use super::*;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    options: Options,
}

/// Exit code and standard output.
fn printed(arguments: &[&str]) -> (ExitCode, String) {
    let arguments = std::iter::once("recipe").chain(arguments.iter().copied());
    let mut out = Vec::new();
    let code = run(&Program::parse_from(arguments).options, &mut out).unwrap();
    (code, String::from_utf8(out).unwrap())
}

fn file(folder: &tempfile::TempDir, name: &str, toml: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, toml).unwrap();
    path.to_str().unwrap().to_owned()
}

const OWN: &str = "base = \"32x_v100_300e\"\nsteps = 4000\nwarmup_epochs = 1\n[augment]\nhue = 0.05\n[run]\nheartbeat_timeout = \"250ms\"\n";

#[test]
fn what_is_printed_is_an_experiment_file_with_the_same_digest() {
    let folder = tempfile::tempdir().unwrap();
    let own = file(&folder, "own.toml", OWN);
    for arguments in [
        vec!["8x_2080ti_200e"],
        vec![own.as_str()],
        vec![
            own.as_str(),
            "--world",
            "64",
            "--set",
            "lr256=0.1234567890123456",
            "--set",
            "run.loader_ahead=5",
        ],
        vec!["momentum_teacher/exps/arxiv/exp_128_2080ti/momentum2_teacher_100e_4096batch_16mm_exp.py"],
    ] {
        let (code, text) = printed(&arguments);
        assert_eq!(code, ExitCode::SUCCESS);
        let again = resolve(
            Source::Experiment {
                name: "again",
                toml: &text,
            },
            &[],
            None,
        )
        .unwrap();
        let digest = format!("# digest              {} ", again.digest());
        assert!(text.contains(&digest), "{text}");
        let options = Program::parse_from(std::iter::once("recipe").chain(arguments)).options;
        let first = load(options.name.as_ref().unwrap(), &options.set, options.world, read).unwrap();
        assert_eq!(again.run, first.recipe.run);
        assert_eq!(again.digest(), first.recipe.digest());
    }
}

#[test]
fn each_value_has_its_source_and_the_comments_are_aligned() {
    let folder = tempfile::tempdir().unwrap();
    let own = file(&folder, "own.toml", OWN);
    let (_, text) = printed(&[&own, "--set", "seed=9"]);
    let mut places = Vec::new();
    for (line, origin) in [
        ("arch = \"resnet50\" ", "# default"),
        ("weight_decay = 1e-6 ", "# preset 32x_v100_300e"),
        ("steps = 4000 ", "# own.toml, line 2"),
        ("hue = 0.05 ", "# own.toml, line 5"),
        ("heartbeat_timeout = \"250ms\" ", "# own.toml, line 7"),
        ("seed = 9 ", "# --set seed=9"),
    ] {
        let found = text.lines().find(|text| text.starts_with(line)).expect(line);
        assert!(found.ends_with(origin), "{found}");
        places.push(found.find(" # ").unwrap());
    }
    assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    for fact in [
        "# batch of a rank     128 images",
        "# peak learning rate  4.8:",
        "\n[augment]\n",
        "\n[run]\n",
    ] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
}

#[test]
fn json_says_the_same() {
    let (_, text) = printed(&["32x_v100_100e", "--world", "16", "--json"]);
    assert_eq!(text.lines().count(), 1);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        json["keys"]["world"],
        json!({"value": 16, "origin": {"world": 16}})
    );
    assert_eq!(
        json["keys"]["augment.hue"],
        json!({"value": 0.1, "origin": "default"})
    );
    assert_eq!(
        (&json["batch_per_rank"], &json["name"]),
        (&json!(256), &json!("32x_v100_100e"))
    );
    let expected = trace(Source::Preset("32x_v100_100e"), &[], Some(16)).unwrap();
    assert_eq!(json["digest"], json!(expected.recipe.digest()));
}

#[test]
fn the_list_has_every_preset_once_with_its_numbers() {
    let (code, text) = printed(&[]);
    assert_eq!(code, ExitCode::SUCCESS);
    let line = |name: &str| {
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.trim_start().starts_with(name))
            .collect();
        assert_eq!(lines.len(), 1, "{name}: {text}");
        lines[0].split_whitespace().collect::<Vec<_>>()
    };
    for name in presets::names() {
        assert_eq!(line(&name).len(), 7, "{text}");
    }
    assert_eq!(
        line("32x_v100_100e"),
        ["32x_v100_100e", "4096", "128", "lars", "7.2", "1e-6", "100"]
    );
    assert_eq!(text.matches("ranks, published on").count(), 4, "{text}");
}

#[test]
fn a_difference_is_named_and_told_from_one_of_operation() {
    let folder = tempfile::tempdir().unwrap();
    let changed = file(
        &folder,
        "changed.toml",
        "base = \"8x_v100_100e\"\nsteps = 90\noptimizer = \"lars\"\nlr256 = 0.050\n[run]\nloader_threads = 6\n",
    );
    let operated = file(
        &folder,
        "operated.toml",
        "base = \"8x_v100_100e\"\n[run]\nloader_threads = 6\n",
    );
    let same = "momentum_teacher/exps/arxiv/exp_8_v100/momentum2_teacher_100e_exp.py";

    let (code, text) = printed(&["diff", "8x_v100_100e", &changed]);
    assert_eq!(code, ExitCode::from(1));
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["key", "8x_v100_100e", changed.as_str()]);
    for row in [
        &["epochs", "100", "not", "set"][..],
        &["optimizer", "\"sgd\"", "\"lars\""],
        &["steps", "not", "set", "90"],
        &[
            "run.loader_threads",
            "2",
            "6",
            "(does",
            "not",
            "change",
            "the",
            "result)",
        ],
    ] {
        assert!(rows.iter().any(|other| other == row), "{row:?}: {text}");
    }
    assert!(
        !text.contains("lr256") && text.contains("different digests"),
        "{text}"
    );

    let (code, text) = printed(&["diff", &operated, "8x_v100_100e"]);
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(
        text.contains("run.loader_threads") && text.contains("equal digests"),
        "{text}"
    );

    let (code, text) = printed(&["diff", same, "8x_v100_100e"]);
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(!text.contains("key "), "{text}");
    for wrong in [
        vec!["diff", same, "8x_v100_101e"],
        vec!["diff", "8x_v100_101e", same],
        vec!["8x_v100_100e", "--set", "btach=3"],
    ] {
        let options = Program::parse_from(std::iter::once("recipe").chain(wrong)).options;
        let error = run(&options, &mut Vec::new()).unwrap_err();
        assert!(
            error.is::<Refused>() && error.to_string().contains("did you mean"),
            "{error}"
        );
    }
}
