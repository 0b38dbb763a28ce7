"""`make bench`: the engine, the server over HTTP and other engines, on the same sentences, in turn.

Writes docs/benchmarks.json, docs/benchmarks.md and docs/benchmarks.svg. Settings come from the
environment:

SENTENCES  a text file, one sentence a line, or a CSV with a column `text`; a seeded sample of it is
           used. Without it, built-in text cut to the lengths of real sentences.
ROUNDS     rounds in which everything takes its turn (5)
SECONDS    of each measurement over HTTP (4)
SOAK       seconds of full load with mixed lengths while memory is watched (60)
PEERS      `torch` adds sentence-transformers, some 5 GB to download
TARGET     where cargo builds (target)
"""

import json
import logging
import os
import platform
import resource
import statistics
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import base
import chart
import one_core
import page
import peers as engines
import sentences as texts
from polyhead import MemoryWatch, Programs, Server
from sentences import Sentences

MODEL = Path("models/all-MiniLM-L6-v2")
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS", "4"))
SOAK = float(os.environ.get("SOAK", "60"))
WITH_TORCH = "torch" in os.environ.get("PEERS", "").split(",")

GROWTH = [(32, 1), (8, 8), (4, 32), (4, 256), (2, 2048), (1, 10000)]
"""Connections, and sentences to a request: from one sentence to ten thousand, always enough of them
at a time to keep all workers busy."""


def main() -> None:
    target = Path(os.environ.get("TARGET") or "target")
    work = target / "bench"
    work.mkdir(parents=True, exist_ok=True)
    programs = Programs(target.resolve(), work, MODEL)
    source = os.environ.get("SENTENCES")
    sample = texts.read(Path(source) if source else None, MODEL)
    file = sample.write(work / "sentences.txt")

    say("polyhead bench, and others on one core")
    engine = programs.bench("--repeats", ROUNDS)
    exported = programs.export(programs.model)
    others = {"minilm": one_core.measure(exported, ROUNDS)}
    rows = engine["models"][0]["precisions"]
    precisions = [row["precision"] for row in rows if "unavailable" not in row]
    servers = {precision: Server(programs, precision) for precision in precisions}
    peers, absent = calibrated(programs, exported, sample)
    results = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": {**engine["machine"], **machine()},
        "versions": {"polyhead": engine["polyhead"], "onnxruntime": engine["runtime"]},
        "rounds": ROUNDS,
        "seconds": SECONDS,
        "sentences": sample.facts(),
        "command": command(source),
        "engine": engine,
        "one_core": others,
        "rounds_of": rounds(programs, servers, peers, sample, file),
        "peers": [facts(peer) for peer in peers],
        "absent": absent,
    }
    fastest = max(precisions, key=lambda it: median(results["rounds_of"]["engine"][it]))
    results["fastest"] = fastest
    results["growth"] = growth(programs, servers[fastest], sample, file)
    results["padding"] = {precision: it.padding() for precision, it in servers.items()}
    for server in servers.values():
        server.stop()
    results["memory"] = memory(programs, fastest, work)
    results["bert_base"] = None
    if "bf16" in precisions:
        results["bert_base"], others["bert-base"] = bert_base(programs)
    for report in filter(None, (engine, results["bert_base"])):
        without_paths(report)
    docs = Path("docs")
    write(docs / "benchmarks.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    write(docs / "benchmarks.svg", chart.draw(results))
    write(docs / "benchmarks.md", page.write(results))


def bert_base(programs: Programs) -> tuple[dict, list[dict]]:
    """A model whose weights are larger than a core's cache, in the precision made for such."""
    say("BERT base's shape")
    model = base.make(programs.work / "bert-base", MODEL)
    report = programs.bench("--repeats", ROUNDS, "--precision", "bf16", model=model)
    return report, one_core.measure(programs.export(model), ROUNDS)


def calibrated(programs: Programs, exported: Path, sample: Sentences) -> tuple[list[engines.Peer], list[str]]:
    """The peers that can be had here, each in its fastest settings, and why others are not."""
    peers, absent = [], []
    for precision in ("fp32", "bf16"):
        if reason := engines.OpenVino.has(precision):
            absent.append(f"OpenVINO {precision}: {reason}")
        else:
            peers.append(engines.OpenVino(exported, precision))
    peers.append(engines.OnnxRuntime(exported, "fp32"))
    quantized = engines.OnnxRuntime.quantized(exported, programs.work)
    peers.append(engines.OnnxRuntime(quantized, "int8"))
    if WITH_TORCH:
        for precision in ("fp32", "bf16"):
            peers.append(engines.SentenceTransformers(programs.model, precision))
    else:
        absent.append("sentence-transformers: `PEERS=torch make bench` adds it")
    absent.append("text-embeddings-inference: it is not on PyPI")
    absent.append("infinity: its release 0.0.78 wants numpy below 2 and sentence-transformers below 4")
    quarter = Sentences(sample.source, sample.texts[::4], sample.ids[::4])
    for peer in peers:
        say(f"{peer.name} {peer.precision}: finding its fastest settings")
        peer.calibrate(quarter)
        peer.run = peer.prepare(sample, peer.settings)
        peer.run()
    return peers, absent


def rounds(
    programs: Programs,
    servers: dict[str, Server],
    peers: list[engines.Peer],
    sample: Sentences,
    file: Path,
) -> dict:
    """Everything in turn, round by round: rates in real tokens a second, times in seconds."""
    short = texts.of_length(16, sample).write(programs.work / "sentences-16.txt")
    per_sentence = sample.tokens / len(sample.texts)
    engine = {precision: [] for precision in servers}
    cosines = {}
    http = {precision: {} for precision in servers}
    others = {f"{peer.name} {peer.precision}": [] for peer in peers}
    peer_cosines = {}
    for number in range(ROUNDS):
        say(f"round {number + 1} of {ROUNDS}")
        report = programs.bench("--sentences", file, "--repeats", 1)
        for row in report["models"][0]["precisions"]:
            if row["precision"] in engine:
                rate = row["shapes"][0]["all_workers"]["tokens_per_second"]["median"]
                engine[row["precision"]].append(rate)
                cosines[row["precision"]] = row["cosine_to_fp32"]
        for precision, server in servers.items():
            measured = http[precision]

            def rate(shape: str, seconds: float = SECONDS) -> None:
                (client,) = programs.load(server, file, seconds, shape)
                tokens = client["sentences_per_second"] * per_sentence
                measured.setdefault(shape, []).append(
                    {"tokens_per_second": tokens, "p50": client["p50"], "p99": client["p99"]}
                )

            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            rate("4x32")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
            measured.setdefault("generator_cpu", []).append(spent / SECONDS / engines.CORES)
            rate("32x1")
            rate("1x2048")
            rate("1x1")
            (client,) = programs.load(server, short, SECONDS, "1x1")
            measured.setdefault("short", []).append({"p50": client["p50"], "p99": client["p99"]})
            bulk, single = programs.load(server, file, SECONDS, "2x2048", "1x1")
            measured.setdefault("beside_bulk", []).append(
                {"p50": single["p50"], "p99": single["p99"], "requests": single["requests"]}
            )
        reference = None
        for peer in peers:
            seconds, embeddings = peer.sample()
            others[f"{peer.name} {peer.precision}"].append(sample.tokens / seconds)
            if peer.precision == "fp32" and reference is None:
                reference = embeddings
            elif reference is not None:
                found = engines.cosines(embeddings, reference)
                peer_cosines[f"{peer.name} {peer.precision}"] = found
    return {
        "engine": engine,
        "cosine_to_fp32": cosines,
        "http": http,
        "peers": others,
        "peers_cosine_to_fp32": peer_cosines,
    }


def growth(programs: Programs, server: Server, sample: Sentences, file: Path) -> list[dict]:
    """Microseconds per token as requests grow."""
    per_sentence = sample.tokens / len(sample.texts)
    costs = {shape: [] for shape in GROWTH}
    for number in range(ROUNDS):
        say(f"cost of larger requests, round {number + 1} of {ROUNDS}")
        for connections, inputs in GROWTH:
            (client,) = programs.load(server, file, SECONDS, f"{connections}x{inputs}")
            rate = client["sentences_per_second"] * per_sentence
            costs[connections, inputs].append(1e6 / rate)
    return [
        {"connections": connections, "inputs": inputs, "microseconds_per_token": values}
        for (connections, inputs), values in costs.items()
    ]


def memory(programs: Programs, precision: str, work: Path) -> dict:
    """Resident bytes of a fresh server, under full load with every length."""
    file = texts.lengths(MODEL).write(work / "lengths.txt")
    say(f"memory over {SOAK:.0f} s")
    server = Server(programs, precision)
    ready, _ = server.resident()
    watch = MemoryWatch(server)
    clients = programs.load(server, file, SOAK, "4x32", "8x1")
    samples = watch.stop()
    _, peak = server.resident()
    server.stop()
    return {
        "precision": precision,
        "seconds": SOAK,
        "ready": ready,
        "peak": peak,
        "samples": samples,
        "sentences": sum(client["sentences"] for client in clients),
    }


def facts(peer: engines.Peer) -> dict:
    return {
        "name": peer.name,
        "precision": peer.precision,
        "version": peer.version,
        "settings": peer.settings,
        "tried": peer.tried,
        "notes": peer.notes,
    }


def machine() -> dict:
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"kernel": platform.release(), "memory": pages, "python": platform.python_version()}


def without_paths(report: dict) -> None:
    """Where the models lie on this machine is nobody's business."""
    for row in report["models"][0]["precisions"]:
        for key in ("path", "weights"):
            row.get("info", {}).pop(key, None)


def command(source: str | None) -> str:
    """What was typed, without the paths of the machine on which it was."""
    names = ("ROUNDS", "SECONDS", "SOAK", "PEERS")
    given = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    if source:
        given.insert(0, f"SENTENCES={Path(source).name}")
    return " ".join([*given, "make bench"])


def median(values: list[float]) -> float:
    return statistics.median(values)


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    print(file)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
