#!/usr/bin/env python3
"""Prints the scalars of TensorBoard event files, by TensorBoard's own reader: a line a value, `tag step wall_time value`.

    pip install tensorboard
    m2t metrics outputs/demo --tensorboard logs
    python3 events.py logs/demo

It is an example to copy and a test: see tests/commands/metrics.rs.
"""

import argparse

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder of event files")
    folder = parser.parse_args().folder
    # 0: every value, and not a sample of them.
    accumulator = EventAccumulator(folder, size_guidance={SCALARS: 0})
    accumulator.Reload()
    for tag in sorted(accumulator.Tags()["scalars"]):
        for event in accumulator.Scalars(tag):
            print(tag, event.step, event.wall_time, event.value)


if __name__ == "__main__":
    main()
