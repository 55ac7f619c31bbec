"""A device or module by the device SDK for Python, as it is published.

The SDK has its connection on a thread of paho-mqtt 1.6.1, which dies of an SSLEOFError when it writes just after a
daemon was killed (eclipse-paho/paho.mqtt.python, issue 750; mended in version 2, which the SDK does not take). The
SDK does not notice: it says that it is connected, and its calls wait for ever. A program can only begin anew, as this
one does with another client in its place.
"""

import asyncio
import concurrent.futures
import inspect
import logging
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from azure.iot.device import (  # noqa: E402
    IoTHubDeviceClient,
    IoTHubModuleClient,
    Message,
    MethodResponse,
    X509,
    aio,
)
from azure.iot.device.exceptions import (  # noqa: E402
    ConnectionDroppedError,
    ConnectionFailedError,
    NoConnectionError,
)
from steps import event, run, text  # noqa: E402

logging.basicConfig(stream=sys.stderr, level=logging.WARNING)

RETRY = 0.1  # seconds between tries of a message that the SDK gave back

AGAIN = (ConnectionDroppedError, ConnectionFailedError, NoConnectionError)

client = None
made = {}  # what the client was made with
heard = []  # what it listens to
wanted = False  # connected, that is
loop = None
pool = concurrent.futures.ThreadPoolExecutor(max_workers=32)
SYSTEM = {
    "messageId": "message_id",
    "correlationId": "correlation_id",
    "userId": "user_id",
    "contentType": "content_type",
    "contentEncoding": "content_encoding",
}


class Replaced(Exception):
    """Another client is in the place of the one that was called, which does not answer any more."""


def call(name, *values):
    """Calls the client, and waits until it is done or another client is in its place."""
    called = client
    method = getattr(called, name)
    if inspect.iscoroutinefunction(method):
        future = asyncio.run_coroutine_threadsafe(method(*values), loop)
    else:
        future = pool.submit(method, *values)
    while not concurrent.futures.wait([future], timeout=RETRY).done:
        if client is not called:
            raise Replaced(name)
    return future.result()


def died(args):
    """A thread ended by an error."""
    threading.__excepthook__(args)
    # paho's name for the function that its thread runs.
    if wanted and "_thread_main" in args.thread.name:
        event("background", error=f"the connection's thread died: {args.exc_value}")
        threading.Thread(target=replace, daemon=True).start()


threading.excepthook = died


def replace():
    """Puts another client into the place of the one that is dead, as soon as there is a daemon that signs its
    token. It listens before it is connected: what waits for it comes at once."""
    global client
    new = None
    while True:
        try:
            client = new = new or make(**made)
            listen(heard)
            return
        # Without a daemon, making a client and setting a handler end in errors of whatever is inside the SDK.
        except Exception as error:
            event("again", error=f"{type(error).__name__}: {error}")
            time.sleep(RETRY)


def handler(function):
    """A handler, as a client keeps the order if it does. Functions are given to four threads by either client,
    so that messages overtake each other within the SDK: of 600 that came in order on the wire, 402 came to the
    handler in another place. Coroutines, which only the asynchronous client takes, run on one loop."""
    if loop is None:
        return function

    async def run(*values):
        function(*values)

    return run


def create(**values):
    global client, made
    made = values
    client = make(**values)


def make(
    kind,
    transport="tcp",
    connection_string=None,
    ca=None,
    x509=None,
    token_ttl=None,
    asynchronous=False,
    retry=True,
):
    """From the edge environment, a connection string, or an X.509 certificate."""
    global loop
    options = {
        "websockets": transport == "ws",
        "connection_retry": retry,
        "connection_retry_interval": 1,
    }
    if token_ttl:
        options["sastoken_ttl"] = token_ttl
    which = IoTHubModuleClient if kind == "module" else IoTHubDeviceClient
    if asynchronous:
        which = getattr(aio, which.__name__)
        if loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, daemon=True).start()
    if ca:
        with open(ca) as file:
            options["server_verification_cert"] = file.read()
    if x509:
        options["gateway_hostname"] = x509["gateway"]
        if kind == "module":
            options["module_id"] = x509["module"]
        new = which.create_from_x509_certificate(
            X509(x509["certificate"], x509["key"]),
            hostname=x509["hub"],
            device_id=x509["device"],
            **options,
        )
    elif connection_string:
        new = which.create_from_connection_string(connection_string, **options)
    else:
        new = which.create_from_edge_environment(**options)
    new.on_connection_state_change = lambda: event(
        "connection", connected=new.connected
    )
    new.on_background_exception = lambda error: event(
        "background", error=f"{type(error).__name__}: {error}"
    )
    return new


def connect():
    global wanted
    call("connect")
    wanted = True
    return {"connected": client.connected}


def listen(to):
    """Sets the handlers that make the SDK subscribe."""
    global heard
    heard = to

    def message(message):
        system = {key: getattr(message, name) for key, name in SYSTEM.items()}
        event(
            "message",
            input=message.input_name,
            body=text(message.data),
            properties=message.custom_properties,
            system={key: value for key, value in system.items() if value is not None},
        )

    def method(request):
        event("method", name=request.name, payload=request.payload)
        answer = MethodResponse.create_from_method_request(
            request, 200, {"echo": request.payload}
        )
        call("send_method_response", answer)

    def desired(patch):
        event("desired", patch=patch)

    for what in to:
        if what == "messages":
            client.on_message_received = handler(message)
        elif what == "methods":
            client.on_method_request_received = handler(method)
        elif what == "desired":
            client.on_twin_desired_properties_patch_received = handler(desired)
        else:
            raise ValueError(what)


def message(body, properties, system):
    message = Message(body)
    message.custom_properties.update(properties)
    for key, value in system.items():
        setattr(message, SYSTEM[key], value)
    return message


def send(body, output=None, properties={}, system={}):
    """Telemetry, or a message for an output; answered when it was acknowledged."""
    if output is None:
        call("send_message", message(body, properties, system))
    else:
        call("send_message_to_output", message(body, properties, system), output)


def stream(count, prefix, output=None):
    """Messages one after the other, numbered. The SDK keeps what it has published until it is acknowledged.
    What it was asked to send without a connection it gives back, when it sees that the connection is lost or
    cannot make one at once, and leaves it to the program to send it again."""
    repeated = 0
    for number in range(count):
        while True:
            try:
                send(f"{prefix}{number}", output)
                break
            except (*AGAIN, Replaced) as error:
                event("again", error=f"{type(error).__name__}: {error}")
                repeated += 1
                time.sleep(RETRY)
    return {"repeated": repeated}


def twin():
    return {"twin": call("get_twin")}


def report(patch):
    call("patch_twin_reported_properties", patch)


def invoke(device, method, payload, module=None):
    params = {"methodName": method, "payload": payload, "responseTimeoutInSeconds": 10}
    return {"answer": call("invoke_method", params, device, module)}


def state():
    return {"connected": client.connected}


def disconnect():
    global wanted
    wanted = False
    call("disconnect")


def shutdown():
    call("shutdown")


run(
    {
        step.__name__: step
        for step in [
            create,
            connect,
            listen,
            send,
            stream,
            twin,
            report,
            invoke,
            state,
            disconnect,
            shutdown,
        ]
    }
)
