//! Tokens end to end: made, written, read, proven, and every way in which they are worth nothing.

use std::time::Duration;

use super::*;
use crate::Timestamp;

const NOW: Timestamp = Timestamp(1_798_000_000_000);
const HERE: Binding = Binding([1; 32]);
const ELSEWHERE: Binding = Binding([2; 32]);
const ID: TokenId = TokenId(0xf3_a6c2);

fn keys() -> Keys {
    let mut keys = Keys::default();
    keys.rotate([7; 32], NOW);
    keys
}

fn token(keys: &Keys, role: Role) -> Token {
    let expires = NOW.after(Duration::from_secs(3600));
    keys.token(role, ID, expires, Fingerprint::of(b"certificate"))
        .unwrap()
}

#[test]
fn a_token_is_read_as_it_was_written_and_proves_its_role() {
    let keys = keys();
    for role in Role::ALL {
        let token = token(&keys, role);
        let read: Token = format!("  {}\n", token.expose()).parse().unwrap();
        assert_eq!(read, token);
        let said: Credential = Credential::of(&read, &HERE).to_string().parse().unwrap();
        assert_eq!(keys.check_proof(&said, &HERE, NOW), Ok(role));
        let sent: Bearer = format!("Bearer {}", token.expose()).parse().unwrap();
        assert_eq!(keys.check_bearer(&sent, NOW), Ok(role));
    }
}

#[test]
fn a_proof_is_worth_nothing_on_another_connection() {
    let keys = keys();
    let said = Credential::of(&token(&keys, Role::Worker), &HERE);
    assert_eq!(keys.check_proof(&said, &ELSEWHERE, NOW), Err(Denied::Unknown));
}

#[test]
fn a_changed_grant_is_another_and_has_another_secret() {
    let keys = keys();
    let honest = token(&keys, Role::Worker);
    let changed = [
        Grant::new(Role::Operator, 1, ID, honest.grant.expires()),
        Grant::new(Role::Worker, 1, TokenId(1), honest.grant.expires()),
        Grant::new(
            Role::Worker,
            1,
            ID,
            honest.grant.expires().after(Duration::from_secs(1)),
        ),
        Grant::new(Role::Worker, 2, ID, honest.grant.expires()),
    ];
    for grant in changed {
        let forged = Token { grant, ..honest };
        let said = Credential::of(&forged, &HERE);
        assert_eq!(
            keys.check_proof(&said, &HERE, NOW),
            Err(Denied::Unknown),
            "{grant}"
        );
        assert_eq!(
            keys.check_bearer(&Bearer(forged), NOW),
            Err(Denied::Unknown),
            "{grant}"
        );
    }
}

#[test]
fn time_ends_a_token_and_so_does_a_revocation() {
    let mut keys = keys();
    let token = token(&keys, Role::Operator);
    let said = Credential::of(&token, &HERE);
    let late = NOW.after(Duration::from_secs(3600 + 59));
    assert_eq!(
        keys.check_proof(&said, &HERE, late),
        Ok(Role::Operator),
        "clocks differ"
    );
    let (role, id) = (Role::Operator, ID);
    let later = NOW.after(Duration::from_secs(3600 + 60));
    assert_eq!(
        keys.check_proof(&said, &HERE, later),
        Err(Denied::Expired { role, id })
    );
    keys.revoke(ID);
    assert_eq!(
        keys.check_proof(&said, &HERE, NOW),
        Err(Denied::Revoked { role, id })
    );
    assert_eq!(
        keys.check_bearer(&Bearer(token), NOW),
        Err(Denied::Revoked { role, id })
    );
}

#[test]
fn a_rotation_lets_older_tokens_live_for_a_while_and_makes_others() {
    let mut keys = keys();
    let old = token(&keys, Role::Worker);
    let end = NOW.after(Duration::from_secs(600));
    keys.rotate([8; 32], end);
    let new = token(&keys, Role::Worker);
    assert_ne!(new.secret, old.secret);
    for token in [old, new] {
        let said = Credential::of(&token, &HERE);
        assert_eq!(keys.check_proof(&said, &HERE, NOW), Ok(Role::Worker));
    }
    let (role, id) = (Role::Worker, ID);
    let said = Credential::of(&old, &HERE);
    assert_eq!(
        keys.check_proof(&said, &HERE, end),
        Err(Denied::Revoked { role, id })
    );
    let said = Credential::of(&new, &HERE);
    assert_eq!(keys.check_proof(&said, &HERE, end), Ok(Role::Worker));
    // A second rotation, with a later end, gives the oldest no longer life.
    keys.rotate([9; 32], end.after(Duration::from_secs(600)));
    let said = Credential::of(&old, &HERE);
    assert_eq!(
        keys.check_proof(&said, &HERE, end),
        Err(Denied::Revoked { role, id })
    );
}

#[test]
fn keys_are_read_as_they_were_written_and_tell_nothing_in_errors() {
    let mut keys = keys();
    keys.rotate([8; 32], NOW);
    keys.revoke(ID);
    let json = serde_json::to_string(&keys).unwrap();
    assert_eq!(serde_json::from_str::<Keys>(&json).unwrap(), keys);
    let secret = blake3::Hash::from_bytes([8; 32]).to_hex().to_string();
    let broken = json.replace(&secret, &secret[..60]);
    let error = serde_json::from_str::<Keys>(&broken).unwrap_err().to_string();
    assert!(!error.contains(&secret[..20]), "{error}");
    assert!(!format!("{keys:?}").contains(&secret[..20]));
    let token = token(&keys, Role::Worker);
    let exposed = token.expose();
    let secret = exposed.split('.').nth(5).unwrap();
    assert_eq!(secret.len(), 64);
    assert!(!format!("{token:?}").contains(secret));
}

#[test]
fn what_is_no_token_is_refused_in_words_that_tell_nothing() {
    let whole = token(&keys(), Role::Worker).expose();
    let secret = whole.split('.').nth(5).unwrap().to_owned();
    let upper = whole.replace(&secret, &secret.to_uppercase());
    let zero = whole.replacen(".1.", ".01.", 1);
    let twice = format!("{whole}.{whole}");
    for (bad, why) in [
        ("", BadToken::Mark),
        ("secret", BadToken::Mark),
        ("m2tworker", BadToken::Mark),
        ("m2t.", BadToken::Parts),
        (&whole[..whole.len() - 1], BadToken::Fingerprint),
        (&whole[..whole.len() - 65], BadToken::Parts),
        (&twice, BadToken::Parts),
        (&upper, BadToken::Secret),
        (&zero, BadToken::Grant(BadGrant::Key)),
        (&whole.replace("worker", "owner"), BadToken::Grant(BadGrant::Role)),
        (
            &whole.replace("m2t.worker.1.00", "m2t.worker.1.+0"),
            BadToken::Grant(BadGrant::Id),
        ),
    ] {
        let error = bad.parse::<Token>().unwrap_err();
        assert_eq!(error, why, "{bad:?}");
        assert!(!error.to_string().contains(&secret[..8]));
    }
    for bad in ["", "M2T", "M2T worker.1.0.0", "Bearer x", "Basic YTpi"] {
        assert_eq!(bad.parse::<Credential>(), Err(Denied::Unreadable));
        assert_eq!(bad.parse::<Bearer>(), Err(Denied::Unreadable));
    }
}

#[test]
fn nobody_may_both_join_and_steer() {
    for role in Role::ALL {
        assert!(role.may(Right::Watch));
        assert!(!(role.may(Right::Join) && role.may(Right::Order)));
        assert_eq!(role.name().parse(), Ok(role));
    }
    assert!(Role::Worker.may(Right::Join) && !Role::Worker.may(Right::Order));
    assert!(Role::Operator.may(Right::Order));
    assert!(!Role::Viewer.may(Right::Order));
}

#[test]
fn the_keyring_is_where_the_user_says_or_in_the_home() {
    let with = |set: &'static [(&str, &str)]| {
        keyring(|name| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        })
        .map(|folder| folder.display().to_string())
    };
    assert_eq!(
        with(&[("HOME", "/h"), ("M2T_TOKENS", "/t")]).as_deref(),
        Some("/t")
    );
    assert_eq!(
        with(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")]).as_deref(),
        Some("/c/m2t/tokens")
    );
    assert_eq!(
        with(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "c"), ("M2T_TOKENS", "")]).as_deref(),
        Some("/h/.config/m2t/tokens")
    );
    assert_eq!(with(&[]), None);
    let file = keyring_file(&Fingerprint::of(b"certificate"), Role::Worker);
    assert_eq!(file.len(), "0123456789abcdef.worker.token".len());
}
