"""One cluster of three for all clients, defaults unchanged; each test gets a bucket of its own and a clean environment."""
import itertools
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cluster"))
import local  # noqa: E402
from rig import BIG_BYTES, MIB, MemoryWatch, Nodes  # noqa: E402

FIRST_PORT, LAST_PORT = 31000, 32600
numbers = itertools.count(1)
# What the caller's environment must not decide: libraries read it in this process, tools get a clean one anyway.
FOREIGN = ("AWS_", "S3_", "RCLONE_", "RESTIC_", "MLFLOW_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy",
           "https_proxy", "all_proxy", "REQUESTS_CA_BUNDLE")


@pytest.fixture(scope="session", autouse=True)
def clean_process_environment():
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


@pytest.fixture(scope="session")
def cluster(clean_process_environment):
    made = local.LocalCluster("clients", ports=range(FIRST_PORT, LAST_PORT))
    try:
        made.up().wait_healthy()
        yield made
    finally:
        made.down()


@pytest.fixture(scope="session")
def nodes(cluster):
    return Nodes(cluster)


@pytest.fixture(scope="session")
def watch(cluster):
    made = MemoryWatch(cluster)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def memory(watch):
    """No client may make a node use more than its memory cap."""
    yield watch
    watch.check()


@pytest.fixture
def bucket(nodes):
    """An empty bucket; what a test leaves in it is removed."""
    name, s3 = f"clients-{next(numbers)}", nodes.boto3()
    s3.create_bucket(Bucket=name)
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def empty(s3, name):
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
        if keys:
            gone = s3.delete_objects(Bucket=name, Delete={"Objects": keys})
            assert "Errors" not in gone, gone["Errors"]


@pytest.fixture
def home(tmp_path):
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.fixture(scope="session")
def big_file(tmp_path_factory):
    """100 MiB that do not compress."""
    path = tmp_path_factory.mktemp("data") / "big.bin"
    with open(path, "wb") as f:
        for _ in range(BIG_BYTES // MIB):
            f.write(os.urandom(MIB))
    yield path
    path.unlink()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    made = item.funcargs.get("cluster") if hasattr(item, "funcargs") else None
    if report.failed and made:
        report.sections.append(("the ends of the nodes' logs", made.log_tail()))
