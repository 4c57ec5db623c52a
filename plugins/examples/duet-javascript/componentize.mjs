// node componentize.mjs SOURCE WORLD OUT: makes a component of a module.
import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [sourcePath, worldName, out] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath,
  witPath: 'wit',
  worldName,
  // What is on here would become imports of WASI, which no router has.
  disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'],
});
await writeFile(out, component);
