"""What the server of run.py knows, put in the place of made-up names: of these it could only say that it does
not know them. Every other made-up name stays, so that this is said as well."""

import os
import zlib

JOB = os.environ["POLYHEAD_JOB"]
ENCODER = os.environ["POLYHEAD_ENCODER"]

MODEL = "tiny"
TASKS = {"topic": ["Finance", "Entertainment", "Technology"], "sentiment": ["Positive", "Negative"]}

# Of the model's embeddings, and of its vocabulary.
WIDTH = 32
TOKENS = 112

PATH = {"task": "topic", "model": MODEL, "id": JOB, "path": "style.css"}

INFER = "/v2/models/{model}/infer"

DIMENSIONS = ["dimensions", "output_dimension"]


def every_other(value):
    """Whether it is this one's turn: the same for the same value, in every run."""
    return zlib.crc32(repr(value).encode("utf-8", "replace")) % 2 == 0


def put_into_path(case):
    if every_other((case.query, case.headers, case.body)):
        case.path_parameters.update({name: PATH[name] for name in case.path_parameters if name in PATH})


def put_into(case):
    case.body = whole(case.body)
    if case.method == "POST" and case.path == "/train":
        train(case)
    elif isinstance(case.body, dict):
        request(case.body)
    if case.path == INFER and every_other(case.headers):
        # It counts the bytes of the JSON before a tensor in bytes, of which there is none.
        case.headers.pop("inference-header-content-length", None)
    if case.query and "task" in case.query and every_other(case.query["task"]):
        case.query.update(task="topic")
        if "label" in case.query:
            case.query.update(label="Finance")


def whole(value):
    """To JSON Schema, 1.0 is a whole number; whoever sends one writes 1."""
    if isinstance(value, dict):
        return {name: whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return [whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def request(body):
    """Everything that can be asked but training."""
    options = [body, *(part for part in [body.get("parameters")] if isinstance(part, dict))]
    for part in options:
        for name in DIMENSIONS:
            if isinstance(part.get(name), int) and part[name] > WIDTH and every_other(part[name]):
                part[name] = 1 + part[name] % WIDTH
        # The model has none.
        if every_other(part.get("prompt_name")):
            part.pop("prompt_name", None)
    for name, value in [("model", MODEL), ("task", "topic"), ("tasks", sorted(TASKS))]:
        if body.get(name) is not None and every_other(body[name]):
            body[name] = value if name != "tasks" else value[: len(body[name])]
    for name in ["input", "ids"]:
        if name in body and every_other(body[name]):
            body[name] = ids(body[name])
    tensors(body.get("inputs"))
    if isinstance(body.get("min_head_version"), int):
        # A version that never comes is waited for until the deadline, each time.
        body["min_head_version"] = min(body["min_head_version"], 1)
    elif body.get("min_head_version"):
        body["min_head_version"] = {task: 1 for task in body.get("tasks") or TASKS}


def ids(value):
    """Ids that the vocabulary has, few enough for the model."""
    if isinstance(value, list):
        return [ids(element) for element in value[:10]]
    return value % TOKENS if isinstance(value, int) else value


def tensors(inputs):
    """The shape says how many texts there are."""
    for tensor in inputs if isinstance(inputs, list) else []:
        if isinstance(tensor, dict) and tensor.get("data") and every_other(tensor["data"]):
            texts = [row if isinstance(row, list) else [row] for row in tensor["data"]]
            tensor.update(shape=[sum(map(len, texts))], parameters={})


def train(case):
    is_json = case.media_type == "application/json" and isinstance(case.body, dict)
    if case.media_type == "application/json":
        # A JSON body says everything itself.
        case.query = {}
    options = case.body if is_json else case.query or {}
    for name in ["task", "freeze"]:
        if options.get(name) is not None:
            names = ["encoder", "sentiment"] if name == "freeze" else sorted(TASKS)
            options[name] = names if isinstance(options[name], list) else ",".join(names)
    if not is_json:
        if "task" in options and case.media_type == "text/csv":
            options["task"] = case.body.split(b"\n")[0].removeprefix(b"text,").decode()
        # What of these goes together, no query string can say.
        for name in ["learning_rate", "batch_size", "patience", "l2", "calibrate"]:
            if options.get("solver") != "adam" or name in ["patience", "l2", "calibrate"]:
                options.pop(name, None)
        return
    for index, example in enumerate(options["examples"]):
        if isinstance(example, dict) and example.get("labels") and every_other(example["text"]):
            example["labels"] = {task: labels[index % 2] for task, labels in TASKS.items()}
