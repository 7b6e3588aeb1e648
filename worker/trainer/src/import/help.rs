//! What `--help` says of imports, below the options.

/// Of `import`.
pub const IMPORT: &str = r#"Examples:
  m2t import last_epoch_ckpt.pth.tar --to outputs/published     the published implementation's
  m2t import resnet50-11ad3fa6.pth --to outputs/supervised      torchvision's
  m2t import model.safetensors --to outputs/timm                timm's
  m2t import moco.pth --to outputs/moco --prefix module.encoder_q. --allow-extra
  m2t import state.safetensors --to outputs/moved               m2t export --what all

Then, as with any run:

  m2t knn --features teacher --checkpoint outputs/published --train DIR/train --val DIR/val
  m2t export outputs/published --to encoder.safetensors

To train on from it, say with which recipe and data, and train with the same into the same folder:

  m2t import resnet18.pth --to outputs/on --data DIR/train -f my.toml
  m2t train -f my.toml --data DIR/train --experiment-name on

What is taken:
- Encoders by torchvision's names, which are also timm's. Student and teacher get the same; heads are drawn from the recipe's seed, the
  momentum is zero. The classifier (fc.*) is left aside.
- Checkpoints of the published implementation (arXiv 2101.07525), a dict of start_epoch, model and optimizer: both networks with
  their heads and statistics, under module.student_encoder. and module.teacher_encoder., with module. or without. Names are those of
  its published source; no checkpoint of it was ever published to try. Its optimizer is left aside. It updates the teacher at the
  beginning of the next step, so its teacher is one update behind.
- Whole states that m2t exported. Recipe, step and size of the data set come with them.

float16, bfloat16 and float64 become the recipe's type. Every tensor that is missing or unknown is named with its shape, and refused
unless --allow-missing or --allow-extra says otherwise. A .pth is read in both of its forms, before and since PyTorch 1.6, and nothing in
it is run: what asks for more than tensors, texts and numbers is refused by name."#;
