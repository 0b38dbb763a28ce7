//! What an example says for each task, held against what the tasks are.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::{Place, Rows, Rules};
use crate::heads::task::check_labels;
use crate::heads::{Kind, NewLabels, Task};
use crate::http::error::Problem;
use crate::http::one_or_many::OneOrMany;
use crate::training::job::Target;

/// Labels that a refusal names: it may be made for each of a million rows.
const MOST_NAMED: usize = 20;

impl Rules {
    /// What an example says, as far as it counts: task to label or labels.
    pub(super) fn counting(
        &self,
        place: Place,
        mut labels: BTreeMap<String, OneOrMany>,
        label: Option<OneOrMany>,
    ) -> Result<BTreeMap<String, OneOrMany>, Problem> {
        if let Some(label) = label {
            let [task] = &self.tasks[..] else {
                let detail = "a label says of no task what it is; write labels with their tasks, or name one task for all with `task`";
                return Err(Problem::invalid("label_without_task", detail).at(place.of("label")));
            };
            labels.entry(task.clone()).or_insert(label);
        }
        if !self.tasks.is_empty() {
            labels.retain(|task, _| self.tasks.contains(task));
        }
        Ok(labels)
    }

    pub fn unknown_task(&self, task: &str) -> Problem {
        let known: Vec<&str> = self.heads.keys().map(String::as_str).collect();
        let detail = format!("there is no task {task:?}; tasks: {}", known.join(", "));
        Problem::invalid("unknown_task", detail)
    }
}

impl Rows {
    /// What an example says for each task, and the one model that these tasks and those of earlier
    /// examples are on.
    pub(super) fn targets(
        &mut self,
        place: Place,
        said: BTreeMap<String, OneOrMany>,
    ) -> Result<(BTreeMap<String, Target>, String), Problem> {
        let heads = Arc::clone(&self.rules.heads);
        let first = self.checked.tasks.first().cloned();
        let mut on = first.map(|first| (first, self.checked.model.clone()));
        let mut targets = BTreeMap::new();
        for (task, said) in said {
            let position = place.of(&format!("labels.{task}"));
            let Some(live) = heads.get(&task) else {
                return Err(self.rules.unknown_task(&task).at(position));
            };
            let target = self.target(&live.task, said, &position)?;
            let (first, model) = on.get_or_insert_with(|| (task.clone(), live.task.model.clone()));
            if *model != live.task.model {
                let detail = format!(
                    "task {task:?} is on model {:?} and task {first:?} on {model:?}; a job trains on one model",
                    live.task.model
                );
                return Err(Problem::invalid("mixed_models", detail).at(position));
            }
            targets.insert(task, target);
        }
        match on.filter(|_| !targets.is_empty()) {
            Some((_, model)) => Ok((targets, model)),
            None => {
                let detail = "an example has no label; allowed: a label for at least one task";
                Err(Problem::invalid("no_labels", detail).at(place.of("labels")))
            }
        }
    }

    /// A list that names a label twice says no more than one that names it once.
    fn target(&mut self, task: &Task, said: OneOrMany, position: &str) -> Result<Target, Problem> {
        match (task.kind, said) {
            (Kind::SingleLabel, OneOrMany::One(label)) => {
                self.check_label(task, &label, &[]).map_err(|problem| problem.at(position))?;
                Ok(Target::Label(label))
            }
            (Kind::SingleLabel, OneOrMany::Many(labels)) => {
                let detail = format!(
                    "task {:?} has exactly one label a text, and this is a list of {}; allowed: a label as a string (a task with \"multi_label\": true takes lists)",
                    task.name,
                    labels.len()
                );
                Err(Problem::invalid("not_multi_label", detail).at(position))
            }
            (Kind::MultiLabel, OneOrMany::One(label)) => {
                self.check_label(task, &label, &[]).map_err(|problem| problem.at(position))?;
                Ok(Target::Labels([label].into()))
            }
            (Kind::MultiLabel, OneOrMany::Many(labels)) => {
                let (mut distinct, mut new) = (BTreeSet::new(), Vec::new());
                for (index, label) in labels.into_iter().enumerate() {
                    if distinct.contains(&label) {
                        continue;
                    }
                    let known = self.check_label(task, &label, &new);
                    if !known.map_err(|problem| problem.at(format!("{position}[{index}]")))? {
                        new.push(label.clone());
                    }
                    distinct.insert(label);
                }
                Ok(Target::Labels(distinct))
            }
        }
    }

    /// Whether the task has the label or gets it from an earlier example. If not, it must be one that
    /// the task may get, beside those that the same example brings.
    fn check_label(
        &mut self,
        task: &Task,
        label: &str,
        brought: &[String],
    ) -> Result<bool, Problem> {
        if self.known(task).contains(label) {
            return Ok(true);
        }
        if task.new_labels == NewLabels::Refuse {
            let detail = format!(
                "task {:?} has no label {label:?}; its labels: {}",
                task.name,
                listed(&task.labels)
            );
            return Err(Problem::invalid("unknown_label", detail));
        }
        if label.contains('\0') {
            let detail = "a label holds a NUL character, which no database stores";
            return Err(Problem::invalid("nul_character", detail));
        }
        let new = self.checked.new_labels.get(&task.name).into_iter().flatten().chain(brought);
        let mut labels: Vec<String> = task.labels.iter().chain(new).cloned().collect();
        labels.push(label.to_owned());
        match check_labels(&labels, task.kind, &self.rules.limits) {
            Ok(()) => Ok(false),
            Err(error) => Err(Problem::invalid("invalid_label", error.to_string())),
        }
    }

    /// Takes note of a label that its task gets from an example.
    pub(super) fn bring(&mut self, task: &str, label: &str) {
        let Some(known) = self.known.get_mut(task).filter(|known| !known.contains(label)) else {
            return;
        };
        known.insert(label.to_owned());
        let new = self.checked.new_labels.entry(task.to_owned()).or_default();
        new.push(label.to_owned());
    }

    /// The labels that a task has or gets from an earlier example.
    fn known(&mut self, task: &Task) -> &HashSet<String> {
        // Not `entry`: it takes a copy of the name for each label of a million rows.
        if !self.known.contains_key(&task.name) {
            self.known.insert(task.name.clone(), task.labels.iter().cloned().collect());
        }
        &self.known[&task.name]
    }
}

fn listed(labels: &[String]) -> String {
    let named = labels[..labels.len().min(MOST_NAMED)].join(", ");
    match labels.len().checked_sub(MOST_NAMED) {
        None | Some(0) => named,
        Some(others) => format!("{named} and {others} others"),
    }
}
