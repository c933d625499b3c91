"""Small words that the test files share."""

import base64
import contextlib
import hashlib
import zlib

import pytest
from botocore.exceptions import ClientError

MIB = 1024 * 1024


@contextlib.contextmanager
def fails(code, status=None):
    """The call inside must be answered with that error code (and status)."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response
    codes = (code,) if isinstance(code, str) else code
    assert error["Error"]["Code"] in codes, error
    if status is not None:
        assert error["ResponseMetadata"]["HTTPStatusCode"] == status, error


def md5(data):
    return hashlib.md5(data).hexdigest()


def b64(raw):
    return base64.b64encode(raw).decode()


def crc32(data):
    return b64(zlib.crc32(data).to_bytes(4, "big"))


def pattern(size, seed=1):
    """Bytes that differ at every block boundary."""
    line = hashlib.sha256(str(seed).encode()).digest() * 33  # 1056: no divisor of a block
    return (line * (size // len(line) + 1))[:size]


def put_all(s3, bucket, keys, body=b""):
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=body)


def read(s3, bucket, key, **options):
    return s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read()
