"""The conversation of a client script with the test that drives it: JSON, one object a line.

Standard input has steps, `{"id": 7, "step": "report", ...}`, each run on a thread of its own, so that one that
waits holds up no other. Standard output has an answer for each, `{"id": 7, "ok": true, ...}` or `{"id": 7,
"ok": false, "error": "..."}`, and events, `{"event": "message", ...}`. The end of standard input ends the script.
"""

import base64
import json
import os
import sys
import threading
import traceback

LIMIT = 60  # seconds that a step may take

_lock = threading.Lock()


def _print(line):
    with _lock:
        print(json.dumps(line), flush=True)


def event(kind, **values):
    """Tells of something that happened by itself."""
    _print({"event": kind, **values})


def text(body):
    """A body as the test reads it."""
    if isinstance(body, str):
        return body
    try:
        return bytes(body).decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _step(steps, line):
    answer = {"id": line.pop("id"), "ok": False}
    name = line.pop("step")
    done = threading.Event()

    def work():
        try:
            result = steps[name](**line)
            answer.update(result or {}, ok=True)
        except BaseException as error:  # whatever it is, the test has to hear of it
            answer["error"] = f"{type(error).__name__}: {error}"
            print(traceback.format_exc(), file=sys.stderr, flush=True)
        done.set()

    threading.Thread(target=work, daemon=True).start()
    if not done.wait(LIMIT):
        answer = {**answer, "ok": False, "error": f"{name} took longer than {LIMIT} s"}
    _print(answer)


def run(steps):
    """Does what standard input says, by the functions of a dictionary."""
    for line in sys.stdin:
        threading.Thread(target=_step, args=(steps, json.loads(line)), daemon=True).start()
    # Clients have threads of their own that would go on.
    os._exit(0)
