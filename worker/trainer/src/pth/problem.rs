//! Why a file is not taken, each in a part of a sentence.

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("it is no file of PyTorch: neither the zip of torch.save nor its older form")]
    NotPyTorch,
    #[error(
        "it is a plain pickle, which may run anything and holds no tensors of torch.save; save the state dict with torch.save"
    )]
    PlainPickle,
    #[error(
        "it is a tar, as PyTorch wrote before 0.2; load it with PyTorch and save it again with torch.save"
    )]
    Tar,
    #[error("it is a TorchScript program and no state dict; save the module's state_dict() with torch.save")]
    TorchScript,
    #[error("it ends in the middle; it was not copied or written whole")]
    Cut,
    #[error("its zip is damaged: {0}")]
    Zip(String),
    #[error("its zip has no {0}")]
    NoRecord(String),
    #[error("its record {0} is compressed or encrypted, and torch.save stores plainly")]
    NotStored(String),
    #[error("its record {0} is damaged: its bytes are not those it was written with")]
    Damaged(String),
    #[error("its records overlap")]
    Overlap,
    #[error("it was written on a machine of the other byte order; save it again on a little-endian one")]
    ByteOrder,
    #[error("its pickle asks for {0}, which is not run; save a dict of tensors, texts and numbers alone")]
    Global(String),
    #[error("its pickle has the opcode {0:#04x}, which no state dict needs")]
    Opcode(u8),
    #[error("its pickle has protocol {0}, and torch.save writes 2")]
    Protocol(u8),
    #[error("its pickle is nonsense: {0}")]
    Nonsense(&'static str),
    #[error("its pickle is larger than any state dict's: more than {limit} {what}")]
    TooMuch { what: &'static str, limit: usize },
    #[error("the storage {key} has {found} bytes, and its pickle says {expected}")]
    StorageSize { key: String, found: u64, expected: u64 },
    #[error("a tensor of shape {shape:?} reaches beyond its storage {key} of {n} elements")]
    Beyond { shape: Vec<u64>, key: String, n: u64 },
}
