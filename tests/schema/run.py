"""Attacks the real server with schemathesis by its own description, and asks of every status that the
description names whether anybody has ever seen it.

Needs the packages of requirements.txt and what `make test` fetches; POLYHEAD names the binary.
"""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request

import jsonschema_rs

HERE = pathlib.Path(__file__).parent
REPOSITORY = HERE.parent.parent
POLYHEAD = os.environ.get("POLYHEAD", str(REPOSITORY / "target/debug/polyhead"))

# Small, so that limits are met, and with jobs that cannot keep the machine busy for long.
CONFIG = """
default_model = "tiny"
[server]
listen = "127.0.0.1:0"
request_timeout = "2s"
[log]
level = "warn"
[runtime]
library = "{library}"
workers = 1
[store]
url = "sqlite://{folder}/polyhead.db"
{keys}
[limits]
inputs_per_request = 64
body_bytes = 1000000
train_body_bytes = 1000000
examples_per_job = 100
epochs_per_job = 100
[training]
queued_jobs = 1000
[models.tiny]
path = "{model}"
[tasks.topic]
labels = ["Finance", "Entertainment", "Technology"]
[tasks.sentiment]
labels = ["Positive", "Negative"]
"""

KEY = "ph_that-may-do-all-on-this-server"

# The same server for who has a key only.
KEYS = """
[auth]
open = []
[auth.keys.all]
scopes = ["admin"]
sha256 = "%s"
""" % hashlib.sha256(KEY.encode()).hexdigest()

EXAMPLES = [
    ("The stock market crashed due to inflation.", "Finance", "Negative"),
    ("The film was a cinematic masterpiece.", "Entertainment", "Positive"),
    ("Tech companies are investing in AI.", "Technology", "Positive"),
]


def main():
    with tempfile.TemporaryDirectory() as folder:
        seen = pathlib.Path(folder) / "seen"
        seen.touch()
        description, problems = attacked(seen, "", [])
        # Whoever has no key is told so everywhere; the answers are those that have been looked at.
        guarded = ["--phases", "fuzzing", "--mode", "positive", "--max-examples", "3"]
        problems += attacked(seen, KEYS, guarded)[1]
        problems += examples_that_do_not_fit(description)
        problems += unseen(description, set(seen.read_text().splitlines()))
    for problem in problems:
        print("failed: " + problem)
    operations = sum(len(item) for item in description["paths"].values())
    passed = 0 if problems else operations
    print("%s operations, %s passed, %s failed" % (operations, passed, len(problems)))
    return 1 if problems else 0


def attacked(seen, keys, options):
    """The description of a server, and what schemathesis found wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        server, url = start(pathlib.Path(folder), keys)
        problems = []
        try:
            job = train(url)
            encoder = call(url, "/info")["models"][0]["fingerprint"]
            description = call(url, "/openapi.json")
            known = {"POLYHEAD_JOB": job, "POLYHEAD_ENCODER": encoder, "POLYHEAD_SEEN": str(seen)}
            if attack(url, known, options) != 0:
                problems.append("schemathesis has found something%s" % (" behind the key" if keys else ""))
            if server.poll() is not None:
                problems.append("the server ended with status %s" % server.returncode)
        finally:
            server.terminate()
            status = server.wait(timeout=60)
        if status != 0:
            problems.append("the server ended with status %s" % status)
    return description, problems


def start(folder, keys):
    config = folder / "config.toml"
    model = REPOSITORY / "tests/fixtures/tiny-bert/mean-normalized"
    library = REPOSITORY / "lib/libonnxruntime.so"
    config.write_text(CONFIG.format(library=library, folder=folder, model=model, keys=keys))
    command = [POLYHEAD, "serve", "--config", str(config)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    if not line.startswith("listening on "):
        sys.exit("the server did not start; `make test` fetches what it needs")
    url = line.split()[-1]
    until(lambda: answers(url, "/readyz"))
    return server, url


def train(url):
    """A job that has ended, so that there are heads, versions, examples and events to ask for."""
    examples = [
        {"text": text, "labels": {"topic": topic, "sentiment": sentiment}}
        for text, topic, sentiment in EXAMPLES
    ]
    job = call(url, "/train", {"examples": examples})["id"]
    until(lambda: call(url, "/train/" + job)["state"] == "succeeded")
    return job


def attack(url, known, options):
    environment = dict(
        os.environ,
        SCHEMATHESIS_HOOKS="hooks",
        PYTHONPATH=str(HERE),
        PYTHONDONTWRITEBYTECODE="1",
        NO_PROXY="127.0.0.1",
        **known,
    )
    command = [pathlib.Path(sys.executable).parent / "st", "--config-file", HERE / "schemathesis.toml"]
    command += ["run", url + "/openapi.json", "--checks", "all", "--no-color"]
    command += ["--header", "Authorization: Bearer " + KEY, *options, *sys.argv[1:]]
    # What it leaves behind goes with the folder.
    folder = pathlib.Path(known["POLYHEAD_SEEN"]).parent
    return subprocess.run(command, env=environment, cwd=folder).returncode


def unseen(description, seen):
    """Documented statuses that were neither seen nor are provoked by a test that provoked.toml names."""
    provoked = tomllib.loads((HERE / "provoked.toml").read_text())["provoked"]
    tests = "".join(file.read_text() for file in REPOSITORY.glob("tests/*/*.rs"))
    problems = []
    for test in sorted({test for entry in provoked for test in entry["tests"]}):
        if not re.search(r"\bfn %s\(" % re.escape(test), tests):
            problems.append("provoked.toml names a test that does not exist: " + test)
    documented = 0
    for path, item in description["paths"].items():
        for method, operation in item.items():
            for status in operation["responses"]:
                documented += 1
                if "%s %s %s" % (method.upper(), path, status) in seen:
                    continue
                if not any(is_provoked(entry, path, method, status) for entry in provoked):
                    problems.append("nobody has seen %s %s answer %s" % (method.upper(), path, status))
    print("%s statuses are documented" % documented)
    return problems


def is_provoked(entry, path, method, status):
    routes = entry.get("routes")
    return status == str(entry["status"]) and (
        routes is None or "%s %s" % (method.upper(), path) in routes
    )


def examples_that_do_not_fit(description):
    """Every example has to be valid by the schema beside it."""
    problems, found = [], 0
    for where, holder in contents(description):
        for name, example in holder.get("examples", {}).items():
            found += 1
            schema = dict(holder["schema"], components=description["components"])
            errors = jsonschema_rs.validator_for(schema).iter_errors(example["value"])
            problems += ["%s, example %s: %s" % (where, name, error.message) for error in errors]
    print("%s examples fit their schemas" % (found - len(problems)))
    return problems


def contents(description):
    for path, item in description["paths"].items():
        for method, operation in item.items():
            where = "%s %s" % (method.upper(), path)
            for media_type, holder in operation.get("requestBody", {}).get("content", {}).items():
                yield where + " takes " + media_type, holder
            for status, answer in operation["responses"].items():
                for media_type, holder in answer.get("content", {}).items():
                    yield where + " answers " + status + " " + media_type, holder


def until(is_so):
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.1)
    sys.exit("waited a minute in vain")


def answers(url, path):
    try:
        call(url, path)
    except urllib.error.URLError:
        return False
    return True


def call(url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer " + KEY}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url + path, data, headers)) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
