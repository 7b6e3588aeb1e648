//! Whether the programs lie beside each other and are of one build, and which libtorch and processor compute.

use m2t_common::tensor_facts::TensorFacts;

use super::super::facts::{Program, Programs};
use super::super::finding::Finding;

const BUILD: &str = "build all of them from one commit: cargo build --release -p m2t-coordinator -p m2t-worker -p m2t-trainer";

/// Instruction sets of libtorch, the slowest first, with the flag of the processor that it needs.
const SETS: [(&str, Option<&str>); 3] = [
    ("DEFAULT", None),
    ("AVX2", Some("avx2")),
    ("AVX512", Some("avx512f")),
];

pub(super) fn all(programs: &Programs) -> [Finding; 3] {
    let tensor = programs.tensor.as_ref();
    [
        beside(&programs.own, &programs.beside),
        libtorch(tensor),
        instruction_set(tensor.ok(), &programs.cpu_flags),
    ]
}

/// What `--version` says.
#[derive(PartialEq, Eq)]
struct Build<'a> {
    release: &'a str,
    commit: &'a str,
}

impl<'a> Build<'a> {
    /// `said` without the program's name.
    fn of(said: &'a str) -> Self {
        let fact = |name| {
            said.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        Self {
            release: said.lines().next().unwrap_or_default().trim(),
            commit: fact("commit ").unwrap_or("unknown"),
        }
    }

    /// The commit without whether its sources were modified, which each program says of its own.
    fn hash(&self) -> &'a str {
        self.commit.split_whitespace().next().unwrap_or_default()
    }
}

/// A coordinator is needed on one machine only; the others on each.
fn beside(own: &str, beside: &[Program]) -> Finding {
    const CHECK: &str = "programs";
    let own = Build::of(own);
    let mut absent = Vec::new();
    let mut other_commit = Vec::new();
    for Program { name, said } in beside {
        let said = match said {
            Ok(said) => said.strip_prefix(name).unwrap_or(said).trim_start(),
            Err(_) if *name == "m2t-coordinator" => {
                absent.push(*name);
                continue;
            }
            Err(reason) => return Finding::bad(CHECK, format!("{name}: {reason}"), BUILD),
        };
        let build = Build::of(said);
        if build.release != own.release {
            let found = format!(
                "{name} is of version {} and m2t of {}",
                build.release, own.release
            );
            return Finding::bad(CHECK, found, BUILD);
        }
        if build.hash() != own.hash() {
            other_commit.push(format!("{name} of commit {}", build.commit));
        }
    }
    let ours = format!("m2t {} of commit {}", own.release, own.commit);
    if !other_commit.is_empty() {
        return Finding::warn(CHECK, format!("{ours}; {}", other_commit.join(", ")), BUILD);
    }
    let but = match absent.as_slice() {
        [] => "",
        _ => "; m2t-coordinator is not here, which only the machine that leads needs",
    };
    Finding::ok(CHECK, format!("{ours}, and so are the programs beside it{but}"))
}

fn libtorch(tensor: Result<&TensorFacts, &String>) -> Finding {
    match tensor {
        Ok(facts) => Finding::ok("libtorch", format!("release {}", facts.libtorch)),
        Err(reason) => Finding::bad(
            "libtorch",
            reason,
            "cargo xtask set-up installs libtorch; then build m2t-trainer again where m2t lies",
        ),
    }
}

fn instruction_set(tensor: Option<&TensorFacts>, flags: &[String]) -> Finding {
    const CHECK: &str = "instruction-set";
    let Some(tensor) = tensor else {
        return Finding::skip(CHECK, "libtorch does not answer");
    };
    let used = &tensor.instruction_set;
    let has = |flag: &str| flags.iter().any(|known| known == flag);
    let extras: Vec<&str> = ["avx512_bf16", "amx_bf16"]
        .into_iter()
        .filter(|flag| has(flag))
        .collect();
    let bfloat16 = if extras.is_empty() {
        "no bfloat16".to_owned()
    } else {
        extras.join(", ")
    };
    let found = format!(
        "libtorch uses {used} (processor: {bfloat16}); bits are equal only on machines that use the same"
    );
    let place = SETS.iter().position(|(set, _)| set == used);
    let best = SETS.iter().rposition(|(_, flag)| flag.is_none_or(has));
    match (place, best) {
        (Some(used), Some(best)) if used < best => {
            let mend = format!(
                "the processor could do {}; take ATEN_CPU_CAPABILITY out of the environment, unless it holds the bits of machines that cannot",
                SETS[best].0
            );
            Finding::warn(CHECK, found, mend)
        }
        (Some(0), _) => Finding::warn(
            CHECK,
            found,
            "take a machine with AVX2: training here is many times slower",
        ),
        _ => Finding::ok(CHECK, found),
    }
}
