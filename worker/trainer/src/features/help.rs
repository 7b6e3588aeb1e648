//! What `--help` says of features, below the options.

/// Of `features`.
pub const FEATURES: &str = r#"Examples:
  m2t features outputs/demo --data photographs/val --to val.safetensors
  m2t features outputs/demo --data photographs/val --to val.npy --side student

In Python:

    import json, safetensors, safetensors.torch
    table = safetensors.torch.load_file("val.safetensors")
    table["features"], table["labels"]              # float32 [N, d], int64 [N]
    with safetensors.safe_open("val.safetensors", "pt") as file:
        about = file.metadata()                     # side, step, state_digest, data_fingerprint and more
    classes, files = json.loads(about["classes"]), json.loads(about["files"])

    import numpy
    numpy.load("val.npy"), numpy.load("val.labels.npy")  # and val.classes.txt, val.files.txt, a name a line

Row i is the image i of the folder: classes by name, files by class and path. Each image is seen at its centre, as in `m2t knn`."#;
