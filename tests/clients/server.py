"""The real program on a port that the system chose, and what is read of it without any client."""

import json
import os
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request

EXAMPLES = [
    ("The stock market crashed due to inflation.", "Finance", "Negative"),
    ("The film was a cinematic masterpiece.", "Entertainment", "Positive"),
    ("Tech companies are investing in AI.", "Technology", "Positive"),
    ("The weather ruined my mood today.", "Entertainment", "Negative"),
    ("Quantum computing is the next big thing.", "Technology", "Positive"),
]


class Server:
    """`with Server(LIMITS__BODY_BYTES=...)`: a server with these settings, ready."""

    def __init__(self, **settings):
        self.folder = tempfile.TemporaryDirectory()
        settings = {
            "SERVER__LISTEN": "127.0.0.1:0",
            "STORE__URL": f"sqlite://{self.folder.name}/polyhead.db",
            "LOG__LEVEL": "warn",
        } | settings
        environment = os.environ | {f"POLYHEAD__{key}": str(value) for key, value in settings.items()}
        command = [os.environ["POLYHEAD"], "serve", "--config", "config.toml"]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.url = None
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self.url = line.removeprefix("listening on ").strip()
                break
        if self.url is None:
            sys_exit = self.process.wait()
            raise RuntimeError(f"the server ended with status {sys_exit} before it listened")
        # What it still prints must not fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def __enter__(self):
        while self.get("/readyz")[0] != 200:
            if self.process.poll() is not None:
                raise RuntimeError("the server ended while it loaded")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    @staticmethod
    def has_keys():
        with open("config.toml", encoding="utf-8") as file:
            return any(line.lstrip("# ").startswith("[auth") for line in file)

    def request(self, path, body=None, headers=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | (headers or {})
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def get(self, path):
        return self.request(path)

    def embed(self, *texts, **options):
        """The embeddings that all clients have to get."""
        status, embeddings = self.request("/embed", {"inputs": list(texts)} | options)
        assert status == 200, embeddings
        return embeddings

    def train(self):
        examples = [
            {"text": text, "labels": {"topic": topic, "sentiment": sentiment}}
            for text, topic, sentiment in EXAMPLES
        ]
        status, job = self.request("/train", {"examples": examples})
        assert status == 202, job
        with urllib.request.urlopen(f"{self.url}/train/{job['id']}/events") as events:
            events.read()
        _, job = self.get(f"/train/{job['id']}")
        assert job["state"] == "succeeded", job


class Upload:
    """Most of a request that never ends, until it is let go: it keeps the room that bodies share."""

    def __init__(self, server, body_bytes):
        host, port = server.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)))
        body = b'{"inputs": "' + b"a" * (body_bytes - 1000)
        head = f"POST /embed HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {body_bytes}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def let_go(self):
        self.socket.close()
