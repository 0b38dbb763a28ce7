//! How many operations a token costs in linear layers.

use std::fs;
use std::path::Path;

use serde::Deserialize;

/// The sizes in the `config.json` of a BERT and of the many that share its names.
#[derive(Deserialize)]
struct Sizes {
    num_hidden_layers: usize,
    hidden_size: usize,
    intermediate_size: usize,
}

/// Two operations, a multiplication and an addition, for each element of the weights of the linear
/// layers. A layer has four matrices of hidden × hidden (query, key, value, output) and two of
/// hidden × intermediate. Attention's own products, which grow with the length, are not counted.
///
/// `None` where the folder's `config.json` does not have these sizes.
pub fn linear_flops_per_token(folder: &Path) -> Option<usize> {
    let config = fs::read(folder.join("config.json")).ok()?;
    let sizes: Sizes = serde_json::from_slice(&config).ok()?;
    let hidden = sizes.hidden_size;
    let weights = 4 * hidden * hidden + 2 * hidden * sizes.intermediate_size;
    Some(2 * sizes.num_hidden_layers * weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_minilm_costs_21_million_operations() {
        let folder = tempfile::tempdir().unwrap();
        let config = r#"{"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536}"#;
        fs::write(folder.path().join("config.json"), config).unwrap();
        assert_eq!(linear_flops_per_token(folder.path()), Some(21_233_664));
        fs::write(folder.path().join("config.json"), r#"{"n_layers": 6, "dim": 768}"#).unwrap();
        assert_eq!(linear_flops_per_token(folder.path()), None);
    }
}
