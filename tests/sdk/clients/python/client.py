"""A device or module by the device SDK for Python, as it is published."""

import logging
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from azure.iot.device import (  # noqa: E402
    IoTHubDeviceClient,
    IoTHubModuleClient,
    Message,
    MethodResponse,
    X509,
)
from steps import event, run, text  # noqa: E402

logging.basicConfig(stream=sys.stderr, level=logging.WARNING)

client = None
SYSTEM = {
    "messageId": "message_id",
    "correlationId": "correlation_id",
    "userId": "user_id",
    "contentType": "content_type",
    "contentEncoding": "content_encoding",
}


def create(
    kind,
    transport="tcp",
    connection_string=None,
    ca=None,
    x509=None,
    token_ttl=None,
):
    """From the edge environment, a connection string, or an X.509 certificate."""
    global client
    options = {"websockets": transport == "ws", "connection_retry_interval": 1}
    if token_ttl:
        options["sastoken_ttl"] = token_ttl
    which = IoTHubModuleClient if kind == "module" else IoTHubDeviceClient
    if ca:
        with open(ca) as file:
            options["server_verification_cert"] = file.read()
    if x509:
        options["gateway_hostname"] = x509["gateway"]
        if kind == "module":
            options["module_id"] = x509["module"]
        client = which.create_from_x509_certificate(
            X509(x509["certificate"], x509["key"]),
            hostname=x509["hub"],
            device_id=x509["device"],
            **options,
        )
    elif connection_string:
        client = which.create_from_connection_string(connection_string, **options)
    else:
        client = which.create_from_edge_environment(**options)
    client.on_connection_state_change = lambda: event(
        "connection", connected=client.connected
    )
    client.on_background_exception = lambda error: event(
        "background", error=f"{type(error).__name__}: {error}"
    )


def connect():
    client.connect()
    return {"connected": client.connected}


def listen(to):
    """Sets the handlers that make the SDK subscribe."""

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
        client.send_method_response(answer)

    def desired(patch):
        event("desired", patch=patch)

    for what in to:
        if what == "messages":
            client.on_message_received = message
        elif what == "methods":
            client.on_method_request_received = method
        elif what == "desired":
            client.on_twin_desired_properties_patch_received = desired
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
        client.send_message(message(body, properties, system))
    else:
        client.send_message_to_output(message(body, properties, system), output)


def stream(count, prefix, output=None):
    """Messages one after the other, numbered; the SDK keeps them until they are acknowledged."""
    for number in range(count):
        send(f"{prefix}{number}", output)


def twin():
    return {"twin": client.get_twin()}


def report(patch):
    client.patch_twin_reported_properties(patch)


def invoke(device, method, payload, module=None):
    params = {"methodName": method, "payload": payload, "responseTimeoutInSeconds": 10}
    return {"answer": client.invoke_method(params, device, module)}


def state():
    return {"connected": client.connected}


def disconnect():
    client.disconnect()


def shutdown():
    client.shutdown()


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
