//! `/classify` with `labels`: by similarity to their names, without training.

use std::collections::BTreeMap;

use crate::encoder::{Class, Deadline, EmbedOptions};
use crate::heads::Kind;
use crate::heads::task::check_labels;
use crate::heads::zero_shot::{DEFAULT_TEMPLATE, Template, head};
use crate::http::AppState;
use crate::http::classify::prediction::{Answering, Prediction, Terms};
use crate::http::classify::{ClassifyRequest, ClassifyResponse, check_size};
use crate::http::error::Problem;

/// Stands where others have the name of a task, none of which has a space in it.
pub const NAME: &str = "zero shot";

pub async fn classify(
    state: &AppState,
    deadline: Deadline,
    request: ClassifyRequest,
) -> Result<axum::Json<ClassifyResponse>, Problem> {
    let labels = request.labels.unwrap_or_default();
    check_labels(&labels, Kind::SingleLabel, &state.config.limits.task_limits())?;
    let template = request.template.unwrap_or_else(|| DEFAULT_TEMPLATE.to_owned());
    let template = Template::new(template)
        .map_err(|error| Problem::invalid("invalid_template", error.to_string()).at("template"))?;
    let (texts, class) = request.inputs.check(&state.config)?;
    let terms = Terms::new(request.top_k, request.threshold);
    check_size(texts.len(), std::iter::once(labels.len().min(terms.top_k)))?;
    let encoder = state.encoder(request.model.as_deref())?;
    let model = encoder.info().name.clone();
    let options =
        |class: Class| EmbedOptions { normalize: Some(true), ..EmbedOptions::new(class, deadline) };
    let few = labels.len() <= state.config.batching.interactive_inputs;
    let label_options = options(if few { class } else { Class::Bulk });
    let sentences = labels.iter().map(|label| template.about(label)).collect();
    let embed = |sentence: String| async move {
        let embedded = encoder.embed(vec![sentence], label_options).await?;
        Ok::<_, Problem>(embedded.values.into())
    };
    let (embeddings, about) = futures::future::try_join(
        async { Ok(encoder.embed(texts, options(class)).await?) },
        state.labels.embeddings(&model, sentences, embed),
    )
    .await?;
    let head = head(labels, &about).map_err(|cause| Problem::internal(&cause))?;
    let answering = Answering { head: &head, version: 0 };
    let results = embeddings.rows().map(|embedding| {
        BTreeMap::from([(NAME.to_owned(), Prediction::of(answering, embedding, &terms))])
    });
    Ok(axum::Json(ClassifyResponse { model, results: results.collect() }))
}
