//! `polyhead bench`.

mod contender;
mod flops;
mod machine;
mod measure;
mod parity;
mod peak;
mod report;
mod run;
mod spread;
mod table;
mod workload;

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::cli::{environment, output};
use crate::config::{self, Config, Precision};
use crate::encoder::session::Runtime;

use self::machine::Machine;
use self::measure::Driver;
use self::report::Report;
use self::run::Plan;
use self::workload::Corpus;

/// Measure what this machine does: speed in each precision, closeness to fp32, share of its peak.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// The configuration whose models are measured; without it, the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only this model of the configuration.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only this precision; it is still compared with fp32.
    #[arg(long, value_parser = parse_precision, value_name = "fp32|int8|bf16")]
    precision: Option<Precision>,
    /// Samples of each figure; their median and spread are reported.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: u16,
    /// Measure on these sentences, one a line, 32 to a request, in place of the set shapes.
    #[arg(long, value_name = "FILE")]
    sentences: Option<PathBuf>,
    /// Print one JSON object in place of the tables.
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        environment::for_native_code()?;
        let config = Config::load(self.config.as_deref(), config::variables())?;
        let corpus = match &self.sentences {
            Some(file) => Corpus::read(file)?,
            None => Corpus::BuiltIn,
        };
        let models = chosen(&config, self.model.as_deref())?;
        let runtime = Runtime::load(&config.runtime.library)?;
        let plan = Plan {
            config: &config,
            runtime: &runtime,
            driver: Driver::new(config.batching.interactive_inputs)
                .context("cannot start the async runtime")?,
            corpus,
            precisions: match self.precision {
                Some(precision) => vec![precision],
                None => vec![Precision::Fp32, Precision::Int8, Precision::Bf16],
            },
            repeats: self.repeats.into(),
        };
        let models = models.iter().map(|name| plan.measure(name));
        let models = models.collect::<anyhow::Result<_>>()?;
        let report = Report {
            polyhead: env!("CARGO_PKG_VERSION"),
            runtime: runtime.build_info(),
            machine: Machine::here(),
            repeats: plan.repeats,
            models,
        };
        if self.json {
            output::print(format_args!("{}\n", serde_json::to_string_pretty(&report)?))
        } else {
            output::print(table::Tables(&report))
        }
    }
}

fn chosen<'c>(config: &'c Config, model: Option<&str>) -> anyhow::Result<Vec<&'c str>> {
    let all: Vec<&str> = config.models.keys().map(String::as_str).collect();
    match model {
        None => Ok(all),
        Some(model) => match all.iter().find(|&&name| name == model) {
            Some(name) => Ok(vec![name]),
            None => bail!("there is no model {model:?}; allowed: {}", all.join(", ")),
        },
    }
}

fn parse_precision(text: &str) -> Result<Precision, String> {
    [Precision::Fp32, Precision::Int8, Precision::Bf16]
        .into_iter()
        .find(|precision| precision.as_str() == text)
        .ok_or_else(|| "allowed: fp32, int8, bf16".to_owned())
}
