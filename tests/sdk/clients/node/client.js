// A device or module by the device SDK for Node.js, as it is published. It talks with the test as steps.py
// beside it says: steps on standard input, answers and events on standard output, JSON, one object a line.
'use strict';

const fs = require('fs');
const readline = require('readline');
const device = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');

const LIMIT = 60; // seconds that a step may take
const RETRY = 100; // milliseconds between tries of a message that the SDK gave back

let client;
let twin;

const print = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const event = (kind, values) => print({ event: kind, ...values });

const SYSTEM = ['messageId', 'correlationId', 'userId', 'contentType', 'contentEncoding'];

// From the edge environment, a connection string, or an X.509 certificate.
async function create({ kind, transport = 'tcp', connection_string, ca, x509, token_ttl }) {
  const Transport = transport === 'ws' ? MqttWs : Mqtt;
  const Which = kind === 'module' ? device.ModuleClient : device.Client;
  const options = {};
  if (ca) {
    options.ca = fs.readFileSync(ca, 'utf8');
  }
  // Renewal comes at a margin before the end, which is 900 s unless both are said.
  const margin = token_ttl && token_ttl - 5;
  if (x509) {
    // With a certificate this SDK ignores GatewayHostName and connects to HostName.
    const ids = `DeviceId=${x509.device}` + (x509.module ? `;ModuleId=${x509.module}` : '');
    client = Which.fromConnectionString(
      `HostName=${x509.gateway};${ids};x509=true`, Transport);
    options.cert = fs.readFileSync(x509.certificate, 'utf8');
    options.key = fs.readFileSync(x509.key, 'utf8');
  } else if (connection_string && token_ttl) {
    const provider = device.SharedAccessKeyAuthenticationProvider.fromConnectionString(
      connection_string, token_ttl, margin);
    client = Which.fromAuthenticationProvider(provider, Transport);
  } else if (connection_string) {
    client = Which.fromConnectionString(connection_string, Transport);
  } else {
    client = await Which.fromEnvironment(Transport);
    if (token_ttl) {
      client._transport._authenticationProvider.setTokenRenewalValues(token_ttl, margin);
    }
  }
  if (Object.keys(options).length > 0) {
    await client.setOptions(options);
  }
  client.on('connect', () => event('connection', { connected: true }));
  client.on('disconnect', () => event('connection', { connected: false }));
  client.on('error', (error) => event('background', { error: String(error) }));
}

async function connect() {
  await client.open();
  return { connected: true };
}

function received(input, message) {
  const list = message.properties.propertyList;
  const system = SYSTEM.filter((name) => message[name] !== undefined && message[name] !== '');
  event('message', {
    input,
    body: message.data.toString('utf8'),
    properties: Object.fromEntries(list.map(({ key, value }) => [key, value])),
    system: Object.fromEntries(system.map((name) => [name, message[name]])),
  });
  client.complete(message, (error) => error && event('background', { error: String(error) }));
}

// Sets the listeners that make the SDK subscribe.
async function listen({ to, methods = ['echo'] }) {
  for (const what of to) {
    if (what === 'messages' && client instanceof device.ModuleClient) {
      client.on('inputMessage', received);
    } else if (what === 'messages') {
      client.on('message', (message) => received(null, message));
    } else if (what === 'methods') {
      for (const name of methods) {
        const answer = (request, response) => {
          event('method', { name: request.methodName, payload: request.payload });
          response.send(200, { echo: request.payload }, (error) =>
            error && event('background', { error: String(error) }));
        };
        if (client instanceof device.ModuleClient) {
          client.onMethod(name, answer);
        } else {
          client.onDeviceMethod(name, answer);
        }
      }
    } else if (what === 'desired') {
      twin = twin || await client.getTwin();
      twin.on('properties.desired', (patch) => event('desired', { patch: plain(patch) }));
    } else {
      throw new Error(what);
    }
  }
}

// Without the functions that the SDK hangs on it.
const plain = (value) => JSON.parse(JSON.stringify(value));

// Telemetry, or a message for an output; answered when it was acknowledged.
async function send({ body, output, properties = {}, system = {} }) {
  const message = new device.Message(body);
  for (const [key, value] of Object.entries(properties)) {
    message.properties.add(key, value);
  }
  Object.assign(message, system);
  if (output === undefined || output === null) {
    await client.sendEvent(message);
  } else {
    await client.sendOutputEvent(output, message);
  }
}

// Messages one after the other, numbered. The SDK gives back what was in flight when the connection was
// lost, and leaves it to the program to send it again.
async function stream({ count, prefix, output }) {
  let repeated = 0;
  for (let number = 0; number < count; number++) {
    for (;;) {
      try {
        await send({ body: `${prefix}${number}`, output });
        break;
      } catch (error) {
        event('again', { error: String(error) });
        repeated += 1;
        await new Promise((resolve) => setTimeout(resolve, RETRY));
      }
    }
  }
  return { repeated };
}

async function getTwin() {
  if (twin) {
    await twin.get();
  } else {
    twin = await client.getTwin();
  }
  const { desired, reported } = twin.properties;
  return { twin: { desired: plain(desired), reported: plain(reported) } };
}

async function report({ patch }) {
  twin = twin || await client.getTwin();
  await new Promise((resolve, reject) =>
    twin.properties.reported.update(patch, (error) => error ? reject(error) : resolve()));
}

async function invoke({ device: id, module, method, payload }) {
  const params = { methodName: method, payload, responseTimeoutInSeconds: 10 };
  const answer = module
    ? await client.invokeMethod(id, module, params)
    : await client.invokeMethod(id, params);
  return { answer: { status: answer.status, payload: answer.payload } };
}

async function disconnect() {
  await client.close();
}

const steps = { create, connect, listen, send, stream, twin: getTwin, report, invoke, disconnect };

async function step({ id, step: name, ...values }) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name} took longer than ${LIMIT} s`)), LIMIT * 1000);
  });
  try {
    const result = await Promise.race([steps[name](values), limit]);
    print({ ...result, id, ok: true });
  } catch (error) {
    console.error(error);
    print({ id, ok: false, error: String(error) });
  } finally {
    clearTimeout(timer);
  }
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => step(JSON.parse(line)))
  .on('close', () => process.exit(0));
