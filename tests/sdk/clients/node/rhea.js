// A module by rhea, an AMQP library that knows nothing of hubs: what the SDKs do not do. It talks with the test as
// steps.py beside it says. Its module is "subject" of World (world.rs): every output leads to its own input.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const readline = require('readline');
const rhea = require('rhea');

const LIMIT = 60; // seconds that a step may take

const print = (line) => process.stdout.write(JSON.stringify(line) + '\n');

// The next event of these names, with the first one's name.
const next = (emitter, ...names) => new Promise((resolve) => {
  const listeners = names.map((name) => (context) => {
    names.forEach((other, at) => emitter.removeListener(other, listeners[at]));
    resolve({ name, context });
  });
  names.forEach((name, at) => emitter.once(name, listeners[at]));
});

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What a connection string holds.
const parts = (text) => Object.fromEntries(text.split(';').map((part) => {
  const at = part.indexOf('=');
  return [part.slice(0, at), part.slice(at + 1)];
}));

class Module {
  constructor({ connection_string, ca }) {
    const { HostName, GatewayHostName, DeviceId, ModuleId, SharedAccessKey } = parts(connection_string);
    Object.assign(this, { GatewayHostName, DeviceId, ModuleId });
    this.ca = fs.readFileSync(ca);
    const audience = encodeURIComponent(`${HostName}/devices/${DeviceId}/modules/${ModuleId}`);
    const expiry = Math.ceil(Date.now() / 1000) + 3600;
    const signature = crypto.createHmac('sha256', Buffer.from(SharedAccessKey, 'base64'))
      .update(`${audience}\n${expiry}`).digest('base64');
    this.token = `SharedAccessSignature sr=${audience}&sig=${encodeURIComponent(signature)}&se=${expiry}`;
    this.events = `/devices/${DeviceId}/modules/${ModuleId}/messages/events`;
  }

  // An open connection, or the condition with which it was refused.
  async connect(more = {}) {
    const container = rhea.create_container();
    const connection = container.connect({
      transport: 'tls', host: this.GatewayHostName, port: 5671, ca: this.ca, reconnect: false,
      container_id: crypto.randomUUID(), ...more,
    });
    connection.on('error', () => {});
    const came = await next(connection, 'connection_open', 'connection_error', 'disconnected', 'connection_close');
    if (came.name === 'connection_open') {
      return connection;
    }
    const error = (connection.get_error && connection.get_error()) || connection.error || came.context.error || {};
    throw new Error(error.condition || error.name || String(error));
  }

  // The same with a token put; the status of the answer is in `status`.
  async join(token = this.token) {
    const connection = await this.connect({ username: 'anonymous' });
    const receiver = connection.open_receiver({ source: '$cbs' });
    const sender = connection.open_sender({ target: '$cbs' });
    await next(sender, 'sendable');
    sender.send({
      message_id: 'one', to: '$cbs', reply_to: 'cbs', body: token,
      application_properties: {
        operation: 'put-token', type: 'servicebus.windows.net:sastoken', name: 'hub',
      },
    });
    const { context } = await next(receiver, 'message');
    connection.status = context.message.application_properties['status-code'];
    return connection;
  }

  sender(connection) {
    return connection.open_sender({ target: this.events });
  }

  receiver(connection, credit, options = {}) {
    const receiver = connection.open_receiver({
      source: this.events, credit_window: 0, autoaccept: false, ...options,
    });
    if (credit) {
      receiver.add_credit(credit);
    }
    return receiver;
  }
}

const message = (body) => ({
  body: rhea.message.data_section(Buffer.from(body)),
  application_properties: { 'iothub-outputname': 'output1' },
});

const text = (context) => {
  const body = context.message.body;
  return Buffer.from(body.content === undefined ? body : body.content).toString();
};

// Sends messages, each when there is credit; resolves with their outcomes.
async function sendAll(sender, bodies) {
  const outcomes = [];
  const done = new Promise((resolve) => {
    for (const name of ['accepted', 'rejected', 'released', 'modified']) {
      sender.on(name, (context) => {
        outcomes.push({ name, error: context.delivery.remote_state.error });
        if (outcomes.length === bodies.length) {
          resolve(outcomes);
        }
      });
    }
  });
  for (const body of bodies) {
    while (!sender.sendable()) {
      await next(sender, 'sendable');
    }
    sender.send(message(body));
  }
  return done;
}

async function open(with_) {
  const module = new Module(with_);
  const how = async (options) => {
    try {
      (await module.connect(options)).close();
      return 'opened';
    } catch (error) {
      return error.message;
    }
  };
  const username = `${module.DeviceId}/${module.ModuleId}@sas.hub`;
  const answer = {
    plain: await how({ username, password: module.token }),
    anonymous: await how({ username: 'anonymous' }),
    bare: await how({}),
    'bad password': await how({ username, password: 'wrong' }),
  };
  answer['bad token'] = (await module.join(module.token.replace(/se=\d/, 'se=2'))).status;
  const connection = await module.join();
  const refused = async (target) => {
    const sender = connection.open_sender({ target });
    await next(sender, 'sender_error', 'sender_close');
    return sender.error && sender.error.condition;
  };
  answer['foreign link'] = await refused('/devices/somebody/messages/events');
  answer['no address'] = await refused('/devices');
  connection.close();
  return answer;
}

async function large(with_) {
  const module = new Module(with_);
  const connection = await module.join();
  const sender = module.sender(connection);
  const bodies = Array.from({ length: 40 }, (_, at) => String(at).padEnd(200000, '.'));
  const outcomes = await sendAll(sender, bodies);
  const accepted = outcomes.filter(({ name }) => name === 'accepted').length;
  const tooLarge = await sendAll(module.sender(connection), ['x'.repeat(300000)]);
  const receiver = module.receiver(connection, 3);
  let [received, held, most] = [0, 0, 0];
  await new Promise((resolve, reject) => receiver.on('message', async (context) => {
    if (text(context) !== bodies[received]) {
      reject(new Error(`not the message at ${received}`));
    }
    received += 1;
    held += 1;
    most = Math.max(most, held);
    // Long enough for another one, were it allowed.
    await pause(20);
    held -= 1;
    context.delivery.accept();
    receiver.add_credit(1);
    if (received === bodies.length) {
      resolve();
    }
  }));
  connection.close();
  return { accepted, 'too large': tooLarge[0].error.condition, received, 'most with it': most };
}

async function settle(with_) {
  const module = new Module(with_);
  let connection = await module.join();
  await sendAll(module.sender(connection), ['0', '1']);
  // More credit than there are messages, taken back.
  const receiver = module.receiver(connection, 10);
  const drained = [];
  await new Promise((resolve) => receiver.on('message', (context) => {
    drained.push(text(context));
    context.delivery.accept();
    if (drained.length === 2) {
      resolve();
    }
  }));
  receiver.drain_credit();
  await next(receiver, 'receiver_drained');
  await sendAll(module.sender(connection), ['late']);
  await pause(200);
  const late = drained.length - 2;
  receiver.drain = false;
  receiver.add_credit(1);
  while (drained.length < 3) {
    await pause(10);
  }
  receiver.close();
  await next(receiver, 'receiver_close');
  const sending = sendAll(module.sender(connection), ['2', '3', '4', '5', '6', '7']);
  // The first of them is given back once, the second is rejected.
  const order = [];
  const second = module.receiver(connection, 1);
  let released = false;
  await new Promise((resolve) => second.on('message', (context) => {
    const body = text(context);
    order.push(body);
    if (body === '2' && !released) {
      released = true;
      // The next one is with us already when this one comes back.
      second.add_credit(1);
      pause(200).then(() => {
        context.delivery.release();
        second.add_credit(1);
      });
      return;
    }
    if (body === '3') {
      context.delivery.reject({ condition: 'test:no', description: 'not this one' });
      return;
    }
    context.delivery.accept();
    if (body === '4') {
      resolve();
    } else {
      second.add_credit(1);
    }
  }));
  await sending;
  second.close();
  await next(second, 'receiver_close');
  // Taken by a link that ends before it settles, and by a connection that does.
  const take = async (count) => {
    const taking = module.receiver(connection, count);
    const bodies = [];
    await new Promise((resolve) => taking.on('message', (context) => {
      bodies.push(text(context));
      if (bodies.length === count) {
        resolve();
      }
    }));
    return { taking, bodies };
  };
  const { taking, bodies } = await take(2);
  taking.close();
  await next(taking, 'receiver_close');
  connection.close();
  await next(connection, 'connection_close');
  connection = await module.join();
  const again = await take(3);
  connection.close();
  return { drained, 'without credit': late, order, 'after detach': bodies, 'after reconnect': again.bodies };
}

const steps = { open, large, settle };

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
