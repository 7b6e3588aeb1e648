#!/usr/bin/env python3
"""Prints the scalars of TensorBoard event files, by TensorBoard's own reader: a line a value, `tag step wall_time value`.

    pip install tensorboard
    m2t metrics outputs/demo --tensorboard logs
    python3 events.py logs/demo

It is an example to copy and a test: see tests/commands/metrics.rs.
"""

import argparse

from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
from tensorboard.util import tensor_util


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder of event files")
    folder = parser.parse_args().folder
    # 0: every value, and not a sample of them.
    accumulator = EventAccumulator(folder, size_guidance={TENSORS: 0})
    accumulator.Reload()
    # TensorBoard reads a scalar of either layout as a tensor.
    for tag in sorted(accumulator.Tags()["tensors"]):
        for event in accumulator.Tensors(tag):
            value = tensor_util.make_ndarray(event.tensor_proto).item()
            print(tag, event.step, event.wall_time, value)


if __name__ == "__main__":
    main()
