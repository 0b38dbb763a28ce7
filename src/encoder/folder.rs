//! A model folder in the sentence-transformers layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How token states become one vector per sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean of the states of all real tokens, `[CLS]` and `[SEP]` included.
    Mean,
    /// The state of the first token, `[CLS]`.
    Cls,
}

impl Pooling {
    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
        }
    }
}

/// What the configuration says in place of the folder's own files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The weights file to take, relative to the folder.
    pub file: Option<PathBuf>,
    pub pooling: Option<Pooling>,
    pub normalize: Option<bool>,
    pub max_seq_length: Option<usize>,
}

/// Where a model's weights lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    Safetensors(PathBuf),
    Onnx(PathBuf),
}

impl Weights {
    pub fn path(&self) -> &Path {
        match self {
            Weights::Safetensors(path) | Weights::Onnx(path) => path,
        }
    }
}

/// The facts of a model folder; its weights and its tokenizer are not read yet.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    pub path: PathBuf,
    pub weights: Weights,
    /// `None` when neither the folder nor the configuration says.
    pub pooling: Option<Pooling>,
    /// Whether the model's own embeddings have length 1.
    pub normalize: bool,
    /// Longest input in tokens, `[CLS]` and `[SEP]` included.
    pub max_seq_length: usize,
    pub pad_token_id: u32,
    /// Rows of the word embeddings, where `config.json` says.
    pub vocab_size: Option<usize>,
    /// What may be put before inputs, by name: `prompts` of `config_sentence_transformers.json`.
    pub prompts: BTreeMap<String, String>,
    /// The name of the one that is put before inputs unless a request names another.
    pub default_prompt_name: Option<String>,
}

/// Why a folder is not a model that can be loaded.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(
        "model folder {} is missing; run `make models`, or fetch it with `polyhead pull`", .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "model folder {} has no weights: expected model.safetensors, model.onnx or onnx/model.onnx",
        .0.display()
    )]
    NoWeights(PathBuf),
    #[error("{} is missing; set `file` to an existing .safetensors or .onnx file of the model folder", .0.display())]
    NoSuchFile(PathBuf),
    #[error("{} is neither a .safetensors nor an .onnx file", .0.display())]
    UnknownWeights(PathBuf),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not valid: {source}", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error(
        "{} has the module {kind:?}, which is not supported; allowed: Transformer, Pooling, Normalize", path.display()
    )]
    UnsupportedModule { path: PathBuf, kind: String },
    #[error(
        "{} asks for a pooling that is not supported; allowed: mean or cls (one of them; `pooling` in the config overrides the file)",
        .0.display()
    )]
    UnsupportedPooling(PathBuf),
    #[error(
        "max_seq_length {asked} is more than the {positions} positions of the model in {}", path.display()
    )]
    TooLong { path: PathBuf, asked: usize, positions: usize },
    #[error("{} has the `default_prompt_name` {name:?}, but no such prompt", path.display())]
    DefaultPrompt { path: PathBuf, name: String },
    #[error(
        "{} has `pad_token_id` {id}, but `vocab_size` {vocabulary} allows for ids below it only",
        path.display()
    )]
    PadToken { path: PathBuf, id: u32, vocabulary: usize },
}

impl ModelFolder {
    /// Reads the small files of the folder at `path`.
    ///
    /// The longest input is the first that is given of: the override, `max_seq_length` of
    /// `sentence_bert_config.json`, `model_max_length` of `tokenizer_config.json` where it does not
    /// exceed the positions, `max_position_embeddings` of `config.json`.
    pub fn open(path: &Path, overrides: &Overrides) -> Result<ModelFolder, FolderError> {
        if !path.is_dir() {
            return Err(FolderError::Missing(path.to_owned()));
        }
        let config: TransformerConfig = required(path.join("config.json"))?;
        let pad_token_id = config.pad_token_id.unwrap_or(0);
        if let Some(vocabulary) = config.vocab_size.filter(|&size| pad_token_id as usize >= size) {
            let path = path.join("config.json");
            return Err(FolderError::PadToken { path, id: pad_token_id, vocabulary });
        }
        let pooling = match overrides.pooling {
            Some(pooling) => Some(pooling),
            None => pooling_of(path)?,
        };
        let normalize = match overrides.normalize {
            Some(normalize) => normalize,
            None => normalizes(path)?,
        };
        let LibraryConfig { prompts, default_prompt_name } = library_config(path)?;
        Ok(ModelFolder {
            path: path.to_owned(),
            weights: weights_of(path, overrides.file.as_deref())?,
            pooling,
            normalize,
            max_seq_length: max_seq_length(path, &config, overrides.max_seq_length)?,
            pad_token_id,
            vocab_size: config.vocab_size,
            prompts,
            default_prompt_name,
        })
    }

    /// What is put before every input that no prompt was named for.
    pub fn default_prompt(&self) -> Option<&str> {
        self.prompts.get(self.default_prompt_name.as_deref()?).map(String::as_str)
    }
}

#[derive(Deserialize)]
struct TransformerConfig {
    max_position_embeddings: usize,
    pad_token_id: Option<u32>,
    vocab_size: Option<usize>,
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

#[derive(Default, Deserialize)]
struct LibraryConfig {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

#[derive(Deserialize)]
struct TokenizerConfig {
    /// A float: transformers writes 1e30 for "no limit".
    model_max_length: Option<f64>,
}

#[derive(Deserialize)]
struct ModuleEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

/// The modes of sentence-transformers' `Pooling` module; several may be on, which joins them.
#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

fn weights_of(path: &Path, file: Option<&Path>) -> Result<Weights, FolderError> {
    if let Some(file) = file {
        let file = path.join(file);
        if !file.is_file() {
            return Err(FolderError::NoSuchFile(file));
        }
        return match file.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => Ok(Weights::Safetensors(file)),
            Some("onnx") => Ok(Weights::Onnx(file)),
            _ => Err(FolderError::UnknownWeights(file)),
        };
    }
    [
        Weights::Safetensors(path.join("model.safetensors")),
        Weights::Onnx(path.join("model.onnx")),
        Weights::Onnx(path.join("onnx/model.onnx")),
    ]
    .into_iter()
    .find(|weights| weights.path().is_file())
    .ok_or_else(|| FolderError::NoWeights(path.to_owned()))
}

fn pooling_of(path: &Path) -> Result<Option<Pooling>, FolderError> {
    let file = match modules_of(path)?.iter().find(|module| module.kind.ends_with(".Pooling")) {
        Some(module) => path.join(&module.path).join("config.json"),
        None => path.join("1_Pooling/config.json"),
    };
    let Some(config) = optional::<PoolingConfig>(file.clone())? else {
        return Ok(None);
    };
    let others = config.pooling_mode_max_tokens
        || config.pooling_mode_mean_sqrt_len_tokens
        || config.pooling_mode_weightedmean_tokens
        || config.pooling_mode_lasttoken;
    match (config.pooling_mode_mean_tokens, config.pooling_mode_cls_token, others) {
        (true, false, false) => Ok(Some(Pooling::Mean)),
        (false, true, false) => Ok(Some(Pooling::Cls)),
        _ => Err(FolderError::UnsupportedPooling(file)),
    }
}

fn normalizes(path: &Path) -> Result<bool, FolderError> {
    Ok(modules_of(path)?.iter().any(|module| module.kind.ends_with(".Normalize")))
}

fn library_config(path: &Path) -> Result<LibraryConfig, FolderError> {
    let file = path.join("config_sentence_transformers.json");
    let config = optional::<LibraryConfig>(file.clone())?.unwrap_or_default();
    match &config.default_prompt_name {
        Some(name) if !config.prompts.contains_key(name) => {
            Err(FolderError::DefaultPrompt { path: file, name: name.clone() })
        }
        _ => Ok(config),
    }
}

fn modules_of(path: &Path) -> Result<Vec<ModuleEntry>, FolderError> {
    let file = path.join("modules.json");
    let modules: Vec<ModuleEntry> = optional(file.clone())?.unwrap_or_default();
    let known = ["Transformer", "Pooling", "Normalize"];
    let is_known = |module: &&ModuleEntry| {
        module.kind.rsplit('.').next().is_some_and(|kind| known.contains(&kind))
    };
    match modules.iter().find(|module| !is_known(module)) {
        Some(unknown) => {
            Err(FolderError::UnsupportedModule { path: file, kind: unknown.kind.clone() })
        }
        None => Ok(modules),
    }
}

fn max_seq_length(
    path: &Path,
    config: &TransformerConfig,
    asked: Option<usize>,
) -> Result<usize, FolderError> {
    let positions = config.max_position_embeddings;
    let declared = match asked {
        Some(asked) => Some(asked),
        None => optional::<SentenceConfig>(path.join("sentence_bert_config.json"))?
            .and_then(|config| config.max_seq_length),
    };
    if let Some(asked) = declared {
        return if asked <= positions {
            Ok(asked)
        } else {
            Err(FolderError::TooLong { path: path.to_owned(), asked, positions })
        };
    }
    let tokenizer = optional::<TokenizerConfig>(path.join("tokenizer_config.json"))?
        .and_then(|config| config.model_max_length)
        .filter(|&length| length >= 1.0 && length <= positions as f64);
    Ok(tokenizer.map_or(positions, |length| length as usize))
}

fn required<T: DeserializeOwned>(file: PathBuf) -> Result<T, FolderError> {
    let bytes =
        std::fs::read(&file).map_err(|source| FolderError::Read { path: file.clone(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| FolderError::Parse { path: file, source })
}

fn optional<T: DeserializeOwned>(file: PathBuf) -> Result<Option<T>, FolderError> {
    if file.is_file() { required(file).map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a `config.json` for 64 positions and the given further files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let config = ("config.json", r#"{"max_position_embeddings": 64, "pad_token_id": 3}"#);
        for (name, text) in [config].iter().chain(files) {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        folder
    }

    fn open(folder: &tempfile::TempDir) -> Result<ModelFolder, FolderError> {
        ModelFolder::open(folder.path(), &Overrides::default())
    }

    #[test]
    fn the_sentence_transformers_files_are_honoured() {
        let folder = folder(&[
            ("model.safetensors", ""),
            ("onnx/model.onnx", ""),
            ("sentence_bert_config.json", r#"{"max_seq_length": 16, "do_lower_case": false}"#),
            ("9_Pool/config.json", r#"{"pooling_mode_cls_token": true}"#),
            (
                "modules.json",
                r#"[{"idx": 1, "name": "1", "path": "9_Pool", "type": "sentence_transformers.models.Pooling"},
                    {"idx": 2, "name": "2", "path": "2_N", "type": "sentence_transformers.models.Normalize"}]"#,
            ),
        ]);
        let model = open(&folder).unwrap();
        assert_eq!(model.weights, Weights::Safetensors(folder.path().join("model.safetensors")));
        assert_eq!(model.pooling, Some(Pooling::Cls));
        assert!(model.normalize);
        assert_eq!(model.max_seq_length, 16);
        assert_eq!(model.pad_token_id, 3);
    }

    #[test]
    fn a_bare_onnx_folder_leaves_pooling_open_and_takes_all_positions() {
        let folder = folder(&[
            ("onnx/model.onnx", ""),
            ("tokenizer_config.json", r#"{"model_max_length": 1e30}"#),
        ]);
        let model = open(&folder).unwrap();
        assert_eq!(model.weights, Weights::Onnx(folder.path().join("onnx/model.onnx")));
        assert_eq!(model.pooling, None);
        assert!(!model.normalize);
        assert_eq!(model.max_seq_length, 64);
    }

    #[test]
    fn the_configuration_overrides_the_folder() {
        let folder = folder(&[
            ("model.safetensors", ""),
            ("int8.onnx", ""),
            ("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#),
        ]);
        let overrides = Overrides {
            file: Some("int8.onnx".into()),
            pooling: Some(Pooling::Cls),
            normalize: Some(true),
            max_seq_length: Some(32),
        };
        let model = ModelFolder::open(folder.path(), &overrides).unwrap();
        assert_eq!(model.weights, Weights::Onnx(folder.path().join("int8.onnx")));
        assert_eq!(model.pooling, Some(Pooling::Cls));
        assert!(model.normalize);
        assert_eq!(model.max_seq_length, 32);
    }

    #[test]
    fn every_fault_of_a_folder_is_named() {
        let missing = ModelFolder::open(Path::new("no/such/folder"), &Overrides::default());
        assert!(missing.unwrap_err().to_string().contains("run `make models`"));

        let no_weights = open(&folder(&[("pytorch_model.bin", "")])).unwrap_err();
        assert!(matches!(no_weights, FolderError::NoWeights(_)), "{no_weights}");

        let max_pooling = ("1_Pooling/config.json", r#"{"pooling_mode_max_tokens": true}"#);
        let pooling = open(&folder(&[("model.onnx", ""), max_pooling])).unwrap_err();
        assert!(pooling.to_string().contains("mean or cls"), "{pooling}");

        let dense = (
            "modules.json",
            r#"[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#,
        );
        let module = open(&folder(&[("model.onnx", ""), dense])).unwrap_err();
        assert!(module.to_string().contains("models.Dense"), "{module}");

        let long = ("sentence_bert_config.json", r#"{"max_seq_length": 65}"#);
        let too_long = open(&folder(&[("model.onnx", ""), long])).unwrap_err();
        assert!(too_long.to_string().contains("65 is more than the 64 positions"), "{too_long}");

        let padded = r#"{"max_position_embeddings": 64, "vocab_size": 9, "pad_token_id": 9}"#;
        let pad = open(&folder(&[("model.onnx", ""), ("config.json", padded)])).unwrap_err();
        let told = "config.json has `pad_token_id` 9, but `vocab_size` 9 allows";
        assert!(pad.to_string().contains(told), "{pad}");

        let broken = open(&folder(&[("model.onnx", ""), ("modules.json", "{")])).unwrap_err();
        assert!(broken.to_string().contains("modules.json is not valid"), "{broken}");

        let pointed = Overrides { file: Some("gone.onnx".into()), ..Overrides::default() };
        let gone = ModelFolder::open(folder(&[]).path(), &pointed).unwrap_err();
        assert!(gone.to_string().contains("gone.onnx is missing"), "{gone}");
    }
}
