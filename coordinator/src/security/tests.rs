//! What lies in the folder of secrets, over restarts, days and other processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use m2t_common::access::{Bearer, Role, Token, TokenId};

use super::folder::SecurityFolder;
use super::identity::Identity;
use super::keyfile::KeyFile;
use super::{now, tokens};

fn folder() -> (tempfile::TempDir, SecurityFolder) {
    let state = tempfile::tempdir().unwrap();
    let folder = SecurityFolder::open(state.path()).unwrap();
    (state, folder)
}

#[test]
fn a_root_outlives_its_coordinator_and_what_it_signs_changes_daily() {
    let (_state, folder) = folder();
    let identity = Identity::open(&folder, vec!["node-1".to_owned()]).unwrap();
    let again = Identity::open(&folder, vec!["10.0.0.1".to_owned()]).unwrap();
    assert_eq!(again.fingerprint(), identity.fingerprint());
    let today = SystemTime::now();
    let leaf = |at| identity.certified(at).unwrap().cert[0].clone();
    let first = leaf(today);
    assert_eq!(leaf(today + Duration::from_secs(23 * 3600)), first);
    assert_ne!(leaf(today + Duration::from_secs(25 * 3600)), first);
    assert!(!format!("{identity:?}").contains("PRIVATE"));
}

#[test]
fn half_an_identity_and_a_broken_one_are_refused_with_what_to_do() {
    let (_state, folder) = folder();
    Identity::open(&folder, Vec::new()).unwrap();
    fs::remove_file(folder.file("root.key")).unwrap();
    let refused = Identity::open(&folder, Vec::new()).unwrap_err().to_string();
    assert!(refused.contains("root.key is not; put it back"), "{refused}");
    for file in ["root.key", "root.pem"] {
        fs::write(folder.file(file), "nothing").unwrap();
        fs::set_permissions(folder.file(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let refused = Identity::open(&folder, Vec::new()).unwrap_err().to_string();
    assert!(refused.contains("root.pem is no certificate"), "{refused}");
}

#[test]
fn keys_that_another_process_changes_are_heeded_and_broken_ones_are_not() {
    let (_state, folder) = folder();
    let running = KeyFile::open(&folder).unwrap();
    let other = KeyFile::open(&folder).unwrap();
    assert_eq!(running.now(), other.now());
    other.change(|keys| keys.revoke(TokenId(7))).unwrap();
    assert_eq!(running.now(), other.now());
    fs::remove_file(folder.file("keys.json")).unwrap();
    assert_eq!(running.now(), other.now(), "what was is used on");
    super::folder::write(&folder.file("keys.json"), "{\"keys\": 7}").unwrap();
    assert_eq!(running.now(), other.now());
    let refused = KeyFile::open(&folder).unwrap_err().to_string();
    assert!(
        refused.contains("keys.json is not what a coordinator wrote"),
        "{refused}"
    );
}

#[test]
fn token_files_are_made_again_long_before_they_expire_and_what_expired_leaves_the_keyring() {
    let (state, folder) = folder();
    let identity = Identity::open(&folder, Vec::new()).unwrap();
    let keys = KeyFile::open(&folder).unwrap().now();
    let keyring = state.path().join("tokens");
    let renew = || tokens::renew(&folder, &keys, identity.fingerprint(), Some(&keyring)).unwrap();
    let token = || fs::read_to_string(folder.token_file(Role::Worker)).unwrap();
    renew();
    let first = token();
    renew();
    assert_eq!(token(), first, "one that lives for weeks stays");
    let read: Token = first.parse().unwrap();
    assert_eq!(keys.check_bearer(&Bearer(read), now()), Ok(Role::Worker));

    let days = |n: u64| Duration::from_secs(n * 24 * 3600);
    let soon = tokens::make(&keys, Role::Worker, identity.fingerprint(), now().after(days(14))).unwrap();
    super::folder::write(&folder.token_file(Role::Worker), &soon.expose()).unwrap();
    let over = tokens::make(
        &keys,
        Role::Worker,
        identity.fingerprint(),
        m2t_common::Timestamp(0),
    )
    .unwrap();
    super::folder::write(&keyring.join("0.worker.token"), &over.expose()).unwrap();
    renew();
    assert_ne!(token(), soon.expose() + "\n");
    let entries = fs::read_dir(&keyring).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let short = identity.fingerprint().short();
    let expected = ["operator", "viewer", "worker"].map(|role| format!("{short}.{role}.token"));
    assert_eq!(names, expected);
    let mode = fs::metadata(keyring.join(&expected[0]))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
