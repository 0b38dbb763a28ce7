"""Heads beside scikit-learn's: the same rows, embeddings and seeds in the same run. Prints Markdown.

    make bench-heads DATA="folder folder"

Each folder holds train.csv and test.csv with the columns text and label. Polyhead trains over HTTP with
no options at all; scikit-learn's LogisticRegression gets the embeddings that polyhead answers with, and
is allowed the best C of 1, 10 and 100 *by its accuracy on the test rows*, which nobody knows beforehand.
"""

import csv
import itertools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import numpy
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from polyhead import Programs, Server

PRECISION = os.environ.get("PRECISION", "auto")
DRAWS = int(os.environ.get("DRAWS", "10"))
PER_CLASS = (8, 64)
STRENGTHS = (1, 10, 100)
FEW_SHOT_STRENGTH = 10
# How long /embed is watched, with and without training, and how often.
WATCH = float(os.environ.get("WATCH", "15"))
ROUNDS = 5
MODEL = Path("models/all-MiniLM-L6-v2")


class Client:
    def __init__(self, url: str):
        self.url = url

    def call(self, method: str, path: str, body=None):
        return self.send(method, path, None if body is None else json.dumps(body).encode())

    def send(self, method: str, path: str, data: bytes | None):
        request = urllib.request.Request(self.url + path, data, method=method)
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def embed(self, sentences: list[str]) -> numpy.ndarray:
        parts = [sentences[start : start + 1000] for start in range(0, len(sentences), 1000)]
        rows = [row for part in parts for row in self.call("POST", "/embed", {"inputs": part})]
        return numpy.array(rows, dtype=numpy.float32)

    def train(self, task: str, rows: list[tuple[str, str]], **options) -> dict:
        examples = [{"text": text, "labels": {task: label}} for text, label in rows]
        job = self.call("POST", "/train", {"examples": examples, **options})
        while job["state"] in ("queued", "running"):
            time.sleep(0.02)
            job = self.call("GET", f"/train/{job['id']}")
        if job["state"] != "succeeded":
            raise SystemExit(f"the job is {job['state']}: {job['reason']}")
        return job

    def classify(self, task: str, sentences: list[str]) -> list[str]:
        parts = [sentences[start : start + 1000] for start in range(0, len(sentences), 1000)]
        body = {"tasks": [task], "top_k": 1}
        answers = [self.call("POST", "/classify", {**body, "inputs": part}) for part in parts]
        return [row[task]["label"] for answer in answers for row in answer["results"]]


def main() -> None:
    folders = [Path(folder) for folder in sys.argv[1:]]
    if not folders:
        raise SystemExit(__doc__)
    warnings.filterwarnings("ignore", category=FutureWarning)
    target = Path(os.environ.get("TARGET", "target"))
    with tempfile.TemporaryDirectory() as work:
        programs = Programs(target.resolve(), Path(work), MODEL.resolve())
        server = Server(programs, PRECISION)
        client = Client(server.url)
        try:
            print(f"Medians of {ROUNDS}; few-shot: mean ± standard deviation of {DRAWS} draws.\n")
            whole(client, folders)
            few_shot(client, folders)
            latency(programs, server, client, folders)
        finally:
            server.stop()


def read(file: Path) -> list[tuple[str, str]]:
    with file.open(newline="") as lines:
        return [(row["text"], row["label"]) for row in csv.DictReader(lines)]


def sets(folders: list[Path]):
    for folder in folders:
        yield folder.name, read(folder / "train.csv"), read(folder / "test.csv")


def accuracy(found, truth) -> float:
    return float(numpy.mean(numpy.array(found) == numpy.array(truth)))


def logistic(rows, labels, strength: float) -> tuple[LogisticRegression, float]:
    started = time.perf_counter()
    model = LogisticRegression(C=strength, max_iter=2000).fit(rows, labels)
    return model, time.perf_counter() - started


def make_task(client: Client, task: str, rows: list[tuple[str, str]]) -> None:
    client.call("PUT", f"/heads/{task}", {"labels": sorted({label for _, label in rows})})


def whole(client: Client, folders: list[Path]) -> None:
    print("| all rows | train / test | classes | polyhead accuracy | macro-F1 | fit, search included | fit, l2 given | scikit-learn accuracy | macro-F1 | fit |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, train, test in sets(folders):
        make_task(client, name, train)
        # Embeddings are in the store from then on: times are of the fit alone.
        job = client.train(name, train, mode="replace", promote="always")
        truth = [label for _, label in test]
        found = client.classify(name, [text for text, _ in test])
        l2 = job["result"]["tasks"][name]["evaluation"]["l2"]
        searched = [job["result"]["seconds"]["fitting"]]
        given = []
        for _ in range(ROUNDS - 1):
            job = client.train(name, train, mode="replace", promote="never")
            searched.append(job["result"]["seconds"]["fitting"])
            job = client.train(
                name, train, mode="replace", promote="never", l2=l2, validation=0, calibrate=False
            )
            given.append(job["result"]["seconds"]["fitting"])
        rows, labels = client.embed([text for text, _ in train]), [label for _, label in train]
        test_rows = client.embed([text for text, _ in test])
        peers = []
        for strength in STRENGTHS:
            model, seconds = logistic(rows, labels, strength)
            answers = model.predict(test_rows)
            score = f1_score(truth, answers, average="macro")
            peers.append((accuracy(answers, truth), score, seconds, strength))
        best = max(peers)
        print(
            f"| {name} | {len(train)} / {len(test)} | {len(set(labels))} "
            f"| {accuracy(found, truth):.4f} | {f1_score(truth, found, average='macro'):.4f} "
            f"| {statistics.median(searched):.2f} s | {statistics.median(given):.2f} s "
            f"| {best[0]:.4f} (C={best[3]}) | {best[1]:.4f} | {best[2]:.2f} s |",
            flush=True,
        )
    print()


def few_shot(client: Client, folders: list[Path]) -> None:
    print("| few-shot | per class | polyhead | scikit-learn (C=10) |")
    print("|---|---|---|---|")
    for name, train, test in sets(folders):
        texts, labels = [text for text, _ in train], numpy.array([label for _, label in train])
        rows, test_rows = client.embed(texts), client.embed([text for text, _ in test])
        truth = [label for _, label in test]
        for per_class in PER_CLASS:
            ours, theirs = [], []
            for draw in range(DRAWS):
                chosen = sample(labels, per_class, draw)
                client.train(name, [train[row] for row in chosen], mode="replace", promote="always")
                ours.append(accuracy(client.classify(name, [text for text, _ in test]), truth))
                model, _ = logistic(rows[chosen], labels[chosen], FEW_SHOT_STRENGTH)
                theirs.append(accuracy(model.predict(test_rows), truth))
            print(f"| {name} | {per_class} | {spread(ours)} | {spread(theirs)} |", flush=True)
    print()


def sample(labels: numpy.ndarray, per_class: int, seed: int) -> numpy.ndarray:
    """So many rows of each class, or all that it has."""
    random = numpy.random.default_rng(seed)
    chosen = []
    for label in sorted(set(labels)):
        rows = numpy.flatnonzero(labels == label)
        chosen.append(random.permutation(rows)[:per_class])
    return numpy.concatenate(chosen)


def spread(scores: list[float]) -> str:
    return f"{statistics.mean(scores):.4f} ± {statistics.stdev(scores):.3f}"


def latency(programs: Programs, server: Server, client: Client, folders: list[Path]) -> None:
    """p99 of single sentences at half load, while nothing trains, new texts are embedded, heads fit."""
    name, train, test = max(sets(folders), key=lambda it: len(it[1]))
    file = programs.work / "sentences.txt"
    file.write_text("".join(" ".join(text.split()) + "\n" for text, _ in test))
    (full,) = programs.load(server, file, WATCH / 3, "32x1")
    rate = full["sentences_per_second"] / 2
    shape = f"32x1@{rate:.0f}"
    seen = {"nothing": [], "embedding": [], "fitting": []}
    for _ in range(ROUNDS):
        for doing, times in seen.items():
            training = Training(client, name, train, doing)
            training.start()
            (watched,) = programs.load(server, file, WATCH, shape)
            times.append(watched["p99"] * 1e3)
            training.stop()
    print(f"p99 of /embed, single sentences at half load ({rate:.0f} a second, 32 connections):\n")
    print("| training | p99 in ms, median (least to greatest) | to nothing |")
    print("|---|---|---|")
    idle = statistics.median(seen["nothing"])
    for doing, times in seen.items():
        median = statistics.median(times)
        print(f"| {doing} | {median:.2f} ({min(times):.2f} to {max(times):.2f}) | {median / idle:.2f} |")


class Training(threading.Thread):
    """Trains until it is stopped: on texts that are new, or again and again on those that are known.

    Its requests are made beforehand: while /embed is watched, the cores are the server's.
    """

    def __init__(self, client: Client, task: str, rows, doing: str):
        super().__init__()
        self.client, self.over = client, threading.Event()
        options = {"mode": "replace", "promote": "never"}
        if doing == "embedding":
            # Two epochs are next to nothing beside the embedding of all rows.
            options |= {"l2": 1.0, "epochs": 2, "calibrate": False}
        turns = {"nothing": 0, "fitting": 1, "embedding": 1 + int(WATCH)}[doing]
        self.requests = []
        for turn in range(turns):
            mark = f"{time.monotonic_ns()} " if doing == "embedding" else ""
            examples = [{"text": mark + text, "labels": {task: label}} for text, label in rows]
            self.requests.append(json.dumps({"examples": examples, **options}).encode())

    def run(self) -> None:
        for request in itertools.cycle(self.requests):
            job = self.client.send("POST", "/train", request)
            while job["state"] in ("queued", "running"):
                if self.over.is_set():
                    return self.cancel(job)
                time.sleep(0.05)
                job = self.client.call("GET", f"/train/{job['id']}")

    def cancel(self, job: dict) -> None:
        try:
            self.client.call("DELETE", f"/train/{job['id']}")
        except urllib.error.HTTPError:
            # It has ended in the meantime.
            pass

    def stop(self) -> None:
        self.over.set()
        self.join()


if __name__ == "__main__":
    main()
