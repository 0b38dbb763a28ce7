//! What a model reads of texts, without embedding them.

use std::sync::Arc;

use crate::encoder::tokenizer::{PlacedToken, Tokenizer};
use crate::encoder::{Deadline, EncodeError, Encoder};

impl Encoder {
    /// The tokens of each text with their places in it. Nothing is cut off.
    ///
    /// # Errors
    /// [`EncodeError::TooManyTokens`] for more than a request may have, or so much text that there
    /// would be more if it were English.
    pub async fn tokens(
        &self,
        texts: Vec<String>,
        special_tokens: bool,
        deadline: Deadline,
    ) -> Result<Vec<Vec<PlacedToken>>, EncodeError> {
        let estimate = texts.iter().map(|text| self.model().tokenizer.estimate(text)).sum();
        self.check_number(estimate)?;
        let placed = self.on_a_thread(deadline, move |tokenizer| {
            let place = |(index, text): (usize, &String)| {
                let placed = tokenizer.place(text, special_tokens);
                placed.map_err(|source| EncodeError::Input { index, source })
            };
            texts.iter().enumerate().map(place).collect::<Result<Vec<_>, _>>()
        });
        let placed = placed.await?;
        self.check_number(placed.iter().map(Vec::len).sum())?;
        Ok(placed)
    }

    /// A text for each sentence of token ids.
    ///
    /// # Errors
    /// [`EncodeError::TooManyTokens`] for more than a request may have, [`EncodeError::TokenId`] for an
    /// id that the model does not have.
    pub async fn decode(
        &self,
        sentences: Vec<Vec<u32>>,
        skip_special_tokens: bool,
        deadline: Deadline,
    ) -> Result<Vec<String>, EncodeError> {
        self.check_number(sentences.iter().map(Vec::len).sum())?;
        for (index, ids) in sentences.iter().enumerate() {
            self.check_ids(index, ids)?;
        }
        let decoding = self.on_a_thread(deadline, move |tokenizer| {
            let decode = |(index, ids): (usize, &Vec<u32>)| {
                let text = tokenizer.decode(ids, skip_special_tokens);
                text.map_err(|source| EncodeError::Input { index, source })
            };
            sentences.iter().enumerate().map(decode).collect()
        });
        decoding.await
    }

    fn check_number(&self, tokens: usize) -> Result<(), EncodeError> {
        let allowed = self.tokens_per_request;
        match tokens > allowed {
            true => Err(EncodeError::TooManyTokens { tokens, allowed }),
            false => Ok(()),
        }
    }

    /// Where it holds up neither the async runtime nor, once all such threads are taken, the workers.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(&Tokenizer) -> Result<T, EncodeError> + Send + 'static,
    ) -> Result<T, EncodeError> {
        let permit = Arc::clone(&self.tokenizing).acquire_owned().await;
        let permit = permit.map_err(|_| EncodeError::Stopped)?;
        deadline.check()?;
        let (models, model) = (Arc::clone(&self.models), self.index);
        let working = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&models[model].tokenizer)
        });
        working.await.map_err(|_| EncodeError::Stopped)?
    }
}
