//! Wrong recipes and the sentences they get: where, what, and what to do.

use super::meant;
use crate::recipe::written::Source;
use crate::recipe::{RecipeError, load, resolve};

fn sentence(toml: &str, set: &str) -> String {
    let sets: Vec<&str> = Some(set).filter(|set| !set.is_empty()).into_iter().collect();
    let error = meant(toml, &sets).expect_err(&format!("{toml:?} {set:?} is wrong"));
    error.to_string()
}

/// A case a line: experiment (⏎ ends a line of it) | `--set` | how the sentence begins | what else it says, between &.
fn assert_says(cases: &str) {
    for case in cases.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = case.split('|').map(str::trim).collect();
        let [toml, set, place, words]: [&str; 4] = fields.try_into().expect(case);
        let said = sentence(&toml.replace(" ⏎ ", "\n"), set);
        assert!(said.starts_with(place), "{case}: {said:?}");
        for word in words.split('&').map(str::trim) {
            assert!(said.contains(word), "{case}: {said:?} does not say {word:?}");
        }
        assert_eq!(said.lines().count(), 1, "{said:?}");
    }
}

#[test]
fn unknown_keys_and_keys_in_the_wrong_table_are_refused_with_the_right_one() {
    assert_says(
        r#"
        seed = 1 ⏎ btach = 3 |  | test.toml, line 2: | `btach` & did you mean `batch`?
         | btach=3 | --set btach=3: | `btach` & `batch`
         | lr=0.1 | --set lr=0.1: | `lr` & `lr256`
        [augment] ⏎ hu = 0.1 |  | test.toml, line 2: | `augment.hu` & `augment.hue`
         | augment.heu=0.1 | --set augment.heu=0.1: | `augment.hue`
         | step=40 | --set step=40: | `steps`
        dropout = 0.5 |  | test.toml, line 1: | `dropout` & m2t recipe
        [augmnet] ⏎ hue = 0.1 |  | test.toml, line 1: | `augmnet` & `augment`
        [model] |  | test.toml, line 1: | `model` & m2t recipe
        hue = 0.3 |  | test.toml, line 1: | `hue` & [augment] & augment.hue
         | loader_threads=6 | --set loader_threads=6: | [run] & run.loader_threads
        [run] ⏎ batch = 64 |  | test.toml, line 2: | `run.batch` & above the first table: batch
        [run] ⏎ hue = 0.1 |  | test.toml, line 2: | `run.hue` & augment.hue
        "#,
    );
}

#[test]
fn wrong_types_and_names_are_refused_with_what_belongs_there() {
    assert_says(
        r#"
        batch = "many" |  | test.toml, line 1: | batch = "many" & a whole number
         | batch=many | --set batch=many: | batch = "many" must be a whole number
         | batch=1e3 | --set batch=1e3: | batch = 1000.0 must be a whole number
         | batch=-8 | --set batch=-8: | batch = -8 & not a negative one
         | seed=-1 | --set seed=-1: | seed = -1 & not a negative one
         | pixels=5000000000 | --set pixels | pixels = 5000000000 & 4294967295
         | steps=soon | --set steps=soon: | steps = "soon" & a whole number
         | lr256=true | --set lr256=true: | lr256 = true & a number, such as 0.05
         | batch.size=3 | --set batch.size=3: | batch =  & a whole number
        augment = 3 |  | test.toml, line 1: | augment = 3 & a table
         | milestones=30 | --set milestones=30: | milestones = 30 & [60, 80]
         | milestones=[0.5] | --set milestones=[0.5]: | milestones = [0.5] & whole numbers
         | augment.blur_p=1.0 | --set augment.blur_p=1.0: | a pair of numbers & [1.0, 0.1]
         | augment.blur_p=[1, 1, 1] | --set | [1, 1, 1] & a pair of numbers
         | arch=resnet51 | --set arch=resnet51: | arch = "resnet51" & did you mean "resnet50" & "resnet152"
         | arch=50 | --set arch=50: | arch = 50 & there are "resnet18"
        optimizer = "adam" |  | test.toml, line 1: | "adam" & "sgd", "lars"
         | lr_schedule=warmup-cosine | --set lr | did you mean "warmup_cosine"
        "#,
    );
}

#[test]
fn durations_are_refused_with_the_one_that_was_meant() {
    let key = "run.heartbeat_timeout";
    for (written, words) in [
        ("10", "= 10 has no unit & write run.heartbeat_timeout = \"10s\""),
        ("0.5", "= 0.5 has no unit & \"500ms\""),
        ("\"10\"", "= \"10\" has no unit & \"10s\""),
        ("3 s", "= \"3 s\" is no duration & \"3s\""),
        ("3sec", "= \"3sec\" is no duration & \"3s\""),
        ("3 minutes", "= \"3 minutes\" is no duration & \"3m\""),
        (
            "3 parsecs",
            "= \"3 parsecs\" is no duration & \"10s\" & ms, s, m or h",
        ),
        ("[3]", "= [3] is no duration & \"10s\""),
        ("-3", "= -3 & \"10s\""),
        ("1ms", "\"1ms\" must lie between \"100ms\" and \"1h\""),
        ("2h", "\"2h\" must lie between \"100ms\" and \"1h\""),
    ] {
        let set = format!("{key}={written}");
        assert_says(&format!(" | {set} | --set {set}: {key} = | {words}"));
    }
}

#[test]
fn impossible_values_are_refused_with_the_bounds() {
    assert_says(
        r#"
         | batch=1001 | --set batch=1001: | batch = 1001 & world = 8 (default) & 1000
        batch = 1001 | world=10 | --set world=10: | batch = 1001 & world = 10 & 1000
         | batch=8 | --set batch=8: | batch = 8 & BatchNorm groups of 1 for world = 8 & 16
         | batch=4 | --set batch=4: | batch = 4 & groups of 0 & 16
         | world=0 | --set world=0: | world = 0 & between 1 and
         | lr256=nan | --set lr256=nan: | lr256 = nan & between 0 and
         | lr256=-0.1 | --set lr256=-0.1: | lr256 = -0.1 & between 0 and
         | lr256=inf | --set lr256=inf: | lr256 = inf & between 0 and
        momentum = 1.5 |  | test.toml, line 1: | momentum = 1.5 & between 0 and 1
         | epochs=0 | --set epochs=0: | epochs = 0 & between 1 and
         | steps=0 | --set steps=0: | steps = 0 & between 1 and
        epochs = 2 ⏎ steps = 40 |  | test.toml, line 2: | steps = 40 & epochs = 2 & one of the two
        epochs = 5 |  | test.toml, line 1: | warmup_epochs = 10 & epochs = 5 (test.toml, line 1) & train longer
         | warmup_epochs=101 | --set warmup_epochs=101: | warmup_epochs = 101 & epochs = 100 (default)
         | milestones=[5, 3] | --set milestones=[5, 3]: | [5, 3] must ascend
         | milestones=[5, 5] | --set milestones=[5, 5]: | must ascend
        lr_schedule = "multistep" ⏎ milestones = [60, 100] |  | test.toml, line 2: | milestones = [60, 100] & epochs = 100 (default) & 1 to 99
        lr_schedule = "multistep" ⏎ milestones = [60, 80] | epochs=70 | --set epochs=70: | milestones = [60, 80] & 1 to 69
         | augment.hue=0.7 | --set augment.hue=0.7: | augment.hue = 0.7 & 0.5
         | augment.blur_p=[1.0, 1.1] | --set | [1.0, 1.1] must hold numbers between 0 and 1
         | augment.crop_area=[0.5, 0.2] | --set | [0.5, 0.2] runs backwards & [0.2, 0.5]
         | augment.blur_sigma=[2.0, nan] | --set | augment.blur_sigma & between 0 and 100
         | run.keep_checkpoints=0 | --set | run.keep_checkpoints = 0 & between 1 and
         | run.replica_check=-1 | --set | run.replica_check = -1 & not a negative one
         | run.replica_check=2000000000 | --set | run.replica_check & between 0 and
         | run.ledger=ful | --set run.ledger=ful: | run.ledger = "ful" & did you mean "full"
         | ledger=ful | --set ledger=ful: | run.ledger = "ful" & did you mean "full"
         | threads_per_device=0 | --set | threads_per_device = 0 & between 1 and
        "#,
    );
}

#[test]
fn files_and_arguments_that_cannot_be_read_are_refused() {
    assert_says(
        r#"
        seed = 1 ⏎ this is no toml |  | test.toml, line 2: | not TOML & batch = 1024
        arch = resnet18 |  | test.toml, line 1: | not TOML
        seed = 1 ⏎ seed = 2 |  | test.toml, line 2: | duplicate key
        seed = 1 ⏎ base = "8x_v100" |  | test.toml, line 2: | "8x_v100" & did you mean "8x_v100_100e
        base = 3 |  | test.toml, line 1: | base = 3 & 8x_v100_100e
         | base=8x_v100_100e | --set base=8x_v100_100e: | experiment file
         | seed | --set "seed" | key=value
         | =3 | --set "=3" | key=value
         | seed= | --set "seed=" | key=value
         | a b=3 | --set "a b=3" | key=value
        "#,
    );
}

#[test]
fn a_world_of_the_command_line_is_blamed_for_what_it_breaks() {
    let said = resolve(Source::Preset("8x_v100_100e"), &[], Some(3)).unwrap_err();
    let said = said.to_string();
    for words in ["--world 3: batch = 1024 ", "world = 3 (--world 3)", "1023"] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn what_a_command_line_names_is_a_preset_or_a_file() {
    let none = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let said = |named: &str| load(named, &[], None, none).unwrap_err().to_string();
    assert_eq!(
        load("32x_v100_100e", &[], None, none).unwrap().recipe.name,
        "32x_v100_100e"
    );
    let published = "momentum_teacher/exps/arxiv/exp_8_v100/momentum2_teacher_200e_exp.py";
    assert_eq!(
        load(published, &[], None, none).unwrap().recipe.name,
        "8x_v100_200e"
    );
    let own = load("here/own.toml", &[], None, |_| Ok("seed = 3".to_owned())).unwrap();
    assert_eq!((own.recipe.name.as_str(), own.recipe.training.seed), ("own", 3));
    assert!(said("32x_v100_100").contains("did you mean \"32x_v100_100e"));
    assert!(said("resnet").contains("there are \"8x_v100_100e\", \"8x_v100_200e\""));
    assert!(said("exps/linear_eval_exp_byol.py").contains("exps/linear_eval_exp_byol.py"));
    let unread = load("gone.toml", &[], None, none).unwrap_err();
    assert!(matches!(unread, RecipeError::Unreadable { .. }));
    assert!(unread.to_string().contains("gone.toml") && unread.to_string().contains("m2t recipe"));
}
