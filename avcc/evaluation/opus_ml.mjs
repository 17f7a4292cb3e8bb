// node opus_ml.mjs FOLDER HOW SOURCE TARGET
// Opus packets (each after its length, 16 bits, little-endian) -> float32 mono at 16 kHz, decoded by
// libopus with its network of that name (none, lace, nolace). FOLDER has the node_modules.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, how, source, target] = process.argv.slice(2);
const place = createRequire(`${folder}/`).resolve("@wasm-audio-decoders/opus-ml");
const { OpusMLDecoder } = await import(pathToFileURL(place));
const data = readFileSync(source);
const packets = [];
for (let at = 0; at < data.length; ) {
  const size = data.readUInt16LE(at);
  packets.push(new Uint8Array(data.subarray(at + 2, at + 2 + size)));
  at += 2 + size;
}
const decoder = new OpusMLDecoder({
  speechQualityEnhancement: how,
  sampleRate: 16000,
  channels: 1,
  streamCount: 1,
  coupledStreamCount: 0,
  channelMappingTable: [0],
});
await decoder.ready;
const found = decoder.decodeFrames(packets);
if (found.errors.length) {
  console.error(found.errors[0].message);
  process.exit(1);
}
const sound = found.channelData[0].subarray(0, found.samplesDecoded);
writeFileSync(target, new Uint8Array(sound.buffer, sound.byteOffset, sound.byteLength));
