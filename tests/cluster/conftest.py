"""One cluster of three per test file, healthy at the start of every test; the ends of its logs with every failure."""
import itertools
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from local import LocalCluster, local_netns, running, wait_until  # noqa: E402

numbers = itertools.count(1)
NETNS = ("test_partition", "test_history")  # they share the names and addresses of the namespaces


@pytest.fixture(scope="module")
def file_cluster(request):
    yield from running(request, LocalCluster(request.module.__name__.removeprefix("test_")))


@pytest.fixture(scope="module")
def five(request):
    """Five nodes in three zones (1 and 4, 2 and 5, 3), each in a network namespace of its own."""
    if trouble := local_netns.missing():
        pytest.skip(trouble)
    yield from running(request, LocalCluster(request.module.__name__.removeprefix("test_"), nodes=5, zones=3, netns=True))


@pytest.fixture
def cluster(file_cluster):
    file_cluster.heal()
    return file_cluster


@pytest.fixture
def bucket(cluster):
    name = f"test-{next(numbers)}"
    wait_until("a bucket can be made", lambda: cluster.client(1).create_bucket(Bucket=name))
    return name


def pytest_configure(config):
    config.addinivalue_line("markers", "xdist_group(name): tests that one worker runs one after the other")


def pytest_collection_modifyitems(items):
    """With several workers (pytest-xdist): a file's tests stay together, those of network namespaces one after the other."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("netns" if item.module.__name__ in NETNS else item.module.__name__))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    made = getattr(item.module, "running_cluster", None)
    if report.failed and made:
        report.sections.append(("the ends of the nodes' logs", made.log_tail()))
