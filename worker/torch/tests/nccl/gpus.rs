//! The driver, the GPUs it names, and what is said where one is missing.

use std::path::PathBuf;

use m2t_torch::cuda::{self, Context, CudaError, HighWater};

use crate::fake::Fake;

fn failure(fake: &Fake) -> CudaError {
    fake.driver().map(|driver| driver.release()).unwrap_err()
}

#[test]
fn a_machine_without_a_driver_says_so() {
    let fake = Fake::new();
    let libtorch = fake.path("libtorch_cuda.so");
    let error = cuda::load_from(&["libcuda-of-nobody.so.1".into()], &[libtorch])
        .map(drop)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no NVIDIA driver on this machine: libcuda-of-nobody.so.1: cannot open shared object file: No such file or directory \
         (tried libcuda-of-nobody.so.1); install the driver, or train on shares of the CPU (--devices cpu:2)"
    );
    let other = cuda::load_from(&["libc.so.6".into()], &[]).map(drop).unwrap_err();
    assert!(
        other.to_string().contains("libc.so.6 has no function cuInit"),
        "{other}"
    );
}

#[test]
fn a_libtorch_without_cuda_says_so() {
    let fake = Fake::new();
    let nowhere = [PathBuf::from("/nowhere/libtorch_cuda.so")];
    let error = cuda::load_from(&[fake.path("libcuda.so.1")], &nowhere)
        .map(drop)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(
            "libtorch was set up without CUDA: /nowhere/libtorch_cuda.so: cannot open shared object file"
        ) && text.contains("LIBTORCH"),
        "{text}"
    );
}

#[test]
fn a_driver_without_a_gpu_says_so() {
    let fake = Fake::new();
    for told in ["cuInit * fail 100", "cuDeviceGetCount * value 0"] {
        fake.tell(&[told]);
        assert_eq!(failure(&fake), CudaError::NoGpu, "{told}");
    }
    assert!(failure(&fake).to_string().contains("CUDA_VISIBLE_DEVICES"));
}

#[test]
fn a_driver_that_fails_does_so_in_its_own_words() {
    let fake = Fake::new();
    fake.tell(&["cuInit * fail 803"]);
    assert_eq!(
        failure(&fake).to_string(),
        "cuInit: an error of the fake (CUDA error 803)"
    );
    fake.tell(&["cuDevicePrimaryCtxRetain * fail 2"]);
    let driver = fake.driver().unwrap();
    let error = Context::retain(&driver, 0).map(drop).unwrap_err().to_string();
    assert_eq!(
        error,
        "cuDevicePrimaryCtxRetain: an error of the fake (CUDA error 2)"
    );
}

#[test]
fn a_driver_of_an_older_major_release_than_libtorch_needs_is_refused() {
    let fake = Fake::new();
    for (driver, runtime, refusal) in [
        (
            12_080,
            13_000,
            Some("the NVIDIA driver supports CUDA 12.8 and libtorch needs 13.0; update the driver"),
        ),
        (13_000, 13_020, None),
        (13_020, 12_060, None),
    ] {
        let (driver, runtime) = (
            format!("cuDriverGetVersion * value {driver}"),
            format!("cudaRuntimeGetVersion * value {runtime}"),
        );
        fake.tell(&[&driver, &runtime]);
        let said = fake.driver().map(drop).map_err(|error| error.to_string());
        assert_eq!(said.err().as_deref(), refusal);
    }
}

#[test]
fn gpus_are_found_by_number_and_by_uuid() {
    let fake = Fake::new();
    let driver = fake.driver().unwrap();
    let gpus = cuda::gpus(&driver).unwrap();
    assert_eq!(gpus.len(), 2);
    assert_eq!(gpus[0].name, "Fake GPU A");
    assert_eq!(gpus[1].uuid, "GPU-b0b1b2b3-b4b5-b6b7-b8b9-babbbcbdbebf");
    assert_eq!(cuda::by_index(&gpus, 1).unwrap(), &gpus[1]);
    assert_eq!(
        cuda::by_uuid(&gpus, "gpu-B0B1b2b3-b4b5-b6b7-b8b9-babbbcbdbebf").unwrap(),
        &gpus[1]
    );
    let error = cuda::by_index(&gpus, 2).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "there is no GPU 2 here; this machine has 0 (Fake GPU A, {}), 1 (Fake GPU B, {})",
            gpus[0].uuid, gpus[1].uuid
        )
    );
    let error = cuda::by_uuid(&gpus, "GPU-0").unwrap_err().to_string();
    assert!(
        error.starts_with("there is no GPU GPU-0 here; this machine has 0 (Fake GPU A"),
        "{error}"
    );
}

#[test]
fn memory_is_watched_and_that_of_others_is_told() {
    let fake = Fake::new();
    let context = Context::retain(&fake.driver().unwrap(), 1).unwrap();
    let (gib, total) = (1u64 << 30, 80u64 << 30);
    let free = |n: u64| fake.tell(&[&format!("cuMemGetInfo * value {n} {total}")]);
    free(total - gib);
    let memory = context.memory().unwrap();
    assert_eq!((memory.free, memory.total, memory.used()), (79 * gib, total, gib));
    context.check_unused().unwrap();
    let mut water = HighWater::begin(&context).unwrap();
    let looks = [3, 11, 5, 1].map(|used| {
        free(total - used * gib);
        water.look().unwrap() / gib
    });
    assert_eq!(looks, [2, 10, 10, 10]);
    free(total - 24 * gib);
    let error = context.check_unused().unwrap_err().to_string();
    assert!(
        error.starts_with("GPU 1 has 24576 MiB of its memory in use before this process took any"),
        "{error}"
    );
}
