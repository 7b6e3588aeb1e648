//! Pages of made runs.

use std::fmt::Write as _;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Tool {
    #[command(flatten)]
    options: Options,
}

fn call(arguments: &[&str]) -> anyhow::Result<String> {
    let options = Tool::parse_from([&["report"], arguments].concat()).options;
    let mut out = Vec::new();
    run(&options, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// The output folder of a run that lost a machine in its middle.
fn made_run(folder: &Path, n_steps: u64, set: &str) {
    fs::create_dir_all(folder.join("checkpoints/step-000000040")).unwrap();
    let recipe = m2t_common::recipe::load("8x_v100_100e", &[set.to_owned()], None, |_| unreachable!());
    let recipe = recipe.unwrap().recipe;
    fs::write(folder.join("recipe.json"), serde_json::to_vec(&recipe).unwrap()).unwrap();
    fs::write(
        folder.join("ledger.json"),
        r#"{"n_samples":10240,"ledger":[],"replaced":[]}"#,
    )
    .unwrap();
    let mut metrics = String::new();
    for step in 1..=n_steps {
        let (loss, generation) = (4.0 / (step as f64).sqrt(), if step > n_steps / 2 { 3 } else { 1 });
        let _ = writeln!(
            metrics,
            r#"{{"step":{step},"epoch":0,"loss":{loss},"loss_by_rank":[1.0,2.0],"learning_rate":0.1,"parameter_momentum":0.99,"statistics_momentum":1.0,"gradient_norm":3.5,"images_per_second":900.0,"data_wait":0.01,"generation":{generation}}}"#
        );
    }
    fs::write(folder.join("metrics.jsonl"), metrics).unwrap();
    fs::write(
        folder.join("events.jsonl"),
        "{\"at\":1795630498748,\"kind\":\"run_begun\",\"text\":\"a new run begins\"}\n\
         {\"at\":1795630500000,\"kind\":\"generation_ended\",\"text\":\"generation 1 ended: machine <beta> was lost\"}\n\
         {\"at\":1795630575190,\"kind\":\"run_finished\",\"text\":\"finished at step 40; the state's digest is 04ab\"}\n",
    )
    .unwrap();
    fs::write(
        folder.join("evaluations.jsonl"),
        "{\"step\":20,\"encoder\":\"teacher\",\"method\":\"knn\",\"top1\":0.41}\n\
         {\"step\":40,\"encoder\":\"teacher\",\"method\":\"knn\",\"top1\":0.53,\"n_images\":372}\n",
    )
    .unwrap();
}

#[test]
fn one_run_makes_a_page_that_needs_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let (folder, to) = (root.path().join("first"), root.path().join("page.html"));
    made_run(&folder, 40, "lr256=0.3");
    let (folder, to) = (folder.to_str().unwrap(), to.to_str().unwrap());
    let said = call(&[folder, "--to", to]).unwrap();
    assert!(said.contains("page.html"), "{said}");
    let page = fs::read_to_string(to).unwrap();
    assert_eq!(page.matches("<figure>").count(), 8);
    for text in [
        "<h1>first</h1>",
        "40 of 1\u{a0}000 steps",
        "kNN, teacher 53.0 %",
        "machine &lt;beta&gt; was lost",
        "<code>lr256</code>",
        "2026-11-25 18:14 UTC",
        ">g3</text>",
        ">100 %</text>",
    ] {
        assert!(page.contains(text), "{text} is not in the page");
    }
    let without_own_font = page.replacen("url(data:font/otf;base64,", "", 1);
    for outside in ["http:", "https:", "<script", "src=", "url(", "@import", "<link"] {
        assert!(!without_own_font.contains(outside), "{outside} is in the page");
    }
    // A report is replaced; what is none is not.
    call(&[folder, "--to", to]).unwrap();
    fs::write(to, "somebody's thesis").unwrap();
    let refused = call(&[folder, "--to", to]).unwrap_err();
    assert!(
        refused.is::<Refused>() && refused.to_string().contains("no report"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(to).unwrap(), "somebody's thesis");
}

#[test]
fn several_runs_are_told_apart_and_their_recipes_compared() {
    let root = tempfile::tempdir().unwrap();
    let to = root.path().join("page.html");
    for (name, set) in [("one", "lr256=0.3"), ("other", "lr256=0.1")] {
        made_run(&root.path().join(name), 40, set);
    }
    let folders = ["one", "other"].map(|name| root.path().join(name).display().to_string());
    call(&[&folders[0], &folders[1], "--to", to.to_str().unwrap()]).unwrap();
    let page = fs::read_to_string(to).unwrap();
    for text in [
        "<h1>2 runs</h1>",
        ">other</text>",
        "stroke=\"#D55E00\"",
        "<td class=\"other\">0.3</td><td class=\"other\">0.1</td>",
        ">other: kNN, teacher</text>",
        "Regroups of one",
    ] {
        assert!(page.contains(text), "{text} is not in the page");
    }
}

#[test]
fn plots_are_written_as_svg_and_as_png_with_text_in_it() {
    let root = tempfile::tempdir().unwrap();
    let (folder, plots) = (root.path().join("run"), root.path().join("plots"));
    made_run(&folder, 40, "lr256=0.3");
    let to = root.path().join("page.html");
    let plots_text = plots.to_str().unwrap();
    call(&[
        folder.to_str().unwrap(),
        "--to",
        to.to_str().unwrap(),
        "--plots",
        plots_text,
    ])
    .unwrap();
    let svg = fs::read_to_string(plots.join("loss.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"));
    let decoder = png::Decoder::new(std::io::BufReader::new(
        fs::File::open(plots.join("loss.png")).unwrap(),
    ));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (960, 588));
    // Where the title stands: dark on white, and smooth in between.
    let title = (8..44).flat_map(|y| (100..190).map(move |x| (y * 960 + x) * 3));
    let title: Vec<u8> = title.map(|at| pixels[at]).collect();
    let n_dark = title.iter().filter(|&&value| value < 80).count();
    let n_between = title.iter().filter(|&&value| (80..230).contains(&value)).count();
    assert!(
        n_dark > 80 && n_between > 80,
        "{n_dark} dark, {n_between} between"
    );
    assert_eq!(fs::read_dir(plots).unwrap().count(), 16);
}

#[test]
fn damage_is_told_and_the_rest_is_shown() {
    let root = tempfile::tempdir().unwrap();
    let (folder, to) = (root.path().join("run"), root.path().join("page.html"));
    made_run(&folder, 40, "lr256=0.3");
    fs::remove_file(folder.join("events.jsonl")).unwrap();
    fs::write(folder.join("ledger.json"), "{").unwrap();
    let metrics = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let metrics = metrics.replace("\"loss\":4,", "\"loss\":null,") + "{\"step\":41,\"lo";
    fs::write(folder.join("metrics.jsonl"), metrics).unwrap();
    call(&[folder.to_str().unwrap(), "--to", to.to_str().unwrap()]).unwrap();
    let page = fs::read_to_string(to).unwrap();
    for text in [
        "ledger.json was left out",
        "events.jsonl is missing",
        "the last line is not whole",
        "the loss of 1 steps is no finite number",
        "not told in events.jsonl",
    ] {
        assert!(page.contains(text), "{text} is not in the page");
    }
}

#[test]
fn a_run_that_has_only_begun_and_a_folder_that_is_no_run() {
    let root = tempfile::tempdir().unwrap();
    let (folder, to) = (root.path().join("run"), root.path().join("page.html"));
    made_run(&folder, 40, "lr256=0.3");
    for file in ["metrics.jsonl", "events.jsonl", "evaluations.jsonl"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    let (run_text, to) = (folder.to_str().unwrap(), to.to_str().unwrap());
    call(&[run_text, "--to", to]).unwrap();
    assert!(fs::read_to_string(to).unwrap().contains("no step to draw yet"));
    let refused = call(&[root.path().to_str().unwrap(), "--to", to]).unwrap_err();
    assert!(refused.is::<Refused>(), "{refused}");
    let many = [run_text; 13];
    assert!(call(&many).unwrap_err().to_string().contains("13 runs"));
}

#[test]
fn features_make_a_map_and_with_the_photographs_pictures_and_their_neighbours() {
    let root = tempfile::tempdir().unwrap();
    let text = |name: &str| root.path().join(name).display().to_string();
    made_run(&root.path().join("run"), 40, "lr256=0.3");
    let set = m2t_data::synth::Synth {
        classes: 2,
        train_per_class: 10,
        val_per_class: 1,
        pixels: 32,
        ..m2t_data::synth::Synth::new(root.path().join("set"))
    };
    m2t_data::synth::generate(&set).unwrap();
    let index = m2t_data::Index::read(&root.path().join("set/train")).unwrap();
    let files: Vec<String> = index
        .entries()
        .map(|entry| entry.path().display().to_string())
        .collect();
    let classes: Vec<&str> = index.classes().collect();
    // Of the first class all look alike, and the last of the second class looks like them.
    let rows: Vec<Vec<f32>> = (0..20_u8)
        .map(|i| {
            let turn = if (10..19).contains(&i) { 1.5_f32 } else { 0.0 } + f32::from(i) * 0.01;
            vec![turn.cos(), turn.sin(), 0.1]
        })
        .collect();
    let labels: Vec<i64> = (0..20).map(|i| i64::from(i >= 10)).collect();
    let texts = [
        ("classes", serde_json::to_string(&classes).unwrap()),
        ("files", serde_json::to_string(&files).unwrap()),
    ];
    let texts = texts.each_ref().map(|(key, text)| (*key, text.as_str()));
    let bytes = features::tests::file(&rows, &labels, &texts);
    fs::write(root.path().join("f.safetensors"), bytes).unwrap();
    let (run_text, to, file) = (text("run"), text("page.html"), text("f.safetensors"));

    call(&[&run_text, "--to", &to, "--features", &file]).unwrap();
    let page = fs::read_to_string(&to).unwrap();
    assert!(page.contains("Features of run") && page.matches("<circle").count() >= 20);
    assert!(!page.contains("<img"), "no picture without --data");

    let (data, plots) = (text("set/train"), text("plots"));
    call(&[
        &run_text,
        "--to",
        &to,
        "--features",
        &file,
        "--data",
        &data,
        "--plots",
        &plots,
    ])
    .unwrap();
    let page = fs::read_to_string(&to).unwrap();
    assert_eq!(page.matches("<img src=\"data:image/jpeg;base64,").count(), 8 * 6);
    assert!(page.matches("✓ ").count() > 30 && page.contains("✗ "));
    assert!(Path::new(&plots).join("features-run.png").is_file());

    // Of other photographs.
    let other = text("set/val");
    let refused = call(&[&run_text, "--to", &to, "--features", &file, "--data", &other]).unwrap_err();
    assert!(
        refused.is::<Refused>()
            && refused
                .to_string()
                .contains("2 images and the features are of 20"),
        "{refused}"
    );
    let refused = call(&[&run_text, &run_text, "--features", &file]).unwrap_err();
    assert!(refused.is::<Refused>(), "{refused}");
}
