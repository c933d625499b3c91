"""CopyObject that names a checksum algorithm: the copy has that checksum or is refused, never silently without."""

import pytest
from botocore.exceptions import ClientError

from helpers import read


def test_same_algorithm(s3, other, bucket):
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"hello", ChecksumAlgorithm="SHA256")
    answer = other.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"},
                               ChecksumAlgorithm="SHA256")
    assert answer["CopyObjectResult"]["ChecksumSHA256"] == put["ChecksumSHA256"]
    assert s3.head_object(Bucket=bucket, Key="b", ChecksumMode="ENABLED")["ChecksumSHA256"] == put["ChecksumSHA256"]


@pytest.mark.parametrize("algorithm", ["CRC32C", "SHA1", "CRC64NVME"])
def test_other_algorithm(s3, bucket, algorithm):
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello", ChecksumAlgorithm="SHA256")
    try:
        s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"}, ChecksumAlgorithm=algorithm)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 501, error
        assert "b" not in [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
        return
    head = s3.head_object(Bucket=bucket, Key="b", ChecksumMode="ENABLED")
    assert "Checksum" + algorithm in head and read(s3, bucket, "b") == b"hello"


def test_missing_source(s3, bucket):
    with pytest.raises(ClientError) as error:
        s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "none"}, ChecksumAlgorithm="SHA1")
    assert error.value.response["Error"]["Code"] == "NoSuchKey"


def test_conditions_on_the_source(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"hello", ChecksumAlgorithm="SHA1")["ETag"]
    for condition in ({"CopySourceIfNoneMatch": etag}, {"CopySourceIfMatch": '"0"'}):
        with pytest.raises(ClientError) as error:
            s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"},
                           ChecksumAlgorithm="SHA1", **condition)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
