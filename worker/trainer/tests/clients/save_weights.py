"""Writes weights as others do, for m2t to import, and what must come of them.

    python save_weights.py FOLDER

Into FOLDER go `published.pth.tar` and `published-before-1.6.pth.tar`, checkpoints in the form of the published implementation's
(student and teacher wrapped for several GPUs, an optimizer that made steps), `torchvision.pth` (a classifier in it), `half.pth` (in
float16 and with strides of its own), `timm.safetensors`, `hostile.pth` (that would run a command); and for each `NAME.expected.safetensors`.
"""

import collections
import os
import pathlib
import sys

import safetensors.torch
import timm
import torch
import torchvision

ARCH = "resnet18"


class Teachers(torch.nn.Module):
    """Student and teacher under the published names, with heads of the published layers."""

    def __init__(self):
        super().__init__()
        self.student_encoder = network(predictor=True)
        self.teacher_encoder = network(predictor=False)


def network(predictor):
    net = getattr(torchvision.models, ARCH)()
    layers = [torch.nn.Linear(512, 24), torch.nn.BatchNorm1d(24), torch.nn.ReLU(), torch.nn.Linear(24, 8)]
    if predictor:
        layers += [torch.nn.Linear(8, 24), torch.nn.BatchNorm1d(24), torch.nn.ReLU(), torch.nn.Linear(24, 8)]
    net.fc = torch.nn.Sequential(*layers)
    return net


class Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def expect(folder, name, weights):
    floats = {key: value.float().contiguous().clone() for key, value in weights.items() if value.is_floating_point()}
    safetensors.torch.save_file(floats, folder / f"{name}.expected.safetensors")


def published(folder):
    model = torch.nn.DataParallel(Teachers())
    optimizer = torch.optim.SGD(model.module.student_encoder.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        model.module.teacher_encoder(torch.randn(4, 3, 32, 32))
        model.module.student_encoder(torch.randn(4, 3, 32, 32)).square().sum().backward()
        optimizer.step()
    saved = {"start_epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(saved, folder / "published.pth.tar")
    torch.save(saved, folder / "published-before-1.6.pth.tar", _use_new_zipfile_serialization=False)
    sides = {"module.student_encoder.": "student.", "module.teacher_encoder.": "teacher."}
    for theirs, ours in list(sides.items()):
        assert any(key.startswith(theirs) for key in saved["model"]), theirs
    named = {}
    for key, value in saved["model"].items():
        theirs = next(theirs for theirs in sides if key.startswith(theirs))
        named[sides[theirs] + key[len(theirs) :]] = value
    for name in ("published", "published-before-1.6"):
        expect(folder, name, named)


def encoders(folder):
    def both(weights):
        named = {key: value for key, value in weights.items() if not key.startswith("fc.")}
        return {f"{side}.{key}": value for side in ("student", "teacher") for key, value in named.items()}

    net = getattr(torchvision.models, ARCH)()
    net(torch.randn(4, 3, 32, 32))
    torch.save(net.state_dict(), folder / "torchvision.pth")
    expect(folder, "torchvision", both(net.state_dict()))

    half = net.half().to(memory_format=torch.channels_last).state_dict()
    assert not half["layer1.0.conv1.weight"].is_contiguous()
    torch.save({"epoch": 7, "state_dict": half, "note": "as it is"}, folder / "half.pth")
    expect(folder, "half", both(half))

    net = timm.create_model(ARCH, num_classes=0)
    safetensors.torch.save_file(net.state_dict(), folder / "timm.safetensors")
    expect(folder, "timm", both(net.state_dict()))


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = pathlib.Path(sys.argv[1])
    published(folder)
    encoders(folder)
    evil = collections.OrderedDict(weight=torch.zeros(2), evil=Evil(f"touch {folder}/was-run"))
    torch.save(evil, folder / "hostile.pth")
