//! What reflection lists, in the version that new clients ask for; a Python client asks in the older one (tests/clients/status.py).

use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::{folder, start};

#[tokio::test]
async fn reflection_lists_every_service() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let endpoint = Channel::from_shared(running.address.clone()).unwrap();
    let mut client = ServerReflectionClient::new(endpoint.connect().await.unwrap());
    let answers = client.server_reflection_info(tokio_stream::once(question)).await;
    let answer = answers.unwrap().into_inner().next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let mut names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "m2t.v1.Control",
            "m2t.v1.Coordinator",
            "m2t.v1.Status",
        ]
    );
}
