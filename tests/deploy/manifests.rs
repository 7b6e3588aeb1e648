//! Kubernetes' and Compose's YAML: that their own tools take it, and that what refers to something else finds it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::options::knows;
use crate::tools::{succeed, tool};
use crate::{deploy, read};

const KUBERNETES: [&str; 5] = [
    "namespace.yaml",
    "storage.yaml",
    "coordinator.yaml",
    "worker.yaml",
    "network.yaml",
];

fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn cluster() -> Vec<Value> {
    let all = KUBERNETES.map(|file| documents(&format!("kubernetes/{file}")));
    all.into_iter().flatten().collect()
}

/// The names of all objects of a kind.
fn names(objects: &[Value], kind: &str) -> BTreeSet<String> {
    let of_kind = objects.iter().filter(|object| object["kind"] == kind);
    of_kind
        .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The text of a value, which must be one.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// Each `--option` of a command line is one of its program's.
fn assert_options(program: &str, arguments: &[Value]) {
    for argument in arguments {
        let option = text(argument).split('=').next().unwrap();
        if option.starts_with("--") {
            assert!(knows(program, option), "{program} has no {option}");
        }
    }
}

#[test]
fn the_cluster_is_all_in_the_kustomization() {
    let kustomization = &documents("kubernetes/kustomization.yaml")[0];
    let listed: Vec<_> = list(&kustomization["resources"]).iter().map(text).collect();
    assert_eq!(listed, KUBERNETES);
}

#[test]
fn what_pods_refer_to_is_there() {
    let objects = cluster();
    let claims = names(&objects, "PersistentVolumeClaim");
    let services = names(&objects, "Service");
    let jobs: Vec<_> = objects.iter().filter(|object| object["kind"] == "Job").collect();
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        let pod = &job["spec"]["template"]["spec"];
        let container = &list(&pod["containers"])[0];
        let program = text(&list(&container["command"])[0]);
        assert_options(program, list(&container["args"]));
        let volumes = list(&pod["volumes"]);
        for volume in volumes {
            if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
                assert!(claims.contains(claim), "there is no claim {claim}");
            }
        }
        for mount in list(&container["volumeMounts"]) {
            assert!(
                volumes.iter().any(|volume| volume["name"] == mount["name"]),
                "{mount}"
            );
        }
        for argument in list(&container["args"]).iter().map(text) {
            if let Some(address) = argument.strip_prefix("--coordinator=") {
                let (host, port) = address.split_once(':').unwrap();
                assert!(services.contains(host) && port == "7117", "{address}");
            }
        }
        // The namespace admits nothing less.
        let restricted = &container["securityContext"];
        assert_eq!(restricted["allowPrivilegeEscalation"], false);
        assert_eq!(restricted["readOnlyRootFilesystem"], true);
        assert_eq!(restricted["capabilities"]["drop"][0], "ALL");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    }
}

#[test]
fn every_policy_and_service_means_pods_that_there_are() {
    let objects = cluster();
    let pods: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == "Job")
        .map(|job| &job["spec"]["template"]["metadata"]["labels"])
        .collect();
    let component = |labels: &Value| labels["app.kubernetes.io/component"].as_str().map(str::to_owned);
    let known: BTreeSet<_> = pods.iter().filter_map(|labels| component(labels)).collect();
    for object in &objects {
        let (kind, selector) = match text(&object["kind"]) {
            "Service" => ("service", &object["spec"]["selector"]),
            "NetworkPolicy" => ("policy", &object["spec"]["podSelector"]["matchLabels"]),
            _ => continue,
        };
        let name = text(&object["metadata"]["name"]);
        // An operator's pod is the user's own.
        if let Some(component) = component(selector).filter(|component| component != "operator") {
            assert!(known.contains(&component), "{kind} {name} means {component}");
        }
    }
    // Nothing is open that is not opened.
    let closed = objects
        .iter()
        .find(|object| object["metadata"]["name"] == "m2t-nothing")
        .unwrap();
    assert_eq!(closed["spec"]["podSelector"], serde_json::json!({}));
    assert_eq!(
        closed["spec"]["policyTypes"],
        serde_json::json!(["Ingress", "Egress"])
    );
    assert!(closed["spec"].get("ingress").is_none() && closed["spec"].get("egress").is_none());
}

#[test]
fn kubernetes_own_schema_takes_the_cluster() {
    let Some(validate) = tool("kubernetes-validate") else {
        return;
    };
    let mut command = Command::new(validate);
    command.arg("--strict");
    command.args(KUBERNETES.map(|file| deploy("kubernetes").join(file)));
    let said = succeed(&mut command);
    assert_eq!(
        said.matches(" passed for resource ").count(),
        cluster().len(),
        "{said}"
    );
}

#[test]
fn kustomize_builds_the_cluster() {
    let Some(kubectl) = tool("kubectl") else { return };
    let built = succeed(Command::new(kubectl).arg("kustomize").arg(deploy("kubernetes")));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&built).unwrap();
    assert_eq!(objects.len(), cluster().len());
    assert!(
        !built.contains("image: m2t\n"),
        "the image has a registry and a tag"
    );
}

#[test]
fn composes_services_are_shut_in_and_their_options_are_the_programs() {
    let compose = &documents("docker/compose.yaml")[0];
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.len(), 3);
    for (name, service) in services {
        let command = list(&service["command"]);
        assert_options(text(&command[0]), &command[1..]);
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        assert_eq!(service["security_opt"][0], "no-new-privileges:true", "{name}");
        for secret in service["secrets"].as_array().into_iter().flatten() {
            assert!(compose["secrets"].get(text(secret)).is_some(), "{name}: {secret}");
        }
    }
    assert_eq!(compose["networks"]["training"]["internal"], true);
    let over = &documents("docker/compose.gpu.yaml")[0];
    for (name, service) in over["services"].as_object().unwrap() {
        assert!(services.contains_key(name), "{name}");
        let command = list(&service["command"]);
        assert_options(text(&command[0]), &command[1..]);
    }
}

#[test]
fn compose_takes_its_file() {
    let Some(compose) = tool("docker-compose") else {
        return;
    };
    for files in [&["compose.yaml"][..], &["compose.yaml", "compose.gpu.yaml"]] {
        let mut command = Command::new(&compose);
        command.current_dir(deploy("docker")).env("M2T_DATA", "/data");
        for file in files {
            command.args(["-f", file]);
        }
        succeed(command.args(["config", "--quiet"]));
    }
}

#[test]
fn the_image_is_made_of_the_release_that_the_workspace_names() {
    let dockerfile = read("docker/Dockerfile");
    let workspace =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml")).unwrap();
    let version = workspace
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .unwrap()
        .trim_matches('"');
    assert!(
        dockerfile.contains(&format!("library/rust:{version}-bookworm")),
        "rust {version}"
    );
    // No stage but the last is what runs, and it is nobody's root.
    let last = dockerfile.rsplit("\nFROM ").next().unwrap();
    assert!(last.contains("\nUSER 7117:7117\n"), "{last}");
}
