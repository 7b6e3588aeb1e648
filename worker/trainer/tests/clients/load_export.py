"""Loads exported encoders as a user would, in torchvision and in timm, and holds their features against the trainer's.

    python load_export.py FOLDER...

Each FOLDER holds `student` and `teacher` as .safetensors and as .pth, as `m2t export` wrote them, and `reference.safetensors` with
`images` [N, 3, H, W] and the trainer's own `student` and `teacher` features [N, d], in float64. Prints a line for each encoder; any
disagreement ends it with an error.
"""

import json
import pathlib
import sys
import zipfile

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


def check_pth(folder, side, weights):
    """PyTorch takes the file though it may run nothing, mapped into memory too, and it holds the same to the bit."""
    file = folder / f"{side}.pth"
    for mapped in (False, True):
        same = torch.load(file, weights_only=True, mmap=mapped)
        assert sorted(same) == sorted(weights), "other names"
        for name, tensor in weights.items():
            assert tensor.dtype == same[name].dtype and torch.equal(tensor, same[name]), name
    with zipfile.ZipFile(file) as opened:
        assert opened.testzip() is None
        assert json.loads(opened.read("archive/m2t.json"))["side"] == side
    return same


def check_all(folder):
    """The whole state: student, teacher, momentum, under the checkpoint's names."""
    weights = safetensors.torch.load_file(folder / "all.safetensors")
    same = torch.load(folder / "all.pth", weights_only=True)
    assert sorted(same) == sorted(weights) and "momentum.fc.7.bias" in same
    assert all(torch.equal(tensor, same[name]) for name, tensor in weights.items())
    print(f"{folder.name}: the whole state, {len(same)} tensors")


def check(folder, side):
    file = folder / f"{side}.safetensors"
    reference = safetensors.torch.load_file(folder / "reference.safetensors")
    weights = safetensors.torch.load_file(file)
    with safetensors.safe_open(file, "pt") as opened:
        about = opened.metadata()
    assert about["side"] == side and about["format"] == "pt", about
    assert len(json.loads(about["mean"])) == len(json.loads(about["std"])) == 3, about
    assert weights["bn1.num_batches_tracked"] == int(about["step"]) > 0, about
    same = check_pth(folder, side, weights)
    for make, weights in ((torchvision_encoder, weights), (timm_encoder, weights), (torchvision_encoder, same)):
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
        check_all(pathlib.Path(name))
