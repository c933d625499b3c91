"""Available buckets: what differs from a strong one, and that the rest does not."""

import pytest

from conftest import make_client, ENDPOINTS, MAIN
from helpers import MIB, fails, md5, pattern, put_all, read

HEADER = "x-covey-consistency"


def available(client, name):
    """CreateBucket with the header that boto3 has no argument for."""
    def add(request, **_):
        request.headers[HEADER] = "available"
    client.meta.events.register("before-sign.s3.CreateBucket", add)
    try:
        return client.create_bucket(Bucket=name)
    finally:
        client.meta.events.unregister("before-sign.s3.CreateBucket", add)


def versions_of(s3, bucket, **options):
    found = s3.list_object_versions(Bucket=bucket, **options)
    return [(v["Key"], v["VersionId"], v["IsLatest"]) for v in found.get("Versions", [])]


@pytest.fixture
def box(request):
    """An available bucket that is emptied and removed after the test."""
    import uuid
    name = f"a-{uuid.uuid4().hex[:20]}"
    client = make_client(ENDPOINTS[0], MAIN)
    available(client, name)
    yield name
    for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", []):
        client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
        for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
            client.delete_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])
    client.delete_bucket(Bucket=name)


def header_of(response):
    return response["ResponseMetadata"]["HTTPHeaders"].get(HEADER)


def test_consistency_is_shown_and_fixed(box, s3, other, new_bucket):
    assert header_of(other.head_bucket(Bucket=box)) == "available"
    assert header_of(s3.get_bucket_location(Bucket=box)) == "available"
    strong = new_bucket()
    assert header_of(s3.head_bucket(Bucket=strong)) == "strong"
    with fails(("BucketAlreadyExists", "BucketAlreadyOwnedByYou"), 409):
        available(s3, strong)


def test_an_unknown_consistency_is_refused(s3):
    def add(request, **_):
        request.headers[HEADER] = "eventual"
    s3.meta.events.register("before-sign.s3.CreateBucket", add)
    try:
        with fails("InvalidArgument", 400):
            s3.create_bucket(Bucket="a-never-made")
    finally:
        s3.meta.events.unregister("before-sign.s3.CreateBucket", add)


@pytest.mark.parametrize("size", [0, 5, 4096, 4097, 3 * MIB + 17])
def test_put_get_head_delete(box, s3, other, size):
    data = pattern(size)
    put = s3.put_object(Bucket=box, Key="k", Body=data, ContentType="x/y", Metadata={"a": "b"})
    got = other.get_object(Bucket=box, Key="k")
    assert got["Body"].read() == data
    assert (got["ContentType"], got["Metadata"], got["ETag"]) == ("x/y", {"a": "b"}, f'"{md5(data)}"')
    assert got["VersionId"] == put["VersionId"]
    assert s3.head_object(Bucket=box, Key="k")["ContentLength"] == size
    if size > 10:
        assert read(other, box, "k", Range="bytes=3-9") == data[3:10]
    other.delete_object(Bucket=box, Key="k")
    with fails("NoSuchKey", 404):
        s3.get_object(Bucket=box, Key="k")
    assert versions_of(s3, box) == []
    s3.delete_object(Bucket=box, Key="k")


def test_overwriting_leaves_one_version(box, clients):
    for turn in range(12):
        clients[turn % len(clients)].put_object(Bucket=box, Key="k", Body=str(turn))
    assert [read(client, box, "k") for client in clients] == [b"11"] * len(clients)
    found = versions_of(clients[0], box)
    assert len(found) == 1 and found[0][2]


def test_conditional_writes_are_not_implemented(box, s3):
    put = s3.put_object(Bucket=box, Key="k", Body=b"1")
    with fails("NotImplemented", 501):
        s3.put_object(Bucket=box, Key="k", Body=b"2", IfNoneMatch="*")
    with fails("NotImplemented", 501):
        s3.put_object(Bucket=box, Key="k", Body=b"2", IfMatch=put["ETag"])
    with fails("NotImplemented", 501):
        s3.delete_object(Bucket=box, Key="k", IfMatch=put["ETag"])
    upload = s3.create_multipart_upload(Bucket=box, Key="m")["UploadId"]
    part = s3.upload_part(Bucket=box, Key="m", UploadId=upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    with fails("NotImplemented", 501):
        s3.complete_multipart_upload(Bucket=box, Key="m", UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")
    assert read(s3, box, "k") == b"1"


def test_conditional_reads_work(box, s3):
    put = s3.put_object(Bucket=box, Key="k", Body=b"1")
    with fails("304"):
        s3.get_object(Bucket=box, Key="k", IfNoneMatch=put["ETag"])
    with fails("PreconditionFailed", 412):
        s3.get_object(Bucket=box, Key="k", IfMatch='"other"')
    assert read(s3, box, "k", IfMatch=put["ETag"]) == b"1"


def test_reads_and_deletes_by_version(box, s3, other):
    put = s3.put_object(Bucket=box, Key="k", Body=b"body")
    version = put["VersionId"]
    assert read(other, box, "k", VersionId=version) == b"body"
    assert other.head_object(Bucket=box, Key="k", VersionId=version)["ContentLength"] == 4
    with fails("NoSuchVersion", 404):
        s3.get_object(Bucket=box, Key="k", VersionId="0" * 32)
    s3.delete_object(Bucket=box, Key="k", VersionId=version)
    with fails("NoSuchKey", 404):
        other.get_object(Bucket=box, Key="k")


def test_listing_with_delimiter_and_pages(box, s3, other):
    keys = sorted([f"a/{n:02}" for n in range(15)] + [f"b/{n}/x" for n in range(4)] + ["c", "a", "d\u00e9"])
    put_all(s3, box, keys, b"x")
    found = other.list_objects_v2(Bucket=box, Delimiter="/")
    assert [e["Key"] for e in found["Contents"]] == ["a", "c", "d\u00e9"]
    assert [p["Prefix"] for p in found["CommonPrefixes"]] == ["a/", "b/"]
    paged = [e["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=box, PaginationConfig={"PageSize": 4})
             for e in page["Contents"]]
    assert paged == sorted(keys, key=str.encode)
    other.delete_object(Bucket=box, Key="a/07")
    assert "a/07" not in [e["Key"] for e in s3.list_objects_v2(Bucket=box, Prefix="a/")["Contents"]]
    paged = [v["Key"] for page in other.get_paginator("list_object_versions").paginate(Bucket=box, PaginationConfig={"PageSize": 5})
             for v in page.get("Versions", [])]
    assert paged == [key for key in sorted(keys, key=str.encode) if key != "a/07"]
    found = s3.list_object_versions(Bucket=box, Delimiter="/", Prefix="b/")
    assert [p["Prefix"] for p in found["CommonPrefixes"]] == [f"b/{n}/" for n in range(4)]


def test_multipart(box, s3, other):
    first, last = pattern(5 * MIB, 1), pattern(70_000, 2)
    upload = s3.create_multipart_upload(Bucket=box, Key="m", ContentType="t/u")["UploadId"]
    parts = []
    for number, (client, data) in enumerate([(s3, first), (other, last)], 1):
        etag = client.upload_part(Bucket=box, Key="m", UploadId=upload, PartNumber=number, Body=data)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    assert [u["Key"] for u in other.list_multipart_uploads(Bucket=box)["Uploads"]] == ["m"]
    assert len(s3.list_parts(Bucket=box, Key="m", UploadId=upload)["Parts"]) == 2
    done = other.complete_multipart_upload(Bucket=box, Key="m", UploadId=upload, MultipartUpload={"Parts": parts})
    again = s3.complete_multipart_upload(Bucket=box, Key="m", UploadId=upload, MultipartUpload={"Parts": parts})
    assert done["ETag"] == again["ETag"]
    assert read(s3, box, "m") == first + last
    assert read(other, box, "m", PartNumber=2) == last
    assert len(versions_of(s3, box)) == 1
    upload = s3.create_multipart_upload(Bucket=box, Key="n")["UploadId"]
    other.abort_multipart_upload(Bucket=box, Key="n", UploadId=upload)
    with fails("NoSuchUpload", 404):
        s3.upload_part(Bucket=box, Key="n", UploadId=upload, PartNumber=1, Body=b"")


@pytest.mark.parametrize("size", [100, 2 * MIB])
def test_copy_in_within_and_out(box, s3, other, new_bucket, size):
    strong = new_bucket()
    data = pattern(size)
    s3.put_object(Bucket=strong, Key="from", Body=data, Metadata={"m": "1"})
    s3.copy_object(Bucket=box, Key="in", CopySource={"Bucket": strong, "Key": "from"})
    s3.delete_object(Bucket=strong, Key="from")
    other.copy_object(Bucket=box, Key="within", CopySource={"Bucket": box, "Key": "in"})
    other.copy_object(Bucket=strong, Key="out", CopySource={"Bucket": box, "Key": "within"})
    s3.delete_object(Bucket=box, Key="within")
    assert read(other, box, "in") == data
    got = s3.get_object(Bucket=strong, Key="out")
    assert got["Body"].read() == data and got["Metadata"] == {"m": "1"}
    with fails("NotImplemented", 501):
        s3.put_object(Bucket=box, Key="in", Body=b"", IfNoneMatch="*")


def test_a_part_copied(box, s3, other):
    data = pattern(6 * MIB)
    s3.put_object(Bucket=box, Key="source", Body=data)
    upload = s3.create_multipart_upload(Bucket=box, Key="m")["UploadId"]
    part = other.upload_part_copy(Bucket=box, Key="m", UploadId=upload, PartNumber=1,
                                  CopySource={"Bucket": box, "Key": "source"}, CopySourceRange=f"bytes=7-{5 * MIB + 6}")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
    s3.complete_multipart_upload(Bucket=box, Key="m", UploadId=upload, MultipartUpload=parts)
    assert read(other, box, "m") == data[7:5 * MIB + 7]


def test_tags_and_delete_objects(box, s3, other):
    put_all(s3, box, ["x", "y"], b"1")
    s3.put_object_tagging(Bucket=box, Key="x", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert other.get_object_tagging(Bucket=box, Key="x")["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert len(versions_of(other, box)) == 2
    other.delete_objects(Bucket=box, Delete={"Objects": [{"Key": "x"}, {"Key": "y"}]})
    assert "Contents" not in s3.list_objects_v2(Bucket=box)


def test_a_bucket_in_use_is_not_deleted(box, s3, other):
    s3.put_object(Bucket=box, Key="k", Body=b"")
    with fails("BucketNotEmpty", 409):
        other.delete_bucket(Bucket=box)
    s3.put_object(Bucket=box, Key="after", Body=b"written")
    assert read(other, box, "after") == b"written"


def test_a_deleted_bucket_is_gone(s3, other, clients):
    available(s3, "a-short-lived")
    s3.put_object(Bucket="a-short-lived", Key="k", Body=b"1")
    other.delete_object(Bucket="a-short-lived", Key="k")
    other.delete_bucket(Bucket="a-short-lived")
    for client in clients:
        with fails(("NoSuchBucket", "404"), 404):
            client.put_object(Bucket="a-short-lived", Key="k", Body=b"2")
