//! Embeddings that need not be made again, by the text's hash and the encoder's fingerprint.

use std::collections::HashMap;

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::store::error::{During, StoreError};
use crate::store::{ROWS_PER_STATEMENT, Store, hash_of, placeholders};
use crate::training::text_hash::TextHash;

impl Store {
    /// The embeddings by `encoder` that are kept of texts with these hashes, each `width` long.
    pub async fn embeddings(
        &self,
        encoder: &str,
        hashes: &[TextHash],
        width: usize,
    ) -> Result<HashMap<TextHash, Vec<f32>>, StoreError> {
        const OPERATION: &str = "look up embeddings";
        let mut found = HashMap::new();
        for chunk in hashes.chunks(ROWS_PER_STATEMENT) {
            let sql = format!(
                "SELECT sha256, embedding FROM embeddings WHERE sha256 IN {} AND encoder = ${}",
                placeholders(1, chunk.len()),
                chunk.len() + 1,
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for hash in chunk {
                query = query.bind(hash.to_string());
            }
            let rows = query.bind(encoder).fetch_all(&self.reads).await.during(OPERATION)?;
            for row in rows {
                let bytes: &[u8] = row.try_get("embedding").during(OPERATION)?;
                let (quads, rest) = bytes.as_chunks::<4>();
                if quads.len() != width || !rest.is_empty() {
                    let cause = format!("{} bytes, but {width} numbers were expected", bytes.len());
                    return Err(StoreError::corrupt("an embedding", cause));
                }
                let values = quads.iter().map(|quad| f32::from_le_bytes(*quad)).collect();
                found.insert(hash_of(&row)?, values);
            }
        }
        Ok(found)
    }

    /// Keeps embeddings by `encoder`, for the job that runs and, if it remembers their texts, for
    /// later ones: those of other texts go when the job ends.
    pub async fn keep_embeddings(
        &self,
        encoder: &str,
        embeddings: &[(TextHash, &[f32])],
    ) -> Result<(), StoreError> {
        const OPERATION: &str = "keep embeddings";
        let mut tx = self.begin(OPERATION).await?;
        for chunk in embeddings.chunks(ROWS_PER_STATEMENT) {
            let sql = format!(
                "INSERT INTO embeddings (sha256, encoder, embedding) VALUES {}
                 ON CONFLICT (sha256, encoder) DO NOTHING",
                placeholders(chunk.len(), 3),
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (hash, values) in chunk {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                query = query.bind(hash.to_string()).bind(encoder).bind(bytes);
            }
            query.execute(&mut *tx).await.during(OPERATION)?;
        }
        tx.commit().await.during(OPERATION)
    }
}

/// Removes the embeddings of texts that are not among the examples. Only for the end of a running
/// job, whose texts are not among them before.
pub(super) async fn drop_strays(tx: &mut AnyConnection) -> Result<(), StoreError> {
    let delete = sqlx::query(
        "DELETE FROM embeddings WHERE sha256 IN
         (SELECT sha256 FROM embeddings EXCEPT SELECT sha256 FROM examples)",
    );
    delete.execute(tx).await.during("drop the embeddings of forgotten texts").map(drop)
}

#[cfg(test)]
mod tests {
    use crate::store::fixtures::*;
    use crate::store::{Store, StoreError};
    use crate::training::text_hash::TextHash;

    /// Those of `texts` whose embedding by the encoder is kept.
    async fn kept(store: &Store, encoder: &str, texts: &[&str]) -> Vec<String> {
        let hashes: Vec<_> = texts.iter().map(|text| TextHash::of(text)).collect();
        let found = store.embeddings(encoder, &hashes, 2).await.unwrap();
        let texts = texts.iter().filter(|text| found.contains_key(&TextHash::of(text)));
        texts.map(|&text| text.to_owned()).collect()
    }

    async fn keep(store: &Store, texts: &[&str]) {
        let rows: Vec<_> = texts.iter().map(|text| (TextHash::of(text), &[0.5, 2.0][..])).collect();
        store.keep_embeddings("e1", &rows).await.unwrap();
    }

    #[tokio::test]
    async fn an_embedding_is_found_by_its_text_and_encoder_to_the_last_bit() {
        let (_folder, store) = store().await;
        let values = [1.5, -0.0, f32::MIN_POSITIVE, 1.0 / 3.0];
        let hashes: Vec<_> = (0..250).map(|i| TextHash::of(&i.to_string())).collect();
        let rows: Vec<_> = hashes.iter().map(|&hash| (hash, &values[..])).collect();
        store.keep_embeddings("e1", &rows).await.unwrap();
        store.keep_embeddings("e1", &rows[..1]).await.unwrap();
        store.keep_embeddings("e2", &[(hashes[0], &[7.0; 4])]).await.unwrap();
        let found = store.embeddings("e1", &hashes, 4).await.unwrap();
        assert_eq!(found.len(), 250);
        let bits = |values: &[f32]| values.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
        assert!(found.values().all(|found| bits(found) == bits(&values)));
        assert_eq!(store.embeddings("e2", &hashes, 4).await.unwrap()[&hashes[0]], [7.0; 4]);
        assert!(store.embeddings("e3", &hashes, 4).await.unwrap().is_empty());
        let refused = store.embeddings("e1", &hashes, 5).await;
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn only_what_is_remembered_keeps_its_embedding_when_a_job_ends() {
        let (_folder, store) = store_with_tasks().await;
        let learnt = [example("a", &[("topic", "Finance")])];
        let job = start(&store, &spec(), &learnt).await;
        keep(&store, &["a", "b"]).await;
        finish(&store, &job.id, vec![]).await.unwrap();
        assert_eq!(kept(&store, "e1", &["a", "b"]).await, ["a"]);

        for end in ["fail", "stop", "recover"] {
            let job = start(&store, &spec(), &[example("c", &[("topic", "Finance")])]).await;
            keep(&store, &["c"]).await;
            // One that only waits leaves alone what the running one has made.
            let waiting = enqueue(&store, &spec(), &[]).await;
            store.cancel(&waiting.id, "for the test").await.unwrap();
            assert_eq!(kept(&store, "e1", &["a", "c"]).await, ["a", "c"]);
            match end {
                "fail" => store.fail(&job.id, "for the test").await.unwrap(),
                "stop" => store.stop(&job.id, "for the test").await.unwrap(),
                _ => drop(recover(&store, crate::config::OnRestart::Fail).await),
            }
            assert_eq!(kept(&store, "e1", &["a", "c"]).await, ["a"], "{end}");
        }
        store.delete_task("topic").await.unwrap();
        assert_eq!(kept(&store, "e1", &["a"]).await, [] as [String; 0]);
    }

    #[tokio::test]
    async fn replacing_keeps_the_embeddings_of_texts_that_come_again() {
        let (_folder, store) = store_with_tasks().await;
        let both = ["a", "b"].map(|text| example(text, &[("topic", "Finance")]));
        let job = start(&store, &spec(), &both).await;
        keep(&store, &["a", "b"]).await;
        finish(&store, &job.id, vec![]).await.unwrap();
        let mut replace = spec();
        replace.mode = crate::training::job::Mode::Replace;
        let job = start(&store, &replace, &both[..1]).await;
        finish(&store, &job.id, vec![]).await.unwrap();
        assert_eq!(kept(&store, "e1", &["a", "b"]).await, ["a"]);
    }
}
