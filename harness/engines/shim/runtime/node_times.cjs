// The stopwatch of Node targets: when each mutating file operation began and ended goes to a file, and nothing waits.
// Loaded by --require into the main thread and into each worker. The records are those of tornwrite_shim/times.py; the
// mark "a" is of an operation that the thread pool did: began when it was asked for, ended when the program was told.
'use strict';
const address = process.env.TORNWRITE_SHIM || '';
if (address.startsWith('times:')) {
  const now = process.hrtime.bigint;
  const came = now();
  const fs = require('fs');
  const path = require('path');
  const silent = process.emitWarning;
  process.emitWarning = () => {};
  const binding = process.binding('fs');
  let pipes;
  try { pipes = process.binding('pipe_wrap'); } catch { /* this Node has none */ }
  process.emitWarning = silent;
  const real = {};
  for (const name of Object.keys(binding)) if (typeof binding[name] === 'function') real[name] = binding[name];
  const pub = {};
  for (const name of ['openSync', 'writeSync', 'closeSync', 'existsSync']) pub[name] = fs[name];
  const { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC } = fs.constants;
  const WRITE_INTENT = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
  let bypass = true;
  const through = (work) => {
    const before = bypass;
    bypass = true;
    try { return work(); } finally { bypass = before; }
  };
  let file = -1;
  try { file = pub.openSync(address.slice(6), 'a', 0o600); } catch { /* who may not note its times runs on without */ }
  const NUL = Buffer.from([0]);
  let spent = 0n;
  // An interruption counts too: a process that has more to do is interrupted more often.
  const spend = (cost) => { spent += cost; };

  // Moments are told without what watching had cost by then.
  function record(marks, began, ended, fields, payload) {
    if (file < 0) return;
    const parts = [Buffer.alloc(4), Buffer.from(`${process.pid}\0${spent}\0${began}\0${ended}\0${marks}`)];
    for (const field of fields) parts.push(NUL, Buffer.isBuffer(field) ? field : Buffer.from(String(field)));
    if (payload) parts.push(NUL, payload);
    const whole = Buffer.concat(parts);
    whole.writeUInt32LE(whole.length - 4, 0);
    try { through(() => pub.writeSync(file, whole)); } catch { file = -1; /* the program has closed it */ }
  }
  const bytes = (name) => (typeof name === 'string' ? Buffer.from(name) : Buffer.from(name.buffer ? name : String(name)));
  const place = (name) => {
    const raw = bytes(name);
    return [raw[0] === 0x2f ? '' : process.cwd(), raw];
  };
  const isRequest = (arg) => typeof arg === 'symbol' || (typeof arg === 'object' && arg !== null && 'oncomplete' in arg);

  // Call `work`, and note it once it is done. `told(result)` is what must be known of the result.
  function timed(request, came, fields, payload, work, told) {
    const note = (marks, ended, more) => {
      for (const each of fields) record(marks, began, ended - spent, more ? [...each, ...more] : each, payload);
      spend(now() - ended);
    };
    spend(now() - came);
    const began = now() - spent;
    let result;
    try { result = work(); } catch (error) { note('f', now()); throw error; }
    if (request === undefined) {
      const ended = now();
      note('', ended, told && told(result));
      return result;
    }
    if (typeof request === 'symbol') {
      result.then((value) => note('a', now(), told && told(value)), () => note('af', now()));
      return result;
    }
    const { oncomplete } = request;
    request.oncomplete = function (error, value) {
      note(error ? 'af' : 'a', now(), !error && told && told(value));
      return oncomplete.apply(this, arguments);
    };
    return result;
  }
  // `make(args)` returns the fields of the records, or undefined to leave the call alone.
  function patch(name, make, told) {
    if (!real[name]) return;
    binding[name] = function (...args) {
      if (bypass) return real[name].apply(this, args);
      const came = now();
      const made = make(...args);
      if (made === undefined) return real[name].apply(this, args);
      const { fields, payload } = Array.isArray(made) ? { fields: [made] } : made;
      return timed(args.find(isRequest), came, fields, payload, () => real[name].apply(this, args), told);
    };
  }

  // -- files ------------------------------------------------------------------------------------------------------

  const opening = (name, flags) => (flags & WRITE_INTENT ? ['open', 'openat', ...place(name), flags] : undefined);
  patch('open', opening, (fd) => [fd]);
  patch('openFileHandle', opening, (handle) => [handle.fd]);
  patch('close', (fd) => ['close', fd]);
  if (binding.FileHandle) {
    const { close } = binding.FileHandle.prototype;
    binding.FileHandle.prototype.close = function (...args) {
      const came = now();
      return timed(Symbol('close'), came, [['close', this.fd]], undefined, () => close.apply(this, args));
    };
  }
  const view = (buffer) => Buffer.from(buffer.buffer || buffer, buffer.byteOffset || 0, buffer.byteLength);
  const writing = (fd, data) => (fd === 1 ? { fields: [['output', 'write']], payload: data() } : ['write', 'write', fd, -1]);
  patch('writeBuffer', (fd, buffer, offset, length) => writing(fd, () => view(buffer).subarray(offset || 0, length === undefined ? undefined : (offset || 0) + length)));
  patch('writeString', (fd, text, position, encoding) => writing(fd, () => Buffer.from(text, typeof encoding === 'string' ? encoding : 'utf8')));
  patch('writeBuffers', (fd, chunks) => writing(fd, () => Buffer.concat(chunks.map(view))));
  if (real.writeFileUtf8) {
    // One call of the binding is three of the system: they are made one by one, to see where each begins.
    binding.writeFileUtf8 = function (target, text, flag, mode) {
      if (bypass) return real.writeFileUtf8.call(this, target, text, flag, mode);
      const fd = typeof target === 'number' ? target : fs.openSync(target, flag, mode);
      try {
        const data = Buffer.from(text, 'utf8');
        for (let done = 0; done < data.length;) done += fs.writeSync(fd, data, done);
      } finally {
        if (typeof target !== 'number') fs.closeSync(fd);
      }
      return undefined;
    };
  }
  patch('ftruncate', (fd, size) => ['ftruncate', fd, size || 0]);

  // -- names and metadata -----------------------------------------------------------------------------------------

  patch('rename', (from, to) => ['rename', 'rename', ...place(from), ...place(to)]);
  patch('link', (from, to) => ['link', 'link', ...place(from), ...place(to), 0]);
  patch('symlink', (target, name) => ['symlink', 'symlink', ...place(name)]);
  patch('unlink', (name) => ['unlink', 'unlink', ...place(name)]);
  patch('rmdir', (name) => ['unlink', 'rmdir', ...place(name)]);
  patch('mkdir', (name, mode, recursive) => {
    if (recursive !== true) return ['mkdir', 'mkdir', ...place(name)];
    const missing = [];
    for (let each = path.resolve(String(name)); !through(() => pub.existsSync(each)); each = path.dirname(each)) missing.unshift(each);
    return { fields: missing.map((each) => ['mkdir', 'mkdir', ...place(each)]) };
  });
  patch('chmod', (name) => ['chmod', 'chmod', 'path', ...place(name)]);
  patch('fchmod', (fd) => ['chmod', 'fchmod', 'fd', fd, '']);
  patch('utimes', (name) => ['utime', 'utimensat', 'path', ...place(name)]);
  patch('futimes', (fd) => ['utime', 'utimensat', 'fd', fd, '']);

  // -- standard output that is a pipe --------------------------------------------------------------------------------

  const ENCODINGS = { writeUtf8String: 'utf8', writeLatin1String: 'latin1', writeAsciiString: 'latin1', writeUcs2String: 'utf16le' };
  if (pipes) {
    const prototype = pipes.Pipe.prototype;
    for (const name of [...Object.keys(ENCODINGS), 'writeBuffer']) {
      const method = prototype[name];
      if (typeof method !== 'function') continue;
      prototype[name] = function (request, data, ...rest) {
        if (bypass || this.fd !== 1) return method.call(this, request, data, ...rest);
        const came = now();
        const payload = name === 'writeBuffer' ? view(data) : Buffer.from(data, ENCODINGS[name]);
        return timed(undefined, came, [['output', 'write']], payload, () => method.call(this, request, data, ...rest));
      };
    }
  }
  record('', 0n, 0n, ['hello', process.env.TORNWRITE_SHIM_BIRTH || '']);
  delete process.env.TORNWRITE_SHIM_BIRTH;
  bypass = file < 0;
  spent = now() - came;
}
