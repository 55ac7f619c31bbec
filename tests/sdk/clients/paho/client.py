"""A client by paho-mqtt 2, which knows nothing of hubs."""

import base64
import hashlib
import hmac
import os
import ssl
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import paho.mqtt.client as mqtt  # noqa: E402
from paho.mqtt.packettypes import PacketTypes  # noqa: E402
from paho.mqtt.properties import Properties  # noqa: E402
from paho.mqtt.subscribeoptions import SubscribeOptions  # noqa: E402
from steps import LIMIT, event, run, text  # noqa: E402

client = None
waiting = {}  # what SUBACK and PUBACK are waited for, by packet id
lock = threading.Lock()


def token(resource, key, seconds=3600):
    """A SAS token, by the book of the hub and not by code of ours."""
    resource = urllib.parse.quote(resource, safe="")
    expiry = str(int(time.time()) + seconds)
    signed = hmac.new(
        base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256
    )
    signature = urllib.parse.quote(base64.b64encode(signed.digest()), safe="")
    return {"token": f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"}


def _wait(kind, number):
    """Waits for the answer to a packet, which may come before its id is known here."""
    with lock:
        slot = waiting.setdefault((kind, number), [threading.Event(), None])
    if not slot[0].wait(LIMIT):
        raise TimeoutError(f"no {kind} for packet {number}")
    with lock:
        waiting.pop((kind, number), None)
    return slot[1]


def _came(kind, number, value):
    with lock:
        slot = waiting.setdefault((kind, number), [threading.Event(), None])
        slot[1] = value
        slot[0].set()


def _code(code):
    return {"code": code.value, "name": str(code)}


def connect(
    host,
    port,
    client_id,
    user=None,
    password=None,
    ca=None,
    certificate=None,
    key=None,
    version=4,
    clean=True,
    transport="tcp",
    will=None,
    expiry=None,
):
    global client
    v5 = version == 5
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311,
        clean_session=None if v5 else clean,
        transport="websockets" if transport == "ws" else "tcp",
    )
    if transport == "ws":
        client.ws_set_options("/$iothub/websocket")
    if user is not None:
        client.username_pw_set(user, password)
    if ca:
        client.tls_set(
            ca, certificate, key, tls_version=ssl.PROTOCOL_TLS_CLIENT
        )
    if will:
        client.will_set(will["topic"], will["body"], will.get("qos", 1), will.get("retain", False))
    client.reconnect_delay_set(1, 2)
    came = threading.Event()
    answer = {}

    def on_connect(client, userdata, flags, code, properties):
        answer.update(_code(code), present=flags.session_present)
        came.set()
        event("connection", connected=not code.is_failure, present=flags.session_present)

    def on_disconnect(client, userdata, flags, code, properties):
        event("connection", connected=False, **_code(code))

    def on_message(client, userdata, message):
        properties = getattr(message, "properties", None)
        event(
            "message",
            topic=message.topic,
            body=text(message.payload),
            qos=message.qos,
            dup=bool(message.dup),
            retain=bool(message.retain),
            properties=dict(getattr(properties, "UserProperty", [])),
            contentType=getattr(properties, "ContentType", None),
        )

    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    client.on_message = on_message
    client.on_subscribe = lambda c, u, number, codes, p: _came(
        "SUBACK", number, [code.value for code in codes]
    )
    client.on_unsubscribe = lambda c, u, number, codes, p: _came("UNSUBACK", number, None)
    client.on_publish = lambda c, u, number, code, p: _came("PUBACK", number, code)
    options = {}
    if v5:
        options["clean_start"] = clean
        if expiry:
            options["properties"] = Properties(PacketTypes.CONNECT)
            options["properties"].SessionExpiryInterval = expiry
    client.connect(host, port, keepalive=30, **options)
    client.loop_start()
    if not came.wait(LIMIT):
        raise TimeoutError("no CONNACK")
    return answer


def subscribe(topic, qos=1, no_local=False):
    if client.protocol == mqtt.MQTTv5:
        result, number = client.subscribe(topic, options=SubscribeOptions(qos=qos, noLocal=no_local))
    else:
        result, number = client.subscribe(topic, qos)
    if result != mqtt.MQTT_ERR_SUCCESS:
        raise OSError(mqtt.error_string(result))
    return {"granted": _wait("SUBACK", number)}


def unsubscribe(topic):
    result, number = client.unsubscribe(topic)
    if result != mqtt.MQTT_ERR_SUCCESS:
        raise OSError(mqtt.error_string(result))
    _wait("UNSUBACK", number)


def publish(topic, body, qos=1, retain=False, properties=None, content_type=None):
    options = None
    if client.protocol == mqtt.MQTTv5 and (properties or content_type):
        options = Properties(PacketTypes.PUBLISH)
        options.UserProperty = list((properties or {}).items())
        if content_type:
            options.ContentType = content_type
    info = client.publish(topic, body, qos, retain, options)
    if info.rc not in (mqtt.MQTT_ERR_SUCCESS, mqtt.MQTT_ERR_NO_CONN):
        raise OSError(mqtt.error_string(info.rc))
    return _code(_wait("PUBACK", info.mid))


def stream(topic, count, prefix, window=20):
    """Numbered messages, so many of them unacknowledged; paho keeps those over reconnects."""
    numbers = []
    for number in range(count):
        if len(numbers) == window:
            _wait("PUBACK", numbers.pop(0))
        numbers.append(client.publish(topic, f"{prefix}{number}", 1).mid)
    for number in numbers:
        _wait("PUBACK", number)


def state():
    return {"connected": client.is_connected()}


def disconnect():
    client.disconnect()
    client.loop_stop()


def drop():
    """Ends the connection as a fault does: no DISCONNECT, and no return."""
    client.loop_stop()
    client.socket().close()


run(
    {
        step.__name__: step
        for step in [
            token,
            connect,
            subscribe,
            unsubscribe,
            publish,
            stream,
            state,
            disconnect,
            drop,
        ]
    }
)
