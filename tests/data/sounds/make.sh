#!/bin/sh
# Makes the files of this folder anew: a quarter of a second of 1000 Hz at -10 dBFS in every format.
set -e
cd "$(dirname "$0")"
tone() { # rate channels, then ffmpeg's output options
    rate=$1 sine="0.316228*sin(2*PI*1000*t)"
    [ "$2" = 1 ] || sine="$sine|$sine"
    shift 2
    ffmpeg -v error -y -f lavfi -i "aevalsrc=$sine:s=$rate:d=0.25" \
        -bitexact -fflags +bitexact "$@"
}
tone 8000 1 -c:a pcm_u8 pcm8.wav
tone 8000 1 -c:a pcm_s16le pcm16.wav
tone 11025 2 -c:a pcm_s16le pcm16-stereo.wav
tone 16000 1 -c:a pcm_s24le pcm24.wav
tone 8000 1 -c:a pcm_s32le pcm32.wav
tone 16000 1 -c:a pcm_f32le float32.wav
tone 8000 1 -c:a pcm_f64le float64.wav
tone 8000 1 -c:a pcm_alaw alaw.wav
tone 8000 1 -c:a pcm_mulaw mulaw.wav
tone 8000 1 -c:a pcm_s16le -f wav - | cat > piped.wav # lengths unknown
tone 44100 2 -f wav - | lame --quiet -t --nores -b 128 - cbr128-stereo.mp3
tone 24000 1 -f wav - | lame --quiet -t -b 64 - cbr64.mp3
tone 44100 1 -f wav - | lame --quiet -V 5 - vbr-tagged.mp3
tone 8000 1 -f wav - | lame --quiet -t -b 16 --resample 8 - mpeg25.mp3
tone 48000 1 -f wav - | opusenc --quiet --serial 1 --bitrate 24 --framesize 20 - mono.opus
tone 48000 2 -f wav - | opusenc --quiet --serial 1 --bitrate 48 --framesize 60 - stereo60ms.opus
tone 16000 1 flac.wav
flac --silent --force --no-padding --no-seektable --blocksize=1152 -o mono16.flac flac.wav
tone 32000 2 -c:a pcm_s24le flac.wav
flac --silent --force --no-padding --no-seektable --best -o stereo24.flac flac.wav
rm flac.wav
