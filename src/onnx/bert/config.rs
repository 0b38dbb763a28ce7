//! A BERT's `config.json`.

use serde::Deserialize;

use crate::onnx::error::OnnxError;

/// The part of transformers' `BertConfig` that decides what the graph computes.
///
/// A key that `BertConfig` gives a default may be left out, except for the sizes: those are always
/// written. Other keys (dropout, initialisation, labels) do not matter for inference.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct BertConfig {
    pub model_type: ModelType,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    #[serde(default)]
    pub hidden_act: Activation,
    #[serde(default = "default_layer_norm_eps")]
    pub layer_norm_eps: f32,
    #[serde(default)]
    pub position_embedding_type: PositionEmbedding,
    /// A decoder's attention looks only backwards, which is another graph.
    #[serde(default)]
    pub is_decoder: bool,
}

/// The architectures that there is a graph for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelType {
    Bert,
}

/// What the feed-forward part applies between its two layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Activation {
    /// x · Φ(x), through the error function.
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    /// The approximation 0.5x (1 + tanh(√(2/π) (x + 0.044715x³))).
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    #[serde(rename = "relu")]
    Relu,
}

/// How a token's position gets into its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionEmbedding {
    /// A learnt vector for each position, added to the token's own.
    #[default]
    Absolute,
}

impl BertConfig {
    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// [`OnnxError::Config`] if it cannot be read or names a model type, activation or position
    /// embedding that is not supported; [`OnnxError::Unsupported`] for other values that there is
    /// no graph for.
    pub fn parse(json: &[u8]) -> Result<Self, OnnxError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let config: Self =
            serde_path_to_error::deserialize(&mut deserializer).map_err(OnnxError::Config)?;
        config.check()?;
        Ok(config)
    }

    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    fn check(&self) -> Result<(), OnnxError> {
        for (key, size) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ] {
            if size == 0 {
                return Err(unsupported(key, size, "at least 1"));
            }
        }
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        if !width.is_multiple_of(heads) {
            let allowed = format!("a divisor of `hidden_size`, {width}");
            return Err(unsupported("num_attention_heads", heads, allowed));
        }
        let epsilon = self.layer_norm_eps;
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(unsupported("layer_norm_eps", epsilon, "a positive number"));
        }
        if self.is_decoder {
            return Err(unsupported("is_decoder", true, "false"));
        }
        Ok(())
    }
}

fn unsupported(key: &'static str, found: impl ToString, allowed: impl Into<String>) -> OnnxError {
    OnnxError::Unsupported { key, found: found.to_string(), allowed: allowed.into() }
}

// The defaults of `BertConfig` in transformers.

fn two() -> usize {
    2
}

fn default_layer_norm_eps() -> f32 {
    1e-12
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(changes: serde_json::Value) -> Result<BertConfig, OnnxError> {
        let mut config = serde_json::json!({
            "model_type": "bert",
            "vocab_size": 100,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 16,
        });
        let object = config.as_object_mut().unwrap();
        object.extend(changes.as_object().unwrap().clone());
        object.retain(|_, value| !value.is_null());
        BertConfig::parse(config.to_string().as_bytes())
    }

    fn refusal(changes: serde_json::Value) -> String {
        config(changes).unwrap_err().to_string()
    }

    #[test]
    fn keys_that_transformers_gives_a_default_may_be_left_out() {
        let config = config(serde_json::json!({})).unwrap();
        assert_eq!(config.type_vocab_size, 2);
        assert_eq!(config.hidden_act, Activation::Gelu);
        assert_eq!(config.layer_norm_eps, 1e-12);
        assert_eq!(config.position_embedding_type, PositionEmbedding::Absolute);
        assert_eq!(config.head_size(), 8);
    }

    #[test]
    fn what_there_is_no_graph_for_is_refused_with_what_is_supported() {
        use serde_json::json;
        for (changes, parts) in [
            (json!({"model_type": "roberta"}), ["model_type", "`roberta`", "`bert`"]),
            (json!({"hidden_act": "silu"}), ["hidden_act", "`silu`", "`gelu`, `gelu_new`"]),
            (
                json!({"position_embedding_type": "relative_key"}),
                ["position_embedding_type", "`relative_key`", "`absolute`"],
            ),
            (json!({"is_decoder": true}), ["is_decoder", "true", "false"]),
            (
                json!({"num_attention_heads": 5}),
                ["num_attention_heads", "5", "divisor of `hidden_size`, 32"],
            ),
            (json!({"num_attention_heads": 0}), ["num_attention_heads", "0", "at least 1"]),
            (json!({"layer_norm_eps": -1.0}), ["layer_norm_eps", "-1", "a positive number"]),
            (json!({"hidden_size": "wide"}), ["hidden_size", "\"wide\"", "usize"]),
            (json!({"vocab_size": null}), ["missing", "field", "`vocab_size`"]),
        ] {
            let message = refusal(changes);
            for part in parts {
                assert!(message.contains(part), "`{message}` lacks `{part}`");
            }
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let error = BertConfig::parse(b"{\"model_type\": ").unwrap_err();
        assert!(error.to_string().starts_with("config.json: "), "{error}");
    }
}
