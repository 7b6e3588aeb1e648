"""PyTorch's checkpoint of the tensors in a safetensors file: torch.save with fsync, and torch.load, each so many times.

    python torch_checkpoint.py STATE.safetensors OUTPUT.pt RUNS

Prints a line of JSON: the seconds of each save and each load.
"""

import json
import os
import struct
import sys
import time

import torch

KINDS = {"F32": torch.float32, "F64": torch.float64}


def tensors(path):
    with open(path, "rb") as file:
        data = bytearray(file.read())
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    header.pop("__metadata__", None)
    of = lambda about: torch.frombuffer(
        data[end + about["data_offsets"][0] : end + about["data_offsets"][1]], dtype=KINDS[about["dtype"]]
    )
    return {name: of(about).reshape(about["shape"]).clone() for name, about in header.items()}


def save(state, path):
    with open(path, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def seconds(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


state = tensors(sys.argv[1])
path, runs = sys.argv[2], int(sys.argv[3])
said = {"save": [], "load": []}
for run in range(runs):
    if run:
        os.remove(path)
    said["save"].append(seconds(lambda: save(state, path)))
    said["load"].append(seconds(lambda: torch.load(path)))
os.remove(path)
print(json.dumps(said))
