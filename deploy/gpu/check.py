"""The checks of check.sh, one after the other. Each is a function that gives the figures of its line, or raises Skipped or Failed.

It needs nothing but Python's own library; what computes are m2t-trainer, the parity tests and, for the published step, published_step.py.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

# Of each check; together they stay below ten minutes.
LIMITS = {"parity": 150, "nccl": 60, "losses": 100, "throughput": 170, "two_processes": 90}
# Largest relative difference between the losses in bfloat16 and those in float32.
TOLERANCE_OF_LOSSES = 3e-2
N_STEPS_OF_LOSSES = 8
BATCH = 128
BATCH_OF_LOSSES = 32
N_STEPS = 20
# The first release in which two processes may share a GPU.
NCCL_THAT_SHARES = (2, 30)


class Skipped(Exception):
    """It cannot be checked here, and why."""


class Failed(Exception):
    """It was checked, and does not hold."""


class Checks:
    def __init__(self, given):
        self.given = given
        self.until = None
        self.nccl = None

    def parity(self):
        """The fixtures of the published algorithm in float64, in every way of placing ranks."""
        program = self.given.parity
        if not program or not os.access(program, os.X_OK):
            raise Skipped("no parity program; build it (cargo test --release -p m2t-trainer --test parity --no-run) or name it by M2T_PARITY")
        more = {"M2T_PARITY_DEVICE": f"cuda:{self.given.gpu}", "M2T_PARITY_FIXTURES": self.given.fixtures}
        said = self.run([program, "float64"], more)
        errors = [float(error) for error in re.findall(r"worst error (\S+)", said)]
        if not errors:
            raise Failed(f"the parity program compared nothing: {last_line(said)}")
        return {"worst_error": max(errors), "n_runs": len(errors), "tolerance": 1e-6}

    def nccl_alone(self):
        """A group of one device: made, used, aborted, made anew in the same process."""
        checked = self.answer(["check-gpu", "--gpu", self.given.gpu])
        self.nccl = checked["nccl"]
        return checked

    def losses(self):
        """bfloat16 against float32, step by step, on the same made images."""
        of = {dtype: self.measure(dtype, "exact", BATCH_OF_LOSSES, N_STEPS_OF_LOSSES)["losses"] for dtype in ("float32", "bfloat16")}
        differences = [abs(a - b) / abs(b) for a, b in zip(of["bfloat16"], of["float32"], strict=True)]
        worst = max(differences)
        if not worst < TOLERANCE_OF_LOSSES:
            raise Failed(f"bfloat16 is {worst:.2g} away from float32 in some step; {TOLERANCE_OF_LOSSES} is the most")
        return {"worst_difference": worst, "float32": of["float32"], "bfloat16": of["bfloat16"], "tolerance": TOLERANCE_OF_LOSSES}

    def throughput(self):
        """A step of ResNet-50 at 224 pixels in bfloat16: ours, the published one, ours again, and ours with the exact sum."""
        before = self.measure("bfloat16", "float", BATCH, N_STEPS)
        published = self.published()
        after = self.measure("bfloat16", "float", BATCH, N_STEPS)
        exact = self.measure("bfloat16", "exact", BATCH, N_STEPS)
        seconds = sorted(before["seconds"] + after["seconds"])
        ours = BATCH / median(seconds)
        line = {
            "images_per_second": ours,
            "runs": len(seconds),
            "exact_sum_images_per_second": exact["images_per_second"],
            "gpu_peak_mib": max(before["gpu_peak_mib"], after["gpu_peak_mib"]),
            "batch": BATCH,
            "pixels": 224,
        }
        if isinstance(published, dict):
            line["published"] = published
            line["ratio"] = ours / published["images_per_second"]
        else:
            line["published_skipped"] = published
        return line

    def two_processes(self):
        """Two devices of one group on the one GPU."""
        if self.nccl is None:
            raise Skipped("the group of one device did not work")
        if tuple(int(part) for part in self.nccl.split(".")[:2]) < NCCL_THAT_SHARES:
            raise Skipped(f"NCCL {self.nccl} lets only one process use a GPU, 2.30 lets two; name a newer one by M2T_NCCL")
        first = self.start_measure(0, [])
        processes = [first]
        # Whatever they wait for, their ends end the reading.
        end = threading.Timer(self.left(), lambda: [process.kill() for process in processes])
        end.start()
        try:
            meet = json.loads(first.stdout.readline())["meet"]
            processes.append(self.start_measure(1, ["--meet", meet]))
            answers = []
            for process in processes:
                said = process.stdout.read()
                if process.wait() != 0:
                    raise Failed("a device did not come to its end; what it said is above")
                answers.append(json.loads(said.splitlines()[-1]))
        finally:
            end.cancel()
            for process in processes:
                process.kill()
        if answers[0]["losses"] != answers[1]["losses"]:
            raise Failed("the two devices disagree about the losses")
        return {"losses": answers[0]["losses"], "sum_seconds": answers[0]["sum_seconds"], "nccl": self.nccl}

    def start_measure(self, index, more):
        command = [self.given.trainer, "measure", "--gpu", self.given.gpu, "--devices", "2", "--index", str(index)]
        command += ["--batch", "16", "--steps", "5", "--set", "dtype=bfloat16", *more]
        environment = os.environ | {"NCCL_MULTI_RANK_GPU_ENABLE": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def measure(self, dtype, reduction, batch, n_steps):
        sets = [f"dtype={dtype}", f"reduction={reduction}"]
        options = [word for value in sets for word in ("--set", value)]
        return self.answer(["measure", "--gpu", self.given.gpu, "--batch", str(batch), "--steps", str(n_steps), *options])

    def published(self):
        """Its figures, or why there are none."""
        if not Path(self.given.published).is_file():
            return f"there is no {self.given.published}; name the folder above baselines/ by M2T_SHARED"
        script = str(Path(__file__).with_name("published_step.py"))
        device = f"cuda:{self.given.gpu}"
        try:
            said = self.run([sys.executable, script, self.given.published, device, str(BATCH), "224", str(N_STEPS)], {})
        except Failed as failed:
            return str(failed)
        return json.loads(said.splitlines()[-1])

    def answer(self, arguments):
        return json.loads(self.run([self.given.trainer, *arguments], {}).splitlines()[-1])

    def run(self, command, more):
        try:
            done = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, timeout=self.left())
        except subprocess.TimeoutExpired:
            raise Failed(f"{Path(command[0]).name} did not end in time") from None
        if done.returncode != 0:
            raise Failed(last_line(done.stderr) or last_line(done.stdout) or f"{command[0]} ended with {done.returncode}")
        return done.stdout

    def left(self):
        return max(1.0, self.until - time.monotonic())


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def driver():
    """Its release, as nvidia-smi says it."""
    question = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(question, capture_output=True, text=True, timeout=30, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def main():
    parser = argparse.ArgumentParser(description="Use check.sh.")
    for name in ("gpu", "facts", "trainer", "parity", "fixtures", "published"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    card = {"gpu": json.loads(given.facts)[0]["name"], "driver": driver()}
    checks = Checks(given)
    in_order = [
        ("parity", checks.parity),
        ("nccl", checks.nccl_alone),
        ("losses", checks.losses),
        ("throughput", checks.throughput),
        ("two_processes", checks.two_processes),
    ]
    all_hold = True
    for name, check in in_order:
        checks.until = time.monotonic() + LIMITS[name]
        try:
            line = check()
        except Skipped as skipped:
            line = {"skipped": str(skipped)}
        except (Failed, subprocess.TimeoutExpired, ValueError, KeyError, IndexError) as failed:
            line = {"failed": f"{failed}" if isinstance(failed, Failed) else f"{type(failed).__name__}: {failed}"}
            all_hold = False
        print(json.dumps({"check": name, **card, **line}), flush=True)
    return 0 if all_hold else 1


sys.exit(main())
