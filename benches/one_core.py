"""Other engines on one core at set shapes, where nothing is padded."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import peers

SHAPES = [(32, 16), (8, 128)]
SECONDS = 0.5
"""Of a sample, or one call where that takes longer."""


def measure(model: Path, rounds: int) -> list[dict]:
    """Samples of tokens a second, each engine and shape in turn."""
    contenders = dict(engines(model))
    found = [
        {"engine": name, "shape": f"{rows}×{tokens}", "tokens_per_second": []}
        for rows, tokens in SHAPES
        for name in contenders
    ]
    for number in range(rounds + 1):
        for row in found:
            rows, tokens = map(int, row["shape"].split("×"))
            rate = sample(contenders[row["engine"]], rows, tokens)
            # The first round warms up.
            if number > 0:
                row["tokens_per_second"].append(rate)
    return found


def sample(run: Callable[[dict], None], rows: int, tokens: int) -> float:
    ids = np.random.default_rng(0).integers(1000, 30000, (rows, tokens), dtype=np.int64)
    inputs = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
    calls, started = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() - started < SECONDS:
        run(inputs)
        calls += 1
    return calls * rows * tokens / (time.perf_counter() - started)


def engines(model: Path):
    import onnxruntime
    import openvino

    core = openvino.Core()
    for precision in ("fp32", "bf16"):
        if peers.OpenVino.has(precision) is None:
            settings = {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(precision, precision),
                "NUM_STREAMS": "1",
                "INFERENCE_NUM_THREADS": 1,
            }
            compiled = core.compile_model(core.read_model(model), "CPU", settings)
            names = [port.any_name for port in compiled.inputs]
            request = compiled.create_infer_request()
            yield f"OpenVINO {precision}", run_openvino(request, names)
    for fusion in (False, True):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        disabled = [] if fusion else ["SkipLayerNormFusion"]
        session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled
        )
        label = "with" if fusion else "without"
        yield f"ONNX Runtime fp32, {label} SkipLayerNormFusion", run_onnxruntime(session)


def run_openvino(request, names: list[str]) -> Callable[[dict], None]:
    return lambda inputs: request.infer({name: inputs[name] for name in names})


def run_onnxruntime(session) -> Callable[[dict], None]:
    names = [it.name for it in session.get_inputs()]
    return lambda inputs: session.run(None, {name: inputs[name] for name in names})
