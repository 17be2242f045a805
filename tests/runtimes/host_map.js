// Node over a map: host_map.js SCENARIO ADDON FOLDER. The add-on maps plainly, or with sigward.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const { Worker, isMainThread, workerData } = require('worker_threads');
const zlib = require('zlib');

const [scenario, path, folder] = isMainThread ? process.argv.slice(2) : workerData;
const addon = require(path);
const file = folder + '/map';
const LENGTH = 1 << 16;
// Inside a page: what is left of that page reads as zeros without any signal.
const CUT = 10_000;
const expected = (at) => (at % 251) + 1;
const content = Buffer.from(Array.from({ length: LENGTH }, (_, at) => expected(at)));
const left = Buffer.concat([content.subarray(0, CUT), Buffer.alloc(LENGTH - CUT)]);
const say = (...words) => fs.writeSync(1, words.join(' ') + '\n');

// Every byte once, as V8 compiles it.
const pass = (bytes, wanted) => {
  let right = 0;
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === wanted[i]) right += 1;
  }
  return right;
};
const hash = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

// Ways to read: V8's own code, Node's C++, OpenSSL, zlib on libuv's threads.
const readers = {
  loop: (bytes, wanted) => pass(bytes, wanted) === LENGTH,
  copy: (bytes, wanted) => Buffer.from(bytes).equals(wanted),
  view: (bytes, wanted) => {
    const last = LENGTH - 4;
    return new DataView(bytes.buffer).getUint32(last) === wanted.readUint32BE(last);
  },
  hash: (bytes, wanted) => hash(bytes) === hash(wanted),
  sum: (bytes, wanted) => addon.sum() === wanted.reduce((sum, byte) => sum + byte),
  zlib: (bytes, wanted) => new Promise((done, failed) => {
    zlib.deflate(bytes, (error, packed) => {
      if (error) failed(error);
      else done(zlib.inflateSync(packed).equals(wanted));
    });
  }),
};

async function read(reader) {
  fs.writeFileSync(file, content);
  addon.ward();
  addon.open(file);
  const bytes = () => new Uint8Array(addon.buffer());
  // As often as it takes V8 to compile it; the file is whole.
  for (let i = 0; i < 50; i++) pass(content, content);
  fs.truncateSync(file, CUT);
  say(await readers[reader](bytes(), left), addon.status());
  fs.writeFileSync(file, content);
  addon.refresh();
  say(await readers[reader](bytes(), content), addon.status());
}

if (isMainThread && scenario.startsWith('worker_')) {
  const workerData = [scenario.slice('worker_'.length), path, folder];
  const worker = new Worker(__filename, { workerData });
  worker.on('error', (error) => { throw error; });
} else {
  read(scenario);
}
