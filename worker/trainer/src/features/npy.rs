//! NumPy's `.npy`, version 1.0: a line that says type and shape, and the elements.

/// What the elements begin at a multiple of.
const ALIGNMENT: usize = 64;

/// What stands before the elements. `kind` is NumPy's word for their type, such as `<f4`; they follow in row-major order.
pub(super) fn header(kind: &str, shape: &[u64]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let said = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({sides}), }}");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    let before = header.len() + size_of::<u16>();
    let whole = (before + said.len() + 1).next_multiple_of(ALIGNMENT);
    let length = u16::try_from(whole - before).expect("a type and a few sides are short");
    header.extend(length.to_le_bytes());
    header.extend(said.as_bytes());
    header.resize(whole - 1, b' ');
    header.push(b'\n');
    header
}
