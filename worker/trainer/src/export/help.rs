//! What `--help` says of loading an export, below the options.

/// Of `export`.
pub const EXPORT: &str = r#"Examples:
  m2t export outputs/demo --to encoder.safetensors
  m2t export outputs/demo --to encoder.pth                      for torch.load
  m2t export outputs/demo/checkpoints/step-000000400 --to student.pth --side student
  m2t export outputs/demo --to state.safetensors --what all     for m2t import, elsewhere

Load it in Python, here encoder.safetensors:

    import safetensors.torch, timm, torch, torchvision
    weights = safetensors.torch.load_file("encoder.safetensors")

    encoder = torchvision.models.resnet50()
    encoder.load_state_dict(weights, strict=False)  # misses fc.weight and fc.bias only
    encoder.fc = torch.nn.Identity()                # features [N, 2048] instead of classes
    encoder.eval()

    encoder = timm.create_model("resnet50", num_classes=0)
    encoder.load_state_dict(weights)

and here encoder.pth:

    weights = torch.load("encoder.pth", weights_only=True)

Images are RGB between 0 and 1, less `mean` and over `std` of the file's metadata (of a .pth, its record archive/m2t.json):

    with safetensors.safe_open("encoder.safetensors", "pt") as file:
        print(file.metadata())

A recipe with stem = "small" has another first layer; with channels = 64, give torchvision's class that one before loading:

    encoder.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    encoder.maxpool = torch.nn.Identity()

Where each rank has statistics of its own (teacher_statistics = "local"), rank 0's are written, as in `m2t knn`.

Beside the file goes a card, encoder.md: recipe, step, newest metrics and evaluations, digest, how to load the file. Both are written
whole or not at all."#;
