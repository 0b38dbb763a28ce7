//! What goes together: a request whose fields depend on each other, told as the forms that it may have.

use serde_json::{Value, json};

use super::schema::{never_null, redefine};

/// One form of a request.
struct Form {
    title: &'static str,
    /// Fields that are there and not null.
    with: &'static [&'static str],
    /// Fields that are not there, or null.
    without: &'static [&'static str],
    /// What else is so in this form: a field and what its schema is there.
    having: Vec<(&'static str, Value)>,
}

/// Adds all of them to the schemas of the components.
pub fn add(schemas: &mut Value) {
    split(schemas, "ClassifyRequest", by_heads_or_labels(schemas));
    split(schemas, "Deletion", by_texts_or_time());
    split(schemas, "Example", labelled());
    split(schemas, "HeadDefinition", kinds(schemas));
    split(schemas, "TrainRequest", solvers());
    tell_pipelines_apart(&mut schemas["PipelineRequest"]);
}

fn by_heads_or_labels(schemas: &Value) -> Vec<Form> {
    let fields = &schemas["ClassifyRequest"]["properties"];
    let version = json!({"type": "integer", "format": "int64"});
    let by_task = json!({"type": ["object", "null"], "additionalProperties": version});
    let one_task = json!({
        "type": "array", "items": fields["tasks"]["items"], "minItems": 1, "maxItems": 1,
    });
    vec![
        Form {
            title: "By trained heads",
            with: &[],
            without: &["labels", "template"],
            having: vec![("min_head_version", by_task)],
        },
        Form {
            title: "By one trained head",
            with: &["tasks", "min_head_version"],
            without: &["labels", "template"],
            having: vec![("tasks", one_task), ("min_head_version", version)],
        },
        Form {
            title: "By labels, without training",
            with: &["labels"],
            without: &["tasks", "min_head_version"],
            having: vec![],
        },
    ]
}

fn by_texts_or_time() -> Vec<Form> {
    vec![
        Form { title: "Texts", with: &["texts"], without: &["before"], having: vec![] },
        Form { title: "A time", with: &["before"], without: &["texts"], having: vec![] },
    ]
}

fn labelled() -> Vec<Form> {
    vec![
        Form { title: "Labels by task", with: &["labels"], without: &["label"], having: vec![] },
        Form {
            title: "A label for the one task that the request names",
            with: &["label"],
            without: &[],
            having: vec![("labels", json!({"type": "object", "maxProperties": 0}))],
        },
    ]
}

fn kinds(schemas: &Value) -> Vec<Form> {
    let mut labels = schemas["HeadDefinition"]["properties"]["labels"].clone();
    labels["minItems"] = json!(2);
    vec![
        Form {
            title: "Exactly one label a text",
            with: &[],
            without: &[],
            having: vec![("multi_label", json!({"const": false})), ("labels", labels)],
        },
        Form {
            title: "Any number of labels a text",
            with: &["multi_label"],
            without: &[],
            having: vec![("multi_label", json!({"const": true}))],
        },
    ]
}

fn solvers() -> Vec<Form> {
    let number = json!({"type": ["number", "null"], "minimum": 0, "maximum": 1e12});
    let held_out =
        json!({"type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1});
    vec![
        Form {
            title: "L-BFGS",
            with: &[],
            without: &["learning_rate", "batch_size", "patience"],
            having: vec![("solver", json!({"const": "lbfgs"}))],
        },
        Form {
            title: "Adam",
            with: &["solver"],
            without: &[],
            having: vec![
                ("solver", json!({"const": "adam"})),
                ("l2", number.clone()),
                ("validation", held_out),
            ],
        },
        Form {
            title: "Adam on all rows",
            with: &["solver", "validation"],
            without: &["patience"],
            having: vec![
                ("solver", json!({"const": "adam"})),
                ("l2", number),
                ("validation", json!({"const": 0})),
                ("calibrate", json!({"enum": [false, null]})),
            ],
        },
    ]
}

/// Makes a choice of forms of a schema. None of them excludes a null that is as good as nothing.
fn split(schemas: &mut Value, name: &str, forms: Vec<Form>) {
    let whole = &mut schemas[name];
    let forms: Vec<Value> = forms.into_iter().map(|form| form.of(whole)).collect();
    redefine(whole, json!({"oneOf": forms}));
}

impl Form {
    fn of(self, whole: &Value) -> Value {
        let mut form = whole.clone();
        form["title"] = json!(self.title);
        form.as_object_mut().and_then(|form| form.remove("description"));
        for field in self.without {
            redefine(&mut form["properties"][field], json!({"type": "null"}));
        }
        for field in self.with {
            never_null(&mut form["properties"][field]);
        }
        for (field, schema) in self.having {
            redefine(&mut form["properties"][field], schema);
        }
        let required = form.as_object_mut().map(|form| form.entry("required").or_insert(json!([])));
        if let Some(Value::Array(required)) = required {
            required.extend(self.with.iter().map(|&field| json!(field)));
            required.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            required.dedup();
        }
        form
    }
}

/// A request to classify has its parameters, by which it is told from one to embed.
fn tell_pipelines_apart(request: &mut Value) {
    let classify = request["oneOf"].as_array_mut().and_then(|forms| forms.last_mut());
    if let Some(classify) = classify {
        let reference = classify["$ref"].take();
        *classify = json!({"allOf": [
            {"$ref": reference},
            {"required": ["parameters"], "properties": {"parameters": {"type": "object"}}},
        ]});
    }
}
