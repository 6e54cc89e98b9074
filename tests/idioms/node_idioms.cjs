// Ways in which a Node program changes files: node node_idioms.cjs NAME DIRECTORY
'use strict';
const fs = require('fs');
const path = require('path');
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');
const { Worker, isMainThread, workerData } = require('worker_threads');

const idioms = {
  sync() {
    fs.writeFileSync('doc', 'one');
    fs.appendFileSync('log', 'a\n');
    fs.appendFileSync('log', 'b\n');
    fs.writeFileSync('doc.tmp', 'two'.repeat(3000), { mode: 0o600 });
    fs.renameSync('doc.tmp', 'doc');
    fs.mkdirSync('a/b/c', { recursive: true });
    fs.copyFileSync('doc', 'a/b/c/copy');
    fs.linkSync('doc', 'twin');
    fs.symlinkSync('doc', 'link');
    fs.truncateSync('doc', 10);
    fs.chmodSync('doc', 0o640);
    fs.utimesSync('doc', 1, 1234567);
    fs.unlinkSync('log');
  },
  descriptors() {
    const fd = fs.openSync('doc', 'w+');
    fs.writeSync(fd, 'hello');
    fs.writeSync(fd, Buffer.from('J'), 0, 1, 0);
    fs.writevSync(fd, [Buffer.from('one'), Buffer.from('two')]);
    fs.ftruncateSync(fd, 6);
    fs.fsyncSync(fd);
    fs.fdatasyncSync(fd);
    fs.fchmodSync(fd, 0o600);
    fs.closeSync(fd);
  },
  callback() {
    fs.writeFile('doc.tmp', 'c'.repeat(5000), () =>
      fs.rename('doc.tmp', 'doc', () =>
        fs.appendFile('doc', 'more', () =>
          fs.mkdir('dir', () => fs.copyFile('doc', 'dir/copy', () => fs.unlink('doc', () => {}))))));
  },
  async promises() {
    await fs.promises.writeFile('doc', 'p'.repeat(5000));
    await fs.promises.appendFile('doc', 'more');
    const handle = await fs.promises.open('handle', 'w');
    await handle.write('first');
    await handle.writev([Buffer.from('a'), Buffer.from('b')]);
    await handle.datasync();
    await handle.utimes(5, 6);
    await handle.close();
    await fs.promises.rename('doc', 'renamed');
    await fs.promises.rm('handle');
  },
  async promise_all() {
    await Promise.all(Array.from({ length: 8 }, async (_, n) => {
      for (let i = 0; i < 5; i++) {
        await fs.promises.appendFile(`shared${n % 3}`, `${n}`.repeat(100));
        await fs.promises.writeFile(`own${n}.tmp`, `${i}`);
        await fs.promises.rename(`own${n}.tmp`, `own${n}`);
      }
    }));
  },
  async streams() {
    await pipeline(Readable.from(['x'.repeat(70000), 'y', 'z'.repeat(100000)]), fs.createWriteStream('stream'));
    await pipeline(fs.createReadStream('stream'), fs.createWriteStream('copy', { flags: 'a' }));
    const out = fs.createWriteStream('corked');
    out.cork();
    for (let i = 0; i < 20; i++) out.write(`${i}\n`);
    out.uncork();
    await new Promise((resolve) => out.end(resolve));
  },
  trees() {
    fs.mkdirSync('tree/deep', { recursive: true });
    fs.writeFileSync('tree/deep/leaf', 'leaf');
    fs.symlinkSync('leaf', 'tree/deep/link');
    fs.cpSync('tree', 'copy', { recursive: true });
    fs.rmSync('tree', { recursive: true });
    const temporary = fs.mkdtempSync(path.join(process.cwd(), 'tmp-'));
    fs.writeFileSync(path.join(temporary, 'x'), 'x');
  },
  async workers() {
    await Promise.all([0, 1, 2].map((n) => new Promise((resolve, reject) => {
      const worker = new Worker(__filename, { workerData: { n, directory: process.cwd() } });
      worker.on('exit', resolve);
      worker.on('error', reject);
    })));
  },
  children() {
    const { execFileSync } = require('child_process');
    const out = fs.openSync('out', 'w');
    execFileSync('/bin/sh', ['-c', 'echo from a child; echo to a file > file'], { stdio: ['ignore', out, 'inherit'] });
    fs.closeSync(out);
  },
  exit_in_flight() {
    for (let n = 0; n < 20; n++) fs.writeFile(`f${n}`, 'w'.repeat(9000), () => {});
    setTimeout(() => process.exit(0), 2);
  },
};

if (isMainThread) {
  const [name, directory] = process.argv.slice(2);
  process.chdir(directory);
  Promise.resolve(idioms[name]()).catch((error) => { console.error(error); process.exit(1); });
} else {
  for (let i = 0; i < 10; i++) {
    fs.appendFileSync(path.join(workerData.directory, 'shared'), `${workerData.n}`.repeat(50));
    fs.writeFileSync(path.join(workerData.directory, `own${workerData.n}`), `${i}`);
  }
}
