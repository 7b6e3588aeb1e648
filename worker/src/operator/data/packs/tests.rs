//! Exit codes and words of `m2t data pack` and `m2t data unpack`.

use std::fs;

use clap::Parser;
use m2t_data::Index;
use m2t_data::synth::{Synth, generate};

use super::*;

#[derive(Parser)]
enum Tool {
    Pack(PackOptions),
    Unpack(UnpackOptions),
}

/// What a call ends with and writes; a failure's words.
fn call(arguments: &[&str]) -> Result<(ExitCode, String), String> {
    let mut out = Vec::new();
    let parsed = Tool::try_parse_from([&["data"], arguments].concat()).map_err(|error| error.to_string())?;
    let code = match parsed {
        Tool::Pack(options) => pack(options, &mut out),
        Tool::Unpack(options) => unpack(options, &mut out),
    };
    let code = code.map_err(|error| format!("{error:#}"))?;
    Ok((code, String::from_utf8(out).unwrap()))
}

fn is(code: ExitCode, number: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(number))
}

#[test]
fn a_set_is_packed_and_unpacked_and_both_say_what_they_did() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    generate(&Synth {
        classes: 2,
        train_per_class: 3,
        val_per_class: 1,
        pixels: 16,
        ..Synth::new(dir.path().join("set"))
    })
    .unwrap();
    let (train, out, back) = (path("set/train"), path("pack"), path("back"));
    let (code, said) = call(&["pack", &train, &out, "--shard-size", "1KiB"]).unwrap();
    let facts = Index::read(train.as_ref()).unwrap().facts();
    assert!(
        is(code, 0) && said.contains("6 images") && said.contains(&facts.fingerprint),
        "{said}"
    );
    let (code, said) = call(&["pack", &train, &out, "--shard-size", "1KiB"]).unwrap();
    assert!(is(code, 0) && !said.contains(" 0 of them there before"), "{said}");
    let (code, said) = call(&["unpack", &out, &back]).unwrap();
    assert!(
        is(code, 0) && said.contains("6 images unpacked, 0 there before"),
        "{said}"
    );
    assert_eq!(Index::read(back.as_ref()).unwrap().facts(), facts);

    // Another size than then, a folder that is none, a pack that is none, a full folder: all refused.
    for arguments in [
        &["pack", &train, &out][..],
        &["pack", &path("nowhere"), &path("new")],
        &["unpack", &train, &path("new")],
        &["pack", &train, &back],
    ] {
        let (code, said) = call(arguments).unwrap();
        assert!(is(code, 2) && said.is_empty(), "{arguments:?}");
    }
    fs::write(dir.path().join("file"), "").unwrap();
    let failed = call(&["pack", &train, &path("file/below")]).unwrap_err();
    assert!(failed.contains("cannot be written"), "{failed}");
}

#[test]
fn sizes_are_read_with_their_units() {
    assert_eq!(size("512MiB"), Ok(512 << 20));
    assert_eq!(size("1GiB"), Ok(1 << 30));
    assert_eq!(size("7"), Ok(7));
    for text in ["0", "", "GiB", "-1GiB", "1GB", "1.5GiB", "99999999999TiB"] {
        size(text).unwrap_err();
    }
}
