#!/usr/bin/env python3
"""Shows a run's status, from Python, by gRPC reflection alone: no generated code and no .proto file is needed.

    pip install grpcio grpcio-reflection
    python3 status.py 127.0.0.1:7117            # the status now
    python3 status.py 127.0.0.1:7117 --watch    # and again whenever it changes, until the run ends

The coordinator describes its own messages (proto/proto/m2t/v1/status.proto tells what each field means). It is an example to copy
and a test: see tests/cluster/clients.rs.
"""

import argparse
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
    options.add_argument("--watch", action="store_true", help="go on until the run ends")
    options = options.parse_args()
    try:
        with grpc.insecure_channel(options.coordinator) as channel:
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
