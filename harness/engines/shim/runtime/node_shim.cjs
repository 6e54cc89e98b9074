// The shim of Node targets (up to 24): every mutating file operation is reported to the engine, and waits for its answer.
// Loaded by --require into the main thread and into each worker. The frames are those of tornwrite_shim/channel.py.
// Asynchronous calls are done when they are made, one after the other, and their end is told to the program later:
// one of the orders in which the thread pool may do them.
'use strict';
if (process.env.TORNWRITE_SHIM) {
  const fs = require('fs');
  const os = require('os');
  const path = require('path');

  const silent = process.emitWarning;
  process.emitWarning = () => {};
  const binding = process.binding('fs');
  const bindings = {};
  for (const name of ['process_wrap', 'spawn_sync', 'pipe_wrap']) {
    try { bindings[name] = process.binding(name); } catch { /* this Node has none */ }
  }
  process.emitWarning = silent;

  const real = {};
  for (const name of Object.keys(binding)) if (typeof binding[name] === 'function') real[name] = binding[name];
  const pub = {};
  for (const name of Object.keys(fs)) if (name.endsWith('Sync')) pub[name] = fs[name];
  const later = setImmediate;
  const { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_EXCL, COPYFILE_EXCL } = fs.constants;
  const WRITE_INTENT = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;

  // -- the line to the engine -------------------------------------------------------------------------------------

  let bypass = false;
  const through = (work) => {
    const before = bypass;
    bypass = true;
    try { return work(); } finally { bypass = before; }
  };
  const pause = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

  function connect() {
    const base = process.env.TORNWRITE_SHIM;
    if (process.platform === 'win32') {
      const pipe = pub.openSync(base, 'r+');
      return [pipe, pipe];
    }
    let number = 0;
    for (;; number++) {
      try { pub.mkdirSync(`${base}/${number}.taken`); break; } catch (error) { if (error.code !== 'EEXIST') throw error; }
    }
    for (let patience = 20000; ; patience--) {
      try {
        const up = pub.openSync(`${base}/${number}.up`, O_WRONLY);
        return [up, pub.openSync(`${base}/${number}.down`, fs.constants.O_RDONLY)];
      } catch (error) {
        if (error.code !== 'ENOENT' || !patience) throw error;
        pause(0.5);
      }
    }
  }

  const [up, down] = through(connect);
  const NUL = Buffer.from([0]);
  const answerRoom = Buffer.alloc(64);

  function send(fields, payload) {
    const parts = [];
    for (const field of fields) {
      if (parts.length) parts.push(NUL);
      parts.push(Buffer.isBuffer(field) ? field : Buffer.from(String(field)));
    }
    const head = Buffer.concat(parts);
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32LE(head.length, 0);
    lengths.writeUInt32LE(payload ? payload.length : 0, 4);
    const whole = Buffer.concat(payload ? [lengths, head, payload] : [lengths, head]);
    for (let done = 0; done < whole.length;) done += pub.writeSync(up, whole, done, whole.length - done);
  }
  function answer() {
    const size = pub.readSync(down, answerRoom, 0, 64, null);
    if (!size) process.reallyExit(125); // the engine went away: nobody may go on unwatched
    return answerRoom.toString('latin1', 0, size);
  }
  const ask = (...fields) => through(() => { send(fields); return answer(); });
  const note = (...fields) => through(() => send(fields));

  const NAMES = Object.fromEntries(Object.entries(os.constants.errno).map(([name, number]) => [number, name]));
  function failure(number, syscall, where) {
    const code = NAMES[number] || `E${number}`;
    const error = new Error(`${code}: injected, ${syscall}${where ? ` '${where}'` : ''}`);
    Object.assign(error, { errno: -number, code, syscall }, where ? { path: String(where) } : {});
    return error;
  }

  // Do `work` when and as the engine says; `cut(n)` does n bytes of it, `facts(result)` is what the engine must know.
  function operate([kind, ...fields], work, { payload, cut, facts, where } = {}) {
    return through(() => {
      send([kind, 0, ...fields], payload);
      const said = answer();
      if (said[0] === 'i') return work();
      if (said[0] === 'e') throw failure(Number(said.slice(1)), String(fields[0]), where);
      while (said[0] === 'k') pause(3600e3);
      let result;
      try {
        result = said[0] === 'c' ? cut(Number(said.slice(1))) : work();
      } catch (error) {
        send(['fail', typeof error.errno === 'number' ? -error.errno : 5]);
        if (said[0] !== 'g') answer();
        throw error;
      }
      send(['done', ...(facts ? facts(result) : [])]);
      if (said[0] !== 'g') answer();
      return result;
    });
  }

  // -- descriptors and places -------------------------------------------------------------------------------------

  const kinds = new Map();
  const readers = new Set(); // descriptors opened for reading only
  const positions = new Map(); // Node cannot ask for the position of a file: reads and writes at it are counted
  const descriptor = (fd) => (typeof fd === 'object' && fd !== null ? fd.fd : fd);
  const bytes = (name) => (typeof name === 'string' ? Buffer.from(name) : Buffer.from(name.buffer ? name : String(name)));

  function kind(fd) {
    if (!kinds.has(fd)) kinds.set(fd, look(fd));
    return kinds.get(fd);
  }
  function look(fd) {
    let info;
    try { info = through(() => pub.fstatSync(fd, { bigint: true })); } catch { return 'i'; }
    const type = Number(info.mode) & 0o170000;
    const regular = type === 0o100000 || type === 0o040000;
    if (!regular && type !== 0o010000 && fd !== 1) return 'i';
    return ask('look', fd, info.dev, info.ino, info.mode, type === 0o100000 && !readers.has(fd) ? 1 : 0, 0)[0];
  }
  function place(name) {
    const raw = bytes(name);
    if (process.platform !== 'win32') return [raw[0] === 0x2f ? '' : process.cwd(), raw];
    const plain = String(raw).replace(/^\\\\\?\\/, '');
    return [path.isAbsolute(plain) ? '' : process.cwd(), plain];
  }
  function closing(fd) {
    if (kinds.get(fd) === 'w') note('close', 0, 'close', fd);
    kinds.delete(fd);
    positions.delete(fd);
    readers.delete(fd);
  }
  function openToRead(name, flags, mode) {
    const fd = through(() => pub.openSync(name, flags, mode));
    kinds.delete(fd);
    readers.add(fd);
    return fd;
  }
  function opened(fd) {
    positions.set(fd, 0);
    readers.delete(fd);
    const info = pub.fstatSync(fd, { bigint: true });
    kinds.set(fd, (Number(info.mode) & 0o170000) === 0o100000 ? 'w' : 'i');
    return [fd, info.dev, info.ino, info.mode, info.nlink, info.size];
  }

  // -- how a call of the binding ends: at once, by callback, by promise ---------------------------------------------

  const isRequest = (arg) => typeof arg === 'symbol' || (typeof arg === 'object' && arg !== null && 'oncomplete' in arg);
  function settle(request, work) {
    if (request === undefined) return work();
    let error = null;
    let result;
    try { result = work(); } catch (thrown) { error = thrown; }
    if (typeof request === 'symbol') {
      return new Promise((resolve, reject) => later(() => (error ? reject(error) : resolve(result))));
    }
    later(() => (error ? request.oncomplete(error) : request.oncomplete(null, result)));
    return undefined;
  }
  // `make(args)` returns what to do instead of the real call, or undefined to leave it alone.
  function patch(name, make) {
    if (!real[name]) return;
    binding[name] = function (...args) {
      const instead = bypass ? undefined : make(...args);
      if (instead === undefined) return real[name].apply(this, args);
      return settle(args.find(isRequest), instead);
    };
  }

  // -- open, write, size, sync -------------------------------------------------------------------------------------

  const openFile = (name, flags, mode) =>
    operate(['open', 'openat', ...place(name), flags], () => pub.openSync(name, flags, mode), { facts: opened, where: name });

  patch('open', (name, flags, mode) => {
    if (flags & WRITE_INTENT) return () => openFile(name, flags, mode);
    return () => openToRead(name, flags, mode);
  });
  patch('openFileHandle', (name, flags, mode) => {
    if (flags & WRITE_INTENT) return () => new binding.FileHandle(openFile(name, flags, mode));
    return () => new binding.FileHandle(openToRead(name, flags, mode));
  });
  patch('close', (fd) => { closing(fd); });
  if (binding.FileHandle) {
    for (const name of ['close', 'releaseFD']) {
      const method = binding.FileHandle.prototype[name];
      if (typeof method !== 'function') continue;
      binding.FileHandle.prototype[name] = function (...args) {
        if (name === 'close' && this.fd >= 0) closing(this.fd);
        return method.apply(this, args);
      };
    }
  }

  function writeBytes(fd, data, position, syscall, work) {
    const what = kind(fd);
    if (what === 'i') return undefined;
    const at = typeof position === 'number' && position >= 0 ? position : typeof position === 'bigint' && position >= 0n ? position : -1;
    const write = (size) => pub.writeSync(fd, data, 0, size, at === -1 ? null : at);
    if (what === 's') {
      return () => operate(['output', syscall], () => write(data.length), { payload: data, facts: (done) => [done] });
    }
    const landed = (done) => {
      if (at === -1) positions.set(fd, (positions.get(fd) || 0) + done);
      return [done, positions.get(fd) || 0, pub.fstatSync(fd).size];
    };
    return () => operate(['write', syscall, fd, at], work || (() => write(data.length)), { payload: data, cut: write, facts: landed });
  }
  const view = (buffer, offset, length) =>
    Buffer.from(buffer.buffer || buffer, (buffer.byteOffset || 0) + (offset || 0), length === undefined ? buffer.byteLength - (offset || 0) : length);

  patch('writeBuffer', (fd, buffer, offset, length, position) =>
    writeBytes(fd, view(buffer, offset, length), position, position >= 0 && position !== null ? 'pwrite64' : 'write'));
  patch('writeString', (fd, text, position, encoding) =>
    writeBytes(fd, Buffer.from(text, typeof encoding === 'string' ? encoding : 'utf8'), position, 'write'));
  patch('writeBuffers', (fd, chunks, position) => {
    const data = Buffer.concat(chunks.map((chunk) => view(chunk)));
    return writeBytes(fd, data, position, 'writev', () => pub.writevSync(fd, chunks, typeof position === 'number' ? position : null));
  });
  patch('writeFileUtf8', (file, text, flag, mode) => () => {
    const data = Buffer.from(text, 'utf8');
    const own = typeof file !== 'number';
    const fd = own ? openFile(file, flag, mode) : file;
    try {
      for (let done = 0; done < data.length;) {
        const rest = data.subarray(done);
        const write = writeBytes(fd, rest, -1, 'write') || (() => through(() => pub.writeSync(fd, rest)));
        done += write();
      }
    } finally {
      if (own) { closing(fd); through(() => pub.closeSync(fd)); }
    }
  });

  const watched = (fd) => kind(fd) === 'w';
  const here = (position) => typeof position !== 'bigint' ? !(position >= 0) || position === null : position < 0n;
  const readHere = (fd, read) => () => {
    const done = through(read);
    positions.set(fd, positions.get(fd) + done);
    return done;
  };
  patch('read', (fd, buffer, offset, length, position) => (positions.has(fd) && here(position)
    ? readHere(fd, () => pub.readSync(fd, buffer, offset, length, null)) : undefined));
  patch('readBuffers', (fd, buffers, position) => (positions.has(fd) && here(position)
    ? readHere(fd, () => pub.readvSync(fd, buffers, null)) : undefined));
  for (const name of ['fsync', 'fdatasync']) {
    patch(name, (fd) => (watched(fd) ? () => operate(['sync', name, fd], () => pub[`${name}Sync`](fd)) : undefined));
  }
  const setSize = (fd, size) => operate(['ftruncate', fd, size || 0], () => pub.ftruncateSync(fd, size));
  patch('ftruncate', (fd, size) => (watched(fd) ? () => setSize(fd, size) : undefined));

  // -- names ------------------------------------------------------------------------------------------------------

  patch('rename', (from, to) => () =>
    operate(['rename', 'rename', ...place(from), ...place(to)], () => pub.renameSync(from, to), { where: from }));
  patch('link', (from, to) => () =>
    operate(['link', 'link', ...place(from), ...place(to), 0], () => pub.linkSync(from, to), { where: from }));
  patch('symlink', (target, name, flags) => () =>
    operate(['symlink', 'symlink', ...place(name), bytes(target)],
      () => pub.symlinkSync(target, name, ['file', 'dir', 'junction'][flags || 0]), { where: target }));
  const removeFile = (name) =>
    operate(['unlink', 'unlink', ...place(name)], () => pub.unlinkSync(name), { where: name });
  const removeDirectory = (name) =>
    operate(['unlink', 'rmdir', ...place(name)], () => pub.rmdirSync(name), { where: name });
  patch('unlink', (name) => () => removeFile(name));
  patch('rmdir', (name) => () => removeDirectory(name));
  const makeDirectory = (name, mode) =>
    operate(['mkdir', 'mkdir', ...place(name)], () => pub.mkdirSync(name, { mode }), { where: name });
  function makeDirectories(name, mode) {
    const todo = [String(name)];
    let first;
    while (todo.length) {
      const next = todo.pop();
      try {
        makeDirectory(next, mode);
        first = first === undefined ? next : first;
      } catch (error) {
        const above = path.dirname(next);
        if (error.code === 'ENOENT' && above !== next) { todo.push(next, above); continue; }
        if (error.code !== 'EEXIST' || !through(() => pub.statSync(next)).isDirectory()) throw error;
      }
    }
    return first;
  }
  patch('mkdir', (name, mode, recursive) => () => (recursive === true ? makeDirectories(name, mode) : makeDirectory(name, mode)));
  patch('mkdtemp', (prefix) => () => {
    const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
    for (;;) {
      const random = Array.from(require('crypto').randomBytes(6), (byte) => letters[byte % letters.length]).join('');
      try { makeDirectory(`${prefix}${random}`, 0o700); return `${prefix}${random}`; } catch (error) { if (error.code !== 'EEXIST') throw error; }
    }
  });

  function copyFile(from, to, mode) {
    const source = through(() => pub.openSync(from, 'r'));
    try {
      const info = through(() => pub.fstatSync(source));
      const target = openFile(to, O_WRONLY | O_CREAT | (mode & COPYFILE_EXCL ? O_EXCL : 0), info.mode);
      try {
        const there = through(() => pub.fstatSync(target));
        if (there.ino === info.ino && there.dev === info.dev) return;
        setSize(target, 0);
        changeMode(['fd', target, ''], info.mode, () => pub.fchmodSync(target, info.mode & 0o7777), () => pub.fstatSync(target));
        const data = through(() => pub.readFileSync(source));
        for (let done = 0; done < data.length;) {
          const rest = data.subarray(done);
          const write = writeBytes(target, rest, -1, 'sendfile') || (() => through(() => pub.writeSync(target, rest)));
          done += write();
        }
      } finally {
        closing(target);
        through(() => pub.closeSync(target));
      }
    } finally {
      through(() => pub.closeSync(source));
    }
  }
  patch('copyFile', (from, to, mode) => () => copyFile(String(from), to, mode));
  patch('rmSync', (name, retries, recursive) => () => {
    const remove = (each) => {
      let info;
      try { info = through(() => pub.lstatSync(each)); } catch { return; }
      if (!info.isDirectory()) { removeFile(each); return; }
      if (!recursive) throw failure(os.constants.errno.EISDIR, 'rm', each);
      for (const entry of through(() => pub.readdirSync(each))) remove(path.join(each, entry));
      removeDirectory(each);
    };
    remove(String(name));
  });

  // -- metadata ---------------------------------------------------------------------------------------------------

  function changeMode(about, mode, work, status) {
    return operate(['chmod', 'chmod', ...about, mode & 0o7777], work, { facts: () => [status().mode] });
  }
  const modified = (status) => () => [status({ bigint: true }).mtimeNs];
  patch('chmod', (name, mode) => () =>
    changeMode(['path', ...place(name)], mode, () => pub.chmodSync(name, mode), () => pub.statSync(name)));
  patch('fchmod', (fd, mode) => (watched(fd)
    ? () => changeMode(['fd', fd, ''], mode, () => pub.fchmodSync(fd, mode), () => pub.fstatSync(fd)) : undefined));
  patch('utimes', (name, access, change) => () =>
    operate(['utime', 'utimensat', 'path', ...place(name), 0], () => pub.utimesSync(name, access, change),
      { facts: modified((how) => pub.statSync(name, how)), where: name }));
  patch('lutimes', (name, access, change) => () =>
    operate(['utime', 'utimensat', 'link', ...place(name), 0], () => pub.lutimesSync(name, access, change),
      { facts: modified((how) => pub.lstatSync(name, how)), where: name }));
  patch('futimes', (fd, access, change) => (watched(fd)
    ? () => operate(['utime', 'utimensat', 'fd', fd, '', 0], () => pub.futimesSync(fd, access, change),
      { facts: modified((how) => pub.fstatSync(fd, how)) }) : undefined));
  for (const [name, how] of [['chown', 'path'], ['lchown', 'link']]) {
    patch(name, (file, user, group) => () =>
      operate(['attribute', name, how, ...place(file), 'owner'], () => pub[`${name}Sync`](file, user, group), { where: file }));
  }
  patch('fchown', (fd, user, group) => (watched(fd)
    ? () => operate(['attribute', 'fchown', 'fd', fd, '', 'owner'], () => pub.fchownSync(fd, user, group)) : undefined));

  // -- standard output that is a pipe, and programs started --------------------------------------------------------

  const ENCODINGS = { writeUtf8String: 'utf8', writeLatin1String: 'latin1', writeAsciiString: 'latin1', writeUcs2String: 'utf16le' };
  if (bindings.pipe_wrap) {
    const prototype = bindings.pipe_wrap.Pipe.prototype;
    for (const name of [...Object.keys(ENCODINGS), 'writeBuffer', 'writev']) {
      const method = prototype[name];
      if (typeof method !== 'function') continue;
      prototype[name] = function (request, data, ...rest) {
        if (bypass || this.fd !== 1 || kind(1) !== 's') return method.call(this, request, data, ...rest);
        let payload;
        if (name === 'writev') {
          const chunks = rest[0] ? data : data.filter((_, n) => n % 2 === 0).map((chunk, n) => (Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk, data[2 * n + 1])));
          payload = Buffer.concat(chunks.map((chunk) => view(chunk)));
        } else {
          payload = name === 'writeBuffer' ? view(data) : Buffer.from(data, ENCODINGS[name]);
        }
        return operate(['output', 'write'], () => method.call(this, request, data, ...rest), { payload, facts: () => [payload.length] });
      };
    }
  }
  const OURS = ['TORNWRITE_SHIM', 'PYTHONPATH', 'NODE_OPTIONS'].filter((name) => process.env[name]).map((name) => [name, process.env[name]]);
  function introduced(options) {
    const birth = ask('born', 'exec', path.basename(String(options.file || '?'))).slice(1);
    const pairs = (options.envPairs || []).filter((pair) => !pair.startsWith('TORNWRITE_SHIM_BIRTH='));
    for (const [name, value] of OURS) if (!pairs.some((pair) => pair.startsWith(`${name}=`))) pairs.push(`${name}=${value}`);
    pairs.push(`TORNWRITE_SHIM_BIRTH=${birth}`);
    return Object.assign(options, { envPairs: pairs });
  }
  if (bindings.process_wrap) {
    const { prototype } = bindings.process_wrap.Process;
    const { spawn } = prototype;
    prototype.spawn = function (options, ...rest) { return spawn.call(this, introduced(options), ...rest); };
  }
  if (bindings.spawn_sync) {
    const { spawn } = bindings.spawn_sync;
    bindings.spawn_sync.spawn = (options, ...rest) => spawn.call(bindings.spawn_sync, introduced(options), ...rest);
  }

  const { isMainThread } = require('worker_threads');
  const birth = isMainThread ? process.env.TORNWRITE_SHIM_BIRTH || '' : '';
  if (isMainThread) delete process.env.TORNWRITE_SHIM_BIRTH;
  ask('hello', process.pid, birth, path.basename(process.argv[0] || 'node'), `node ${process.versions.node}`);
}
