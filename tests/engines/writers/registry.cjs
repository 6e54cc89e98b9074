// A registry writer: one file per session, rewritten in place, links and truncations.
'use strict';
const fs = require('fs');
const directory = process.argv[2];
for (let session = 0; session < 3; session++) {
  fs.mkdirSync(`${directory}/s${session}`);
  for (let step = 0; step < 3; step++) {
    fs.writeFileSync(`${directory}/s${session}/state.json`, JSON.stringify({ session, step, pad: 'p'.repeat(5000 * step) }));
    fs.appendFileSync(`${directory}/journal`, `${session} ${step}\n`);
  }
  fs.linkSync(`${directory}/s${session}/state.json`, `${directory}/latest${session}`);
  fs.truncateSync(`${directory}/journal`, 4);
  fs.writeSync(1, `ACK ${session}\n`);
}
fs.unlinkSync(`${directory}/latest0`);
