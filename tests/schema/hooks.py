"""Hooks of schemathesis: what it is told of the server that stands before it.

- It writes CSV, NDJSON and safetensors as the routes want them, and sends options in the query
  string with these only.
- It asks for tasks and jobs that exist as often as for others.
- Rules that no schema can express are named; all other refusals of valid data are failures.
- Which statuses were seen is recorded for run.py.
"""

import json
import os
import struct

import schemathesis
from hypothesis import strategies as st

# Refusals of data that is valid by its schema: they depend on other fields, on the model or on what
# the server holds, or count what JSON Schema cannot count (bytes, scores, tokens).
INEXPRESSIBLE = {
    "ambiguous_head_version",
    "conflicting_labels",
    "encoder_not_frozen",
    "input_too_long",
    "invalid_csv",
    "invalid_dimensions",
    "invalid_label",
    "invalid_option",
    "invalid_query",
    "invalid_safetensors",
    "invalid_selection",
    "invalid_task",
    "invalid_template",
    "invalid_weights",
    "label_without_task",
    "labels_with_head_version",
    "labels_with_tasks",
    "mixed_models",
    "no_examples",
    "no_labels",
    "no_tasks",
    "not_multi_label",
    "single_class",
    "task_not_asked",
    "template_without_labels",
    "too_many_scores",
    "too_many_tokens",
    "unknown_encoder",
    "unknown_label",
    "unknown_prompt",
    "unknown_task",
}

JOB = os.environ["POLYHEAD_JOB"]
SEEN = os.environ["POLYHEAD_SEEN"]

# Milliseconds in which the server of run.py answers all that can be answered.
PATIENCE = 2000

TASKS = {"topic": ["Finance", "Entertainment", "Technology"], "sentiment": ["Positive", "Negative"]}


@st.composite
def rows(draw):
    """Examples of one task, mostly good ones."""
    task = draw(st.sampled_from(sorted(TASKS)))
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
    label = st.sampled_from(TASKS[task])
    return task, draw(st.lists(st.tuples(text, label), min_size=2, max_size=6))


def as_csv(found):
    task, examples = found
    quoted = ['"%s",%s\n' % (text.replace('"', '""'), label) for text, label in examples]
    return ("text,%s\n" % task + "".join(quoted)).encode()


def as_ndjson(found):
    task, examples = found
    lines = [json.dumps({"text": text, "labels": {task: label}}) for text, label in examples]
    return ("\n".join(lines) + "\n").encode()


def as_safetensors(width_and_labels):
    width, labels = width_and_labels
    weight, bias = width * labels * 4, labels * 4
    header = {
        "weight": {"dtype": "F32", "shape": [labels, width], "data_offsets": [0, weight]},
        "bias": {"dtype": "F32", "shape": [labels], "data_offsets": [weight, weight + bias]},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(weight + bias)


schemathesis.openapi.media_type("text/csv", rows().map(as_csv))
schemathesis.openapi.media_type("application/x-ndjson", rows().map(as_ndjson))
schemathesis.openapi.media_type(
    "application/octet-stream",
    st.tuples(st.sampled_from([32, 33]), st.sampled_from([2, 3])).map(as_safetensors),
)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    known = {"task": "topic", "id": JOB}
    for name, value in (path_parameters or {}).items():
        # As often as not, and for the same value always alike.
        if name in known and isinstance(value, str) and sum(value.encode("utf-8", "replace")) % 2:
            path_parameters[name] = known[name]
    return path_parameters


@schemathesis.hook
def map_case(context, case):
    if case.path == "/train" and case.method == "POST" and case.media_type == "application/json":
        if case.meta is None or case.meta.generation.mode.is_positive:
            case.query = {}
    body = case.body if isinstance(case.body, dict) else {}
    if isinstance(body.get("min_head_version"), int) and body["min_head_version"] > 1:
        # A version that never comes is waited for until the deadline, each time.
        body["min_head_version"] = 1
    # Less time than an answer takes gives 504, as it should; tests of deadlines are elsewhere.
    asked = (case.headers or {}).get("x-request-timeout-ms")
    if asked is not None and str(asked).isdecimal() and 0 < int(asked) < PATIENCE:
        case.headers["x-request-timeout-ms"] = str(PATIENCE)
    return case


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if "in header - object with unexpected properties" in failure.message:
        # HTTP has a server pass over headers that it does not know.
        return False
    if "text/event-stream" in str(response.headers.get("content-type")):
        # OpenAPI 3.1 describes the stream as text; the check wants the schema of an event, as 3.2 has it.
        return type(failure).__name__ == "AcceptedNegativeData"
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    try:
        problem = response.json()
    except ValueError:
        return True
    # To JSON Schema, 1.0 is an integer.
    is_float = problem["code"] == "invalid_request" and "floating point" in problem["detail"]
    return not is_float and problem["code"] not in INEXPRESSIBLE


@schemathesis.hook
def after_call(context, case, response):
    with open(SEEN, "a") as seen:
        seen.write("%s %s %s\n" % (case.method, case.path, response.status_code))
