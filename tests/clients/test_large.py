"""A 5 GiB file, sent in parts by a client that knows nothing of Covey, with an eye on the nodes' memory. COVEY_LONG=1."""
import hashlib
import threading

import pytest

from rig import LONG, MIB, Stopwatch

LARGE_BYTES = 5 << 30
SEED_BYTES = 8 * MIB

pytestmark = pytest.mark.skipif(LONG < 1, reason="5 GiB take a while: COVEY_LONG=1")


class Stream:
    """LARGE_BYTES of a sequence that never repeats a block, without a file of that size."""

    def __init__(self, size):
        self.left, self.number, self.rest, self.digest = size, 0, b"", hashlib.sha256()
        self.seed = hashlib.shake_256(b"covey").digest(SEED_BYTES)

    def read(self, size=-1):
        wanted = self.left if size is None or size < 0 else min(size, self.left)
        pieces, have = [self.rest], len(self.rest)
        while have < wanted:
            self.number += 1
            pieces += [self.number.to_bytes(16, "big"), self.seed]
            have += 16 + len(self.seed)
        data = b"".join(pieces)
        self.rest, data = data[wanted:], data[:wanted]
        self.left -= len(data)
        self.digest.update(data)
        return data


class Sink:
    def __init__(self):
        self.size, self.digest = 0, hashlib.sha256()

    def write(self, data):
        self.size += len(data)
        self.digest.update(data)
        return len(data)

    def seekable(self):
        return False


def test_in_and_out(nodes, bucket, memory):
    source, clock = Stream(LARGE_BYTES), Stopwatch()
    nodes.boto3().upload_fileobj(source, bucket, "large")
    into_s, into = clock.lap(), memory.check()
    head = nodes.boto3().head_object(Bucket=bucket, Key="large")
    assert head["ContentLength"] == LARGE_BYTES and "-" in head["ETag"]
    sinks, readers = [Sink() for _ in nodes.endpoints], []
    clock.lap()

    # Out through every node at once.
    def download(sink, endpoint):
        body = nodes.boto3(endpoint).get_object(Bucket=bucket, Key="large")["Body"]
        for piece in body.iter_chunks(MIB):
            sink.write(piece)

    for sink, endpoint in zip(sinks, nodes.endpoints):
        readers.append(threading.Thread(target=download, args=(sink, endpoint)))
        readers[-1].start()
    for reader in readers:
        reader.join()
    out_s, out = clock.lap(), memory.check()
    print(f"\n5 GiB in: {into_s:.0f} s ({into}); out through {len(sinks)} nodes at once: {out_s:.0f} s ({out})")
    for sink in sinks:
        assert (sink.size, sink.digest.hexdigest()) == (LARGE_BYTES, source.digest.hexdigest())
