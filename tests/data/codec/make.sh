#!/bin/bash
# Makes the vectors of this folder anew with ffmpeg, espeak-ng and python3; see README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

espeak-ng -w "$work/speech.wav" "Please hold the line."
ffmpeg -v error -i "$work/speech.wav" -ar 16000 -ac 1 -f s16le "$work/speech.raw"
python3 - "$work/speech.raw" <<'P'
import math, random, struct, sys
speech = open(sys.argv[1], "rb").read()[: 2 * 12800]
random.seed(722)
sine = lambda hertz, level, count: [
    max(-32768, min(32767, round(level * math.sin(2 * math.pi * hertz * n / 16000))))
    for n in range(count)
]
made = sine(1000, 10000, 1600) + [0] * 800 + sine(6000, 8000, 1600) + sine(400, 60000, 1600)
made += [random.randint(-32768, 32767) for _ in range(1600)] + sine(2500, 40, 1600)
made += [32767, -32768] * 400 + [-32768] * 400 + [32767] * 400
open("speech-and-extremes.s16", "wb").write(speech + struct.pack(f"<{len(made)}h", *made))
open("random.g722", "wb").write(random.randbytes(4000))
P
raw="-f s16le -ar 16000 -ac 1"
ffmpeg -v error -y $raw -i speech-and-extremes.s16 -c:a g722 -f g722 speech-and-extremes.g722
ffmpeg -v error -y -f g722 -i speech-and-extremes.g722 $raw speech-and-extremes.g722.s16
ffmpeg -v error -y -f g722 -i random.g722 $raw random.g722.s16

# Opus by libopus. Packets are taken out of Ogg: each with its length before it, as 16 bits,
# little-endian. Of what is decoded every third sample is kept, so that the file is small.
opus() {
  local name=$1 decoder=$2 seconds=$3
  shift 3
  ffmpeg -v error -stream_loop 1 -i "$work/speech.wav" -ar 48000 -ac 1 -t "$seconds" \
    -c:a libopus -frame_duration 20 "$@" -f opus "$work/$name.opus"
  ffmpeg -v error -c:a "$decoder" -i "$work/$name.opus" -f s16le "$work/$name.decoded"
  python3 - "$work/$name" "$name" <<'P'
import struct, sys
data, place, packets, part = open(sys.argv[1] + ".opus", "rb").read(), 0, [], b""
while place < len(data):
    sizes = data[place + 27 : place + 27 + data[place + 26]]
    place += 27 + len(sizes)
    for size in sizes:
        part += data[place : place + size]
        place += size
        if size < 255:
            packets.append(part)
            part = b""
with open(sys.argv[2] + ".opus-packets", "wb") as out:
    for packet in packets[2:]:
        out.write(struct.pack("<H", len(packet)) + packet)
samples = open(sys.argv[1] + ".decoded", "rb").read()
with open(sys.argv[2] + ".opus.s16", "wb") as out:
    out.write(b"".join(samples[n : n + 2] for n in range(0, len(samples), 6)))
P
}
opus hybrid libopus 1.5 -application voip -b:a 24k
opus wideband libopus 1 -application voip -b:a 14k
opus music opus 1 -application audio -b:a 64k
