"""Measuring what is in a WAV file: levels, tones, keys. Standard library only.

All levels are in dBFS: 0 is a full-scale square wave, so a full-scale sine is at -3.
"""

import array
import math
import struct

FLOOR_DBFS = -96.0
ROWS = (697, 770, 852, 941)
COLUMNS = (1209, 1336, 1477, 1633)
KEYS = ("123A", "456B", "789C", "*0#D")


class Wav:
    """Samples of one file; `channels` holds one list of 16-bit samples for each channel."""

    def __init__(self, rate, channels):
        self.rate = rate
        self.channels = channels

    @classmethod
    def read(cls, path):
        with open(path, "rb") as file:
            return cls.parse(file.read())

    @classmethod
    def parse(cls, data):
        if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
            raise ValueError("not a WAV file")
        # A file that is still being written has 0 or 0xffffffff as its length: read to its end.
        at, form, body = 12, None, b""
        while at + 8 <= len(data):
            name, size = data[at:at + 4], struct.unpack_from("<I", data, at + 4)[0]
            if name == b"fmt ":
                form = struct.unpack_from("<HHIIHH", data, at + 8)
            if name == b"data":
                body = data[at + 8:at + 8 + size] if size not in (0, 0xFFFFFFFF) else data[at + 8:]
                break
            at += 8 + size + size % 2
        if form is None:
            raise ValueError("no fmt chunk")
        encoding, count, rate, _, _, bits = form
        if encoding not in (1, 0xFFFE) or bits != 16:
            raise ValueError(f"encoding {encoding} with {bits} bits is not 16-bit PCM")
        samples = array.array("h")
        samples.frombytes(body[:len(body) // (2 * count) * 2 * count])
        return cls(rate, [samples[channel::count] for channel in range(count)])

    def channel(self, number=0):
        return Track(self.rate, self.channels[number])

    def seconds(self):
        return len(self.channels[0]) / self.rate


class Track:
    """One channel."""

    def __init__(self, rate, samples):
        self.rate = rate
        self.samples = samples

    def seconds(self):
        return len(self.samples) / self.rate

    def blocks(self, block_s):
        size = int(self.rate * block_s)
        for start in range(0, len(self.samples) - size + 1, size):
            yield start / self.rate, self.samples[start:start + size]

    def level_dbfs(self):
        return level_dbfs(self.samples)

    def tone_seconds(self, hz, at_least_dbfs=-35.0, block_s=0.05):
        """For how long a steady tone of `hz` is there."""
        heard = sum(1 for _, block in self.blocks(block_s)
                    if tone_dbfs(block, self.rate, hz) >= at_least_dbfs)
        return heard * block_s

    def tone_level_dbfs(self, hz, block_s=0.05):
        """The level of the tone where it is there: the median over the blocks that hold it."""
        levels = sorted(level for _, block in self.blocks(block_s)
                        if (level := tone_dbfs(block, self.rate, hz)) > -50)
        return levels[len(levels) // 2] if levels else FLOOR_DBFS

    def loud_seconds(self, at_least_dbfs=-45.0, block_s=0.02):
        """For how long anything at all is there."""
        return block_s * sum(1 for _, block in self.blocks(block_s)
                             if level_dbfs(block) >= at_least_dbfs)

    def keys(self, block_s=0.0125):
        """In-band DTMF keys in order: two tones of like strength that stand out, for 3 blocks."""
        found, current, run = [], None, 0
        for _, block in self.blocks(block_s):
            key = dtmf_key(block, self.rate)
            if key == current:
                run += 1
            else:
                current, run = key, 1
            if key is not None and run == 3:
                found.append(key)
        return "".join(found)


def level_dbfs(samples):
    if not samples:
        return FLOOR_DBFS
    mean = sum(s * s for s in samples) / len(samples)
    return max(FLOOR_DBFS, 10 * math.log10(mean / 32768.0 ** 2)) if mean else FLOOR_DBFS


def goertzel(samples, rate, hz):
    """Mean square of the part of `samples` that is a sine of `hz`."""
    weight = 2 * math.cos(2 * math.pi * hz / rate)
    last, before = 0.0, 0.0
    for sample in samples:
        last, before = sample + weight * last - before, last
    power = last * last + before * before - weight * last * before
    return 2 * max(power, 0.0) / len(samples) ** 2


def tone_dbfs(samples, rate, hz):
    power = goertzel(samples, rate, hz)
    return max(FLOOR_DBFS, 10 * math.log10(power / 32768.0 ** 2)) if power > 0 else FLOOR_DBFS


def dtmf_key(samples, rate):
    total = sum(s * s for s in samples) / max(1, len(samples))
    if total < (32768.0 * 0.004) ** 2:  # -48 dBFS
        return None
    rows = [goertzel(samples, rate, hz) for hz in ROWS]
    columns = [goertzel(samples, rate, hz) for hz in COLUMNS]
    row, column = rows.index(max(rows)), columns.index(max(columns))
    pair = rows[row] + columns[column]
    # Both of the pair, within 8 dB of each other, and most of what is heard.
    if pair < 0.7 * total or not 0.16 < rows[row] / max(columns[column], 1e-9) < 6.3:
        return None
    return KEYS[row][column]


def write(path, rate, samples):
    """A mono 16-bit file."""
    data = array.array("h", samples).tobytes()
    with open(path, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt "
                   + struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
                   + b"data" + struct.pack("<I", len(data)) + data)


def sine(hz, seconds, dbfs=-10.0, rate=8000):
    """A sine whose level is `dbfs`."""
    peak = min(32767.0, 32768.0 * math.sqrt(2) * 10 ** (dbfs / 20))
    return [int(peak * math.sin(2 * math.pi * hz * n / rate)) for n in range(int(seconds * rate))]


def dtmf(keys, on_s=0.1, off_s=0.1, rate=8000):
    """Keys as tones, to try the detector with."""
    samples = []
    for key in keys:
        row = next(r for r, keys_of_row in enumerate(KEYS) if key in keys_of_row)
        column = KEYS[row].index(key)
        pair = zip(sine(ROWS[row], on_s, -16, rate), sine(COLUMNS[column], on_s, -14, rate))
        samples += [a + b for a, b in pair] + [0] * int(off_s * rate)
    return samples


def self_test():
    """The measure itself, against arithmetic."""
    track = Track(8000, array.array("h", sine(1000, 1.0, -20.0) + [0] * 8000))
    assert abs(track.tone_level_dbfs(1000) + 20) < 0.3, track.tone_level_dbfs(1000)
    assert abs(track.tone_seconds(1000) - 1.0) < 0.1, track.tone_seconds(1000)
    assert track.tone_seconds(1700) == 0
    assert abs(track.level_dbfs() + 23) < 0.3, track.level_dbfs()  # half of it is silence
    assert abs(track.loud_seconds() - 1.0) < 0.05
    keys = Track(8000, array.array("h", dtmf("1590#*A4")))
    assert keys.keys() == "1590#*A4", keys.keys()
    assert track.keys() == ""


if __name__ == "__main__":
    self_test()
    print("1 passed, 0 failed")
