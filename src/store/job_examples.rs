//! The examples that came with a job, from its submission to its end.
//!
//! Many to a row: nothing looks for one of them, and the work for each row is far more than for each
//! example. It would be taken from requests.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::store::error::{During, StoreError};
use crate::store::{Store, refuse_nul};
use crate::training::job::{Example, Target};

/// Examples that one row holds.
const EXAMPLES_PER_ROW: usize = 256;

impl Store {
    /// The examples that came with a job, in their order. None once the job has ended: those of a
    /// succeeded job are among [`Store::examples`].
    pub async fn job_examples(&self, id: &str) -> Result<Vec<Example>, StoreError> {
        const OPERATION: &str = "read the examples of a job";
        let rows = sqlx::query(SELECT).bind(id).fetch_all(&self.reads).await.during(OPERATION)?;
        decode(&rows)
    }
}

/// The examples of a job that is about to end.
pub(super) async fn read(tx: &mut AnyConnection, job: &str) -> Result<Vec<Example>, StoreError> {
    const OPERATION: &str = "read the examples of a job that ends";
    let rows = sqlx::query(SELECT).bind(job).fetch_all(tx).await.during(OPERATION)?;
    decode(&rows)
}

/// That what the examples say can be remembered.
pub(super) fn check(examples: &[Example]) -> Result<(), StoreError> {
    for (index, example) in examples.iter().enumerate() {
        refuse_nul(&format!("the text of examples[{index}]"), &example.text)?;
        for label in example.labels.values().flat_map(Target::labels) {
            refuse_nul(&format!("a label of examples[{index}]"), label)?;
        }
    }
    Ok(())
}

pub(super) async fn insert(
    tx: &mut AnyConnection,
    job: &str,
    examples: &[Example],
) -> Result<(), StoreError> {
    let insert = "INSERT INTO job_examples (job, position, text, labels, batch)
                  VALUES ($1, $2, '', '', $3)";
    for (position, batch) in (0_i64..).zip(examples.chunks(EXAMPLES_PER_ROW)) {
        let batch = serde_json::to_string(batch).expect("examples always make JSON");
        let insert = sqlx::query(insert).bind(job).bind(position).bind(batch);
        insert.execute(&mut *tx).await.during("store the examples of a job")?;
    }
    Ok(())
}

pub(super) async fn delete(tx: &mut AnyConnection, job: &str) -> Result<(), StoreError> {
    let delete = sqlx::query("DELETE FROM job_examples WHERE job = $1").bind(job).execute(tx);
    delete.await.during("delete the examples of an ended job").map(drop)
}

const SELECT: &str =
    "SELECT text, labels, weight, batch FROM job_examples WHERE job = $1 ORDER BY position";

fn decode(rows: &[AnyRow]) -> Result<Vec<Example>, StoreError> {
    const OPERATION: &str = "read an example of a job";
    // Without serde's reason: it may quote a text or a label.
    let corrupt = |_| StoreError::corrupt("the examples of a job", "no JSON of examples");
    let mut examples = Vec::new();
    for row in rows {
        let batch: Option<&str> = row.try_get("batch").during(OPERATION)?;
        match batch {
            Some(batch) => {
                let batch: Vec<Example> = serde_json::from_str(batch).map_err(corrupt)?;
                examples.extend(batch);
            }
            None => {
                let labels: &str = row.try_get("labels").during(OPERATION)?;
                let labels = serde_json::from_str(labels).map_err(corrupt)?;
                let text = row.try_get("text").during(OPERATION)?;
                let weight = row.try_get("weight").during(OPERATION)?;
                examples.push(Example { text, labels, weight });
            }
        }
    }
    Ok(examples)
}
