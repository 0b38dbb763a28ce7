//! Token ids in, embeddings out: for callers that tokenise by themselves.

use crate::encoder::readout::Readout;
use crate::encoder::tokenizer::Truncation;
use crate::encoder::{Class, EmbedOptions, Embeddings, EncodeError, Encoder};

impl Encoder {
    /// The ids of a text as the model reads it: special tokens included, its end cut off at the
    /// model's limit.
    pub fn token_ids(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        let tokens = self.model().tokenizer.encode(text, Truncation::Right);
        tokens.map(|tokens| tokens.ids).map_err(|source| EncodeError::Input { index: 0, source })
    }

    /// Embeds sentences given as token ids, special tokens included, as [`Encoder::embed`] does
    /// texts. Nothing is cut off, whatever the options say of truncation: what is too long is refused.
    ///
    /// # Errors
    /// [`EncodeError::TokenCount`] for a sentence that is empty or longer than the model takes,
    /// [`EncodeError::TokenId`] for an id that the model does not have.
    pub async fn embed_tokens(
        &self,
        sentences: Vec<Vec<u32>>,
        options: EmbedOptions,
    ) -> Result<Embeddings, EncodeError> {
        let class = options.class;
        let finish = self.finish(options)?;
        self.check(&sentences)?;
        let tokens = sentences.iter().map(Vec::len).sum();
        let allowed = self.tokens_per_request;
        if tokens > allowed && class != Class::Training {
            return Err(EncodeError::TooManyTokens { tokens, allowed });
        }
        let admission = match class {
            Class::Training => None,
            Class::Interactive | Class::Bulk => Some(self.batcher.admit(class, tokens)?),
        };
        let vectors = self.run(sentences, Readout::Sentence, options).await?;
        drop(admission);
        Ok(finish.apply(Embeddings::new(vectors, self.info.dimensions, tokens)))
    }

    fn check(&self, sentences: &[Vec<u32>]) -> Result<(), EncodeError> {
        let allowed = self.info.max_seq_length;
        for (index, ids) in sentences.iter().enumerate() {
            if ids.is_empty() || ids.len() > allowed {
                return Err(EncodeError::TokenCount { index, tokens: ids.len(), allowed });
            }
            self.check_ids(index, ids)?;
        }
        Ok(())
    }

    /// Whether the model has all these ids, which are those of the sentence at `index`.
    pub(super) fn check_ids(&self, index: usize, ids: &[u32]) -> Result<(), EncodeError> {
        let model = self.model();
        let vocabulary =
            model.folder.vocab_size.unwrap_or_else(|| model.tokenizer.vocabulary_size());
        match ids.iter().find(|&&id| id as usize >= vocabulary) {
            Some(&id) => Err(EncodeError::TokenId { index, id, vocabulary }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::app::engine_settings;
    use crate::config::{Config, Precision, Provider};
    use crate::encoder::folder::Overrides;
    use crate::encoder::session::Runtime;
    use crate::encoder::{Engine, EngineSettings, ModelSpec, Models};
    use crate::metrics::Metrics;

    const OPTIONS: EmbedOptions = EmbedOptions {
        class: Class::Bulk,
        truncation: Truncation::Right,
        prompted: false,
        normalize: None,
        dimensions: None,
        deadline: None,
    };

    /// The random BERT of the fixtures: 20 tokens at most.
    fn engine() -> Engine {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let spec = ModelSpec {
            name: "tiny".to_owned(),
            path: repository.join("tests/fixtures/tiny-bert/mean-normalized"),
            overrides: Overrides::default(),
            precision: Precision::Auto,
            provider: Provider::Cpu,
        };
        let runtime = Runtime::load(&repository.join("lib/libonnxruntime.so")).unwrap();
        let settings = EngineSettings { workers: 1, ..engine_settings(&Config::default()) };
        let models = Models::read(&[spec]).unwrap();
        Engine::start(runtime, models, settings, Arc::new(Metrics::new())).unwrap()
    }

    #[tokio::test]
    async fn token_ids_give_the_embeddings_of_their_texts() {
        let engine = engine();
        let encoder = &engine.encoders()["tiny"];
        let texts = ["fun", "the stock market was not good"].map(str::to_owned);
        let ids = texts.iter().map(|text| encoder.token_ids(text).unwrap()).collect();
        let from_ids = encoder.embed_tokens(ids, OPTIONS).await.unwrap();
        let from_texts = encoder.embed(texts.into(), OPTIONS).await.unwrap();
        assert_eq!((from_ids.values, from_ids.tokens), (from_texts.values, from_texts.tokens));
        let dimensions = Some(8);
        let short = EmbedOptions { dimensions, ..OPTIONS };
        let short = encoder.embed_tokens(vec![vec![2, 3]], short).await.unwrap();
        assert_eq!((short.width, short.tokens, short.values.len()), (8, 2, 8));
    }

    #[tokio::test]
    async fn ids_that_the_model_does_not_have_and_lengths_that_it_does_not_take_are_refused() {
        let engine = engine();
        let encoder = &engine.encoders()["tiny"];
        let limit = encoder.info().max_seq_length;
        for (sentence, told) in [
            (vec![], "has 0 tokens; allowed are 1 to 20"),
            (vec![1; limit + 1], "has 21 tokens; allowed are 1 to 20"),
            (vec![1, u32::MAX], "has no token 4294967295; allowed are ids below"),
        ] {
            let refused = encoder.embed_tokens(vec![vec![1; limit], sentence], OPTIONS).await;
            let error = refused.unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
            assert!(matches!(
                error,
                EncodeError::TokenCount { index: 1, .. } | EncodeError::TokenId { index: 1, .. }
            ));
        }
        let vocabulary = encoder.model().folder.vocab_size.unwrap() as u32;
        encoder.embed_tokens(vec![vec![vocabulary - 1]], OPTIONS).await.unwrap();
        assert_eq!(encoder.admitted_tokens(), 0);
    }
}
