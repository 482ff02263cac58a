#!/bin/bash
# make.sh: make the prompts of this folder anew. Needs espeak-ng and sox.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# speech NAME TEXT: speech alone, 8 kHz, silence at both ends cut, peak at -3 dBFS.
speech() {
  espeak-ng -v en-us -s 200 -w "$work/raw.wav" "$2"
  sox "$work/raw.wav" -r 8000 -b 16 -c 1 -D "$1.wav" highpass 200 norm -3 \
    silence 1 0.02 0.5% reverse silence 1 0.02 0.5% pad 0 0.05 reverse pad 0 0.1
}

# pilot NAME HZ TEXT: speech with a steady tone of -20 dBFS under it. Speech at -6 dBFS leaves
# room for the sum.
pilot() {
  speech "$work/speech" "$3"
  local seconds
  seconds=$(soxi -D "$work/speech.wav")
  sox -D -r 8000 -n -b 16 "$work/tone.wav" synth "$seconds" sine "$2" gain -20
  sox -D -m -v 0.7 "$work/speech.wav" -v 1 "$work/tone.wav" -b 16 "$1.wav"
}

# The chime before the speech is what the demo and the tests find the prompt by.
speech "$work/callback" "Please hold while we connect your call."
sox -D -r 8000 -n -b 16 "$work/chime.wav" synth 0.3 sine 620 gain -12 fade 0.02 0.3 0.05 pad 0 0.1
sox -D "$work/chime.wav" "$work/callback.wav" -b 16 callback.wav

speech greeting "Welcome. One for the office, two to leave a message."
speech notification "This is a reminder of your appointment tomorrow."
speech press-one "Press one to confirm."
speech question1 "Were you satisfied? Press one to five."
speech question2 "Would you call again? One yes, two no."
speech question3 "May we call back? One yes, two no."
speech thanks "Thank you. Goodbye."
speech leave-message "Please leave a message after the tone."
sox -D -r 8000 -n -b 16 beep.wav synth 0.4 sine 1400 gain -12 fade 0.01 0.4 0.01

pilot phone-hello 1000 "Hello, this is the first phone."
pilot phone-second 1700 "Hello, this is the second phone."
ls -l -- *.wav
