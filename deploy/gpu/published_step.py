"""The published step in eager PyTorch on a GPU. Usage: published_step.py SCRIPT DEVICE BATCH PIXELS STEPS.

SCRIPT is baselines/pytorch_step.py, which measures the same on a CPU and is not changed: its networks are taken as they stand before its
`def measure`, and its step is done here on DEVICE, in bfloat16 autocast with channels-last memory, PyTorch's best. Prints a line of JSON.
"""

import json
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SCRIPT, DEVICE, BATCH, PIXELS, STEPS = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
N_WARM_UP = 5

sys.argv = [SCRIPT]
published = {"__name__": "published"}
exec(compile(open(SCRIPT).read().split("\ndef measure")[0], SCRIPT, "exec"), published)

torch.manual_seed(0)
device = torch.device(DEVICE)
is_gpu = device.type == "cuda"
student = published["encoder"](nn.BatchNorm2d, nn.BatchNorm1d, True).to(device, memory_format=torch.channels_last)
teacher = published["encoder"](published["MomentumStatistics"], published["MomentumStatistics"], False)
for module in teacher.modules():
    if isinstance(module, published["MomentumStatistics"]):
        module._check_input_dim = lambda x: None
teacher = teacher.to(device, memory_format=torch.channels_last)
views = [torch.randn(BATCH, 3, PIXELS, PIXELS, device=device).contiguous(memory_format=torch.channels_last) for _ in range(2)]
optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)


def step():
    with torch.no_grad():
        for p, q in zip(student.parameters(), teacher.parameters()):
            q.data = 0.99 * q.data + 0.01 * p.data
    with torch.autocast(device.type, torch.bfloat16):
        q1, q2 = (F.normalize(student(v), dim=1) for v in views)
        with torch.no_grad():
            k1, k2 = F.normalize(teacher(views[1]), dim=1), F.normalize(teacher(views[0]), dim=1)
        loss = (4 - 2 * ((q1 * k1).sum(1) + (q2 * k2).sum(1))).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


seconds = []
for _ in range(N_WARM_UP + STEPS):
    start = time.perf_counter()
    step()
    if is_gpu:
        torch.cuda.synchronize(device)
    seconds.append(time.perf_counter() - start)
peak = torch.cuda.max_memory_reserved(device) >> 20 if is_gpu else None
counted = seconds[N_WARM_UP:]
print(json.dumps({"images_per_second": BATCH / statistics.median(counted), "runs": len(counted), "gpu_peak_mib": peak, "torch": torch.__version__}))
