//! `polyhead export`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::cli::output::print;
use crate::encoder::folder::{ModelFolder, Overrides, Pooling, Weights};
use crate::onnx::{ExportOptions, ExportPrecision, export_bert};

/// Write a model's ONNX graph from its safetensors, pooling and normalisation included.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// A model folder in the sentence-transformers layout.
    folder: PathBuf,
    /// Where to write; by default onnx/model.onnx in the folder.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Arithmetic of the graph: int8 is the faster one where the CPU has 8-bit dot products.
    #[arg(long, default_value = "fp32", value_parser = parse_precision, value_name = "fp32|int8")]
    precision: ExportPrecision,
    /// Overrides the folder's pooling.
    #[arg(long, value_parser = parse_pooling, value_name = "mean|cls")]
    pooling: Option<Pooling>,
    /// Overrides whether the folder normalises.
    #[arg(long, value_name = "true|false")]
    normalize: Option<bool>,
}

impl Export {
    pub fn run(self) -> anyhow::Result<()> {
        let overrides =
            Overrides { pooling: self.pooling, normalize: self.normalize, ..Overrides::default() };
        let folder = ModelFolder::open(&self.folder, &overrides)?;
        let Weights::Safetensors(weights) = &folder.weights else {
            bail!("{} has no safetensors to export from", self.folder.display());
        };
        let Some(pooling) = folder.pooling else {
            bail!("{} does not say how to pool; give --pooling mean or cls", self.folder.display());
        };
        let output = self.output.unwrap_or_else(|| self.folder.join("onnx/model.onnx"));
        check_output(&output, weights)?;
        let config = self.folder.join("config.json");
        let config =
            fs::read(&config).with_context(|| format!("cannot read {}", config.display()))?;
        let bytes =
            fs::read(weights).with_context(|| format!("cannot read {}", weights.display()))?;
        let options =
            ExportOptions { precision: self.precision, pooling, normalize: folder.normalize };
        let graph = export_bert(&config, &bytes, options)
            .with_context(|| format!("cannot export {}", weights.display()))?;
        write_whole(&output, &graph)
            .with_context(|| format!("cannot write {}", output.display()))?;
        print(format_args!(
            "{}: {} bytes, {}, {} pooling, normalized: {}
",
            output.display(),
            graph.len(),
            self.precision.as_str(),
            pooling.as_str(),
            folder.normalize
        ))
    }
}

/// Refuses to replace what was not meant: the weights themselves, a folder, a device.
fn check_output(output: &Path, weights: &Path) -> anyhow::Result<()> {
    if output.exists() && !output.is_file() {
        bail!("{} is there and is no ordinary file", output.display());
    }
    let same = |a: &Path, b: &Path| Some(a.canonicalize().ok()? == b.canonicalize().ok()?);
    if same(output, weights) == Some(true) {
        bail!("{} holds the weights to export from; give another --output", output.display());
    }
    Ok(())
}

/// Writes beside the target and renames, so that no half file is ever taken for a model.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let partial = path.with_extension("partial");
    let written = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // It may not be there, and why it could not be written says more than why it stays.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn parse_pooling(text: &str) -> Result<Pooling, String> {
    match text {
        "mean" => Ok(Pooling::Mean),
        "cls" => Ok(Pooling::Cls),
        _ => Err("allowed: mean, cls".to_owned()),
    }
}

fn parse_precision(text: &str) -> Result<ExportPrecision, String> {
    match text {
        "fp32" => Ok(ExportPrecision::Fp32),
        "int8" => Ok(ExportPrecision::Int8),
        _ => Err("allowed: fp32, int8".to_owned()),
    }
}
