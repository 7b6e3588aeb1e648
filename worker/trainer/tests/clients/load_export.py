"""Loads exported encoders as a user would, in torchvision and in timm, and holds their features against the trainer's.

    python load_export.py FOLDER...

Each FOLDER holds `student.safetensors` and `teacher.safetensors`, as `m2t export` wrote them, and `reference.safetensors` with
`images` [N, 3, H, W] and the trainer's own `student` and `teacher` features [N, d], in float64. Prints a line for each encoder; any
disagreement ends it with an error.
"""

import json
import pathlib
import sys

import safetensors
import safetensors.torch
import timm
import torch
import torchvision

TOLERANCE = 1e-10


def torchvision_encoder(about, weights):
    encoder = getattr(torchvision.models, about["arch"])()
    if about["stem"] == "small":
        # As `m2t export --help` says.
        encoder.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        encoder.maxpool = torch.nn.Identity()
    missing, unexpected = encoder.load_state_dict(weights, strict=False)
    assert sorted(missing) == ["fc.bias", "fc.weight"], missing
    assert unexpected == [], unexpected
    encoder.fc = torch.nn.Identity()
    return encoder


def timm_encoder(about, weights):
    encoder = timm.create_model(about["arch"], num_classes=0)
    if about["stem"] == "small":
        encoder.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        encoder.maxpool = torch.nn.Identity()
    encoder.load_state_dict(weights)  # strictly
    return encoder


def check(folder, side):
    file = folder / f"{side}.safetensors"
    reference = safetensors.torch.load_file(folder / "reference.safetensors")
    weights = safetensors.torch.load_file(file)
    with safetensors.safe_open(file, "pt") as opened:
        about = opened.metadata()
    assert about["side"] == side and about["format"] == "pt", about
    assert len(json.loads(about["mean"])) == len(json.loads(about["std"])) == 3, about
    assert weights["bn1.num_batches_tracked"] == int(about["step"]) > 0, about
    for make in (torchvision_encoder, timm_encoder):
        encoder = make(about, weights).eval().double()
        with torch.no_grad():
            features = encoder(reference["images"].double())
        expected = reference[side]
        assert features.shape == expected.shape, (features.shape, expected.shape)
        worst, scale = (features - expected).abs().max().item(), expected.abs().max().item()
        print(
            f"{folder.name}: {side}'s {about['arch']} in {make.__name__.split('_')[0]}: "
            f"worst difference {worst:.1e}, features up to {scale:.2f}"
        )
        assert scale > 0.01, "features that say nothing"
        assert worst <= TOLERANCE * scale, "the features differ"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        for side in ("student", "teacher"):
            check(pathlib.Path(name), side)
