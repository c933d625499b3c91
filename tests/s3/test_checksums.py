"""Content-MD5 and x-amz-checksum-*: verified, stored, returned."""

import hashlib

import pytest

from helpers import MIB, b64, crc32, fails, pattern


def table_crc(polynomial, bits):
    """A reflected CRC with all-ones start and final xor, byte by byte."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
        table.append(byte)

    def compute(data):
        crc = (1 << bits) - 1
        for byte in data:
            crc = crc >> 8 ^ table[(crc ^ byte) & 255]
        return b64((crc ^ (1 << bits) - 1).to_bytes(bits // 8, "big"))
    return compute


COMPUTE = {
    "crc32": crc32,
    "crc32c": table_crc(0x82F63B78, 32),
    "crc64nvme": table_crc(0x9A6C9329AC4BC9B5, 64),
    "sha1": lambda data: b64(hashlib.sha1(data).digest()),
    "sha256": lambda data: b64(hashlib.sha256(data).digest()),
}


@pytest.mark.parametrize("name", COMPUTE)
@pytest.mark.parametrize("size", [0, 9, 70001, MIB + 77])
def test_header(wire, s3, bucket, name, size):
    data = pattern(size)
    value = COMPUTE[name](data)
    answer = wire.request("PUT", f"/{bucket}/a", headers=[(f"x-amz-checksum-{name}", value)], body=data)
    assert answer.status == 200, answer
    assert answer.headers[f"x-amz-checksum-{name}"] == value
    got = wire.request("GET", f"/{bucket}/a", headers=[("x-amz-checksum-mode", "ENABLED")])
    assert (got.headers[f"x-amz-checksum-{name}"], got.headers["x-amz-checksum-type"]) == (value, "FULL_OBJECT")
    assert got.body == data
    assert f"x-amz-checksum-{name}" not in wire.request("HEAD", f"/{bucket}/a").headers
    attributes = s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=["Checksum"])
    assert attributes["Checksum"][f"Checksum{name.upper()}"] == value
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    got = wire.request("HEAD", f"/{bucket}/b", headers=[("x-amz-checksum-mode", "ENABLED")])
    assert got.headers[f"x-amz-checksum-{name}"] == value


@pytest.mark.parametrize("name", COMPUTE)
def test_wrong(wire, s3, bucket, name):
    value = COMPUTE[name](b"other")
    answer = wire.request("PUT", f"/{bucket}/a", headers=[(f"x-amz-checksum-{name}", value)], body=b"data")
    assert answer.status == 400 and answer.code in ("BadDigest", "XAmzContentChecksumMismatch"), answer
    with fails("404", 404):
        s3.head_object(Bucket=bucket, Key="a")


@pytest.mark.parametrize("value", ["", "!!!!", "AAAA", "AAAAAAA="])
def test_malformed(wire, bucket, value):
    if value == "AAAAAAA=":
        value = "AAAAAAA"
    answer = wire.request("PUT", f"/{bucket}/a", headers=[("x-amz-checksum-crc32", value)], body=b"data")
    assert (answer.status, answer.code) == (400, "InvalidRequest"), answer


def test_two_at_once(wire, bucket):
    headers = [("x-amz-checksum-crc32", crc32(b"d")), ("x-amz-checksum-sha256", COMPUTE["sha256"](b"d"))]
    answer = wire.request("PUT", f"/{bucket}/a", headers=headers, body=b"d")
    assert (answer.status, answer.code) == (400, "InvalidRequest"), answer


def test_unknown_algorithm(wire, bucket):
    answer = wire.request("PUT", f"/{bucket}/a", headers=[("x-amz-sdk-checksum-algorithm", "CRC99")], body=b"d")
    assert (answer.status, answer.code) == (400, "InvalidRequest"), answer
    answer = wire.request("POST", f"/{bucket}/a", [("uploads", "")], [("x-amz-checksum-algorithm", "CRC99")])
    assert (answer.status, answer.code) == (400, "InvalidRequest"), answer


@pytest.mark.parametrize("value, code", [(b64(hashlib.md5(b"data").digest()), None), (b64(b"0" * 16), "BadDigest"),
                                         ("", "InvalidDigest"), ("abc", "InvalidDigest"), (b64(b"0" * 15), "InvalidDigest")])
def test_content_md5(wire, bucket, value, code):
    answer = wire.request("PUT", f"/{bucket}/a", headers=[("content-md5", value)], body=b"data")
    assert answer.code == code and answer.status == (400 if code else 200), answer


def test_large_body_with_wrong_digest_is_not_stored(wire, s3, bucket):
    answer = wire.request("PUT", f"/{bucket}/a", headers=[("content-md5", b64(b"0" * 16))], body=pattern(3 * MIB))
    assert (answer.status, answer.code) == (400, "BadDigest"), answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_default_of_boto(s3, bucket):
    assert s3.put_object(Bucket=bucket, Key="a", Body=b"data")["ChecksumCRC32"] == crc32(b"data")
    answer = s3.get_object(Bucket=bucket, Key="a")  # boto verifies what it gets
    assert answer["Body"].read() == b"data" and answer["ChecksumCRC32"] == crc32(b"data")
