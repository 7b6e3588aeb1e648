//! What a stranger can send to a coordinator that asks for tokens: over real sockets, with a client that does not check what a good one does.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use hyper_util::rt::TokioIo;
use m2t_common::access::{Binding, Credential, Token};
use m2t_common::status::Status;
use m2t_coordinator::{Args, Listeners, open, serve};
use m2t_proto::wire;
use m2t_proto::wire::control_client::ControlClient;
use m2t_proto::wire::status_client::StatusClient;
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tower::service_fn;

use crate::page::{Answer, get, send};
use crate::support::{PATIENCE, Running, args, folder};

/// Starts one that asks for tokens.
async fn guarded(output: &Path) -> Running {
    let keyring = output.with_extension("tokens");
    let mut args = args(output, &["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    args.insecure = false;
    args.keyring = Some(keyring);
    serve_with(&args).await
}

async fn serve_with(args: &Args) -> Running {
    let opened = open(args).unwrap();
    let listeners = Listeners::bind(args).await.unwrap();
    let address = listeners.grpc.local_addr().unwrap();
    let page = listeners.page.as_ref().unwrap().local_addr().unwrap();
    let (stop, stopped) = mpsc::channel(1);
    Running {
        address: address.to_string(),
        page,
        stop,
        ended: tokio::spawn(serve(opened, listeners, stopped)),
    }
}

fn token(output: &Path, role: &str) -> Token {
    let file = output.join(format!("state/security/{role}.token"));
    std::fs::read_to_string(file).unwrap().parse().unwrap()
}

/// Takes any certificate.
#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A client that takes any certificate; what it shows of its own is still to be said.
fn careless() -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
}

async fn tls(address: &str, mut config: ClientConfig) -> TlsStream<TcpStream> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("anything").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap()
}

/// Calls over a connection that stands.
async fn channel_over(stream: TlsStream<TcpStream>) -> Channel {
    let mut once = Some(TokioIo::new(stream));
    let connector = service_fn(move |_| {
        let stream = once
            .take()
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
        async move { stream }
    });
    let endpoint = Endpoint::from_static("http://coordinator");
    endpoint.connect_with_connector(connector).await.unwrap()
}

/// A connection of whoever shows no certificate, and what both of its ends know.
async fn connection(address: &str) -> (Channel, Binding) {
    let stream = tls(address, careless().with_no_client_auth()).await;
    let session = stream.get_ref().1;
    let binding = session
        .export_keying_material([0; 32], Binding::LABEL, None)
        .unwrap();
    (channel_over(stream).await, Binding(binding))
}

fn saying<T>(message: T, authorization: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = authorization.parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

async fn pause(channel: Channel, authorization: &str) -> Result<String, tonic::Status> {
    let request = saying(wire::PauseRequest {}, authorization);
    let answer = ControlClient::new(channel).pause(request).await?;
    Ok(answer.into_inner().sentence)
}

#[tokio::test]
async fn what_was_recorded_on_one_connection_is_worth_nothing_on_another() {
    let (_folder, output) = folder();
    let running = guarded(&output).await;
    let operator = token(&output, "operator");
    let (channel, binding) = connection(&running.address).await;
    let said = Credential::of(&operator, &binding).to_string();
    pause(channel.clone(), &said).await.unwrap();
    pause(channel, &said).await.unwrap();
    let (other, _) = connection(&running.address).await;
    let refused = pause(other, &said).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(
        refused.message().contains("another connection"),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn only_a_viewers_token_may_travel_whole() {
    let (_folder, output) = folder();
    let running = guarded(&output).await;
    let (channel, _) = connection(&running.address).await;
    let whole = |role| format!("Bearer {}", token(&output, role).expose());
    let mut client = StatusClient::new(channel.clone());
    let seen = client
        .get(saying(wire::GetRequest {}, &whole("viewer")))
        .await
        .unwrap();
    Status::try_from(seen.into_inner()).unwrap();
    for role in ["operator", "worker"] {
        let refused = client
            .get(saying(wire::GetRequest {}, &whole(role)))
            .await
            .unwrap_err();
        assert!(
            refused.message().contains("not to be sent whole"),
            "{}",
            refused.message()
        );
    }
    let refused = pause(channel.clone(), &whole("viewer")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for nonsense in ["", "Bearer", "Basic YTpi", "M2T worker.1", "M2T \u{7f}"] {
        let value = nonsense.parse::<tonic::metadata::AsciiMetadataValue>();
        let Ok(value) = value else { continue };
        let mut request = Request::new(wire::GetRequest {});
        request.metadata_mut().insert("authorization", value);
        let refused = client.get(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_call_too_many_in_a_second_is_refused_and_the_next_second_is_another() {
    let (_folder, output) = folder();
    let running = guarded(&output).await;
    let (channel, _) = connection(&running.address).await;
    let viewer = format!("Bearer {}", token(&output, "viewer").expose());
    let mut client = StatusClient::new(channel);
    let mut codes = Vec::new();
    for _ in 0..400 {
        let answer = client.get(saying(wire::GetRequest {}, &viewer)).await;
        codes.push(answer.map_or_else(|refused| refused.code(), |_| Code::Ok));
        if codes.last() == Some(&Code::ResourceExhausted) {
            break;
        }
    }
    // On a machine so slow that a hundred calls take more than a second none is too many.
    assert!(
        codes
            .iter()
            .all(|code| matches!(code, Code::Ok | Code::ResourceExhausted)),
        "{codes:?}"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.get(saying(wire::GetRequest {}, &viewer)).await.unwrap();
}

/// Sends bytes and reads what comes until the other end closes.
async fn answer_to(address: &str, bytes: &[u8]) -> Vec<u8> {
    let answered = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        // Closed with bytes of ours unread, it is reset.
        let _ = stream.read_to_end(&mut answer).await;
        std::io::Result::Ok(answer)
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap().unwrap()
}

#[tokio::test]
async fn older_tls_plain_http_and_noise_get_an_alert_or_nothing() {
    let (_folder, output) = folder();
    let running = guarded(&output).await;
    // A ClientHello of TLS 1.2: no session, one cipher suite, one algorithm to sign with.
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(&hello);
    let alert = answer_to(&running.address, &record).await;
    // Alert, fatal, protocol_version.
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
    assert_eq!(alert.last(), Some(&70), "{alert:?}");
    for noise in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"SSH-2.0-scanner\r\n",
        &[0; 64],
        &[22, 3, 1, 0xff, 0xff],
    ] {
        let said = answer_to(&running.address, &[noise, &[0; 70_000]].concat()).await;
        assert!(said.is_empty() || said[0] == 21, "{said:?}");
    }
    connection(&running.address).await;
}

#[tokio::test]
async fn whoever_stands_at_the_door_without_a_word_is_shown_out_and_the_others_are_served() {
    let (_folder, output) = folder();
    let running = guarded(&output).await;
    let operator = token(&output, "operator");
    let (friend, binding) = connection(&running.address).await;
    let said = Credential::of(&operator, &binding).to_string();
    pause(friend.clone(), &said).await.unwrap();
    let mut silent = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(&running.address).await.unwrap();
        if n % 2 == 0 {
            // The first bytes of a handshake, and never the rest.
            stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        }
        silent.push(stream);
    }
    // Through the handshake, and no call.
    let mut idle = tls(&running.address, careless().with_no_client_auth()).await;
    pause(friend.clone(), &said).await.unwrap();
    let (other, binding) = connection(&running.address).await;
    pause(other, &Credential::of(&operator, &binding).to_string())
        .await
        .unwrap();
    for mut stream in silent {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "it stands there still");
    }
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, idle.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "it idles still");
    pause(friend, &said).await.unwrap();
}

#[tokio::test]
async fn certificates_of_the_users_own_authority_let_in_without_a_token() {
    let (_folder, output) = folder();
    let keys = |name: &str| output.with_extension(name);
    let made = authority::make(&output);
    let mut args = args(&output, &["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    args.insecure = false;
    args.keyring = Some(output.with_extension("tokens"));
    args.tls.cert = Some(keys("server.pem"));
    args.tls.key = Some(keys("server.key"));
    args.tls.client_ca = Some(keys("ca.pem"));
    args.tls.operator = vec!["ada.example".to_owned()];
    let running = serve_with(&args).await;
    for (name, code) in [
        ("ada.example", Code::Ok),
        ("node-1.example", Code::PermissionDenied),
    ] {
        let channel = made.connect(&running.address, name).await;
        let paused = ControlClient::new(channel.clone())
            .pause(wire::PauseRequest {})
            .await;
        assert_eq!(
            paused.map_or_else(|refused| refused.code(), |_| Code::Ok),
            code,
            "{name}"
        );
        StatusClient::new(channel).get(wire::GetRequest {}).await.unwrap();
    }
    // Tokens are taken, too, and name the user's certificate.
    let (channel, binding) = connection(&running.address).await;
    let operator = token(&output, "operator");
    assert_eq!(operator.fingerprint, made.fingerprint());
    pause(channel, &Credential::of(&operator, &binding).to_string())
        .await
        .unwrap();
}

/// Asks the page, with these lines in the head.
async fn ask(page: SocketAddr, what: &str, lines: &[&str], body: &str) -> Answer {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{what} HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
    );
    send(page, &request).await
}

#[tokio::test]
async fn the_page_shows_the_run_to_whoever_shows_a_token() {
    let (_folder, output) = folder();
    let running = guarded(&output).await;
    let page = running.page;
    let bearer = |role| format!("Authorization: Bearer {}", token(&output, role).expose());
    for path in [
        "/api/status",
        "/api/stream",
        "/api/history",
        "/api/chronicle",
        "/metrics",
        "/api/me",
    ] {
        let refused = get(page, path).await;
        assert_eq!(refused.code, 401, "{path}");
        assert!(
            refused.json()["refused"]
                .as_str()
                .unwrap()
                .contains("a token is needed"),
            "{path}"
        );
        let whole = ask(page, &format!("GET {path}"), &[&bearer("operator")], "").await;
        assert_eq!(whole.code, 403, "{path}: only a viewer's token travels whole");
        if path != "/api/stream" {
            let seen = ask(page, &format!("GET {path}"), &[&bearer("viewer")], "").await;
            assert_eq!(seen.code, 200, "{path}");
        }
    }
    for path in ["/", "/assets/page.js", "/healthz"] {
        assert_eq!(get(page, path).await.code, 200, "{path} tells nothing of the run");
    }
    let me = ask(page, "GET /api/me", &[&bearer("viewer")], "").await.json();
    assert_eq!(me, json!({ "role": "viewer", "orders": false }));
}

#[tokio::test]
async fn a_browser_that_logs_in_as_an_operator_steers_and_no_other_site_does() {
    let (_folder, output) = folder();
    let running = guarded(&output).await;
    let page = running.page;
    let own = format!("Origin: http://{page}");
    let body = json!({ "token": token(&output, "operator").expose() }).to_string();
    let from_elsewhere = ask(page, "POST /api/login", &["Origin: http://evil.example"], &body).await;
    assert_eq!(from_elsewhere.code, 403);
    for (bad, code) in [
        ("{}".to_owned(), 400),
        (json!({ "token": "m2t" }).to_string(), 400),
        (body.replace(".operator.", ".worker."), 401),
    ] {
        let refused = ask(page, "POST /api/login", &[&own], &bad).await;
        assert_eq!(refused.code, code, "{}", refused.body);
    }
    let begun = ask(page, "POST /api/login", &[&own], &body).await;
    assert_eq!(
        (begun.code, begun.json()),
        (200, json!({ "role": "operator", "orders": true }))
    );
    let cookie = begun
        .head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    for attribute in ["httponly", "samesite=strict", "path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let cookie = format!("Cookie: other=1; {}", cookie.split(';').next().unwrap());
    let pause = r#"{"order":"pause"}"#;
    for (lines, code) in [
        (&[&*cookie][..], 403),
        (&[&cookie, "Origin: http://evil.example"], 403),
        (&[&cookie, "Origin: null"], 403),
        (&[&*own], 401),
        (&[&cookie, &own], 200),
    ] {
        let answer = ask(page, "POST /api/orders", lines, pause).await;
        assert_eq!(answer.code, code, "{lines:?}: {}", answer.body);
    }
    let gone = ask(page, "POST /api/logout", &[&cookie, &own], "").await;
    assert!(gone.head.contains("max-age=0"), "{}", gone.head);
}

#[test]
fn flags_that_belong_together_are_asked_for_together() {
    for flags in [
        &["--tls-cert", "a"][..],
        &["--tls-key", "a"],
        &["--operator", "a"],
        &["--insecure", "--tls-client-ca", "a"],
    ] {
        let typed = ["m2t-coordinator", "--experiment", "a"].iter().chain(flags);
        assert!(Args::try_parse_from(typed).is_err(), "{flags:?}");
    }
}

/// An authority of a user's own.
mod authority {
    use std::path::Path;

    use m2t_common::access::Fingerprint;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    pub(super) struct Authority {
        certificate: rcgen::Certificate,
        issuer: Issuer<'static, KeyPair>,
    }

    /// Makes it, with a certificate of the server, in files beside `output`.
    pub(super) fn make(output: &Path) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let authority = Authority {
            certificate,
            issuer: Issuer::new(params, key),
        };
        let (server, key) = authority.sign("server.example");
        let chain = format!("{}{}", server.pem(), authority.certificate.pem());
        std::fs::write(output.with_extension("ca.pem"), authority.certificate.pem()).unwrap();
        std::fs::write(output.with_extension("server.pem"), chain).unwrap();
        let path = output.with_extension("server.key");
        std::fs::write(&path, key.serialize_pem()).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        authority
    }

    impl Authority {
        pub(super) fn fingerprint(&self) -> Fingerprint {
            Fingerprint::of(self.certificate.der())
        }

        fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &self.issuer).unwrap(), key)
        }

        /// A connection of whoever has a certificate for `name`.
        pub(super) async fn connect(&self, address: &str, name: &str) -> Channel {
            let (certificate, key) = self.sign(name);
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let config = careless().with_client_auth_cert(vec![certificate.der().clone()], key);
            channel_over(tls(address, config.unwrap()).await).await
        }
    }
}
