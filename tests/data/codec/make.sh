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
