// Encodes a raw grey image as HTJ2K by OpenJPH: node encode_htj2k.mjs IN OUT ROWS COLUMNS BITS SIGNED QUALITY PROGRESSION
// QUALITY: 0 is lossless, else the quantisation step. PROGRESSION: the order of the code stream (ISO/IEC 15444-1 table A.16), 2 is RPCL.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const [input, output, ...numbers] = process.argv.slice(2);
const [rows, columns, bits, signed, quality, progression] = numbers.map(Number);
const codec = await require("@cornerstonejs/codec-openjph")();
const encoder = new codec.HTJ2KEncoder();
const raw = readFileSync(input);
encoder
  .getDecodedBuffer({ width: columns, height: rows, bitsPerSample: bits, componentCount: 1, isSigned: signed === 1, isUsingColorTransform: false })
  .set(raw);
encoder.setQuality(quality === 0, quality);
encoder.setProgressionOrder(progression);
encoder.encode();
writeFileSync(output, encoder.getEncodedBuffer());
