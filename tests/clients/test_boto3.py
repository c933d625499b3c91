"""boto3, as an application uses it that sets nothing but endpoint and keys."""
import io

import pytest
import requests
from botocore.exceptions import ClientError

from rig import BIG_BYTES, ODD_KEYS, sha256

# Sub-resources of a bucket for which nothing was set: what boto3 gets, from AWS's API reference.
EMPTY_ANSWERS = {
    "get_bucket_accelerate_configuration": "Status",
    "get_bucket_logging": "LoggingEnabled",
    "get_bucket_notification_configuration": "TopicConfigurations",
    "get_bucket_versioning": "Status",
}
UNSET_ERRORS = {
    # AWS encrypts every new bucket and says so; Covey does not yet, and must not claim it.
    "get_bucket_encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "get_bucket_cors": "NoSuchCORSConfiguration",
    "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
    "get_bucket_policy": "NoSuchBucketPolicy",
    "get_bucket_policy_status": "NoSuchBucketPolicy",
    "get_bucket_replication": "ReplicationConfigurationNotFoundError",
    "get_bucket_tagging": "NoSuchTagSet",
    "get_bucket_website": "NoSuchWebsiteConfiguration",
    "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
}


def test_everyday(nodes, bucket):
    for number in range(5):
        nodes.boto3().put_object(Bucket=bucket, Key=f"dir/{number}", Body=b"0123456789" * 1000 * number)
    listed = nodes.boto3().list_objects_v2(Bucket=bucket, Prefix="dir/")["Contents"]
    assert [(item["Key"], item["Size"]) for item in listed] == [(f"dir/{n}", 10000 * n) for n in range(5)]
    part = nodes.boto3().get_object(Bucket=bucket, Key="dir/4", Range="bytes=9995-10004")
    assert (part["ContentRange"], part["Body"].read()) == ("bytes 9995-10004/40000", b"5678901234")
    nodes.boto3().copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "dir/4"})
    assert nodes.boto3().get_object(Bucket=bucket, Key="copy")["Body"].read() == b"0123456789" * 4000
    nodes.boto3().delete_object(Bucket=bucket, Key="copy")
    with pytest.raises(ClientError, match="404"):
        nodes.boto3().head_object(Bucket=bucket, Key="copy")
    gone = nodes.boto3().delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"dir/{n}"} for n in range(5)]})
    assert len(gone["Deleted"]) == 5
    assert nodes.boto3().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_big_file_in_parts(nodes, bucket, big_file, tmp_path):
    nodes.boto3().upload_file(str(big_file), bucket, "big")
    head = nodes.boto3().head_object(Bucket=bucket, Key="big")
    assert head["ContentLength"] == BIG_BYTES and "-" in head["ETag"]
    nodes.boto3().copy({"Bucket": bucket, "Key": "big"}, bucket, "copy")
    nodes.boto3().download_file(bucket, "copy", str(tmp_path / "copy"))
    assert sha256(tmp_path / "copy") == sha256(big_file)


def test_streams_without_a_length(nodes, bucket):
    data = bytes(range(256)) * 100_000
    nodes.boto3().upload_fileobj(io.BytesIO(data), bucket, "stream")
    out = io.BytesIO()
    nodes.boto3().download_fileobj(bucket, "stream", out)
    assert out.getvalue() == data


def test_presigned_urls_and_forms(nodes, bucket):
    """As boto3 makes them by default."""
    url = nodes.boto3().generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "file", "ContentType": "a/b"})
    assert requests.put(url, data=b"presigned", headers={"Content-Type": "a/b"}, timeout=60).status_code == 200
    answer = requests.get(nodes.boto3().generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "file"}),
                          timeout=60)
    assert (answer.content, answer.headers["Content-Type"]) == (b"presigned", "a/b")
    form = nodes.boto3().generate_presigned_post(bucket, "form")
    assert requests.post(form["url"], data=form["fields"], files={"file": b"posted"}, timeout=60).status_code == 204
    assert nodes.boto3().get_object(Bucket=bucket, Key="form")["Body"].read() == b"posted"


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_key(nodes, bucket, key):
    nodes.boto3().put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert nodes.boto3().get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [item["Key"] for item in nodes.boto3().list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    nodes.boto3().copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert nodes.boto3().get_object(Bucket=bucket, Key="copy")["Body"].read() == key.encode()
    nodes.boto3().delete_object(Bucket=bucket, Key=key)
    assert [item["Key"] for item in nodes.boto3().list_objects_v2(Bucket=bucket)["Contents"]] == ["copy"]


def test_a_and_below_a(nodes, bucket):
    nodes.boto3().put_object(Bucket=bucket, Key="a", Body=b"1")
    nodes.boto3().put_object(Bucket=bucket, Key="a/b", Body=b"2")
    nodes.boto3().put_object(Bucket=bucket, Key="a/", Body=b"")
    listed = nodes.boto3().list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [item["Key"] for item in listed["Contents"]] == ["a"]
    assert [item["Prefix"] for item in listed["CommonPrefixes"]] == ["a/"]
    assert nodes.boto3().get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    assert nodes.boto3().get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"2"


@pytest.mark.parametrize("call", sorted(EMPTY_ANSWERS))
def test_sub_resource_empty(nodes, bucket, call):
    answer = getattr(nodes.boto3(), call)(Bucket=bucket)
    assert EMPTY_ANSWERS[call] not in answer


@pytest.mark.parametrize("call", sorted(UNSET_ERRORS))
def test_sub_resource_unset(nodes, bucket, call):
    with pytest.raises(ClientError) as error:
        getattr(nodes.boto3(), call)(Bucket=bucket)
    assert error.value.response["Error"]["Code"] == UNSET_ERRORS[call]
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_sub_resources_with_a_default(nodes, bucket):
    s3 = nodes.boto3()
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    acl = s3.get_bucket_acl(Bucket=bucket)
    assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL"]
