"""The programs of this repository: the server, its bench, the load generator."""

import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ENVIRONMENT = {
    # The configuration is the one that is written here, and nothing else.
    **{name: value for name, value in os.environ.items() if not name.startswith("POLYHEAD__")},
    "ORT_DISABLE_TELEMETRY": "1",
}


class Programs:
    def __init__(self, target: Path, work: Path, model: Path):
        self.polyhead = target / "release" / "polyhead"
        self.load_generator = target / "release" / "examples" / "load"
        self.work = work
        self.model = model

    def configuration(self, precision: str, model: Path | None = None) -> Path:
        name = precision if model is None else model.name
        file = self.work / f"{name}.toml"
        file.write_text(
            f"""# Written by benches/run.py. Limits are raised for requests of 10,000 sentences.
[server]
listen = "127.0.0.1:0"
request_timeout = "10m"
[log]
level = "warn"
[limits]
body_bytes = 67108864
inputs_per_request = 10000
tokens_per_request = 1048576
[batching]
queue_tokens = 4194304
[store]
url = "sqlite://{self.work}/{precision}.db"
[models.{name_of(model)}]
path = "{model or self.model}"
precision = "{precision}"
"""
        )
        return file

    def export(self, model: Path) -> Path:
        """A model as ONNX, pooling included: what other engines run."""
        import onnx

        file = self.work / f"{model.name}.onnx"
        command = [self.polyhead, "export", model, "--output", file]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        exported = onnx.load(file)
        # Embeddings only: an engine that writes the states of tokens out too loses time by it.
        del exported.graph.output[1:]
        onnx.save(exported, file)
        return file

    def bench(self, *arguments, model: Path | None = None) -> dict:
        configuration = self.configuration("auto", model)
        command = [self.polyhead, "bench", "--config", configuration, "--json"]
        done = subprocess.run(
            [*command, *map(str, arguments)], check=True, stdout=subprocess.PIPE, env=ENVIRONMENT
        )
        return json.loads(done.stdout)

    def load(self, server: "Server", sentences: Path, seconds: float, *clients: str) -> list[dict]:
        command = [self.load_generator, f"{server.url}/embed", sentences, "--seconds", seconds]
        done = subprocess.run(
            list(map(str, [*command, *clients])), check=True, stdout=subprocess.PIPE
        )
        return json.loads(done.stdout)


def name_of(model: Path | None) -> str:
    return "minilm" if model is None else "bert-base"


class Server:
    """A running `polyhead serve`, ready."""

    def __init__(self, programs: Programs, precision: str):
        command = [programs.polyhead, "serve", "--config", programs.configuration(precision)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit(f"polyhead serve ended with status {self.process.wait()}")
        self.url = line.removeprefix("listening on ").strip()
        while not self.answers("/readyz"):
            if self.process.poll() is not None:
                raise SystemExit(f"polyhead serve ended with status {self.process.returncode}")
            time.sleep(0.05)

    def answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(self.url + path) as answer:
                return answer.status == 200
        except urllib.error.URLError:
            return False

    def resident(self) -> tuple[int, int]:
        """Bytes in memory now, and at most so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))

    def padding(self) -> float:
        """The share of padding in all tokens that were run so far."""
        with urllib.request.urlopen(self.url + "/metrics") as answer:
            lines = answer.read().decode().splitlines()
        total = {}
        for line in lines:
            for name in ("polyhead_padding_tokens_total", "polyhead_tokens_total"):
                if line.startswith((name + "{", name + " ")):
                    total[name] = total.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
        padding = total.get("polyhead_padding_tokens_total", 0.0)
        return padding / (padding + total.get("polyhead_tokens_total", 0.0) or 1.0)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


class MemoryWatch(threading.Thread):
    """A server's resident bytes once a second, until it is told to stop."""

    def __init__(self, server: Server):
        super().__init__(daemon=True)
        self.server, self.samples, self.ending = server, [], threading.Event()
        self.started = time.monotonic()
        self.start()

    def run(self) -> None:
        while not self.ending.wait(1.0):
            seconds = round(time.monotonic() - self.started, 1)
            self.samples.append((seconds, self.server.resident()[0]))

    def stop(self) -> list[tuple[float, int]]:
        self.ending.set()
        self.join()
        return self.samples
