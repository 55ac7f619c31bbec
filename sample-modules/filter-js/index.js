// Passes a message on to `output1` when its temperature is over a threshold.
//
// The message itself is sent on: its body stays in the host and is not even read when the sender
// put the temperature into a property. Setting: `threshold` (25).

import { send } from "edge:module/send-event@0.1.0";
import { get } from "wasi:config/store@0.2.0-rc.1";
import { log } from "wasi:logging/logging@0.1.0-draft";

const utf8 = new TextDecoder("utf-8", { fatal: true });
let threshold; // read when the first message comes

export const inputHandler = {
    handle(input, message) {
        const temperature = readTemperature(message);
        if (temperature === undefined) {
            log("debug", "filter", "dropped: no temperature in it");
        } else if (temperature > (threshold ??= readThreshold())) {
            trySend("output1", message);
        }
    },
};

// The temperature of a message, or undefined if there is none in it.
function readTemperature(message) {
    const property = message.property("temperature");
    if (property !== undefined) return toNumber(property, "temperature");
    let body;
    try {
        body = JSON.parse(utf8.decode(message.body()));
    } catch {
        return undefined; // no JSON
    }
    const value = body?.machine?.temperature ?? body?.temperature;
    if (value === undefined || value === null) return undefined;
    return toNumber(typeof value === "number" ? value : NaN, "temperature", value);
}

function readThreshold() {
    return toNumber(get("threshold") ?? "25", "setting threshold");
}

function toNumber(value, what, shown = value) {
    const number = String(value).trim() === "" ? NaN : Number(value);
    if (!Number.isFinite(number)) reject(`${what} is no number: ${JSON.stringify(shown)}`);
    return number;
}

function trySend(output, message) {
    try {
        send(output, message);
    } catch (error) {
        // `full` passes when the hub has room again; the other errors stay.
        if (error.payload === "full") throw { tag: "retry", val: undefined };
        reject(`send to ${output}: ${error.payload ?? error}`);
    }
}

// What is thrown is the error that the handler returns.
function reject(reason) {
    throw { tag: "reject", val: reason };
}
