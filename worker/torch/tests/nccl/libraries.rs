//! Libraries that are missing, are others, or are of releases that do not do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use m2t_torch::collective::Nccl;
use m2t_torch::collective::nccl::{Backend, Library, NVLS_VARIABLE, PATH_VARIABLE, UniqueId, Version};

use crate::fake::{Fake, PATIENT};

fn refusal(places: &[PathBuf]) -> String {
    Library::open(places)
        .map(|library| library.version())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_missing_nccl_is_an_error_that_says_what_to_do() {
    let error = refusal(&["/nowhere/libnccl.so.2".into()]);
    assert!(
        error.starts_with("no NCCL: /nowhere/libnccl.so.2: cannot open shared object file"),
        "{error}"
    );
    assert!(
        error.ends_with(
            "install nvidia-nccl-cu13 beside torch, or name a library by M2T_NCCL=/path/libnccl.so.2"
        ),
        "{error}"
    );
}

#[test]
fn a_library_that_is_not_nccl_is_refused_by_the_function_it_lacks() {
    let fake = Fake::new();
    let error = refusal(&[fake.path("libcuda.so.1")]);
    assert!(
        error.contains("libcuda.so.1 has no function ncclGetVersion: it is another library"),
        "{error}"
    );
}

#[test]
fn bad_releases_are_refused_by_their_number() {
    let fake = Fake::new();
    fake.tell(&["ncclGetVersion * value 22804"]);
    let path = fake.path("libnccl.so.2");
    let error = refusal(std::slice::from_ref(&path));
    let expected = format!(
        "NCCL 2.28.4 ({}) may hang or crash when a group is aborted",
        path.display()
    );
    assert!(error.starts_with(&expected), "{error}");
    assert!(
        error.contains("nvidia-nccl-cu13==2.28.9") && error.contains("M2T_NCCL="),
        "{error}"
    );
    fake.tell(&["ncclGetVersion * value 21403"]);
    assert!(refusal(&[path]).contains("is older than 2.17.0"));
    fake.tell(&["ncclGetVersion * value 22809"]);
    assert_eq!(fake.library().version(), Version(22_809));
}

#[test]
fn an_id_that_cannot_be_made_says_why() {
    let fake = Fake::new();
    fake.tell(&["ncclGetUniqueId * fail 2"]);
    let error = UniqueId::fresh(&fake.library()).unwrap_err().to_string();
    assert_eq!(
        error,
        "NCCL: ncclGetUniqueId: an error of the fake: no more is known"
    );
}

/// Runs this test again as a program of its own, with the variables set.
#[test]
fn the_environment_names_the_library() {
    const AGAIN: &str = "M2T_TEST_NCCL_AGAIN";
    if std::env::var_os(AGAIN).is_some() {
        match Library::load() {
            Ok(library) => println!("loaded {}", library.version()),
            Err(error) => println!("refused: {error}"),
        }
        return;
    }
    let fake = Fake::new();
    let run = |nvls: Option<&str>| {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again
            .args([
                "--exact",
                "libraries::the_environment_names_the_library",
                "--nocapture",
            ])
            .env(AGAIN, "1")
            .env(PATH_VARIABLE, fake.path("libnccl.so.2"))
            .env_remove(NVLS_VARIABLE);
        let output = again
            .envs(nvls.map(|value| (NVLS_VARIABLE, value)))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(Some("0")).contains("loaded 2.30.4"));
    for nvls in [None, Some("1")] {
        let said = run(nvls);
        assert!(
            said.contains("refused: this process must be started with NCCL_NVLS_ENABLE=0"),
            "{said}"
        );
    }
}

/// The functions are those of a real release, and without a GPU its failure is a value like any other.
#[test]
fn a_real_nccl_is_opened_and_fails_in_words_without_a_gpu() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.python/nvidia/nccl/lib/libnccl.so.2");
    if !path.is_file() {
        println!("skipped: no NCCL at {}", path.display());
        return;
    }
    let library = Arc::new(Library::open(&[path]).unwrap());
    assert!(library.version() >= Version(22_700), "{}", library.version());
    let id = UniqueId::fresh(&library).unwrap();
    assert_eq!(id.to_string().parse::<UniqueId>().unwrap(), id);
    assert_ne!(UniqueId::fresh(&library).unwrap(), id);
    let fake = Fake::new();
    let backend = Backend {
        library,
        ..fake.backend()
    };
    // The fake driver is none for NCCL, which looks for one by itself; where there is a GPU, a group of one comes about.
    let group = Nccl::begin(&backend, id, (0, 1), PATIENT).unwrap();
    match group.until_whole() {
        Ok(()) => println!("this machine has a GPU"),
        Err(error) => assert!(
            error.to_string().starts_with("NCCL: ncclCommInitRankConfig: "),
            "{error}"
        ),
    }
}
