// A writer on promises: libuv's threads make the calls.
'use strict';
const fs = require('fs').promises;
const directory = process.argv[2];
(async () => {
  for (let step = 0; step < 6; step++) {
    await fs.writeFile(`${directory}/doc.tmp`, `${step}`.repeat(6000));
    await fs.rename(`${directory}/doc.tmp`, `${directory}/doc`);
    const handle = await fs.open(`${directory}/log`, 'a');
    await handle.writev([Buffer.from(`step ${step} `), Buffer.from('x'.repeat(3000)), Buffer.from('\n')]);
    await handle.sync();
    await handle.close();
  }
})();
