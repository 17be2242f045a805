// Node as a host: host.js SCENARIO ADDON. The add-on is bare, or has sigward in it.
'use strict';

const { spawnSync } = require('child_process');
const fs = require('fs');
const { Worker, isMainThread, workerData } = require('worker_threads');

const [scenario, path] = isMainThread ? process.argv.slice(2) : workerData;
// Loading it runs the library's constructor: what it finds depends on the moment.
const load = () => {
  const loaded = { exports: {} };
  process.dlopen(loaded, path);
  return loaded.exports;
};
const say = (...words) => fs.writeSync(1, words.join(' ') + '\n');
// What has come until then is heard: an immediate follows the loop's look at what is there, which a
// timer that is late does not.
const pause = () => new Promise((done) => setTimeout(() => setImmediate(done), 20));
const masks = (text) => text.split('\n').filter((line) => /^Sig(Blk|Ign)/.test(line)).join(' ');
const own = () => masks(fs.readFileSync('/proc/self/status', 'utf8'));

let heard = 0;
const listener = () => { heard += 1; };

const scenarios = {
  // As Node starts.
  async ignored() {
    say(own());
    const addon = load();
    say(addon.ward(), own());
    say(addon.write());
  },

  // In the place of Node's SIG_IGN: the rest is ignored as before, and children have the default.
  async replaced() {
    const addon = load();
    addon.replace();
    say(addon.write());
    say(addon.child());
    process.kill(process.pid, 'SIGPIPE');
    await pause();
    say(masks(spawnSync('cat', ['/proc/self/status'], { encoding: 'utf8' }).stdout));
  },

  // A listener takes SIGPIPE over and is told of every one, the echoes of foreign writes included.
  async listener_before() {
    process.on('SIGPIPE', listener);
    const addon = load();
    addon.ward();
    await hear(addon);
  },
  async listener_after() {
    const addon = load();
    addon.ward();
    process.on('SIGPIPE', listener);
    await hear(addon);
  },
  async listener_after_mended() {
    const addon = load();
    addon.ward();
    process.on('SIGPIPE', listener);
    addon.mend();
    await hear(addon);
  },

  // When the last listener goes, libuv leaves SIG_DFL.
  async removed() {
    process.on('SIGPIPE', listener);
    process.removeListener('SIGPIPE', listener);
    const addon = load();
    addon.ward();
    say(addon.write());
  },
  async removed_kill() {
    process.on('SIGPIPE', listener);
    process.removeListener('SIGPIPE', listener);
    const addon = load();
    addon.ward();
    process.kill(process.pid, 'SIGPIPE');
    await pause();
  },
  // We came while it was ignored.
  async removed_late() {
    const addon = load();
    addon.ward();
    process.on('SIGPIPE', listener);
    process.removeListener('SIGPIPE', listener);
    say(addon.write());
  },
  async removed_late_mended() {
    const addon = load();
    addon.ward();
    process.on('SIGPIPE', listener);
    process.removeListener('SIGPIPE', listener);
    addon.mend();
    say(addon.write(), addon.swallowed(), addon.overwritten());
  },
  // We came while the listener was there: its removal overwrites us.
  async removed_over_us() {
    process.on('SIGPIPE', listener);
    const addon = load();
    addon.ward();
    process.removeListener('SIGPIPE', listener);
    say(addon.write());
  },
  async removed_over_us_mended() {
    process.on('SIGPIPE', listener);
    const addon = load();
    addon.ward();
    process.removeListener('SIGPIPE', listener);
    addon.mend();
    say(addon.write(), addon.swallowed(), addon.overwritten());
    // And a new listener still hears.
    process.on('SIGPIPE', listener);
    await hear(addon);
  },

  // An add-on in a worker thread.
  async worker() {
    process.on('SIGPIPE', listener);
    process.removeListener('SIGPIPE', listener);
    await new Promise((done, failed) => {
      const worker = new Worker(__filename, { workerData: ['in_worker', path] });
      worker.on('exit', done).on('error', failed);
    });
  },
  async in_worker() {
    const addon = load();
    addon.ward();
    say(addon.write());
  },

  async children() {
    const child = () => masks(spawnSync('cat', ['/proc/self/status'], { encoding: 'utf8' }).stdout);
    const addon = load();
    addon.ward();
    say('ignored', child());
    process.on('SIGPIPE', listener);
    addon.mend();
    say('listener', child());
    process.removeListener('SIGPIPE', listener);
    addon.mend();
    say('default', child(), own());
  },
};

async function hear(addon) {
  for (let i = 0; i < 5; i++) {
    say(addon.write());
    await pause();
    process.kill(process.pid, 'SIGPIPE');
    await pause();
  }
  say('heard', heard);
}

scenarios[scenario]();
