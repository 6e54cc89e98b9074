// Ways in which Node writes files through its own library: node shim_node_idioms.cjs NAME DIRECTORY
// One thing after another, so that two engines see the same order. Names that end in _blind are blind spots on purpose.
'use strict';
const fs = require('fs');
const fsp = require('fs/promises');
const path = require('path');
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');
const { promisify } = require('util');
const { Worker, isMainThread, workerData } = require('worker_threads');

const idioms = {
  write_file_sync() { fs.writeFileSync('doc', 'text'); fs.writeFileSync('doc', Buffer.from('bytes')); },
  write_file_large_sync() { fs.writeFileSync('big', 'x'.repeat(200_000), { mode: 0o600 }); },
  write_file_encodings() {
    fs.writeFileSync('latin', 'café', 'latin1');
    fs.writeFileSync('hex', '616263', 'hex');
    fs.writeFileSync('utf8', 'schön €');
  },
  write_file_exclusive() {
    fs.writeFileSync('new', 'x', { flag: 'wx' });
    try { fs.writeFileSync('new', 'y', { flag: 'wx' }); } catch { /* it is there */ }
  },
  append_file_sync() { for (let n = 0; n < 4; n++) fs.appendFileSync('log', `${n}\n`); },
  descriptor_strings() {
    const fd = fs.openSync('doc', 'w');
    fs.writeSync(fd, 'one');
    fs.writeSync(fd, 'TWO', 10);
    fs.writeSync(fd, 'three');
    fs.closeSync(fd);
  },
  descriptor_buffers() {
    const fd = fs.openSync('doc', 'w+');
    fs.writeSync(fd, Buffer.from('abcdef'), 1, 3);
    fs.writeSync(fd, new Uint8Array([65, 66, 67]));
    fs.writeSync(fd, Buffer.from('Z'), 0, 1, 0);
    fs.closeSync(fd);
  },
  vectors_sync() {
    const fd = fs.openSync('doc', 'w');
    fs.writevSync(fd, [Buffer.from('one'), Buffer.from('two')]);
    fs.writevSync(fd, [Buffer.from('at'), Buffer.from('ten')], 10);
    fs.closeSync(fd);
  },
  read_then_write() {
    fs.writeFileSync('doc', '0123456789');
    const fd = fs.openSync('doc', 'r+');
    fs.readSync(fd, Buffer.alloc(4), 0, 4, null);
    fs.writeSync(fd, 'XY');
    fs.closeSync(fd);
  },
  append_descriptor() {
    const fd = fs.openSync('log', 'a');
    fs.writeSync(fd, 'one\n');
    fs.appendFileSync(fd, 'two\n');
    fs.closeSync(fd);
  },
  sync_kinds() {
    const fd = fs.openSync('doc', 'w');
    fs.writeSync(fd, 'x');
    fs.fsyncSync(fd);
    fs.fdatasyncSync(fd);
    fs.closeSync(fd);
  },
  replace_durably() {
    const fd = fs.openSync('doc.tmp', 'w');
    fs.writeSync(fd, JSON.stringify({ rows: Array.from({ length: 300 }, (_, n) => n) }));
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    fs.renameSync('doc.tmp', 'doc');
    const directory = fs.openSync('.', 'r');
    fs.fsyncSync(directory);
    fs.closeSync(directory);
  },
  sizes() {
    fs.writeFileSync('doc', 'x'.repeat(5000));
    fs.truncateSync('doc', 100);
    fs.truncateSync('doc');
    const fd = fs.openSync('doc', 'r+');
    fs.ftruncateSync(fd, 50);
    fs.closeSync(fd);
  },
  links() {
    fs.writeFileSync('one', '1');
    fs.linkSync('one', 'two');
    fs.symlinkSync('one', 'three');
    fs.appendFileSync('two', 'by its second name');
    fs.appendFileSync('three', 'by a link');
    fs.unlinkSync('three');
  },
  directories() {
    fs.mkdirSync('a', 0o700);
    fs.mkdirSync('a/b/c/d', { recursive: true });
    fs.mkdirSync('a/b', { recursive: true });
    fs.rmdirSync('a/b/c/d');
    try { fs.mkdirSync('a'); } catch { /* it is there */ }
    try { fs.rmdirSync('absent'); } catch { /* it is not */ }
  },
  temporary_directory() {
    const made = fs.mkdtempSync('tmp-');
    fs.writeFileSync(path.join(made, 'x'), 'x');
    fs.rmSync(made, { recursive: true });
  },
  copy_file_sync() {
    fs.writeFileSync('source', 'c'.repeat(70_000));
    fs.copyFileSync('source', 'one');
    fs.copyFileSync('source', 'one');
    try { fs.copyFileSync('source', 'one', fs.constants.COPYFILE_EXCL); } catch { /* it is there */ }
  },
  copied_trees() {
    fs.mkdirSync('tree/deep', { recursive: true });
    fs.writeFileSync('tree/deep/leaf', 'leaf');
    fs.cpSync('tree', 'copy', { recursive: true });
    fs.rmSync('tree', { recursive: true });
  },
  times_and_modes() {
    fs.writeFileSync('doc', 't');
    fs.utimesSync('doc', 1, 1234567);
    const fd = fs.openSync('doc', 'r+');
    fs.futimesSync(fd, 5, 6);
    fs.fchmodSync(fd, 0o640);
    fs.closeSync(fd);
    fs.chmodSync('doc', 0o600);
    fs.chownSync('doc', process.getuid(), process.getgid());
  },
  failures() {
    fs.mkdirSync('dir');
    for (const attempt of [
      () => fs.openSync('absent/file', 'w'), () => fs.renameSync('absent', 'there'), () => fs.unlinkSync('absent'),
      () => fs.symlinkSync('x', 'dir'), () => fs.openSync('absent', 'r+'),
    ]) { try { attempt(); } catch { /* as it should */ } }
    fs.writeFileSync('doc', 'x');
  },
  unlinked_then_written() {
    const fd = fs.openSync('gone', 'w');
    fs.unlinkSync('gone');
    fs.writeSync(fd, 'without a name');
    fs.closeSync(fd);
  },
  callbacks(done) {
    fs.writeFile('doc.tmp', 'c'.repeat(5000), () =>
      fs.rename('doc.tmp', 'doc', () =>
        fs.appendFile('doc', 'more', () =>
          fs.mkdir('dir', () => fs.copyFile('doc', 'dir/copy', () => fs.unlink('doc', done))))));
  },
  callback_descriptors(done) {
    fs.open('doc', 'w', (_, fd) =>
      fs.write(fd, 'text', () =>
        fs.writev(fd, [Buffer.from('a'), Buffer.from('b')], () =>
          fs.ftruncate(fd, 3, () => fs.fsync(fd, () => fs.fdatasync(fd, () => fs.close(fd, done)))))));
  },
  async promisified() {
    await promisify(fs.writeFile)('doc', 'p');
    await promisify(fs.rename)('doc', 'renamed');
    await promisify(fs.symlink)('renamed', 'link');
    await promisify(fs.mkdtemp)('tmp-');
  },
  async promise_files() {
    await fsp.writeFile('doc', 'p'.repeat(5000));
    await fsp.appendFile('doc', 'more');
    await fsp.rename('doc', 'renamed');
    await fsp.copyFile('renamed', 'copy');
    await fsp.truncate('copy', 10);
    await fsp.unlink('renamed');
    await fsp.rm('copy');
  },
  async promise_names() {
    await fsp.mkdir('a/b', { recursive: true });
    await fsp.writeFile('a/b/c', 'x');
    await fsp.link('a/b/c', 'twin');
    await fsp.symlink('a', 'door');
    await fsp.chmod('twin', 0o600);
    await fsp.utimes('twin', 1, 2);
    await fsp.rm('a', { recursive: true });
    await fsp.mkdtemp('tmp-');
  },
  async file_handle() {
    const handle = await fsp.open('doc', 'w+');
    await handle.write('first');
    await handle.write(Buffer.from('second'), 0, 3, 20);
    await handle.writev([Buffer.from('a'), Buffer.from('b')]);
    await handle.appendFile('appended');
    await handle.truncate(12);
    await handle.datasync();
    await handle.sync();
    await handle.chmod(0o600);
    await handle.utimes(5, 6);
    await handle.close();
  },
  async file_handle_write_file() {
    const handle = await fsp.open('doc', 'w');
    await handle.writeFile('x'.repeat(9000));
    await handle.close();
  },
  async write_stream() {
    const out = fs.createWriteStream('stream');
    for (let n = 0; n < 5; n++) await new Promise((resolve) => out.write(`${n}`.repeat(1000), resolve));
    await new Promise((resolve) => out.end(resolve));
  },
  async corked_stream() {
    const out = fs.createWriteStream('corked', { flags: 'a' });
    await new Promise((resolve) => out.once('open', resolve));
    out.cork();
    for (let n = 0; n < 20; n++) out.write(`${n}\n`);
    out.uncork();
    await new Promise((resolve) => out.end(resolve));
  },
  async pipelines() {
    await pipeline(Readable.from(['x'.repeat(70000), 'y']), fs.createWriteStream('stream'));
    await pipeline(fs.createReadStream('stream'), fs.createWriteStream('copy'));
  },
  async stream_in_place() {
    fs.writeFileSync('doc', '0123456789');
    const out = fs.createWriteStream('doc', { flags: 'r+', start: 4 });
    await new Promise((resolve) => out.end('XY', resolve));
  },
  acknowledged() {
    for (let n = 0; n < 3; n++) { fs.appendFileSync('log', `${n}\n`); fs.writeSync(1, `ACK ${n}\n`); }
    console.log('ACK 3');
    process.stdout.write('ACK 4\n');
  },
  async worker_thread() {
    fs.writeFileSync('main', 'm');
    await new Promise((resolve) => {
      new Worker(__filename, { workerData: { directory: process.cwd() } }).on('exit', resolve);
    });
    fs.appendFileSync('main', 'after');
  },
  node_child() {
    const { execFileSync, spawnSync } = require('child_process');
    execFileSync(process.execPath, ['-e', "require('fs').writeFileSync('child', 'c')"], { env: {} });
    spawnSync(process.execPath, ['-e', "require('fs').appendFileSync('child', 'd')"]);
  },
  shell_blind() { require('child_process').execFileSync('/bin/sh', ['-c', 'echo hidden > hidden']); },
};

if (isMainThread) {
  const [name, directory] = process.argv.slice(2);
  process.chdir(directory);
  Promise.resolve(idioms[name](() => {})).catch((error) => { console.error(error); process.exit(1); });
} else {
  for (let n = 0; n < 3; n++) fs.appendFileSync(path.join(workerData.directory, 'shared'), `${n}`.repeat(50));
}
