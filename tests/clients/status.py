#!/usr/bin/env python3
"""Shows a run's status, from Python, by gRPC reflection alone: no generated code and no .proto file is needed.

    pip install grpcio grpcio-reflection
    python3 status.py 127.0.0.1:7117 --access outputs/my_run/state/security    # the status now
    python3 status.py … --watch    # and again whenever it changes, until the run ends

--access names a folder with two files of the coordinator's: root.pem, by which it is known, and viewer.token, which lets this program see
the status and change nothing. Without it there is no encryption, for a coordinator that was started with --insecure.

The coordinator describes its own messages (proto/proto/m2t/v1/status.proto tells what each field means). It is an example to copy
and a test: see tests/cluster/clients.rs.
"""

import argparse
import pathlib
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Service:
    """A service that a server describes by reflection; its methods are called by their names."""

    def __init__(self, channel, name):
        self.channel = channel
        self.descriptor = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(name)

    def call(self, method, **fields):
        """The reply, or an iterator over the replies of a stream."""
        described = self.descriptor.methods_by_name[method]
        request, reply = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
        make = self.channel.unary_stream if described.server_streaming else self.channel.unary_unary
        call = make(
            f"/{self.descriptor.full_name}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=reply.FromString,
        )
        return call(request(**fields))


def channel_to(coordinator, access):
    """A channel that knows the coordinator by its certificate and shows it a token."""
    if access is None:
        return grpc.insecure_channel(coordinator)
    certificate = grpc.ssl_channel_credentials((access / "root.pem").read_bytes())
    token = grpc.access_token_call_credentials((access / "viewer.token").read_text().strip())
    # Every coordinator's certificate has this name, whatever its host is called.
    named = [("grpc.ssl_target_name_override", "coordinator.m2t")]
    return grpc.secure_channel(coordinator, grpc.composite_channel_credentials(certificate, token), named)


def shown(status):
    """A line such as `training, world 32, step 400 of 5000`."""
    phase = status.DESCRIPTOR.fields_by_name["phase"].enum_type.values_by_number[status.phase].name
    line = f"{phase.removeprefix('PHASE_').lower()}, world {status.world}"
    # Before the data set is known there is no progress.
    if status.HasField("progress"):
        line += f", step {status.progress.step} of {status.progress.total_steps}"
    return line


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("coordinator", metavar="HOST:PORT", help="where the coordinator listens")
    options.add_argument("--access", metavar="DIR", type=pathlib.Path, help="a folder with root.pem and viewer.token")
    options.add_argument("--watch", action="store_true", help="go on until the run ends")
    options = options.parse_args()
    try:
        with channel_to(options.coordinator, options.access) as channel:
            services = ProtoReflectionDescriptorDatabase(channel).get_services()
            print("services:", *sorted(services))
            status = Service(channel, "m2t.v1.Status")
            print("now:", shown(status.call("Get")))
            if options.watch:
                for seen in status.call("Watch"):
                    print("then:", shown(seen))
    except grpc.RpcError as error:
        sys.exit(f"the coordinator at {options.coordinator} does not answer: {error.details()}")


if __name__ == "__main__":
    main()
