//! Bytes into tensors and out of them.

use tch::{Kind, Tensor};

use super::{bytes_of, put_bytes};

#[test]
fn bytes_that_are_put_come_out_and_nothing_else_changes() {
    for kind in [Kind::Float, Kind::Double] {
        let mut vector = Tensor::arange(5, (kind, tch::Device::Cpu));
        let values = Tensor::from_slice(&[7.5, -2.25]).to_kind(kind);
        put_bytes(&mut vector, 2, &bytes_of(&values));
        let found = Vec::<f64>::try_from(vector.to_kind(Kind::Double)).unwrap();
        assert_eq!(found, [0.0, 1.0, 7.5, -2.25, 4.0], "{kind:?}");
    }
}

#[test]
fn they_go_into_the_stretch_that_a_view_is() {
    let whole = Tensor::zeros([6], (Kind::Float, tch::Device::Cpu));
    let mut view = whole.narrow(0, 2, 3);
    put_bytes(&mut view, 1, &bytes_of(&Tensor::from_slice(&[1.0f32, 2.0])));
    put_bytes(&mut view, 3, &[]);
    assert_eq!(
        Vec::<f32>::try_from(&whole).unwrap(),
        [0.0, 0.0, 0.0, 1.0, 2.0, 0.0]
    );
}

#[test]
#[should_panic(expected = "8 bytes from element 4 on, in 5 of 4 each")]
fn none_reach_beyond_the_end() {
    put_bytes(
        &mut Tensor::zeros([5], (Kind::Float, tch::Device::Cpu)),
        4,
        &[0; 8],
    );
}

#[test]
#[should_panic(expected = "bytes from element")]
fn a_place_that_no_memory_has_is_none() {
    put_bytes(
        &mut Tensor::zeros([5], (Kind::Float, tch::Device::Cpu)),
        usize::MAX / 2,
        &[0; 4],
    );
}

#[test]
#[should_panic(expected = "3 bytes from element 0 on")]
fn a_part_of_an_element_is_none() {
    put_bytes(
        &mut Tensor::zeros([5], (Kind::Float, tch::Device::Cpu)),
        0,
        &[0; 3],
    );
}

#[test]
#[should_panic(expected = "contiguous and on the CPU")]
fn a_tensor_whose_elements_are_apart_is_refused() {
    let whole = Tensor::zeros([4, 2], (Kind::Float, tch::Device::Cpu));
    put_bytes(&mut whole.select(1, 0), 0, &[0; 4]);
}
