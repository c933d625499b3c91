"""Clients, buckets and their removal for the conformance suite. See README.md."""

import itertools
import os
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from wire import Wire

ENDPOINTS = os.environ.get("COVEY_ENDPOINTS", "").split()
REGION = os.environ.get("AWS_REGION", "us-east-1")
MAIN = (os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", ""))
ALT = (os.environ.get("COVEY_ALT_ACCESS_KEY_ID", ""), os.environ.get("COVEY_ALT_SECRET_ACCESS_KEY", ""))

_turn = itertools.count()


def pytest_configure(config):
    if not ENDPOINTS:
        raise pytest.UsageError("COVEY_ENDPOINTS is not set: source the cluster.env of a running cluster")


def make_client(endpoint, keys=MAIN, **options):
    config = Config(
        signature_version=options.pop("signature_version", "s3v4"),
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path", **options.pop("s3", {})},
        connect_timeout=5,
        read_timeout=60,
        **options,
    )
    return boto3.client("s3", endpoint_url=endpoint, region_name=REGION, aws_access_key_id=keys[0],
                        aws_secret_access_key=keys[1], config=config)


@pytest.fixture(scope="session")
def clients():
    """One client per node."""
    return [make_client(endpoint) for endpoint in ENDPOINTS]


@pytest.fixture
def s3(clients):
    """A client of one node; each test gets the next one."""
    return clients[next(_turn) % len(clients)]


@pytest.fixture
def other(clients):
    """A client of the node after that of `s3`: what one wrote, the other must read."""
    return clients[next(_turn) % len(clients)]


@pytest.fixture(scope="session")
def alt():
    """A client of the second user."""
    return make_client(ENDPOINTS[0], ALT)


@pytest.fixture
def wire():
    """Raw requests, signed or not."""
    return Wire(ENDPOINTS[next(_turn) % len(ENDPOINTS)], MAIN, REGION)


@pytest.fixture
def new_bucket(clients):
    """Makes buckets that are emptied and removed after the test."""
    made = []

    def make(name=None, client=clients[0], **options):
        name = name or f"t-{uuid.uuid4().hex[:20]}"
        made.append((name, client))
        if REGION != "us-east-1":
            options.setdefault("CreateBucketConfiguration", {"LocationConstraint": REGION})
        client.create_bucket(Bucket=name, **options)
        return name

    yield make
    for name, client in made:
        try:
            empty(client, name)
            client.delete_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucket":
                raise


@pytest.fixture
def bucket(new_bucket):
    return new_bucket()


def empty(client, bucket):
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", []):
            client.delete_object(Bucket=bucket, Key=item["Key"])
