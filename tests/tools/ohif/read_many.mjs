// Runs a reader that is written for one segmentation, `node READER FOLDER SEG --voxels`, on many of them in one process.
//
//   OUTPUT=FILE node --preserve-symlinks --preserve-symlinks-main read_many.mjs READER < [[FOLDER, SEG], ...]
//
// Writes the reader's line for each pair, in order, into a file: what a process prints just before it ends may be lost. The reader prints one line and ends the process: here it only believes so.
// It is loaded anew for each pair; what it imports is loaded once, which is where nearly all of its time goes.
import fs from 'fs';
import { pathToFileURL } from 'url';

const reader = pathToFileURL(process.argv[2]).href;
const pairs = JSON.parse(fs.readFileSync(0, 'utf8'));
const exit = process.exit.bind(process);
const print = console.log.bind(console);
process.exit = () => {};
const lines = [];
for (const [number, [folder, seg]] of pairs.entries()) {
  process.argv = [process.argv[0], process.argv[1], folder, seg, '--voxels'];
  console.log = (line) => lines.push(line);
  await import(`${reader}?${number}`);
  console.log = print;
}
fs.writeFileSync(process.env.OUTPUT, lines.join('\n'));
exit(lines.length === pairs.length ? 0 : 1);
