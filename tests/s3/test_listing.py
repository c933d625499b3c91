"""ListObjects, ListObjectsV2 and ListObjectVersions: order, delimiters and every paging rule."""

import urllib.parse

import pytest

from helpers import fails, put_all

KEYS = ["a", "a/", "a/b", "a/b/c", "a/c", "a0", "b", "b-1", "c//d", "c/e", "z", "ä", "\U00010000", "A", "0"]
ORDERED = sorted(KEYS, key=lambda key: key.encode())


@pytest.fixture
def filled(s3, bucket):
    put_all(s3, bucket, KEYS)
    return bucket


def keys(page):
    return [item["Key"] for item in page.get("Contents", [])]


def prefixes(page):
    return [item["Prefix"] for item in page.get("CommonPrefixes", [])]


def pages_v2(s3, **options):
    token = None
    while True:
        page = s3.list_objects_v2(**options, **({"ContinuationToken": token} if token else {}))
        yield page
        if not page["IsTruncated"]:
            assert "NextContinuationToken" not in page
            return
        token = page["NextContinuationToken"]


def pages_v1(s3, **options):
    marker = None
    while True:
        page = s3.list_objects(**options, **({"Marker": marker} if marker else {}))
        yield page
        if not page["IsTruncated"]:
            return
        marker = page["NextMarker"] if "Delimiter" in options else page["Contents"][-1]["Key"]


@pytest.mark.parametrize("pages", [pages_v1, pages_v2])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "c/", "nothing"])
@pytest.mark.parametrize("delimiter", ["", "/", "b", "//"])
def test_every_page_size(other, listed, pages, size, prefix, delimiter):
    expected = []
    for key in ORDERED:
        if not key.startswith(prefix):
            continue
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = key if cut < 0 else key[:cut + len(delimiter)] + "\0prefix"
        if entry not in expected:
            expected.append(entry)
    options = {"Delimiter": delimiter} if delimiter else {}
    seen = []
    for page in pages(other, Bucket=listed, Prefix=prefix, MaxKeys=size, **options):
        here = keys(page) + [name + "\0prefix" for name in prefixes(page)]
        assert len(here) <= size
        assert here or not page["IsTruncated"], "an empty page that claims more"
        seen += sorted(here, key=lambda entry: entry.removesuffix("\0prefix").encode())
    assert seen == expected


@pytest.fixture(scope="module")
def listed(clients):
    import uuid
    from conftest import empty
    name = f"t-{uuid.uuid4().hex[:20]}"
    clients[0].create_bucket(Bucket=name)
    put_all(clients[0], name, KEYS)
    yield name
    empty(clients[0], name)
    clients[0].delete_bucket(Bucket=name)


def test_entries(s3, other, bucket):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"hello")["ETag"]
    owner = s3.list_buckets()["Owner"]["ID"]
    plain = other.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (plain["Key"], plain["Size"], plain["ETag"], plain["StorageClass"]) == ("a", 5, etag, "STANDARD")
    assert "Owner" not in plain
    assert plain["LastModified"].replace(microsecond=0) == s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    assert other.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"] == owner
    assert other.list_objects(Bucket=bucket)["Contents"][0]["Owner"]["ID"] == owner


def test_start_after(s3, listed):
    for start in ("", "a", "a/b", "a/bb", "0", "\U00010000", "ab"):
        expected = [key for key in ORDERED if key.encode() > start.encode()]
        assert keys(s3.list_objects_v2(Bucket=listed, StartAfter=start)) == expected
        assert keys(s3.list_objects(Bucket=listed, Marker=start)) == expected
    assert keys(s3.list_objects_v2(Bucket=listed, Prefix="a/", StartAfter="0")) == ["a/", "a/b", "a/b/c", "a/c"]
    assert keys(s3.list_objects_v2(Bucket=listed, Prefix="a/", StartAfter="b")) == []


def test_start_after_inside_a_common_prefix(s3, listed):
    page = s3.list_objects_v2(Bucket=listed, Delimiter="/", StartAfter="a/b")
    assert keys(page)[0] == "a0"
    assert prefixes(page) in (["a/", "c/"], ["c/"])


def test_echo(s3, listed):
    page = s3.list_objects_v2(Bucket=listed, Prefix="a", Delimiter="/", MaxKeys=2, StartAfter="a")
    assert (page["Name"], page["Prefix"], page["Delimiter"], page["MaxKeys"], page["StartAfter"]) == (
        listed, "a", "/", 2, "a")
    assert page["KeyCount"] == len(keys(page)) + len(prefixes(page))


def test_max_keys(s3, wire, listed):
    page = s3.list_objects_v2(Bucket=listed, MaxKeys=0)
    assert (page["KeyCount"], page["IsTruncated"]) == (0, False)
    for bad in ("-1", "x", "99999999999"):
        answer = wire.request("GET", f"/{listed}", [("list-type", "2"), ("max-keys", bad)])
        assert (answer.status, answer.code) == (400, "InvalidArgument"), (bad, answer)
    assert wire.request("GET", f"/{listed}", [("list-type", "2"), ("max-keys", "5000")]).status == 200


def test_url_encoding(wire, s3, bucket):
    names = ["a b", "a+b", "a%b", "a/b", "ü", "a\x01b", "x&y<z>", "a*~-._"]
    put_all(s3, bucket, names)
    answer = wire.request("GET", f"/{bucket}", [("list-type", "2"), ("encoding-type", "url")]).body.decode()
    for name in names:
        encoded = urllib.parse.quote(name, safe="/*-._~")
        assert f"<Key>{encoded}</Key>" in answer or f"<Key>{encoded.replace('*', '%2A')}</Key>" in answer, (name, answer)
    assert "<EncodingType>url</EncodingType>" in answer
    assert wire.request("GET", f"/{bucket}", [("encoding-type", "xml")]).code == "InvalidArgument"


def test_bad_token(wire, listed):
    answer = wire.request("GET", f"/{listed}", [("list-type", "2"), ("continuation-token", "?!")])
    assert (answer.status, answer.code) == (400, "InvalidArgument"), answer
    answer = wire.request("GET", f"/{listed}", [("list-type", "2"), ("continuation-token", "")])
    assert answer.status == 200 and b"<ContinuationToken>" in answer.body, "an empty token is none, and echoed"


def test_empty_bucket(s3, bucket):
    page = s3.list_objects_v2(Bucket=bucket)
    assert (page["KeyCount"], page["IsTruncated"]) == (0, False)
    assert "NextMarker" not in s3.list_objects(Bucket=bucket)


def test_deleted_keys_are_gone(clients, filled):
    for client, key in zip(clients * len(KEYS), KEYS[::2]):
        client.delete_object(Bucket=filled, Key=key)
    for client in clients:
        assert keys(client.list_objects_v2(Bucket=filled)) == sorted(KEYS[1::2], key=str.encode)


def test_many_keys(s3, other, bucket):
    names = [f"k{i:04}" for i in range(1005)]
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: s3.put_object(Bucket=bucket, Key=name, Body=b""), names))
    page = other.list_objects_v2(Bucket=bucket)
    assert (page["KeyCount"], page["IsTruncated"]) == (1000, True)
    rest = other.list_objects_v2(Bucket=bucket, ContinuationToken=page["NextContinuationToken"])
    assert keys(page) + keys(rest) == names


def test_versions_of_an_unversioned_bucket(s3, filled):
    page = s3.list_object_versions(Bucket=filled)
    assert [item["Key"] for item in page["Versions"]] == ORDERED
    assert {(item["VersionId"], item["IsLatest"]) for item in page["Versions"]} == {("null", True)}
    assert "DeleteMarkers" not in page
    seen, options = [], {}
    while True:
        page = s3.list_object_versions(Bucket=filled, MaxKeys=4, **options)
        seen += [item["Key"] for item in page.get("Versions", [])]
        if not page["IsTruncated"]:
            break
        options = {"KeyMarker": page["NextKeyMarker"]}
        if "NextVersionIdMarker" in page:
            options["VersionIdMarker"] = page["NextVersionIdMarker"]
    assert seen == ORDERED


def test_missing_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.list_objects_v2(Bucket="no-such-bucket-here")
