//! What the `--help` of `m2t` and its commands says besides the options: examples to begin with, units, exit codes.

/// Of `m2t` in short.
pub const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 it failed; 2 what was typed was refused; else those of
the program that a command runs (`m2t train --help`, `m2t recipe diff --help`).";

/// Of `m2t`.
pub const M2T: &str = "\
Examples, from nothing to a tested encoder on this machine:
  m2t data synth photographs
  m2t train -d cpu:2 -f deploy/config/demo.toml --data photographs/train
  m2t status --watch                  in another terminal
  m2t knn --features teacher --checkpoint outputs/demo \\
      --train photographs/train --val photographs/val

  m2t doctor                          what is wrong with this machine
  m2t recipe                          the published runs
  m2t recipe 32x_v100_100e            all keys of one

`m2t COMMAND --help` has the examples of each command. On several machines,
m2t-coordinator leads and an m2t-worker on each machine joins it; m2t launch
starts them all over ssh.

Exit codes: 0 done; 1 it failed; 2 what was typed was refused; else those of
the program that a command runs (`m2t train --help`, `m2t recipe diff --help`).";

/// Of `m2t status`.
pub const STATUS: &str = "\
Examples:
  m2t status                                    where the run on this machine stands
  m2t status --coordinator 10.0.0.1:7117 --watch
  m2t status --json                             for programs

A run that waits says for what: \"6 of 8 devices; waiting for 2\".

--watch in a terminal is a view of the run, in colours unless NO_COLOR is set. A
coordinator that goes away is told of, and found again when it is back. Keys:
arrows, Page, Home, End scroll; Tab goes from machines to log; g shows regroups
alone; p pauses, r resumes, s stops the run, d drains the machine of the selected
row, each after a question; q quits, and changes nothing. Where standard output
is no terminal, each status is written below the one before.

Exit codes: 0 shown; 1 no coordinator answers, or it went away while watched and
standard output is no terminal; 128 + n the view was ended by signal n.";

/// Of `m2t data synth`.
pub const SYNTH: &str = "\
Unless told otherwise: seed 0, 10 classes, of each 400 pictures to train on and
200 held out, of 48 x 48 pixels. Equal options make equal files.

Example:
  m2t data synth photographs --classes 4 --pixels 64

Exit codes: 0 written; 1 it failed; 2 an option is out of bounds, or the folder
is not empty.";

/// Of `m2t checkpoint digest`.
pub const DIGEST: &str = "\
The files are verified first. Equal digests, equal states to the bit, in
whatever placement they were trained.

Examples:
  m2t checkpoint digest outputs/demo                             the newest
  m2t checkpoint digest outputs/demo/checkpoints/step-000000400

Exit codes: 0 printed; 1 there is no checkpoint that verifies.";

/// Of `m2t doctor`.
pub const DOCTOR: &str = "\
Each check is a line: ok; warn, a run works, but worse than it could, or not for
long; bad, a run will not work; skip, not asked for, or it cannot be seen. After
TO DO stands what to mend. Nothing is mended here. What the estimates of memory
and room say is good to a half. Of the link the round trip is measured, not the
throughput: gradients do not go through the coordinator.

Checks: programs, libtorch, instruction-set, devices, driver, gpus, nccl,
cpu-limit, threads, memory-limit, memory, open-files, process-limit,
locked-memory, shared-memory, leftovers, strays, coordinator, clock, round-trip,
data, decoding, output, output-space, output-shared.

With --json one line: an array of objects, one a check and in this order, with
the texts \"check\" (as above), \"state\" (ok, warn, bad or skip), \"found\", and,
where the state is warn or bad, \"mend\". Names and states are stable, the other
texts are for people.

Examples:
  m2t doctor --data /data/imagenet/train -d cpu:8 -f 32x_v100_100e
  m2t doctor --data /fast/packed --output /shared/runs/resnet50 \\
      --coordinator 10.0.0.1:7117 --devices gpu:8
  m2t doctor --json

Exit codes: 0 nothing is bad; 1 something is; 2 what was typed was refused.";

/// Of `m2t report`.
pub const REPORT: &str = "\
The page holds its plots, tables and style: it opens without a network, on a
phone, in the dark and in print. What of a run cannot be read, because it is
being written or was cut, is said at its end and on standard error.

In plots of many steps the band reaches from the least to the largest value, so
that no outlier is lost. Upright lines are regroups.

Examples:
  m2t report outputs/demo
  m2t report outputs/sgd outputs/lars --to compared.html
  m2t report outputs/demo --plots plots        loss.svg, loss.png and so on

Exit codes: 0 written; 1 it failed; 2 a folder holds no run, or what was typed
was refused.";

/// Of `m2t metrics`.
pub const METRICS: &str = "\
TensorBoard's tags: loss, learning_rate, momentum/parameters,
momentum/statistics, gradient_norm, throughput/images_per_second,
throughput/data_wait, placement/generation, placement/regroup_seconds, and of
evaluations METHOD/ENCODER_top1 and _top5, such as knn/teacher_top1.

CSV's columns: run, step, epoch, generation, time, loss, learning_rate,
parameter_momentum, statistics_momentum, gradient_norm, images_per_second,
data_wait, regroup_seconds; and of evaluations: run, step, epoch, generation,
time, encoder, method, top1, top5, n_correct, n_images, seconds. New columns come
last. Numbers read back to the same bits.

A step's time is reckoned from when its generation began to train and from the
speed of each step since; it is right to about a step.

Examples:
  m2t metrics outputs/* --tensorboard logs     then: tensorboard --logdir logs
  m2t metrics outputs/demo --tensorboard logs --follow
  m2t metrics outputs/demo --csv demo.csv      and demo.evaluations.csv

Exit codes: 0 written; 1 it failed; 2 a folder holds no run, or what was typed
was refused.";
