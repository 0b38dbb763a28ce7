"""Other engines, in process, each in the configuration in which it is fastest here.

A peer embeds all sentences once and says how long that took. Engines that take token ids get them
ready made, as polyhead's engine does in `polyhead bench`; what a peer does beside is in its `notes`.
"""

import os
import queue
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np

from sentences import Sentences

CORES = len(os.sched_getaffinity(0))

Batch = tuple[list[int], np.ndarray, np.ndarray]
"""Rows of the sentences, ids, attention mask; the arrays are sentences × tokens."""


class Peer:
    name: str
    version: str
    precision: str
    notes: str
    settings: dict
    choices: list[dict]
    """Settings to be tried; the fastest is kept."""

    def prepare(self, sentences: Sentences, settings: dict) -> Callable[[], np.ndarray]:
        """Everything that is not measured; returns what is: the embeddings of all sentences."""
        raise NotImplementedError

    def calibrate(self, sentences: Sentences) -> None:
        """Tries every choice, twice so that the first run warms up, and keeps the fastest."""
        best = None
        self.tried = []
        for settings in self.choices:
            run = self.prepare(sentences, settings)
            run()
            started = time.perf_counter()
            run()
            seconds = time.perf_counter() - started
            self.tried.append({**settings, "seconds": round(seconds, 3)})
            if best is None or seconds < best:
                best, self.settings, self.run = seconds, settings, run
            del run

    def sample(self) -> tuple[float, np.ndarray]:
        started = time.perf_counter()
        embeddings = self.run()
        return time.perf_counter() - started, embeddings


def batches(sentences: Sentences, tokens: int, multiple: int) -> list[Batch]:
    """Sentences sorted by length, padded to a multiple, in batches of at most so many tokens."""
    order = sorted(range(len(sentences.ids)), key=lambda row: -len(sentences.ids[row]))
    padded = [-(-len(sentences.ids[row]) // multiple) * multiple for row in order]
    made, start = [], 0
    while start < len(order):
        # A longer sentence is never padded by more than its batch's longest one asks for, and a
        # batch has one padded length where lengths are rounded up.
        width = padded[start]
        end = start
        while end < len(order) and (end - start + 1) * width <= max(tokens, width):
            if multiple > 1 and padded[end] != width:
                break
            end += 1
        rows = order[start:end]
        ids = np.zeros((len(rows), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            length = len(sentences.ids[row])
            ids[at, :length], mask[at, :length] = sentences.ids[row], 1
        made.append((rows, ids, mask))
        start = end
    return made


class OpenVino(Peer):
    name = "OpenVINO"

    def __init__(self, model: Path, precision: str):
        import openvino

        self.precision = precision
        self.version = version("openvino")
        self.notes = "in process, token ids ready made; lengths sorted, padded to multiples of 16"
        self.core, self.model = openvino.Core(), openvino.Core().read_model(model)
        self.choices = [
            {"batch_tokens": tokens, "streams": streams, "hint": "THROUGHPUT"}
            for tokens, streams in product((256, 512, 1024, 2048), ("AUTO", CORES))
        ]

    @staticmethod
    def has(precision: str) -> str | None:
        """Why the processor does not have a precision; `None` if it does."""
        import openvino

        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        name = {"fp32": "FP32", "bf16": "BF16"}[precision]
        return None if name in capabilities else f"OpenVINO has no {name} on this processor"

    def prepare(self, sentences, settings):
        import openvino

        compiled = self.core.compile_model(
            self.model,
            "CPU",
            {
                "PERFORMANCE_HINT": settings["hint"],
                "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(self.precision, self.precision),
                "NUM_STREAMS": str(settings["streams"]),
                "INFERENCE_NUM_THREADS": CORES,
            },
        )
        work = batches(sentences, settings["batch_tokens"], 16)
        rows = len(sentences.ids)
        requests = openvino.AsyncInferQueue(compiled)
        names = [port.any_name for port in compiled.inputs]

        def run() -> np.ndarray:
            embeddings = np.zeros((rows, 384), dtype=np.float32)

            def store(request, places):
                embeddings[places] = request.get_output_tensor(0).data

            requests.set_callback(store)
            for places, ids, mask in work:
                inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
                requests.start_async({name: inputs[name] for name in names}, places)
            requests.wait_all()
            return embeddings

        return run


class OnnxRuntime(Peer):
    name = "ONNX Runtime"

    def __init__(self, model: Path, precision: str):
        self.model, self.precision = model, precision
        self.version = version("onnxruntime")
        self.notes = "in process, token ids ready made; lengths sorted; one session a core"
        if precision == "int8":
            self.notes += "; quantised dynamically, weights s8 per channel"
        self.choices = [
            {"batch_tokens": tokens, "skip_layer_norm_fusion": fusion}
            for tokens, fusion in product((256, 512, 1024, 2048), (False, True))
        ]

    @staticmethod
    def quantized(model: Path, work: Path) -> Path:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        file = work / "minilm-int8.onnx"
        quantize_dynamic(
            model,
            file,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        return file

    def prepare(self, sentences, settings):
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        disabled = [] if settings["skip_layer_norm_fusion"] else ["SkipLayerNormFusion"]
        sessions = [
            onnxruntime.InferenceSession(
                self.model,
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=disabled,
            )
            for _ in range(CORES)
        ]
        work = batches(sentences, settings["batch_tokens"], 1)
        names = [it.name for it in sessions[0].get_inputs()]
        rows = len(sentences.ids)

        def run() -> np.ndarray:
            embeddings = np.zeros((rows, 384), dtype=np.float32)
            waiting = queue.SimpleQueue()
            for batch in work:
                waiting.put(batch)

            def serve(session):
                while True:
                    try:
                        places, ids, mask = waiting.get_nowait()
                    except queue.Empty:
                        return
                    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
                    inputs = {name: inputs[name] for name in names}
                    embeddings[places] = session.run(None, inputs)[0]

            threads = [threading.Thread(target=serve, args=(it,)) for it in sessions]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return embeddings

        return run


class SentenceTransformers(Peer):
    name = "sentence-transformers"

    def __init__(self, model: Path, precision: str):
        self.model, self.precision = model, precision
        self.version = f"{version('sentence-transformers')} (torch {version('torch')})"
        self.notes = "in process, its own tokeniser included; it sorts by length itself"
        self.choices = [{"batch_size": size} for size in (16, 32, 64, 128)]

    def prepare(self, sentences, settings):
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(CORES)
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        model = SentenceTransformer(str(self.model), device="cpu").to(dtype)

        def run() -> np.ndarray:
            embeddings = model.encode(
                sentences.texts, batch_size=settings["batch_size"], convert_to_tensor=True
            )
            return embeddings.float().numpy()

        return run


def cosines(found: np.ndarray, fp32: np.ndarray) -> dict:
    """The least and the mean cosine to the same sentences in fp32."""
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(fp32, axis=1)
    values = (found * fp32).sum(axis=1) / lengths
    if not np.isfinite(values).all():
        raise SystemExit("a peer gave embeddings that are not finite")
    return {"min": float(values.min()), "mean": float(values.mean())}
