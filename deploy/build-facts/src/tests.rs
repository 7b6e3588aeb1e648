//! Commits of small repositories, and none where there is no repository.

use super::*;

fn in_git(root: &Path, arguments: &[&str]) {
    let author = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.com",
        "-c",
        "commit.gpgsign=false",
    ];
    let output = git(root).args(author).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
}

/// Where git is missing there is nothing to hold.
fn has_git() -> bool {
    let found = said(Command::new("git").arg("--version")).is_some();
    if !found {
        eprintln!("skipped: git is not installed");
    }
    found
}

/// A repository with one commit: Cargo.lock, Cargo.toml, src/a.rs and README.md.
fn repository(root: &Path) {
    fs::create_dir(root.join("src")).unwrap();
    for file in ["Cargo.lock", "Cargo.toml", "src/a.rs", "README.md"] {
        fs::write(root.join(file), "1").unwrap();
    }
    in_git(root, &["init", "--quiet"]);
    in_git(root, &["add", "."]);
    in_git(root, &["commit", "--quiet", "-m", "one"]);
}

#[test]
fn without_git_there_is_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Cargo.lock"), "").unwrap();
    assert_eq!(commit(folder.path(), &["src"]), None);
    assert!(heads(folder.path()).is_empty());
}

#[test]
fn an_archive_unpacked_in_another_repository_has_no_commit() {
    if !has_git() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    repository(folder.path());
    let inner = folder.path().join("m2t");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("Cargo.lock"), "").unwrap();
    assert_eq!(commit(&inner, &["src"]), None);
}

#[test]
fn a_checkout_has_its_commit_and_says_when_the_sources_were_modified() {
    if !has_git() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    repository(root);
    let clean = commit(root, &["src"]).unwrap();
    assert!(
        clean.len() >= 12 && clean.bytes().all(|c| c.is_ascii_hexdigit()),
        "{clean}"
    );
    fs::write(root.join("README.md"), "2").unwrap();
    assert_eq!(commit(root, &["src"]).unwrap(), clean);
    fs::write(root.join("src/b.rs"), "2").unwrap();
    assert_eq!(commit(root, &["src"]).unwrap(), format!("{clean} (modified)"));
    in_git(root, &["add", "."]);
    let before = heads(root);
    let content = fs::read(&before[0]).unwrap();
    in_git(root, &["commit", "--quiet", "-m", "two"]);
    let next = commit(root, &["src"]).unwrap();
    assert!(next != clean && !next.contains("modified"), "{next}");
    // What cargo watches is what a commit changes.
    assert_ne!(fs::read(&before[0]).unwrap(), content);
}

#[test]
fn a_repository_without_logs_is_watched_by_its_branch() {
    if !has_git() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    repository(root);
    fs::remove_dir_all(root.join(".git/logs")).unwrap();
    in_git(root, &["config", "core.logAllRefUpdates", "false"]);
    let contents =
        || -> Vec<Option<Vec<u8>>> { heads(root).iter().map(|path| fs::read(path).ok()).collect() };
    let before = contents();
    in_git(root, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
    assert_ne!(contents(), before);
}
