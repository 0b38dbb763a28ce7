"""Bodies that are not JSON, as the routes want them."""

import json
import struct

import schemathesis
from hypothesis import strategies as st

import known


def register():
    schemathesis.openapi.media_type("text/csv", rows().map(as_csv))
    schemathesis.openapi.media_type("application/x-ndjson", rows().map(as_ndjson))
    # As often for another head as for one that is there.
    shapes = st.tuples(st.sampled_from([known.WIDTH, known.WIDTH + 1]), st.sampled_from([2, 3]))
    schemathesis.openapi.media_type("application/octet-stream", shapes.map(as_safetensors))


@st.composite
def rows(draw):
    """Examples of one task."""
    task = draw(st.sampled_from(sorted(known.TASKS)))
    texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
    label = st.sampled_from(known.TASKS[task])
    return task, draw(st.lists(st.tuples(texts.filter(str.strip), label), min_size=2, max_size=6))


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
        "__metadata__": {"encoder": known.ENCODER},
        "weight": {"dtype": "F32", "shape": [labels, width], "data_offsets": [0, weight]},
        "bias": {"dtype": "F32", "shape": [labels], "data_offsets": [weight, weight + bias]},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(weight + bias)
