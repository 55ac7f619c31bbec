// A device or module by the device SDK for Node.js, as it is published. It talks with the test as steps.py
// beside it says: steps on standard input, answers and events on standard output, JSON, one object a line.
'use strict';

const fs = require('fs');
const readline = require('readline');
const device = require('azure-iot-device');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');

const TRANSPORTS = { tcp: Mqtt, ws: MqttWs, amqp: Amqp, 'amqp-ws': AmqpWs };
const LIMIT = 60; // seconds that a step may take
const RETRY = 100; // milliseconds between tries of a message that the SDK gave back

let client;
let twin;
let wanted = false; // connected, that is

const print = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const event = (kind, values) => print({ event: kind, ...values });

const SYSTEM = ['messageId', 'correlationId', 'userId', 'contentType', 'contentEncoding'];

const pause = () => new Promise((resolve) => setTimeout(resolve, RETRY));

// From the edge environment, a connection string, or an X.509 certificate.
async function create({ kind, transport = 'tcp', connection_string, ca, x509 }) {
  const Transport = TRANSPORTS[transport];
  const Which = kind === 'module' ? device.ModuleClient : device.Client;
  const options = {};
  if (ca) {
    options.ca = fs.readFileSync(ca, 'utf8');
  }
  if (x509) {
    // With a certificate this SDK ignores GatewayHostName and connects to HostName.
    const ids = `DeviceId=${x509.device}` + (x509.module ? `;ModuleId=${x509.module}` : '');
    client = Which.fromConnectionString(
      `HostName=${x509.gateway};${ids};x509=true`, Transport);
    options.cert = fs.readFileSync(x509.certificate, 'utf8');
    options.key = fs.readFileSync(x509.key, 'utf8');
  } else if (connection_string) {
    client = Which.fromConnectionString(connection_string, Transport);
  } else {
    client = await Which.fromEnvironment(Transport);
  }
  if (Object.keys(options).length > 0) {
    await client.setOptions(options);
  }
  client.on('connect', () => event('connection', { connected: true }));
  // This SDK comes back by itself when the connection was closed. A reset connection (ECONNRESET) is no error
  // that it tries again after: it says so by this event and stays away until the program opens it again.
  client.on('disconnect', () => {
    event('connection', { connected: false });
    reopen();
  });
  client.on('error', (error) => event('background', { error: String(error) }));
}

async function reopen() {
  while (wanted) {
    try {
      await client.open();
      return;
    } catch (error) {
      event('background', { error: String(error) });
      await pause();
    }
  }
}

async function connect() {
  await client.open();
  wanted = true;
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
        await pause();
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

// A new token, and over MQTT with it a new connection, at once: the provider renews when it is told new values, which
// are its old ones here. (The option for them would replace those before it, and with them what is trusted.)
// Not while anything is on its way to this client: the SDK takes its listener off, and then disconnects; what
// comes in between mqtt.js acknowledges, and nobody gets it.
async function renew() {
  const provider = client._transport._authenticationProvider;
  const renewed = new Promise((resolve) => provider.once('newTokenAvailable', resolve));
  provider.setTokenRenewalValues(3600, 900);
  await renewed;
}

async function disconnect() {
  wanted = false;
  await client.close();
}

const steps = {
  create, connect, listen, send, stream, twin: getTwin, report, invoke, renew, disconnect,
};

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
