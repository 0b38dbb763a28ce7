//! Which files of a repository make a model folder.

use super::HubError;
use super::listing::RemoteFile;
use super::names::RepoId;

/// Without these no model can be served.
const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];

/// What sentence-transformers adds, where a repository has it.
const OPTIONAL: [&str; 7] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];

/// Weights, the preferred first. A graph beyond 2 GB keeps its tensors in a second file.
const WEIGHTS: [(&str, Option<&str>); 3] = [
    ("model.safetensors", None),
    ("onnx/model.onnx", Some("onnx/model.onnx_data")),
    ("model.onnx", Some("model.onnx_data")),
];

/// The files to fetch, the weights last.
///
/// Files are looked up by the names above, so no name that a hub makes up can become a path.
pub(super) fn choose<'a>(
    repo: &RepoId,
    listed: &'a [RemoteFile],
) -> Result<Vec<&'a RemoteFile>, HubError> {
    let find = |name: &str| listed.iter().find(|file| file.name == name);
    let missing: Vec<_> = REQUIRED.into_iter().filter(|name| find(name).is_none()).collect();
    if !missing.is_empty() {
        return Err(HubError::MissingFiles { repo: repo.clone(), missing });
    }
    let (weights, external) = WEIGHTS
        .into_iter()
        .find(|(name, _)| find(name).is_some())
        .ok_or_else(|| HubError::NoWeights { repo: repo.clone(), found: other_weights(listed) })?;
    Ok(REQUIRED
        .into_iter()
        .chain(OPTIONAL)
        .chain(external)
        .chain([weights])
        .filter_map(find)
        .collect())
}

/// Weights that are not read here, for the error's text.
fn other_weights(listed: &[RemoteFile]) -> Vec<String> {
    const SUFFIXES: [&str; 6] = [".bin", ".safetensors", ".onnx", ".h5", ".msgpack", ".ot"];
    listed
        .iter()
        .map(|file| &file.name)
        .filter(|name| SUFFIXES.iter().any(|suffix| name.ends_with(suffix)))
        .filter(|name| name.chars().all(|c| c.is_ascii_graphic()))
        .take(5)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Result<Vec<String>, HubError> {
        let listed: Vec<_> = names.iter().map(|name| RemoteFile::named(name)).collect();
        choose(&"a/b".parse().unwrap(), &listed)
            .map(|files| files.iter().map(|file| file.name.clone()).collect())
    }

    #[test]
    fn safetensors_are_preferred_and_the_weights_come_last() {
        let files = chosen(&[
            "onnx/model.onnx",
            "model.safetensors",
            "pytorch_model.bin",
            "README.md",
            "tokenizer.json",
            "1_Pooling/config.json",
            "config.json",
        ]);
        assert_eq!(
            files.unwrap(),
            ["config.json", "tokenizer.json", "1_Pooling/config.json", "model.safetensors"]
        );
    }

    #[test]
    fn without_safetensors_the_onnx_export_is_taken_with_its_external_data() {
        let small = ["config.json", "tokenizer.json"];
        let nested = ["onnx/model.onnx", "onnx/model.onnx_data", "model.onnx"];
        let files = chosen(&[&small[..], &nested[..]].concat()).unwrap();
        assert_eq!(files[2..], ["onnx/model.onnx_data", "onnx/model.onnx"]);
        let files = chosen(&[&small[..], &["model.onnx"]].concat()).unwrap();
        assert_eq!(files[2..], ["model.onnx"]);
    }

    #[test]
    fn pickled_weights_are_refused_by_name() {
        let error = chosen(&["config.json", "tokenizer.json", "pytorch_model.bin"]).unwrap_err();
        assert!(error.to_string().contains("only pytorch_model.bin"), "{error}");
    }

    #[test]
    fn every_missing_file_is_named() {
        let error = chosen(&["vocab.txt", "model.safetensors"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no config.json and no tokenizer.json"), "{text}");
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_never_chosen() {
        let files = chosen(&[
            "../config.json",
            "/etc/passwd",
            "x/../../model.safetensors",
            "config.json",
            "tokenizer.json",
            "model.safetensors",
        ]);
        assert_eq!(files.unwrap(), ["config.json", "tokenizer.json", "model.safetensors"]);
    }
}
