"""Passes a message on to `output1` when its temperature is over a threshold.

The message itself is sent on: its body stays in the host and is not even read when the sender put
the temperature into a property. Setting: `threshold` (25).
"""

import json
import math

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import send_event, store, types
from wit_world.imports.logging import Level, log


class InputHandler(exports.InputHandler):
    threshold: float | None = None  # read when the first message comes

    def handle(self, input: str, message: types.Message) -> None:
        temperature = read_temperature(message)
        if temperature is None:
            log(Level.DEBUG, "filter", "dropped: no temperature in it")
            return
        if InputHandler.threshold is None:
            text = store.get("threshold")
            InputHandler.threshold = 25.0 if text is None else to_number(text, "setting threshold")
        if temperature > InputHandler.threshold:
            try_send("output1", message)


def read_temperature(message: types.Message) -> float | None:
    """The temperature of a message, or None if there is none in it."""
    text = message.property("temperature")
    if text is not None:
        return to_number(text, "temperature")
    try:
        body = json.loads(message.body())
    except ValueError:
        return None  # no JSON
    if not isinstance(body, dict):
        return None
    machine = body.get("machine")
    value = machine.get("temperature") if isinstance(machine, dict) else None
    if value is None:
        value = body.get("temperature")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise reject(f"temperature is no number: {json.dumps(value)}")
    return float(value)


def to_number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise reject(f"{what} is no number: {text}")
    return number


def try_send(output: str, message: types.Message) -> None:
    try:
        send_event.send(output, message)
    except Err as error:
        # `full` passes when the hub has room again; the other errors stay.
        if error.value == send_event.SendError.FULL:
            raise Err(types.Failure_Retry(None)) from error
        raise reject(f"send to {output}: {error.value}") from error


def reject(reason: str) -> Err[types.Failure]:
    """What is raised is the error that the handler returns."""
    return Err(types.Failure_Reject(reason))
