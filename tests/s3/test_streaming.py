"""aws-chunked uploads: signed chunks, signed and unsigned trailers, and damaged ones.

AWS: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks"."""

import base64
import zlib

import pytest
from botocore.exceptions import ClientError

SIZES = [0, 1, 65535, 65536, 65537, 3 * 1024 * 1024 + 17]


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def data_of(size):
    return bytes(i * 7 % 251 for i in range(min(size, 4096))) * (size // 4096 + 1) if size > 4096 else bytes(range(1)) * size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", ["signed", "signed-trailer", "unsigned-trailer"])
def test_round_trip(wire, s3, bucket, size, form):
    data = data_of(size)[:size]
    trailer = ("x-amz-checksum-crc32", crc32(data)) if "trailer" in form else None
    answer = wire.streaming("PUT", f"/{bucket}/a", data, trailer=trailer, signed_chunks=form != "unsigned-trailer")
    assert answer.status == 200, answer
    if trailer:
        assert answer.headers["x-amz-checksum-crc32"] == trailer[1]
    got = s3.get_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert got["Body"].read() == data
    if trailer:
        assert got["ChecksumCRC32"] == trailer[1]
    assert "aws-chunked" not in got.get("ContentEncoding", "")


def test_content_encoding_is_kept_without_aws_chunked(s3, bucket, wire):
    signed = [("content-encoding", "gzip")]
    answer = wire.request("PUT", f"/{bucket}/a", headers=[("content-encoding", "gzip,aws-chunked"),
                                                          ("x-amz-decoded-content-length", "1"),
                                                          ("x-amz-trailer", "x-amz-checksum-crc32")],
                          body=b"1\r\na\r\n0\r\nx-amz-checksum-crc32:" + crc32(b"a").encode() + b"\r\n\r\n",
                          payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert answer.status == 200, answer
    assert s3.head_object(Bucket=bucket, Key="a")["ContentEncoding"] == signed[0][1]


def refused(answer, *codes):
    assert answer is not None, "closed without an answer"
    assert answer.code in codes, answer
    assert 400 <= answer.status < 500, answer


def nothing_there(s3, bucket):
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="a")
    assert error.value.response["Error"]["Code"] == "NoSuchKey"


@pytest.mark.parametrize("which", [0, 1, 2])
def test_altered_chunk(wire, s3, bucket, which):
    def alter(index, header, piece):
        if index != which:
            return header, piece
        if piece:
            return header, bytes([piece[0] ^ 1]) + piece[1:]
        return header[:-1] + ("0" if header[-1] != "0" else "1"), piece

    refused(wire.streaming("PUT", f"/{bucket}/a", b"q" * 100000, tamper=alter), "SignatureDoesNotMatch")
    nothing_there(s3, bucket)


def test_no_last_chunk(wire, s3, bucket):
    refused(wire.streaming("PUT", f"/{bucket}/a", b"q" * 1000, last_chunk=False), "IncompleteBody")
    nothing_there(s3, bucket)


@pytest.mark.parametrize("decoded", [999, 1001])
def test_decoded_length_differs(wire, s3, bucket, decoded):
    refused(wire.streaming("PUT", f"/{bucket}/a", b"q" * 1000, decoded=decoded), "IncompleteBody", "InvalidRequest",
            "InvalidArgument")
    nothing_there(s3, bucket)


def test_decoded_length_is_required(wire, s3, bucket):
    answer = wire.streaming("PUT", f"/{bucket}/a", b"q" * 1000, decoded="")
    assert (answer.status, answer.code) == (411, "MissingContentLength"), answer


@pytest.mark.parametrize("header", ["zz", "", "-1", "fffffffffffffffffff", "5 ", "0x5", "5;chunk-signature=abc"])
def test_bad_chunk_header(wire, s3, bucket, header):
    answer = wire.streaming("PUT", f"/{bucket}/a", b"q" * 10, signed_chunks=False,
                            trailer=("x-amz-checksum-crc32", crc32(b"q" * 10)),
                            tamper=lambda i, h, p: (header if i == 0 else h, p))
    assert answer is not None and 400 <= answer.status < 500, answer
    nothing_there(s3, bucket)


@pytest.mark.parametrize("signed", [True, False])
def test_wrong_trailer_value(wire, s3, bucket, signed):
    answer = wire.streaming("PUT", f"/{bucket}/a", b"q" * 10, trailer=("x-amz-checksum-crc32", crc32(b"other")),
                            signed_chunks=signed)
    refused(answer, "BadDigest", "XAmzContentChecksumMismatch")
    nothing_there(s3, bucket)


def test_malformed_trailer_value(wire, s3, bucket):
    answer = wire.streaming("PUT", f"/{bucket}/a", b"q", trailer=("x-amz-checksum-crc32", "!!"), signed_chunks=False)
    refused(answer, "InvalidRequest", "MalformedTrailerError")
    nothing_there(s3, bucket)


def test_upload_part(wire, s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    date_path = f"/{bucket}/m"
    # Streaming requests of this suite carry no query; a part goes out by boto3 with a trailer instead.
    part = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"p", ChecksumAlgorithm="CRC32")
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert wire.request("GET", date_path).body == b"p"
