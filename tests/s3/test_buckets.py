"""CreateBucket, HeadBucket, ListBuckets, GetBucketLocation, DeleteBucket."""

import uuid

import pytest

from conftest import REGION
from helpers import fails


def test_create_head_delete(s3, other):
    name = f"t-{uuid.uuid4().hex}"
    with fails("404", 404):
        s3.head_bucket(Bucket=name)
    options = {} if REGION == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
    answer = s3.create_bucket(Bucket=name, **options)
    assert answer["Location"].endswith("/" + name)
    assert other.head_bucket(Bucket=name)["BucketRegion"] == REGION
    assert other.delete_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("404", 404):
        s3.head_bucket(Bucket=name)
    with fails("NoSuchBucket", 404):
        s3.delete_bucket(Bucket=name)


def test_create_again(s3, other, alt, bucket):
    if REGION == "us-east-1":
        other.create_bucket(Bucket=bucket)
    else:
        with fails("BucketAlreadyOwnedByYou", 409):
            other.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    with fails("BucketAlreadyExists", 409):
        alt.create_bucket(Bucket=bucket)


def test_not_empty(s3, other, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"")
    with fails("BucketNotEmpty", 409):
        other.delete_bucket(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="a")
    other.delete_bucket(Bucket=bucket)


def test_recreated_bucket_is_empty(s3, other, new_bucket):
    name = new_bucket()
    s3.put_object(Bucket=name, Key="a", Body=b"")
    s3.delete_object(Bucket=name, Key="a")
    s3.delete_bucket(Bucket=name)
    new_bucket(name)
    assert other.list_objects_v2(Bucket=name)["KeyCount"] == 0


@pytest.mark.parametrize("name", ["ab", "A-Upper", "under_score", "a" * 64, "192.168.1.1", "-dash", "dash-", "a..b",
                                  ".dot", "has space", "xn--a"])
def test_bad_names(wire, name):
    answer = wire.request("PUT", "/" + name.replace(" ", "%20"))
    assert (answer.status, answer.code) == (400, "InvalidBucketName"), answer


def test_list(s3, new_bucket):
    names = sorted(new_bucket(f"list-{uuid.uuid4().hex[:8]}") for _ in range(3))
    answer = s3.list_buckets()
    assert set(names) <= {item["Name"] for item in answer["Buckets"]}
    listed = [item["Name"] for item in answer["Buckets"]]
    assert listed == sorted(listed)
    assert answer["Owner"]["ID"]


def test_list_pages(s3, new_bucket):
    prefix = f"page-{uuid.uuid4().hex[:8]}"
    names = [new_bucket(f"{prefix}-{i}") for i in range(5)]
    seen, token = [], None
    while True:
        options = {"ContinuationToken": token} if token else {}
        page = s3.list_buckets(MaxBuckets=2, Prefix=prefix, **options)
        assert len(page["Buckets"]) <= 2
        seen += [item["Name"] for item in page["Buckets"]]
        token = page.get("ContinuationToken")
        if not token:
            break
    assert seen == names


def test_list_shows_own_only(alt, bucket):
    assert bucket not in {item["Name"] for item in alt.list_buckets()["Buckets"]}


def test_location(s3, bucket):
    expected = None if REGION == "us-east-1" else REGION
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == expected


def test_wrong_location(s3):
    with fails(("InvalidLocationConstraint", "IllegalLocationConstraintException"), 400):
        s3.create_bucket(Bucket=f"t-{uuid.uuid4().hex}",
                         CreateBucketConfiguration={"LocationConstraint": "mars-north-7"})


def test_put_makes_no_bucket(s3):
    name = f"t-{uuid.uuid4().hex}"
    with fails("NoSuchBucket", 404):
        s3.put_object(Bucket=name, Key="a", Body=b"")
    with fails("404", 404):
        s3.head_bucket(Bucket=name)


UNSET = [
    ("get_bucket_cors", "NoSuchCORSConfiguration"),
    ("get_bucket_website", "NoSuchWebsiteConfiguration"),
    ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
    ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
    ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
    ("get_bucket_tagging", "NoSuchTagSet"),
    ("get_bucket_policy", "NoSuchBucketPolicy"),
]


@pytest.mark.parametrize("call, code", UNSET)
def test_unset_sub_resources(s3, bucket, call, code):
    with fails(code, 404):
        getattr(s3, call)(Bucket=bucket)


def test_sub_resources_with_defaults(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    acl = s3.get_bucket_acl(Bucket=bucket)
    assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL"]
    assert acl["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"]


def test_unset_encryption(s3, bucket):
    """AWS encrypts always; a store that does not must not say so."""
    with fails("ServerSideEncryptionConfigurationNotFoundError", 404):
        s3.get_bucket_encryption(Bucket=bucket)


@pytest.mark.parametrize("call", [call for call, _ in UNSET] + ["get_bucket_versioning", "get_bucket_acl",
                                                                "get_bucket_location", "list_objects_v2"])
def test_missing_bucket(s3, call):
    with fails("NoSuchBucket", 404):
        getattr(s3, call)(Bucket="no-such-bucket-" + uuid.uuid4().hex[:8])


def test_what_is_missing_says_so(wire, bucket):
    answer = wire.request("PUT", f"/{bucket}", [("website", "")], body=b"<WebsiteConfiguration/>")
    assert answer.status != 200, "a silent success"
