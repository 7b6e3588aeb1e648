"""Trains the published linear heads in PyTorch on the features a trainer saw, and counts held-out images beside it.

    python linear_head.py FILE...

Each FILE holds, of one head: `features` [S, R, B, d] and `labels` [S, R, B] of R ranks in S steps, `rates` [S], `weight` and `bias` as the
head was initialised, `held_out` [n, d] with `held_out_labels` [n], and what the trainer made of them: `logits` [n, classes] and
`counts` (images, right ones, those with their class among five). Prints a line for each; a top-1 or top-5 further than 0.3 points
from the trainer's ends it with an error.
"""

import pathlib
import sys

import safetensors.torch
import torch

POINTS = 0.3


def trained(file):
    n_classes, width = file["weight"].shape
    fc = torch.nn.Linear(width, n_classes)
    norm = torch.nn.BatchNorm1d(n_classes)
    with torch.no_grad():
        fc.weight.copy_(file["weight"])
        fc.bias.copy_(file["bias"])
    parameters = [*fc.parameters(), *norm.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=1.0, momentum=0.9, weight_decay=0.0)
    for features, labels, rate in zip(file["features"], file["labels"], file["rates"].tolist()):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        before = [norm.running_mean.clone(), norm.running_var.clone()]
        after = []
        # As under DistributedDataParallel: each rank normalises by its own images, gradients are averaged.
        for of_rank, classes in zip(features, labels):
            norm.running_mean.copy_(before[0])
            norm.running_var.copy_(before[1])
            loss = torch.nn.functional.cross_entropy(norm(fc(of_rank)), classes)
            (loss / len(features)).backward()
            after.append((norm.running_mean.clone(), norm.running_var.clone()))
        norm.running_mean.copy_(torch.stack([mean for mean, _ in after]).mean(0))
        norm.running_var.copy_(torch.stack([var for _, var in after]).mean(0))
        optimizer.step()
    norm.eval()
    return lambda features: norm(fc(features))


def check(path):
    file = safetensors.torch.load_file(path)
    with torch.no_grad():
        head = torch.enable_grad()(trained)(file)
        logits = head(file["held_out"])
    labels = file["held_out_labels"]
    n, right, right5 = file["counts"].tolist()
    assert n == len(labels), (n, len(labels))
    best = logits.topk(5, 1).indices == labels[:, None]
    tops = [100 * best[:, :k].any(1).float().mean().item() for k in (1, 5)]
    theirs = [100 * right / n, 100 * right5 / n]
    off = (logits - file["logits"]).abs().max().item() / logits.abs().max().item()
    print(f"{path.stem}: top-1 {tops[0]:.2f} against {theirs[0]:.2f}, top-5 {tops[1]:.2f} against {theirs[1]:.2f}, logits off by {off:.1e}")
    for mine, their in zip(tops, theirs):
        assert abs(mine - their) <= POINTS, (mine, their)
    assert 30 < tops[0] < 99, "a head that learns nothing, or has nothing to learn, proves nothing"


for name in sys.argv[1:]:
    check(pathlib.Path(name))
