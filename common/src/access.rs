//! Who may do what with a coordinator, and how it is proven.
//!
//! ```text
//!  keys (the coordinator's alone)  ──derive──►  token: grant + secret + fingerprint of the coordinator's certificate
//!                                                 │ given to a person, a machine, a scheduler
//!  client: checks the certificate against the fingerprint, then proves that it has the secret ──► coordinator
//!          derives the secret of the grant again, and compares
//! ```
//! - No token is stored: the coordinator derives the secret from the grant's text and a key of its own. A changed role or date is another grant,
//!   with another secret.
//! - Over gRPC the secret never travels. A [`Proof`] is a keyed hash over what only the two ends of one TLS connection know ([`Binding`]),
//!   so that a proof which somebody recorded is worth nothing on another connection.
//! - A [`Role::Viewer`]'s token may also be sent whole ([`Bearer`]), as browsers, Prometheus and scripts do. It changes nothing.

mod bearer;
mod grant;
mod keyring;
mod keys;
mod proof;
mod token;

pub use bearer::Bearer;
pub use grant::{BadGrant, Grant, Right, Role, TokenId};
pub use keyring::{KEYRING, keyring, keyring_file};
pub use keys::{Denied, Keys};
pub use proof::{Binding, Credential, Proof};
pub use token::{BadToken, Fingerprint, Secret, Token};

#[cfg(test)]
mod tests;
