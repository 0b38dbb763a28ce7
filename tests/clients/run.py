"""`make test-clients`: the clients that people have, as they are published, against the real program.

Starts POLYHEAD, teaches it the README's five examples, and lets each client do what its users do. What
comes back is compared with `/embed`, read without any client. Prints a line for each client and what is
asserted of it, and the number of those that passed and failed.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

# The server is on this machine, whatever proxies there are. Clients look at it when they are imported.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

import in_python  # noqa: E402
from server import Server  # noqa: E402

TARGET = Path(os.environ["TARGET"])

outcomes = []


def report(client, version, asserted, failure=None):
    outcomes.append(failure is None)
    print(f"{client} | {version} | {asserted}" + (f" | FAILED: {failure}" if failure else ""), flush=True)


def run_python(server, limited):
    for client, asserted, check in in_python.CHECKS:
        failure = None
        try:
            check(limited if check in in_python.WITH_LIMITS else server)
        except Exception as error:
            traceback.print_exc()
            failure = f"{type(error).__name__}: {error}"
        report(f"{client} (Python)", importlib.metadata.version(client), asserted, failure)


def run_program(name, command, server, limited):
    """A program that prints a line of JSON for each check: client, version, asserted, failure."""
    environment = os.environ | {"URL": server.url, "LIMITED_URL": limited.url}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    for line in done.stdout.splitlines():
        report(**json.loads(line))
    if done.returncode != 0:
        report(name, "?", "runs to its end", f"ended with status {done.returncode}")


with Server() as server, Server(**in_python.LIMITS) as limited:
    server.train()
    print("client | version | what is asserted", flush=True)
    run_python(server, limited)
    run_program("Node", ["node", str(TARGET / "clients/in_node.mjs")], server, limited)
    rust = TARGET / "clients-rust/debug/clients"
    run_program("Rust", [str(rust)], server, limited)
if Server.has_keys():
    failure = None
    try:
        in_python.refuses_wrong_keys()
    except Exception as error:
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
    report("openai (Python)", importlib.metadata.version("openai"), "401 as AuthenticationError", failure)
else:
    print("not run: 401, as this server knows no keys ([auth] in config.toml)")

failed = outcomes.count(False)
print(f"{len(outcomes) - failed} passed, {failed} failed")
sys.exit(1 if failed or not outcomes else 0)
