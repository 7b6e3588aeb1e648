//! The fakes, compiled once and copied for each test: a copy is a world of its own, with its own record of calls.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use m2t_torch::TorchError;
use m2t_torch::collective::Nccl;
use m2t_torch::collective::nccl::{Backend, Deadlines, Library, UniqueId};
use m2t_torch::cuda::{self, Context, Driver};
use tch::Device;

const SOURCES: [(&str, &str); 3] = [
    ("fake.h", include_str!("fake/fake.h")),
    ("cuda.cpp", include_str!("fake/cuda.cpp")),
    ("nccl.cpp", include_str!("fake/nccl.cpp")),
];

/// Beyond every test's life.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);
/// Deadlines that no test sees.
pub(crate) const PATIENT: Deadlines = Deadlines {
    connecting: NEVER,
    operation: NEVER,
    parting: NEVER,
};
/// A deadline for what never ends.
pub(crate) const SOON: Duration = Duration::from_millis(300);

/// A machine with two GPUs, for one test.
pub(crate) struct Fake {
    folder: PathBuf,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let test = thread::current().name().unwrap().replace("::", "-");
        let folder = compiled().with_file_name(format!("nccl-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["libnccl.so.2", "libcuda.so.1"] {
            fs::copy(compiled().join(name), folder.join(name)).unwrap();
        }
        // A second copy: it is opened for the whole process.
        fs::copy(folder.join("libcuda.so.1"), folder.join("libtorch_cuda.so")).unwrap();
        fs::write(folder.join("calls"), "").unwrap();
        let fake = Self { folder };
        fake.tell(&[]);
        fake
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Says what is to go wrong from now on, and nothing else.
    pub(crate) fn tell(&self, lines: &[&str]) {
        let (new, control) = (self.path("control.new"), self.path("control"));
        fs::write(&new, lines.join("\n") + "\n").unwrap();
        fs::rename(new, control).unwrap();
    }

    /// What was called so far, without the threads.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap();
        let without_thread = |line: &str| line.split_once(' ').unwrap().1.to_owned();
        calls.lines().map(without_thread).collect()
    }

    /// Those that begin so.
    pub(crate) fn calls_of(&self, start: &str) -> Vec<String> {
        let mut calls = self.calls();
        calls.retain(|call| call.starts_with(start));
        calls
    }

    pub(crate) fn library(&self) -> Arc<Library> {
        Arc::new(Library::open(&[self.path("libnccl.so.2")]).unwrap())
    }

    pub(crate) fn driver(&self) -> Result<Arc<Driver>, cuda::CudaError> {
        cuda::load_from(&[self.path("libcuda.so.1")], &[self.path("libtorch_cuda.so")])
    }

    pub(crate) fn backend(&self) -> Backend {
        Backend {
            library: self.library(),
            context: Context::retain(&self.driver().unwrap(), 1).unwrap(),
            tensors: Device::Cpu,
        }
    }

    /// All members of a new group.
    pub(crate) fn group(&self, size: usize) -> Vec<Nccl> {
        self.connect(size, 0..size, PATIENT)
            .into_iter()
            .map(Result::unwrap)
            .collect()
    }

    /// Some members of a new group of that size.
    pub(crate) fn connect(
        &self,
        size: usize,
        members: impl IntoIterator<Item = usize>,
        deadlines: Deadlines,
    ) -> Vec<Result<Nccl, TorchError>> {
        let backend = self.backend();
        let id = UniqueId::fresh(&backend.library).unwrap();
        thread::scope(|scope| {
            let connecting: Vec<_> = members
                .into_iter()
                .map(|index| {
                    let backend = &backend;
                    scope.spawn(move || {
                        let group = Nccl::begin(backend, id, (index, size), deadlines)?;
                        group.until_whole().map(|()| group)
                    })
                })
                .collect();
            connecting
                .into_iter()
                .map(|member| member.join().unwrap())
                .collect()
        })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if thread::panicking() {
            // What led to it stays, to be looked at.
            eprintln!("the fake's record: {}", self.folder.display());
            return;
        }
        let violations = self.calls_of("VIOLATION");
        assert!(violations.is_empty(), "{violations:#?}\nin {:#?}", self.calls());
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// The folder with both libraries; compiled if these sources were not before. Tests may run in processes of their own.
fn compiled() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let done = all.join(format!("nccl-fake-{:016x}", hasher.finish()));
    if done.is_dir() {
        return done;
    }
    let making = all.join(format!(
        "nccl-fake-making-{}-{:?}",
        std::process::id(),
        thread::current().id()
    ));
    fs::create_dir_all(&making).unwrap();
    for (name, source) in SOURCES {
        fs::write(making.join(name), source).unwrap();
    }
    compile(&making, "cuda.cpp", "libcuda.so.1");
    compile(&making, "nccl.cpp", "libnccl.so.2");
    if fs::rename(&making, &done).is_err() {
        // Another test was faster.
        fs::remove_dir_all(&making).unwrap();
    }
    done
}

fn compile(folder: &Path, source: &str, library: &str) {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let output = Command::new(compiler)
        .current_dir(folder)
        // Without symbols that copies of one library would share.
        .args([
            "-std=c++17",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fno-gnu-unique",
        ])
        .args([
            "-shared",
            "-fPIC",
            "-Wl,-Bsymbolic",
            "-pthread",
            "-o",
            library,
            source,
            "-ldl",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
