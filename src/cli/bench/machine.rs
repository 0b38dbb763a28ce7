//! The machine in facts.

use std::fs;

use serde::Serialize;

/// What decides how fast an encoder can be here.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// As the processor calls itself, or its architecture where the system does not tell.
    pub cpu: String,
    /// Cores that this process may use, as CPU affinity and cgroup quotas have it.
    pub cores: usize,
    /// The instruction set extensions that matter here, as Linux names them.
    pub features: Vec<String>,
    pub system: &'static str,
}

/// Extensions for multiplying matrices, from those of every machine to those of few.
const FEATURES: [&str; 16] = [
    "fma",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "amx_fp16",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sme",
];

impl Machine {
    pub fn here() -> Machine {
        // Absent on systems other than Linux: then little can be said.
        let facts = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Machine {
            cpu: field(&facts, "model name").unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            features: features(&facts),
            system: std::env::consts::OS,
        }
    }
}

fn features(facts: &str) -> Vec<String> {
    // x86 calls them flags, ARM features.
    let all = field(facts, "flags").or_else(|| field(facts, "Features")).unwrap_or_default();
    let has = |feature: &&str| all.split_whitespace().any(|it| it == *feature);
    FEATURES.into_iter().filter(has).map(str::to_owned).collect()
}

/// The first value of a field of `/proc/cpuinfo`.
fn field<'a>(facts: &'a str, name: &str) -> Option<&'a str> {
    facts.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_end() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_known_by_its_name_and_by_whole_feature_names() {
        let facts = "processor\t: 0\nmodel name\t: A CPU @ 2:1\nflags\t\t: avx2 amx_bf16_x fma\n";
        assert_eq!(field(facts, "model name"), Some("A CPU @ 2:1"));
        assert_eq!(features(facts), ["fma", "avx2"]);
        assert_eq!(features("Features\t: asimddp i8mm"), ["asimddp", "i8mm"]);
        assert_eq!(features(""), [""; 0]);
    }
}
