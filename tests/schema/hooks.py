"""Hooks of schemathesis: what it is told of the server that stands before it, see known.py and bodies.py.

What the server refuses although the schema allows it is a failure, unless excused.toml says why.
Which statuses were seen is recorded for run.py.
"""

import os
import pathlib
import tomllib

import bodies
import known
import schemathesis
from schemathesis.core.parameters import ParameterLocation

SEEN = os.environ["POLYHEAD_SEEN"]

EXCUSED = tomllib.loads((pathlib.Path(__file__).parent / "excused.toml").read_text())["excused"]

# Milliseconds in which the server of run.py answers all that can be answered.
PATIENCE = 2000

# What schemathesis says of a negative case that has nothing wrong in it: a body that may be left out and was, or
# one that bodies.py has written.
NOTHING_INVALID = ["Invalid component: positive test case", "in body - custom media type"]

bodies.register()


@schemathesis.hook
def map_case(context, case):
    if not case.meta.is_negative_at(ParameterLocation.PATH):
        known.put_into_path(case)
    if case.meta.generation.mode.is_positive:
        known.put_into(case)
    # Less time than an answer takes gives 504, as it should; tests of deadlines are elsewhere.
    asked = (case.headers or {}).get("x-request-timeout-ms")
    if asked is not None and str(asked).isdecimal() and 0 < int(asked) < PATIENCE:
        case.headers["x-request-timeout-ms"] = str(PATIENCE)
    return case


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if "in header - object with unexpected properties" in failure.message:
        # HTTP has a server pass over headers that it does not know.
        return False
    if any(words in failure.message for words in NOTHING_INVALID):
        return False
    return type(failure).__name__ != "RejectedPositiveData" or not is_excused(case, response)


def is_excused(case, response):
    try:
        problem = response.json()
    except ValueError:
        return False
    error = problem.get("error")
    # OpenAI's shape, problem details, and Cohere's, which has words only.
    code = error["code"] if isinstance(error, dict) else problem.get("code")
    told = problem.get("message") or (error["message"] if isinstance(error, dict) else problem["detail"])
    route = "%s %s" % (case.method, case.path)
    return any(
        route in it["routes"] and (it["code"] == code if code else it["words"] in told) for it in EXCUSED
    )


@schemathesis.hook
def after_call(context, case, response):
    with open(SEEN, "a") as seen:
        seen.write("%s %s %s\n" % (case.method, case.path, response.status_code))
